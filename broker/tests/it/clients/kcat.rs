//! kcat: librdkafka as Debian ships it, older than the crate's and with every compression.

use std::io::Write;
use std::process::Command;

use serde_json::Value;

use super::librdkafka::{create_topic, end_of, leader_of};
use super::programs::{kcat, run, start};
use super::{Cluster, assert_records, expected_partitions, keys};
use super::{Shown, record};

const ALL_COMPRESSIONS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const RECORDS: i64 = 20;

/// kcat against this cluster.
fn kcat_at(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = kcat();
    command
        .args(["-b", &cluster.bootstrap, "-q", "-m", "30"])
        .args(args);
    command
}

/// Reads a partition from an offset of kcat's (`beginning`, `5`, `-3`, `s@TIME`) to its end.
pub(super) fn read(cluster: &Cluster, topic: &str, partition: &str, from: &str) -> Vec<Shown> {
    let args = ["-C", "-t", topic, "-p", partition, "-o", from, "-e", "-J"];
    run(kcat_at(cluster, &args), "")
        .lines()
        .map(shown)
        .collect()
}

fn shown(line: &str) -> Shown {
    let record: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("JSON: {line}"));
    let text = |value: &Value| value.as_str().map(|text| text.as_bytes().to_vec());
    let empty = Vec::new();
    let headers = record["headers"].as_array().unwrap_or(&empty);
    let header = |pair: &[Value]| {
        (
            pair[0].as_str().unwrap_or_default().to_owned(),
            text(&pair[1]),
        )
    };
    Shown {
        partition: i32::try_from(record["partition"].as_i64().expect("a partition"))
            .expect("small"),
        offset: record["offset"].as_i64().expect("an offset"),
        timestamp_ms: record["ts"].as_i64().expect("a timestamp"),
        key: text(&record["key"]),
        value: text(&record["payload"]),
        headers: headers.chunks(2).map(header).collect(),
    }
}

#[test]
fn kcat_writes_and_reads_every_compression() {
    let cluster = Cluster::shared();
    for compression in ALL_COMPRESSIONS {
        let topic = format!("kcat-{compression}");
        create_topic(&cluster.bootstrap, &topic, 1, &[]);
        let lines: String = (0..RECORDS)
            .map(|n| format!("k{n}:{}\n", format!("v{n} ").repeat(40)))
            .collect();
        let args = [
            "-P",
            "-t",
            &topic,
            "-K",
            ":",
            "-z",
            compression,
            "-H",
            "who=kcat",
            "-H",
            "again=1",
        ];
        run(kcat_at(&cluster, &args), &lines);

        let read = read(&cluster, &topic, "0", "beginning");

        assert_eq!(read.len() as u64, RECORDS.cast_unsigned(), "{compression}");
        for (n, shown) in (0..).zip(&read) {
            assert_eq!(shown.offset, n, "{compression}");
            assert_eq!(
                shown.key,
                Some(format!("k{n}").into_bytes()),
                "{compression}"
            );
            assert_eq!(
                shown.value,
                Some(format!("v{n} ").repeat(40).into_bytes()),
                "{compression}"
            );
            let headers = [("who", "kcat"), ("again", "1")];
            let headers =
                headers.map(|(key, value)| (key.to_owned(), Some(value.as_bytes().to_vec())));
            assert_eq!(shown.headers, headers, "{compression}");
        }
    }
}

#[test]
fn kcat_rewinds_by_offset_from_the_end_and_by_time() {
    let cluster = Cluster::shared();
    create_topic(&cluster.bootstrap, "rewinding", 1, &[]);
    super::librdkafka::write(&cluster.bootstrap, "rewinding", RECORDS, "gzip");

    assert_records(
        &read(&cluster, "rewinding", "0", "beginning"),
        RECORDS,
        "beginning",
    );
    let middle = record(7);
    for from in ["7", "-13", &format!("s@{}", middle.timestamp_ms)] {
        let read = read(&cluster, "rewinding", "0", from);
        assert_eq!(read.len(), 13, "{from}");
        assert_eq!(read[0], middle, "{from}");
    }
    let query = format!("rewinding:0:{}", middle.timestamp_ms);
    let answer = run(kcat_at(&cluster, &["-Q", "-t", &query]), "");
    assert!(answer.contains("rewinding [0] offset 7"), "{answer}");
}

