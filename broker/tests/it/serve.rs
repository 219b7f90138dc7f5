//! One broker as a process: start, health, metrics, stop, restart, and what it refuses.

use rustix::process::Signal;

use crate::support::{
    Broker, FREE_PORTS, free_endpoint, get, is_alive, ok, raftmq, refused, run_with_input, serve,
    signal, stdout, text, wait_until, with_bootstrap,
};

#[test]
fn without_configuration_one_broker_serves_and_stops_cleanly() {
    let broker = Broker::start(&[]);
    assert_eq!(broker.process.ready["id"], 1);
    broker.ok(&["cluster", "health", "--wait", "30"]);
    broker.ok(&["topic", "create", "hello"]);

    assert_eq!(broker.process.stop(), Some(0));
}

#[test]
fn health_and_metrics_are_served() {
    let broker = Broker::start(&[]);
    let http = broker.http();
    for path in ["/livez", "/readyz", "/startupz"] {
        assert!(
            get(&http, path).starts_with("HTTP/1.1 200"),
            "{path}: {}",
            get(&http, path)
        );
    }
    assert!(get(&http, "/nowhere").starts_with("HTTP/1.1 404"));

    broker.ok(&["topic", "create", "t"]);
    let grpc = broker.grpc();
    run_with_input(&with_bootstrap(&["produce", "t"], &grpc), b"a\nb\n");
    let scrape = get(&http, "/metrics");
    assert!(scrape.contains("text/plain; version=0.0.4"), "{scrape}");
    let samples: Vec<&str> = scrape
        .lines()
        .filter(|line| line.starts_with("raftmq_"))
        .collect();
    assert!(!samples.is_empty(), "{scrape}");
    for sample in samples {
        let value = sample.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{sample}");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9_and_restart() {
    let broker = Broker::start(&[]);
    broker.ok(&["topic", "create", "t", "--partitions", "3"]);
    let lines: String = (0..1_000)
        .map(|number| format!("key-{number}:value-{number}\n"))
        .collect();
    let (data, grpc) = (broker.data(), broker.grpc());
    let produce = ["produce", "t", "--key-separator", ":"];
    let published = run_with_input(&with_bootstrap(&produce, &grpc), lines.as_bytes());
    assert!(
        stdout(&published).contains("published 1,000 records"),
        "{published:?}"
    );

    let Broker { process, folder } = broker;
    process.kill();
    let process = serve(&data, &[]);
    let grpc = text(&process.ready, "grpc");
    let read = ok(&with_bootstrap(&["consume", "t", "-f", "%k:%v\\n"], &grpc));

    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&read), sorted(&lines));
    drop(folder);
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let broker = Broker::start(&[]);
    let data = broker.data();
    let args = [
        &["serve", "--data-dir", data.to_str().unwrap()][..],
        &FREE_PORTS,
    ]
    .concat();

    refused(
        &args,
        1,
        &["in use by another process", data.to_str().unwrap()],
    );

    assert!(is_alive(broker.process.pid()));
    broker.ok(&["topic", "list"]);
}

#[test]
fn a_port_in_use_is_named() {
    let broker = Broker::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let grpc = broker.grpc();
    let taken = format!("listeners.grpc={grpc}");
    let args = [
        &["serve", "--data-dir", data.to_str().unwrap()][..],
        &FREE_PORTS,
        &["--set", &taken],
    ];

    refused(&args.concat(), 1, &["cannot listen on", &grpc]);
}

#[test]
fn the_folder_of_another_broker_is_refused() {
    let broker = Broker::start(&[]);
    let data = broker.data();
    let Broker { process, folder } = broker;
    assert_eq!(process.stop(), Some(0));
    let args = [
        &["serve", "--data-dir", data.to_str().unwrap()][..],
        &FREE_PORTS,
    ];

    let other = [&args.concat()[..], &["--set", "broker.id=2"]].concat();
    refused(&other, 1, &["belongs to broker 1", "broker 2"]);

    // It was refused without a change: the right broker starts on it.
    assert_eq!(serve(&data, &[]).stop(), Some(0));
    drop(folder);
}

#[test]
fn unreachable_peers_leave_a_broker_alive_and_not_ready() {
    // Ends while it starts, threads still at work: that must not look like a crash, ever.
    for _ in 0..10 {
        check_unreachable_peers();
    }
}

fn check_unreachable_peers() {
    let folder = tempfile::tempdir().unwrap();
    let http = free_endpoint();
    let peer = free_endpoint();
    let peers = format!("cluster.peers=1@{peer},2@127.0.0.1:1,3@127.0.0.1:2");
    let listeners = [
        format!("listeners.http={http}"),
        format!("listeners.peer={peer}"),
    ];
    let data = folder.path().join("data");
    let mut child = raftmq(&["serve", "--data-dir", data.to_str().unwrap()])
        .args(["--set", "listeners.grpc=127.0.0.1:0", "--set", &peers])
        .args(["--set", &listeners[0], "--set", &listeners[1]])
        .args(["--set", "listeners.kafka=", "--set", "listeners.amqp="])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();

    wait_until(|| get(&http, "/livez").starts_with("HTTP/1.1 200"));
    assert!(
        get(&http, "/readyz").starts_with("HTTP/1.1 503"),
        "{}",
        get(&http, "/readyz")
    );

    signal(child.id(), Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_broker_that_loses_its_disk_stops_with_the_exit_code_of_storage() {
    let broker = Broker::start(&[]);
    let (data, grpc) = (broker.data(), broker.grpc());
    std::fs::remove_dir_all(&data).unwrap();

    // More than one segment holds: the second cannot be created.
    let produce = ["bench", "produce", "--records", "1000000"];
    let mut load = raftmq(&with_bootstrap(&produce, &grpc))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();

    assert_eq!(broker.process.wait(), Some(74));
    load.kill().unwrap();
    load.wait().unwrap();
    let log = std::fs::read_to_string(data.with_extension("log")).unwrap();
    assert!(log.contains("error: storage"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}
