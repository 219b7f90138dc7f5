//! Every config key that can be set at run time: name, scope, type, default, range and meaning.
//!
//! Kafka's names where Kafka has the thing. Pure checks; does not know who set a value
//! (`Image::effective_config` does). The keys of the configuration *file* are the broker's.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    /// A whole number within inclusive bounds.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// `true` or `false`.
    Boolean,
    /// A decimal number from 0 to 1, with at most six decimals.
    Ratio,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// Where a key may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigScope {
    /// On a topic, and on the cluster as the default for its topics.
    Topic,
    /// On the cluster only.
    Cluster,
}

/// One config key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigKey {
    /// Its name.
    pub name: &'static str,
    /// Where it may be set.
    pub scope: ConfigScope,
    /// What its values look like.
    pub config_type: ConfigType,
    /// The value when nobody set one.
    pub default: &'static str,
    /// What it does, in a sentence.
    pub documentation: &'static str,
}

/// Where an effective value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on the cluster.
    Cluster,
    /// Nobody set it.
    Default,
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Cluster => "cluster",
            Self::Default => "default",
        })
    }
}

/// A value with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveConfig {
    /// The key.
    pub key: &'static ConfigKey,
    /// Its value.
    pub value: String,
    /// Who set it.
    pub source: ConfigSource,
}

/// A key or value that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ConfigError {
    /// No such key.
    #[error("config key {key:?} does not exist")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// The key is the cluster's, not a topic's.
    #[error("config key {key:?} cannot be set on a topic")]
    NotATopicKey {
        /// The key.
        key: String,
    },
    /// The value does not fit.
    #[error("config {key}: {expected} expected, {actual:?} came")]
    InvalidValue {
        /// The key.
        key: String,
        /// What would fit.
        expected: String,
        /// What came.
        actual: String,
    },
    /// Kafka has this value; RaftMQ does not have it yet. No key has such a value now.
    #[error("config {key}: {value:?} is not supported yet")]
    UnsupportedValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A key is both set and unset.
    #[error("config key {key:?} is both set and unset")]
    SetAndUnset {
        /// The key.
        key: String,
    },
    /// Too many keys.
    #[error("{actual} config keys, at most {max} are allowed")]
    TooMany {
        /// How many came.
        actual: usize,
        /// How many may come.
        max: usize,
    },
}

const fn topic_key(
    name: &'static str,
    config_type: ConfigType,
    default: &'static str,
    documentation: &'static str,
) -> ConfigKey {
    ConfigKey {
        name,
        scope: ConfigScope::Topic,
        config_type,
        default,
        documentation,
    }
}

const fn cluster_key(
    name: &'static str,
    config_type: ConfigType,
    default: &'static str,
    documentation: &'static str,
) -> ConfigKey {
    ConfigKey {
        name,
        scope: ConfigScope::Cluster,
        config_type,
        default,
        documentation,
    }
}

const fn integer(min: i64, max: i64) -> ConfigType {
    ConfigType::Integer { min, max }
}

/// Largest value of a count or a size that Kafka keeps in an `int`.
const INT_MAX: i64 = i32::MAX as i64;
const MIB: i64 = 1024 * 1024;

/// Longest time that a replica may lag, ms: `replica.lag.time.max.ms`.
pub const REPLICA_LAG_TIME_MAX_MS: &str = "replica.lag.time.max.ms";
/// Time between heartbeats, ms.
pub const BROKER_HEARTBEAT_INTERVAL_MS: &str = "broker.heartbeat.interval.ms";
/// Silence after which a broker is fenced, ms.
pub const BROKER_SESSION_TIMEOUT_MS: &str = "broker.session.timeout.ms";
/// Replicas of a new topic.
pub const DEFAULT_REPLICATION_FACTOR: &str = "default.replication.factor";
/// Partitions of a new topic.
pub const NUM_PARTITIONS: &str = "num.partitions";
/// Fewest replicas in sync for `acks=-1`.
pub const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
/// Age at which records go, ms.
pub const RETENTION_MS: &str = "retention.ms";
/// Size beyond which records go, bytes.
pub const RETENTION_BYTES: &str = "retention.bytes";
/// Payload between two checkpoints, bytes.
pub const SEGMENT_BYTES: &str = "segment.bytes";
/// Age of an open segment at which it is closed, ms.
pub const SEGMENT_MS: &str = "segment.ms";
/// Largest record batch, bytes.
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
/// Whose clock stamps records.
pub const MESSAGE_TIMESTAMP_TYPE: &str = "message.timestamp.type";
/// How old records go.
pub const CLEANUP_POLICY: &str = "cleanup.policy";
/// Who chooses how records are compressed.
pub const COMPRESSION_TYPE: &str = "compression.type";
/// How long a tombstone stays after a cleaning pass first saw it, ms.
pub const DELETE_RETENTION_MS: &str = "delete.retention.ms";
/// Share of a log that was never cleaned at which it is.
pub const MIN_CLEANABLE_DIRTY_RATIO: &str = "min.cleanable.dirty.ratio";
/// Age below which a record is not compacted, ms.
pub const MIN_COMPACTION_LAG_MS: &str = "min.compaction.lag.ms";
/// When an acknowledged record is on disk.
pub const DURABILITY: &str = "durability";
/// Silence after which a producer is forgotten, ms.
pub const PRODUCER_ID_EXPIRATION_MS: &str = "producer.id.expiration.ms";
/// Whether a produce to an unknown topic makes it.
pub const AUTO_CREATE_TOPICS_ENABLE: &str = "auto.create.topics.enable";

