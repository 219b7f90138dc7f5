//! `raftmq dev`: a local cluster in one command, and its life.

use rustix::process::Signal;

use crate::support::{
    Dev, get, is_alive, refused, signal, start_dev, text, wait_until, with_bootstrap,
};

#[test]
fn a_killed_broker_stays_dead_until_it_is_restarted() {
    let dev = Dev::start(&["--set", "num.partitions=3"]);
    let bootstrap = dev.bootstrap();
    crate::support::ok(&with_bootstrap(
        &["cluster", "health", "--wait", "30"],
        &bootstrap,
    ));
    let before = dev.broker(2);

    dev.kill(2);
    let http = text(&before, "http");
    assert!(!get(&http, "/livez").starts_with("HTTP/1.1 200"));
    refused(
        &with_bootstrap(&["cluster", "health"], &bootstrap),
        10,
        &["broker 2"],
    );

    dev.restart(2);
    let after = dev.broker(2);
    assert_ne!(before["pid"], after["pid"]);
    assert_eq!(before["grpc"], after["grpc"]);
    crate::support::ok(&with_bootstrap(
        &["cluster", "health", "--wait", "30"],
        &bootstrap,
    ));
    let data = dev.data();
    let again = ["dev", "restart", "2", "--data", data.to_str().unwrap()];
    refused(&again, 1, &["broker 2 is running"]);
}

#[test]
fn the_cluster_stops_as_a_whole_and_keeps_addresses_and_data() {
    let dev = Dev::start(&["--set", "num.partitions=3"]);
    let bootstrap = dev.bootstrap();
    crate::support::ok(&with_bootstrap(&["topic", "create", "kept"], &bootstrap));
    let pids: Vec<u32> = (1..=3).map(|id| dev.pid(id)).collect();
    let data = dev.data();
    let Dev { process, folder } = dev;

    assert_eq!(process.stop(), Some(0));
    for pid in pids {
        assert!(!is_alive(pid));
    }

    let process = start_dev(&data, &[]);
    let dev = Dev { process, folder };
    assert_eq!(dev.bootstrap(), bootstrap);
    let listed = crate::support::ok(&with_bootstrap(
        &["topic", "list", "-o", "json"],
        &bootstrap,
    ));
    let topics: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(topics[0]["name"], "kept");
    assert_eq!(topics[0]["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(
        topics[0]["partitions"][0]["replicas"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

/// Three brokers open the replicas of many partitions at different speeds; every group must be led
/// nevertheless, and no broker by far the most.
#[test]
fn topics_of_many_partitions_are_led_created_and_deleted_one_right_after_the_other() {
    let dev = Dev::start(&[]);
    let bootstrap = dev.bootstrap();
    let ok = |args: &[&str]| crate::support::ok(&with_bootstrap(args, &bootstrap));
    ok(&["cluster", "health", "--wait", "30"]);

    for round in 0..3 {
        ok(&["topic", "create", "many", "-p", "300", "-r", "3"]);
        ok(&["cluster", "health", "--wait", "30"]);
        let described = ok(&["topic", "describe", "many", "-o", "json"]);
        let topic: serde_json::Value = serde_json::from_str(&described).unwrap();
        let partitions = topic["partitions"].as_array().unwrap();
        assert_eq!(partitions.len(), 300, "round {round}");
        for broker in 1..=3 {
            let leads = |partition: &&serde_json::Value| partition["leader"] == broker;
            let led_count = partitions.iter().filter(leads).count();
            assert!(
                led_count > 60,
                "round {round}: broker {broker} leads {led_count}"
            );
        }
        ok(&["topic", "delete", "many"]);
    }
}

#[test]
fn brokers_do_not_outlive_a_killed_supervisor() {
    let dev = Dev::start(&[]);
    let pids: Vec<u32> = (1..=3).map(|id| dev.pid(id)).collect();
    let Dev { process, folder } = dev;

    signal(process.pid(), Signal::KILL);

    wait_until(|| pids.iter().all(|pid| !is_alive(*pid)));
    drop(folder);
}

#[test]
fn dev_refuses_what_it_cannot_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    refused(
        &["dev", "--data", data, "--set", "num.partition=3"],
        2,
        &["num.partition", "num.partitions"],
    );
    refused(
        &["dev", "--data", data, "--set", "broker.id=3"],
        2,
        &["broker.id"],
    );
    refused(
        &["dev", "--data", data, "--set", "num.partitions=x"],
        2,
        &["num.partitions", "whole number"],
    );
    refused(
        &["dev", "--data", data, "--brokers", "9"],
        2,
        &["1 to 5", "9"],
    );
    refused(
        &["dev", "restart", "1", "--data", data],
        1,
        &["no raftmq dev answers", data],
    );
}
