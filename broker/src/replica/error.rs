//! Why a partition could not do what was asked. Front ends turn these into protocol codes.

use raftmq_core::partition::AppendError;
use raftmq_records::BatchError;
use thiserror::Error;

/// See the module. The variants carry what a client needs to go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplicaError {
    /// No topic of that name.
    #[error("topic {0} does not exist")]
    UnknownTopic(String),
    /// The topic has no such partition.
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// Another broker leads the partition, or nobody does yet.
    #[error("broker {this_broker} does not lead {topic}-{partition}")]
    NotLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// Who was asked.
        this_broker: u32,
        /// Who leads, if known.
        leader: Option<u32>,
    },
    /// The batch is not one valid record batch.
    #[error("record batch for {topic}-{partition} is invalid: {error}")]
    InvalidBatch {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What is wrong.
        error: BatchError,
    },
    /// The batch has bits that are the broker's to set (KIP-98).
    #[error("control and transactional batches for {topic}-{partition} are not taken")]
    ReservedBatch {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// A record of a batch has no key, and the topic is compacted; nothing was written.
    #[error(
        "record {record} of the batch for {topic}-{partition} has no key: the topic is compacted"
    )]
    KeyMissing {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// Its number in the batch.
        record: usize,
    },
    /// The batch is larger than `max.message.bytes`.
    #[error("record batch of {bytes} bytes is larger than max.message.bytes = {bytes_max}")]
    TooLarge {
        /// What came.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// The producer's sequence or epoch does not fit.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Too few in-sync replicas; nothing was written.
    #[error("{in_sync} in-sync replicas are fewer than the {required} required")]
    NotEnoughReplicas {
        /// How many there are.
        in_sync: usize,
        /// How many there must be.
        required: usize,
    },
    /// The in-sync replicas became too few after the write.
    #[error("{in_sync} in-sync replicas are fewer than the {required} required, after the append")]
    NotEnoughReplicasAfterAppend {
        /// How many there are.
        in_sync: usize,
        /// How many there must be.
        required: usize,
    },
    /// The disk here, or those of a majority of the replicas, have no room; nothing was written.
    #[error(
        "no room for records of {topic}-{partition}: the disks of brokers {brokers:?} are full"
    )]
    StorageFull {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// Whose disks.
        brokers: Vec<u32>,
    },
    /// The offset is not in the log.
    #[error("offset {offset} is outside {log_start}..={log_end}")]
    OffsetOutOfRange {
        /// What came.
        offset: i64,
        /// The first readable offset.
        log_start: i64,
        /// The high watermark.
        log_end: i64,
    },
    /// The client's leader epoch is older than the leader's.
    #[error("leader epoch {requested} is older than {current}")]
    FencedLeaderEpoch {
        /// What came.
        requested: i64,
        /// The leader's.
        current: i64,
    },
    /// The client's leader epoch is newer than the leader's.
    #[error("leader epoch {requested} is newer than {current}")]
    UnknownLeaderEpoch {
        /// What came.
        requested: i64,
        /// The leader's.
        current: i64,
    },
    /// A record's time lies further from the leader's clock than the topic allows; nothing was
    /// written.
    #[error(
        "timestamp {timestamp_ms} is outside {oldest_ms}..={newest_ms}, which the topic allows"
    )]
    TimestampOutOfBounds {
        /// What came, ms.
        timestamp_ms: i64,
        /// The oldest that is taken now, ms.
        oldest_ms: i64,
        /// The newest that is taken now, ms.
        newest_ms: i64,
    },
    /// A record's timestamp is not one.
    #[error("timestamp {0} is invalid")]
    InvalidTimestamp(i64),
    /// The entry took no effect; trying again is safe.
    #[error("the append was void: the leader changed in between")]
    Void,
    /// What the partition's leader answered to a request that was passed on to it.
    #[error("{0}")]
    Forwarded(String),
    /// Too many bytes of produce requests wait.
    #[error("too many bytes of produce requests wait in this broker")]
    Throttled,
    /// No outcome in time; the write may still succeed.
    #[error("no outcome in time")]
    TimedOut,
    /// The log could not be read; the broker is stopping.
    #[error("storage: {0}")]
    Storage(String),
}
