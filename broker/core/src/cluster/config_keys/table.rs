//! Every config key that can be set at run time: name, scope, type, default, range and meaning.
//!
//! Kafka's names where Kafka has the thing. Every key of Kafka's topics is here: tools set them, and
//! give up where one is refused. Those that change nothing say so. Does not know how values are
//! checked.

use super::{ConfigKey, ConfigScope, ConfigType};

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
        default_only: None,
        default,
        documentation,
    }
}

/// A key of topics of which only the default is taken, because of `reason`.
const fn fixed_key(
    name: &'static str,
    config_type: ConfigType,
    reason: &'static str,
    default: &'static str,
    documentation: &'static str,
) -> ConfigKey {
    let key = topic_key(name, config_type, default, documentation);
    ConfigKey {
        default_only: Some(reason),
        ..key
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
        default_only: None,
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

/// Level of gzip.
pub const COMPRESSION_GZIP_LEVEL: &str = "compression.gzip.level";
/// Level of lz4.
pub const COMPRESSION_LZ4_LEVEL: &str = "compression.lz4.level";
/// Level of zstd.
pub const COMPRESSION_ZSTD_LEVEL: &str = "compression.zstd.level";
/// Time that the file of a deleted segment stays, ms.
pub const FILE_DELETE_DELAY_MS: &str = "file.delete.delay.ms";
/// Records between two flushes.
pub const FLUSH_MESSAGES: &str = "flush.messages";
/// Time between two flushes, ms.
pub const FLUSH_MS: &str = "flush.ms";
/// Followers that are slowed.
pub const FOLLOWER_REPLICATION_THROTTLED_REPLICAS: &str = "follower.replication.throttled.replicas";
/// Payload between two entries of the index of offsets, bytes.
pub const INDEX_INTERVAL_BYTES: &str = "index.interval.bytes";
/// Leaders that are slowed.
pub const LEADER_REPLICATION_THROTTLED_REPLICAS: &str = "leader.replication.throttled.replicas";
/// Size that stays out of tiered storage, bytes.
pub const LOCAL_RETENTION_BYTES: &str = "local.retention.bytes";
/// Age at which records are in tiered storage only, ms.
pub const LOCAL_RETENTION_MS: &str = "local.retention.ms";
/// Age at which a record must be compacted, ms.
pub const MAX_COMPACTION_LAG_MS: &str = "max.compaction.lag.ms";
/// How far ahead of the leader a timestamp may be, ms.
pub const MESSAGE_TIMESTAMP_AFTER_MAX_MS: &str = "message.timestamp.after.max.ms";
/// How far behind the leader a timestamp may be, ms.
pub const MESSAGE_TIMESTAMP_BEFORE_MAX_MS: &str = "message.timestamp.before.max.ms";
/// Whether the files of segments are made in full size.
pub const PREALLOCATE: &str = "preallocate";
/// Whether nothing more goes to tiered storage.
pub const REMOTE_LOG_COPY_DISABLE: &str = "remote.log.copy.disable";
/// Whether records go when tiered storage ends.
pub const REMOTE_LOG_DELETE_ON_DISABLE: &str = "remote.log.delete.on.disable";
/// Whether a topic has tiered storage.
pub const REMOTE_STORAGE_ENABLE: &str = "remote.storage.enable";
/// Size of the file of an index, bytes.
pub const SEGMENT_INDEX_BYTES: &str = "segment.index.bytes";
/// Most that is taken from the age of a segment, ms.
pub const SEGMENT_JITTER_MS: &str = "segment.jitter.ms";
/// Whether a replica that lacks records may be elected.
pub const UNCLEAN_LEADER_ELECTION_ENABLE: &str = "unclean.leader.election.enable";

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
        COMPRESSION_GZIP_LEVEL,
        integer(-1, 9),
        "-1",
        "Kafka's level of gzip, -1 or 1 to 9. Kept and shown; changes nothing here: records stay as their producer compressed them.",
    ),
    topic_key(
        COMPRESSION_LZ4_LEVEL,
        integer(1, 17),
        "9",
        "Kafka's level of lz4. Kept and shown; changes nothing here: records stay as their producer compressed them.",
    ),
    fixed_key(
        COMPRESSION_TYPE,
        ConfigType::Word(&["producer"]),
        "records stay as their producer compressed them",
        "producer",
        "How records are compressed: as their producer did, always. Tools set and compare this key.",
    ),
    topic_key(
        COMPRESSION_ZSTD_LEVEL,
        integer(-131_072, 22),
        "3",
        "Kafka's level of zstd. Kept and shown; changes nothing here: records stay as their producer compressed them.",
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
    topic_key(
        FILE_DELETE_DELAY_MS,
        integer(0, i64::MAX),
        "60000",
        "Time that Kafka keeps the file of a deleted segment, in milliseconds. Kept and shown; changes nothing here: no segment has a file of its own.",
    ),
    topic_key(
        FLUSH_MESSAGES,
        integer(1, i64::MAX),
        "9223372036854775807",
        "Records after which Kafka flushes. Kept and shown; changes nothing here: what is acknowledged is flushed (durability).",
    ),
    topic_key(
        FLUSH_MS,
        integer(0, i64::MAX),
        "9223372036854775807",
        "Time after which Kafka flushes, in milliseconds. Kept and shown; changes nothing here: what is acknowledged is flushed (durability).",
    ),
    topic_key(
        FOLLOWER_REPLICATION_THROTTLED_REPLICAS,
        ConfigType::Replicas,
        "",
        "Followers that Kafka slows, as partition:broker, or * for all. Kept and shown; changes nothing here: leader.replication.throttled.rate counts for every replica that is being added.",
    ),
    topic_key(
        INDEX_INTERVAL_BYTES,
        integer(0, INT_MAX),
        "4096",
        "Payload between two entries of Kafka's index of offsets, in bytes. Kept and shown; changes nothing here: the distance is fixed.",
    ),
    cluster_key(
        LEADER_REPLICATION_THROTTLED_RATE,
        integer(1024, i64::MAX),
        "9223372036854775807",
        "Bytes per second that each broker sends to replicas which are being added; replicas that vote are never slowed. The default is no limit.",
    ),
    topic_key(
        LEADER_REPLICATION_THROTTLED_REPLICAS,
        ConfigType::Replicas,
        "",
        "Leaders that Kafka slows, as partition:broker, or * for all. Kept and shown; changes nothing here: leader.replication.throttled.rate counts for every replica that is being added.",
    ),
    fixed_key(
        LOCAL_RETENTION_BYTES,
        integer(-2, i64::MAX),
        "there is no tiered storage: retention.bytes counts",
        "-2",
        "Size that Kafka keeps out of tiered storage, in bytes. There is none here: only -2 is taken, which means retention.bytes.",
    ),
    fixed_key(
        LOCAL_RETENTION_MS,
        integer(-2, i64::MAX),
        "there is no tiered storage: retention.ms counts",
        "-2",
        "Time that Kafka keeps records out of tiered storage, in milliseconds. There is none here: only -2 is taken, which means retention.ms.",
    ),
    fixed_key(
        MAX_COMPACTION_LAG_MS,
        integer(1, i64::MAX),
        "not served yet; with min.cleanable.dirty.ratio = 0 every pass cleans everything",
        "9223372036854775807",
        "Age at which Kafka compacts a record whatever the dirty ratio says, in milliseconds. Not served yet: only the default, which means never, is taken.",
    ),
    topic_key(
        MAX_MESSAGE_BYTES,
        integer(1024, 32 * MIB),
        "1048588",
        "Largest record batch that is accepted, after compression, in bytes.",
    ),
    topic_key(
        MESSAGE_TIMESTAMP_AFTER_MAX_MS,
        integer(0, i64::MAX),
        "3600000",
        "Longest time that a producer's timestamp may be ahead of the leader's clock, in milliseconds; 2^63 - 1 means any.",
    ),
    topic_key(
        MESSAGE_TIMESTAMP_BEFORE_MAX_MS,
        integer(0, i64::MAX),
        "9223372036854775807",
        "Longest time that a producer's timestamp may be behind the leader's clock, in milliseconds; 2^63 - 1 means any.",
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
    topic_key(
        PREALLOCATE,
        ConfigType::Boolean,
        "false",
        "Whether Kafka makes the files of segments in full size. Kept and shown; changes nothing here: all topics share the files of one journal.",
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
    fixed_key(
        REMOTE_LOG_COPY_DISABLE,
        ConfigType::Boolean,
        "there is no tiered storage",
        "false",
        "Whether Kafka copies nothing more to tiered storage. There is none here: only false is taken.",
    ),
    fixed_key(
        REMOTE_LOG_DELETE_ON_DISABLE,
        ConfigType::Boolean,
        "there is no tiered storage",
        "false",
        "Whether Kafka deletes what is in tiered storage when that is disabled. There is none here: only false is taken.",
    ),
    fixed_key(
        REMOTE_STORAGE_ENABLE,
        ConfigType::Boolean,
        "there is no tiered storage",
        "false",
        "Whether a topic of Kafka's has tiered storage. There is none here: only false is taken.",
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
        SEGMENT_INDEX_BYTES,
        integer(4, INT_MAX),
        "10485760",
        "Size of the files of Kafka's indexes, in bytes. Kept and shown; changes nothing here: there are no such files.",
    ),
    topic_key(
        SEGMENT_JITTER_MS,
        integer(0, i64::MAX),
        "0",
        "Most that Kafka takes from segment.ms by chance, in milliseconds. Kept and shown; changes nothing here: the end of a segment writes no file.",
    ),
    topic_key(
        SEGMENT_MS,
        integer(1, i64::MAX),
        "604800000",
        "Age of the oldest record since the last checkpoint at which another one is kept, in milliseconds.",
    ),
    fixed_key(
        UNCLEAN_LEADER_ELECTION_ENABLE,
        ConfigType::Boolean,
        "a replica that lacks committed records is never elected; `raftmq partition recover` accepts a loss",
        "false",
        "Whether Kafka elects replicas that lack committed records. Never here: only false is taken.",
    ),
];
