//! Mistakes at the command line: each is named, with its object, and changes nothing.

use crate::support::{Broker, refused, refused_with_input, with_bootstrap};

#[test]
fn mistakes_with_topics_are_named() {
    let broker = Broker::start(&[]);
    let grpc = broker.grpc();
    broker.ok(&["topic", "create", "t"]);
    for (args, texts) in [
        (&["topic", "create", "t"][..], &["\"t\"", "exist"][..]),
        (&["topic", "create", "no/slash"], &["no/slash"]),
        (&["topic", "create", ".."], &["\"..\""]),
        (
            &["topic", "create", "u", "--config", "retention.mss=1"],
            &["retention.mss"],
        ),
        (
            &["topic", "create", "u", "--config", "retention.ms=soon"],
            &["retention.ms", "soon"],
        ),
        (
            &["topic", "create", "u", "--config", "cleanup.policy=keep"],
            &["keep"],
        ),
        (
            &["topic", "create", "u", "--replication-factor", "3"],
            &["replication factor"],
        ),
        (
            &["topic", "create", "u", "--partitions", "4000000000"],
            &["partitions"],
        ),
        (
            &["topic", "describe", "nowhere"],
            &["nowhere", "raftmq topic list"],
        ),
        (
            &["topic", "alter", "nowhere", "--set", "retention.ms=1"],
            &["nowhere"],
        ),
        (
            &["topic", "alter", "t", "--partitions", "1"],
            &["partitions"],
        ),
        (&["topic", "delete", "nowhere"], &["nowhere"]),
    ] {
        let args = [args, &["--timeout", "2"]].concat();
        refused(&with_bootstrap(&args, &grpc), 1, texts);
    }
    let listed = broker.ok(&["topic", "list", "-o", "json"]);
    let topics: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(topics.as_array().unwrap().len(), 1);
}

#[test]
fn mistakes_with_records_are_named() {
    let broker = Broker::start(&[]);
    let grpc = broker.grpc();
    broker.ok(&["topic", "create", "t", "--config", "max.message.bytes=2048"]);
    let long_line = vec![b'x'; 10_000];
    let timeout = ["--timeout", "2"];

    let args = [&["produce", "t"], &timeout[..]].concat();
    refused_with_input(&with_bootstrap(&args, &grpc), &long_line, 1, &["2048"]);
    let args = [&["produce", "t", "--partition", "7"], &timeout[..]].concat();
    refused_with_input(&with_bootstrap(&args, &grpc), b"a\n", 1, &["7"]);
    let args = [&["produce", "nowhere"], &timeout[..]].concat();
    refused_with_input(&with_bootstrap(&args, &grpc), b"a\n", 1, &["nowhere"]);
    let args = [&["consume", "nowhere"], &timeout[..]].concat();
    refused(&with_bootstrap(&args, &grpc), 1, &["nowhere"]);
    refused(
        &with_bootstrap(&["consume", "t", "--partition", "7"], &grpc),
        2,
        &["7"],
    );
    refused(
        &with_bootstrap(&["produce", "t", "/no/such/file"], &grpc),
        1,
        &["/no/such/file"],
    );

    assert_eq!(broker.ok(&["consume", "t"]), "", "nothing was written");
}

#[test]
fn mistakes_in_arguments_are_usage_errors() {
    refused(
        &["serve", "--set", "listener.grpc=a:1"],
        2,
        &["listener.grpc", "listeners.grpc"],
    );
    refused(
        &["serve", "--set", "listeners.grpc=9090"],
        2,
        &["listeners.grpc", "host:port"],
    );
    refused(
        &["serve", "--set", "nonsense"],
        2,
        &["KEY=VALUE", "nonsense"],
    );
    refused(
        &["serve", "--config", "/no/such.toml"],
        2,
        &["/no/such.toml"],
    );
    refused(
        &["consume", "t", "--from", "middle"],
        2,
        &["middle", "beginning"],
    );
    refused(&["consume", "t", "-f", "%z"], 2, &["%z"]);
    refused(&["produce", "t", "--acks", "2"], 2, &["2", "all"]);
    for counted in ["--replication-factor", "--partitions"] {
        let create = ["topic", "create", "t", counted, "0"];
        refused(&create, 2, &[counted, "0 is not in 1.."]);
    }
    refused(&["produce", "t", "--header", "x"], 2, &["NAME=VALUE"]);
}

#[test]
fn without_a_broker_the_next_step_is_named() {
    let nobody = ["--bootstrap", "127.0.0.1:1", "--timeout", "1"];
    let next = &["127.0.0.1:1", "raftmq serve"];
    refused(&[&["topic", "list"], &nobody[..]].concat(), 1, next);
    refused(
        &[&["cluster", "health"], &nobody[..]].concat(),
        10,
        &["127.0.0.1:1"],
    );
}
