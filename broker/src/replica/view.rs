//! What a replica is told about its partition by the metadata image.

use raftmq_core::ids::BrokerId;
use raftmq_core::partition::compaction::CompactionSettings;

use super::error::ReplicaError;
use crate::hosting::GroupView;

/// One partition as the metadata image shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionView {
    /// Topic name.
    pub topic: String,
    /// Partition of the topic.
    pub partition: u32,
    /// Who holds and leads it.
    pub group: GroupView,
    /// Settings in force.
    pub settings: PartitionSettings,
}

impl PartitionView {
    /// Why the leader `me` takes no records, if disks are too full for that.
    pub(super) fn full_for(&self, me: BrokerId) -> Option<ReplicaError> {
        let brokers = self.group.full_for(me)?;
        Some(ReplicaError::StorageFull {
            topic: self.topic.clone(),
            partition: self.partition,
            brokers,
        })
    }
}

/// The topic's settings that a replica acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionSettings {
    /// `max.message.bytes`: the largest record batch.
    pub message_bytes_max: usize,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub lag_time_max_ms: u64,
    /// `segment.bytes`: payload between checkpoints.
    pub segment_bytes: u64,
    /// `segment.ms`: age of an open segment at which it is closed.
    pub segment_ms: i64,
    /// `producer.id.expiration.ms`: silence after which a producer is forgotten.
    pub producer_expiration_ms: i64,
    /// `message.timestamp.before.max.ms`: furthest that a producer's time may lie in the past.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: furthest that it may lie in the future.
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.type=LogAppendTime`.
    pub is_log_append_time: bool,
    /// `retention.ms`; -1 = for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 = no limit.
    pub retention_bytes: i64,
    /// `cleanup.policy` with `compact`.
    pub compaction: Option<CompactionPolicy>,
}

/// How a topic is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionPolicy {
    /// When, and what goes.
    pub settings: CompactionSettings,
    /// Retention counts, too: `cleanup.policy=compact,delete`.
    pub also_deletes: bool,
}
