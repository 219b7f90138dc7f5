//! Every key of Kafka's topics: tools that set it, at Kafka's own default above all, are not refused.

use bytes::Bytes;
use raftmq_kafka_protocol::ErrorCode;
use raftmq_records::{BatchBuilder, Compression};

use super::admin::{BROKER, TOPIC, config, create, describe, topic};
use super::wire::{Wire, broker};
use crate::support::wait_until;

const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const DOUBLE: i8 = 6;
const LIST: i8 = 7;

/// The keys of topics of Kafka 4.3 (`LogConfig`) with their defaults and types.
const KAFKAS_KEYS: [(&str, &str, i8); 33] = [
    ("cleanup.policy", "delete", LIST),
    ("compression.gzip.level", "-1", INT),
    ("compression.lz4.level", "9", INT),
    ("compression.type", "producer", STRING),
    ("compression.zstd.level", "3", INT),
    ("delete.retention.ms", "86400000", LONG),
    ("file.delete.delay.ms", "60000", LONG),
    ("flush.messages", "9223372036854775807", LONG),
    ("flush.ms", "9223372036854775807", LONG),
    ("follower.replication.throttled.replicas", "", LIST),
    ("index.interval.bytes", "4096", INT),
    ("leader.replication.throttled.replicas", "", LIST),
    ("local.retention.bytes", "-2", LONG),
    ("local.retention.ms", "-2", LONG),
    ("max.compaction.lag.ms", "9223372036854775807", LONG),
    ("max.message.bytes", "1048588", INT),
    ("message.timestamp.after.max.ms", "3600000", LONG),
    (
        "message.timestamp.before.max.ms",
        "9223372036854775807",
        LONG,
    ),
    ("message.timestamp.type", "CreateTime", STRING),
    ("min.cleanable.dirty.ratio", "0.5", DOUBLE),
    ("min.compaction.lag.ms", "0", LONG),
    ("min.insync.replicas", "1", INT),
    ("preallocate", "false", BOOLEAN),
    ("remote.log.copy.disable", "false", BOOLEAN),
    ("remote.log.delete.on.disable", "false", BOOLEAN),
    ("remote.storage.enable", "false", BOOLEAN),
    ("retention.bytes", "-1", LONG),
    ("retention.ms", "604800000", LONG),
    ("segment.bytes", "1073741824", INT),
    ("segment.index.bytes", "10485760", INT),
    ("segment.jitter.ms", "0", LONG),
    ("segment.ms", "604800000", LONG),
    ("unclean.leader.election.enable", "false", BOOLEAN),
];
/// Keys of topics that Kafka does not have.
const OUR_KEYS: [&str; 1] = ["durability"];
/// Where Kafka's default is not ours: segments end twice, in a file and in a checkpoint.
const OTHER_DEFAULTS: [&str; 1] = ["segment.bytes"];

#[test]
fn a_topic_takes_each_of_kafkas_keys_at_kafkas_default() {
    let (_broker, mut wire) = broker(&[]);
    let mut topics = Vec::new();
    let mut all = topic("all", 1);
    for (key, default, _) in KAFKAS_KEYS {
        let mut one = topic(key, 1);
        one.configs = vec![config(key, Some(default))];
        topics.push(one);
        all.configs.push(config(key, Some(default)));
    }
    topics.push(all);

    for made in create(&mut wire, topics, false) {
        assert_eq!(made.error_code, 0, "{made:?}");
    }

    for described in describe(&mut wire, TOPIC, "all", None) {
        let name = &*described.name;
        if OUR_KEYS.contains(&name) {
            continue;
        }
        let (_, default, _) = KAFKAS_KEYS.iter().find(|key| key.0 == name).unwrap();
        let found = (described.value.as_deref(), described.config_source);
        assert_eq!(found, (Some(*default), 1), "{name}");
    }
}

#[test]
fn kafkas_keys_of_topics_are_described_completely_with_kafkas_types_and_defaults() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");

    let mut described = describe(&mut wire, TOPIC, "t", None);

    described.retain(|one| !OUR_KEYS.contains(&&*one.name));
    let names: Vec<&str> = described.iter().map(|one| &*one.name).collect();
    assert_eq!(names, KAFKAS_KEYS.map(|(name, ..)| name));
    for (one, (name, default, config_type)) in described.iter().zip(KAFKAS_KEYS) {
        assert_eq!(
            (one.config_type, one.config_source),
            (config_type, 5),
            "{name}"
        );
        if !OTHER_DEFAULTS.contains(&name) {
            assert_eq!(one.value.as_deref(), Some(default), "{name}");
        }
        assert!(!one.read_only && !one.is_sensitive, "{name}");
        assert!(one.documentation.is_some(), "{name}");
    }
}