/// Wanted voters of the metadata group.
pub const CONTROLLER_QUORUM_VOTERS_COUNT: &str = "controller.quorum.voters.count";
/// Time after which a dead voter of the metadata group is replaced, ms.
pub const CONTROLLER_QUORUM_VOTER_REPLACE_AFTER_MS: &str =
    "controller.quorum.voter.replace.after.ms";
/// Whether leaderships go home to their preferred replicas.
pub const AUTO_LEADER_REBALANCE_ENABLE: &str = "auto.leader.rebalance.enable";
/// Longest time that a stopping broker waits for its leaderships to move, ms.
pub const CONTROLLED_SHUTDOWN_TIMEOUT_MS: &str = "controlled.shutdown.timeout.ms";
/// Whether the controller evens replicas and preferred leaders by itself.
pub const REBALANCE_ENABLE: &str = "rebalance.enable";
/// Time between two looks of the controller at the balance, ms.
pub const REBALANCE_INTERVAL_MS: &str = "rebalance.interval.ms";

/// What each broker sends to replicas that are catching up, bytes per second.
pub const LEADER_REPLICATION_THROTTLED_RATE: &str = "leader.replication.throttled.rate";

/// Every key, in ascending order of names.
pub static CONFIG_KEYS: &[ConfigKey] = &[
    cluster_key(
        AUTO_CREATE_TOPICS_ENABLE,
        ConfigType::Boolean,
        "true",
        "Makes an unknown topic when a client first produces to it or asks for its metadata.",
    ),
    cluster_key(
        AUTO_LEADER_REBALANCE_ENABLE,
        ConfigType::Boolean,
        "true",
        "Moves leaderships back to their preferred replicas as soon as those are in sync again.",
    ),
    cluster_key(
        BROKER_HEARTBEAT_INTERVAL_MS,
        integer(10, 60_000),
        "100",
        "Time between a broker's heartbeats to the controller, in milliseconds.",
    ),
    cluster_key(
        BROKER_SESSION_TIMEOUT_MS,
        integer(100, 600_000),
        "1000",
        "Silence after which a broker is fenced and its partitions move, in milliseconds.",
    ),
    topic_key(
        CLEANUP_POLICY,
        ConfigType::Word(&["delete", "compact", "compact,delete", "delete,compact"]),
        "delete",
        "What becomes of old records: delete drops them by age and size, compact keeps the last one of each key.",
    ),
    topic_key(
        COMPRESSION_TYPE,
        ConfigType::Word(&["producer"]),
        "producer",
        "How records are compressed: as their producer did, always. Tools set and compare this key.",
    ),
    cluster_key(
        CONTROLLED_SHUTDOWN_TIMEOUT_MS,
        integer(0, 600_000),
        "5000",
        "Longest time that a stopping broker waits for its leaderships to move, in milliseconds.",
    ),
    cluster_key(
        CONTROLLER_QUORUM_VOTER_REPLACE_AFTER_MS,
        integer(0, 604_800_000),
        "600000",
        "Time that a voter of the metadata group may be out of service before another broker takes its place, in milliseconds; 0 means for ever.",
    ),
    cluster_key(
        CONTROLLER_QUORUM_VOTERS_COUNT,
        ConfigType::Word(&["1", "3", "5"]),
        "3",
        "Voters that the metadata group grows to by itself as brokers join.",
    ),
    cluster_key(
        DEFAULT_REPLICATION_FACTOR,
        integer(-1, 9),
        "-1",
        "Replicas of a topic that says nothing; -1 means three, or as many as there are brokers.",
    ),
    topic_key(
        DELETE_RETENTION_MS,
        integer(0, i64::MAX),
        "86400000",
        "Time that a tombstone of a compacted topic stays after it was first cleaned, in milliseconds.",
    ),
    topic_key(
        DURABILITY,
        ConfigType::Word(&["flush", "os"]),
        "flush",
        "When a record counts as stored: flush waits for the disk, os for the operating system.",
    ),
    cluster_key(
        LEADER_REPLICATION_THROTTLED_RATE,
        integer(1024, i64::MAX),
        "9223372036854775807",
        "Bytes per second that each broker sends to replicas which are being added; replicas that vote are never slowed. The default is no limit.",
    ),
    topic_key(
        MAX_MESSAGE_BYTES,
        integer(1024, 32 * MIB),
        "1048588",
        "Largest record batch that is accepted, after compression, in bytes.",
    ),
    topic_key(
        MESSAGE_TIMESTAMP_TYPE,
        ConfigType::Word(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "Whose clock stamps records: the producer's, or the leader's when it appends.",
    ),
    topic_key(
        MIN_CLEANABLE_DIRTY_RATIO,
        ConfigType::Ratio,
        "0.5",
        "Share of a compacted partition's bytes that were never cleaned at which it is cleaned.",
    ),
    topic_key(
        MIN_COMPACTION_LAG_MS,
        integer(0, i64::MAX),
        "0",
        "Age below which a record is not compacted, in milliseconds.",
    ),
    topic_key(
        MIN_INSYNC_REPLICAS,
        integer(1, 9),
        "1",
        "Fewest replicas in sync for acks=-1; a majority of the replicas is always required.",
    ),
    cluster_key(
        NUM_PARTITIONS,
        integer(1, 10_000),
        "1",
        "Partitions of a topic that says nothing.",
    ),
    cluster_key(
        PRODUCER_ID_EXPIRATION_MS,
        integer(1_000, i64::MAX),
        "86400000",
        "Silence after which a partition forgets an idempotent producer, in milliseconds.",
    ),
    cluster_key(
        REBALANCE_ENABLE,
        ConfigType::Boolean,
        "false",
        "Whether replicas and preferred leaders are evened by itself, a few at a time.",
    ),
    cluster_key(
        REBALANCE_INTERVAL_MS,
        integer(1_000, 86_400_000),
        "30000",
        "Time between two looks at the balance, where it is evened by itself, in milliseconds.",
    ),
    cluster_key(
        REPLICA_LAG_TIME_MAX_MS,
        integer(100, INT_MAX),
        "30000",
        "Time that a replica may lag behind and still count as in sync, in milliseconds.",
    ),
    topic_key(
        RETENTION_BYTES,
        integer(-1, i64::MAX),
        "-1",
        "Size of a partition beyond which its oldest records go, in bytes; -1 means never.",
    ),
    topic_key(
        RETENTION_MS,
        integer(-1, i64::MAX),
        "604800000",
        "Age at which records go, in milliseconds; -1 means never.",
    ),
    topic_key(
        SEGMENT_BYTES,
        integer(16 * 1024, INT_MAX),
        "67108864",
        "Payload after which a partition keeps a checkpoint and can free what is older, in bytes.",
    ),
    topic_key(
        SEGMENT_MS,
        integer(1, i64::MAX),
        "604800000",
        "Age of the oldest record since the last checkpoint at which another one is kept, in milliseconds.",
    ),
];

/// Finds a key by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static ConfigKey> {
    CONFIG_KEYS.iter().find(|key| key.name == name)
}