#[test]
fn kcat_sees_the_whole_cluster() {
    let cluster = Cluster::shared();
    create_topic(&cluster.bootstrap, "seen", 6, &[]);

    let metadata: Value =
        serde_json::from_str(&run(kcat_at(&cluster, &["-L", "-J"]), "")).expect("JSON");

    assert_eq!(
        metadata["brokers"].as_array().map(Vec::len),
        Some(3),
        "{metadata}"
    );
    let topics = metadata["topics"].as_array().expect("topics");
    let seen = topics
        .iter()
        .find(|topic| topic["topic"] == "seen")
        .expect("the topic");
    let partitions = seen["partitions"].as_array().expect("partitions");
    assert_eq!(partitions.len(), 6, "{seen}");
    for partition in partitions {
        assert!(
            (1..=3).contains(&partition["leader"].as_i64().unwrap_or(-1)),
            "{seen}"
        );
        assert_eq!(
            partition["replicas"].as_array().map(Vec::len),
            Some(3),
            "{seen}"
        );
    }
    assert!((1..=3).contains(&leader_of(&cluster.bootstrap, "seen")));
}

#[test]
fn kcat_puts_a_key_where_kafkas_hash_says() {
    const PARTITIONS: u32 = 5;
    let cluster = Cluster::shared();
    create_topic(
        &cluster.bootstrap,
        "hashed",
        i32::try_from(PARTITIONS).expect("small"),
        &[],
    );
    let lines: String = keys().iter().map(|key| format!("{key}:value\n")).collect();
    // librdkafka's own default is another hash; Java's is murmur2.
    let partitioner = "topic.partitioner=murmur2_random";
    run(
        kcat_at(
            &cluster,
            &["-P", "-t", "hashed", "-K", ":", "-X", partitioner],
        ),
        &lines,
    );

    let expected = expected_partitions(PARTITIONS);
    let mut found = 0;
    for partition in 0..PARTITIONS {
        for shown in read(&cluster, "hashed", &partition.to_string(), "beginning") {
            let key = String::from_utf8(shown.key.expect("a key")).expect("text");
            assert_eq!(expected[&key], partition, "{key}");
            found += 1;
        }
    }
    assert_eq!(found, expected.len());
}

#[test]
fn an_idempotent_kcat_survives_its_leaders_death_without_loss_or_doubles() {
    const TOPIC: &str = "kcat-idempotent";
    const BEFORE_KILL: i64 = 500;
    const AFTER_KILL: i64 = 1_000;
    const LINES_AT_A_TIME: i64 = 250;
    let cluster = Cluster::start();
    create_topic(&cluster.bootstrap, TOPIC, 1, &[]);
    let leader = leader_of(&cluster.bootstrap, TOPIC);
    let args = [
        "-P",
        "-t",
        TOPIC,
        "-X",
        "enable.idempotence=true",
        "-X",
        "batch.num.messages=50",
        "-X",
        "message.timeout.ms=60000",
    ];
    let mut producer = start(kcat_at(&cluster, &args));
    let mut stdin = producer.stdin.take().expect("it is piped");
    let line = |number: i64| format!("line {number}");
    let end = || end_of(&cluster.bootstrap, TOPIC);
    let mut sent = 0;
    let mut send = || {
        let numbers = sent..sent + LINES_AT_A_TIME;
        let lines: String = numbers.map(|number| line(number) + "\n").collect();
        stdin.write_all(lines.as_bytes()).expect("kcat reads");
        sent += LINES_AT_A_TIME;
    };

    while end() < BEFORE_KILL {
        send();
    }
    // Under way when the leader dies, and while nobody leads.
    send();
    cluster.dev.kill(leader);
    send();
    let after_kill = end() + AFTER_KILL;
    while end() < after_kill {
        send();
    }
    drop(stdin);
    let ended = producer.wait().expect("it ends");

    assert!(ended.success(), "{ended}");
    assert_eq!(end(), sent, "nothing lost, nothing twice");
    let read = super::librdkafka::read(&cluster.bootstrap, TOPIC, sent);
    for (number, shown) in (0..).zip(&read) {
        let found = (shown.offset, shown.value.as_deref());
        assert_eq!(found, (number, Some(line(number).as_bytes())));
    }
}