#[test]
fn values_that_cannot_be_honoured_are_refused_with_the_reason() {
    let (_broker, mut wire) = broker(&[]);
    let invalid = i16::from(ErrorCode::InvalidConfig);
    for (key, value, reason) in [
        ("unclean.leader.election.enable", "true", "never elected"),
        ("remote.storage.enable", "true", "no tiered storage"),
        ("local.retention.ms", "1000", "no tiered storage"),
        (
            "compression.type",
            "zstd",
            "as their producer compressed them",
        ),
        ("max.compaction.lag.ms", "1000", "not served yet"),
        ("compression.gzip.level", "0", "a whole number"),
        (
            "leader.replication.throttled.replicas",
            "all",
            "partition:broker",
        ),
    ] {
        let mut refused = topic("t", 1);
        refused.configs = vec![config(key, Some(value))];
        let refused = create(&mut wire, vec![refused], false).remove(0);
        assert_eq!(refused.error_code, invalid, "{key}");
        let words = refused.error_message.unwrap_or_default();
        assert!(words.contains(reason) && words.contains(key), "{words}");
    }
}

#[test]
fn a_broker_tells_who_and_where_it_is_read_only() {
    let rack = ["--set", "broker.rack=east"];
    let (broker, mut wire) = broker(&rack);
    let data = broker.data().display().to_string();
    let advertised = format!("PLAINTEXT://{}", broker.kafka());
    let described = describe(&mut wire, BROKER, "1", None);
    for (name, value) in [
        ("broker.id", "1"),
        ("node.id", "1"),
        ("broker.rack", "east"),
        ("advertised.listeners", advertised.as_str()),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", data.as_str()),
    ] {
        let found = described.iter().find(|one| &*one.name == name);
        let found = found.unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(found.value.as_deref(), Some(value), "{name}");
        assert_eq!((found.read_only, found.config_source), (true, 4), "{name}");
    }
    let of_all = describe(&mut wire, BROKER, "", None);
    assert!(of_all.iter().all(|one| !one.read_only));
}

fn stamped(times_ms: &[i64], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 1 << 16);
    for time_ms in times_ms {
        builder.append(*time_ms, Some(b"key"), None, &[]).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn records_too_far_from_the_leaders_clock_are_refused_where_the_topic_bounds_them() {
    const HOUR_MS: i64 = 3_600_000;
    let (_broker, mut wire) = broker(&[]);
    let now_ms = raftmq::env::Env::real().clock.now_ms();
    let mut bounded = topic("bounded", 1);
    bounded.configs = vec![
        config("message.timestamp.before.max.ms", Some("600000")),
        config("message.timestamp.after.max.ms", Some("600000")),
    ];
    let mut stamping = topic("stamping", 1);
    stamping.configs = vec![config("message.timestamp.type", Some("LogAppendTime"))];
    create(&mut wire, vec![bounded, stamping, topic("t", 1)], false);
    let produce = |wire: &mut Wire, topic: &str, times_ms: &[i64], compression| {
        wire.produce(topic, stamped(times_ms, compression))
            .error_code
    };
    let invalid = i16::from(ErrorCode::InvalidTimestamp);
    let far = [now_ms + 2 * HOUR_MS];
    // The controller has yet to say that the broker's clock is right.
    wait_until(|| produce(&mut wire, "t", &far, Compression::None) == invalid);

    for compression in [Compression::None, Compression::Zstd] {
        for (times_ms, error) in [
            (&[now_ms, now_ms + 1][..], 0),
            (&[now_ms, now_ms - HOUR_MS, now_ms][..], invalid),
            (&[now_ms, now_ms + HOUR_MS, now_ms][..], invalid),
        ] {
            assert_eq!(produce(&mut wire, "bounded", times_ms, compression), error);
        }
    }
    assert_eq!(
        wire.offset("bounded", -1).offset,
        4,
        "nothing of the others was written"
    );

    assert_eq!(produce(&mut wire, "t", &[1_000], Compression::None), 0);
    assert_eq!(produce(&mut wire, "stamping", &far, Compression::None), 0);
}