/// Checks a key and its value for a scope.
///
/// # Errors
/// `UnknownKey`, `NotATopicKey`, `InvalidValue`, `UnsupportedValue`.
pub fn check(scope: ConfigScope, name: &str, value: &str) -> Result<(), ConfigError> {
    let Some(key) = find(name) else {
        return Err(ConfigError::UnknownKey {
            key: name.to_owned(),
        });
    };
    if scope == ConfigScope::Topic && key.scope == ConfigScope::Cluster {
        return Err(ConfigError::NotATopicKey {
            key: name.to_owned(),
        });
    }
    check_value(key, value)
}

fn check_value(key: &ConfigKey, value: &str) -> Result<(), ConfigError> {
    let (is_valid, expected) = match key.config_type {
        ConfigType::Integer { min, max } => {
            let is_valid = value
                .parse::<i64>()
                .is_ok_and(|number| (min..=max).contains(&number));
            // 0 replicas make no sense, although the range of the default is -1 to 9.
            let is_valid = is_valid && !(key.name == DEFAULT_REPLICATION_FACTOR && value == "0");
            (is_valid, format!("a whole number from {min} to {max}"))
        }
        ConfigType::Boolean => (
            matches!(value, "true" | "false"),
            "true or false".to_owned(),
        ),
        ConfigType::Ratio => (
            ratio_ppm(value).is_some(),
            "a number from 0 to 1 with at most six decimals".to_owned(),
        ),
        ConfigType::Word(words) => (words.contains(&value), format!("one of {words:?}")),
    };
    if is_valid {
        return Ok(());
    }
    let actual = value.chars().take(64).collect();
    Err(ConfigError::InvalidValue {
        key: key.name.to_owned(),
        expected,
        actual,
    })
}

/// Reads a value of [`ConfigType::Ratio`], in millionths.
#[must_use]
pub fn ratio_ppm(value: &str) -> Option<u32> {
    const DECIMALS: usize = 6;
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    let is_sound = matches!(whole, "0" | "1")
        && (1..=DECIMALS).contains(&decimals.len())
        && is_number(decimals);
    let ppm = format!("{whole}{decimals:0<DECIMALS$}").parse().ok()?;
    (is_sound && ppm <= 1_000_000).then_some(ppm)
}
