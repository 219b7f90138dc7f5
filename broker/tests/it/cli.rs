//! The verbs of the command line against one broker, and what they print.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Broker, ok, run, run_with_input, stderr, stdout, with_bootstrap};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn help_names_every_command() {
    let help = ok(&["--help"]);
    let expected = include_str!("help.txt");
    if std::env::var_os("RAFTMQ_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/help.txt");
        std::fs::write(path, &help).unwrap();
    } else {
        assert_eq!(help, expected, "run with RAFTMQ_BLESS=1");
    }
    let usage = run(&["no-such-command"]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(stderr(&usage).contains("no-such-command"));
    assert_eq!(run(&[]).status.code(), Some(2));
}

#[test]
fn a_topic_is_created_described_altered_and_deleted() {
    let broker = Broker::start(&[]);
    let create = [
        "topic",
        "create",
        "t",
        "-p",
        "2",
        "-c",
        "retention.ms=60000",
        "-o",
        "json",
    ];

    let created = json(&broker.ok(&create));
    assert_eq!(created["partitions"].as_array().unwrap().len(), 2);
    assert_eq!(created["configs"]["retention.ms"], "60000");

    let described = json(&broker.ok(&["topic", "describe", "t", "-o", "json"]));
    let configs = described["effective_configs"].as_array().unwrap();
    let retention = configs
        .iter()
        .find(|config| config["name"] == "retention.ms")
        .unwrap();
    assert_eq!(retention["source"], "topic");
    assert_eq!(described["partitions"][1]["leader"], 1);

    let alter = [
        "topic",
        "alter",
        "t",
        "--partitions",
        "3",
        "--unset",
        "retention.ms",
    ];
    broker.ok(&alter);
    let described = json(&broker.ok(&["topic", "describe", "t", "-o", "json"]));
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(described["configs"].get("retention.ms"), None);

    broker.ok(&["topic", "delete", "t"]);
    assert_eq!(
        json(&broker.ok(&["topic", "list", "-o", "json"])),
        json("[]")
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let broker = Broker::start(&[]);
    broker.ok(&["topic", "create", "t", "--dry-run"]);
    assert_eq!(
        json(&broker.ok(&["topic", "list", "-o", "json"])),
        json("[]")
    );
}

#[test]
fn lines_go_in_and_come_out_with_key_headers_and_offsets() {
    let broker = Broker::start(&[]);
    let grpc = broker.grpc();
    broker.ok(&["topic", "create", "t"]);
    let produce = ["produce", "t", "-K", "=", "-H", "source=test", "-o", "json"];
    let published = run_with_input(&with_bootstrap(&produce, &grpc), b"a=1\nb=2\nplain");
    assert_eq!(json(&stdout(&published))["records"], 3, "{published:?}");

    let format = "%t/%p/%o %k|%v|%h\\n";
    let all = broker.ok(&["consume", "t", "-f", format]);
    assert_eq!(
        all,
        "t/0/0 a|1|source=test\nt/0/1 b|2|source=test\nt/0/2 |plain|source=test\n"
    );
    assert_eq!(
        broker.ok(&["consume", "t", "--from", "1", "--count", "1"]),
        "2\n"
    );
    assert_eq!(broker.ok(&["consume", "t", "--from", "end"]), "");
    assert_eq!(
        broker.ok(&["consume", "t", "--from", "@1"]),
        "1\n2\nplain\n"
    );
    assert_eq!(
        broker.ok(&["consume", "t", "--from", "@99999999999999"]),
        ""
    );
    assert_eq!(broker.ok(&["consume", "t", "--from", "3"]), "");

    let lines = broker.ok(&["consume", "t", "-o", "json"]);
    let first = json(lines.lines().next().unwrap());
    assert_eq!(first["key"], "a");
    assert_eq!(first["headers"][0][1], "test");
}

#[test]
fn following_sees_records_that_come_later() {
    let broker = Broker::start(&[]);
    let grpc = broker.grpc();
    broker.ok(&["topic", "create", "t"]);
    let args: Vec<String> = with_bootstrap(&["consume", "t", "--follow", "--count", "2"], &grpc)
        .into_iter()
        .map(str::to_owned)
        .collect();
    let reader =
        std::thread::spawn(move || ok(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    run_with_input(&with_bootstrap(&["produce", "t"], &grpc), b"one\n");
    run_with_input(&with_bootstrap(&["produce", "t"], &grpc), b"two\n");

    assert_eq!(reader.join().unwrap(), "one\ntwo\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let broker = Broker::start(&[]);
    let grpc = broker.grpc();
    broker.ok(&["topic", "create", "t"]);
    let lines = "x\n".repeat(100_000);
    run_with_input(&with_bootstrap(&["produce", "t"], &grpc), lines.as_bytes());
    let mut child = crate::support::raftmq(&with_bootstrap(&["consume", "t"], &grpc))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());

    let output = child.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn benchmarks_report_what_they_did() {
    let broker = Broker::start(&[]);
    let load = [
        "--records",
        "2000",
        "--size",
        "100",
        "--partitions",
        "2",
        "-o",
        "json",
    ];
    let produced = json(&broker.ok(&[&["bench", "produce"], &load[..]].concat()));
    assert_eq!(produced["records"], 2_000);
    check_latency(&produced["acknowledged"]);
    check_stages(&produced["stages"]);

    let consumed = json(&broker.ok(&["bench", "consume", "-o", "json"]));
    assert_eq!(consumed["records"], 2_000);
    assert_eq!(consumed["bytes"], 200_000);

    let latency = [
        "bench",
        "latency",
        "--rate",
        "500",
        "--seconds",
        "1",
        "-o",
        "json",
    ];
    let latency = json(&broker.ok(&latency));
    assert_eq!(latency["records"], 500);
    check_latency(&latency["acknowledged"]);
    check_latency(&latency["end_to_end"]);
    check_stages(&latency["stages"]);
}

#[test]
fn the_benchmark_of_fetches_starts_a_broker_and_tells_its_processor_time() {
    let args = [
        "--seconds",
        "1",
        "--batch-size",
        "100000",
        "--fill",
        "500000",
    ];
    let fetched = json(&ok(&[&["bench", "fetch", "-o", "json"], &args[..]].concat()));

    let number = |name: &str| fetched[name].as_f64().unwrap();
    assert!(number("batch_bytes") > 98_000.0, "{fetched}");
    assert!(
        number("fetches") > 0.0 && number("broker_cpu_seconds") > 0.0,
        "{fetched}"
    );
    let whole = number("bytes") / number("seconds") / f64::from(1 << 30);
    let shown = number("gib_per_second");
    assert!((whole - shown).abs() < shown / 1e3, "{fetched}");
}

/// Every stage has a share of all the time, and an entry is written in some of it.
fn check_stages(stages: &Value) {
    let shares: BTreeMap<&str, f64> = stages
        .as_array()
        .unwrap()
        .iter()
        .map(|share| {
            let stage = share["stage"].as_str().unwrap();
            (stage, share["percent"].as_f64().unwrap())
        })
        .collect();
    let names: Vec<&str> = shares.keys().copied().collect();
    assert_eq!(names, ["commit", "decide", "in_sync", "wait"]);
    let total: f64 = shares.values().sum();
    assert!((total - 100.0).abs() < 1e-6, "{stages}");
    assert!(shares["commit"] > 0.0, "{stages}");
}

/// Percentiles grow, and are neither below what a flushed acknowledgement can take nor absurd.
fn check_latency(latency: &Value) {
    let names = ["p50_us", "p95_us", "p99_us", "p999_us", "max_us"];
    let micros: Vec<u64> = names
        .iter()
        .map(|name| latency[name].as_u64().unwrap())
        .collect();
    assert!(micros.is_sorted(), "{latency}");
    assert!(micros[0] >= 20 && micros[4] < 60_000_000, "{latency}");
}
