//! What a replica is told about its partition by the metadata image, and what it reports back.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use raftmq_core::ids::BrokerId;
use raftmq_core::partition::compaction::CompactionSettings;
use raftmq_core::space::{SpaceOfBrokers, may_take_records};
use raftmq_store::GroupId;
use tokio::sync::Notify;

use super::error::ReplicaError;

/// One partition as the metadata image shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionView {
    /// Topic name.
    pub topic: String,
    /// Partition of the topic.
    pub partition: u32,
    /// Replicas, the preferred leader first.
    pub replicas: Vec<u32>,
    /// In-sync replicas as last reported.
    pub isr: Vec<u32>,
    /// Replicas whose broker is fenced.
    pub fenced: Vec<u32>,
    /// Replicas whose broker has little room on its disk.
    pub spaces: SpaceOfBrokers,
    /// Who leads, as the metadata group knows.
    pub leader: Option<u32>,
    /// Settings in force.
    pub settings: PartitionSettings,
}

impl PartitionView {
    /// Why the leader `me` takes no records, if disks are too full for that.
    pub(super) fn full_for(&self, me: BrokerId) -> Option<ReplicaError> {
        let replicas: Vec<_> = self.replicas.iter().copied().map(BrokerId).collect();
        let refuses = !may_take_records(me, &replicas, &self.spaces);
        refuses.then(|| ReplicaError::StorageFull {
            topic: self.topic.clone(),
            partition: self.partition,
            brokers: self.spaces.keys().map(|id| id.get()).collect(),
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

/// What the metadata group should know of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// This broker leads it, and may propose, in this term.
    pub leading_term: Option<u64>,
    /// New in-sync replicas, and the term of the leader that says so.
    pub isr: Option<(u64, Vec<u32>)>,
}

/// Reports that wait to be sent; the newest of a partition counts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Reports {
    inner: Arc<(Mutex<BTreeMap<GroupId, Report>>, Notify)>,
}

impl Reports {
    /// This broker leads `group` since `term`.
    pub fn leading(&self, group: GroupId, term: u64) {
        self.inner.0.lock().entry(group).or_default().leading_term = Some(term);
        self.inner.1.notify_one();
    }

    /// The in-sync replicas of `group` are now these.
    pub fn in_sync(&self, group: GroupId, term: u64, isr: Vec<u32>) {
        self.inner.0.lock().entry(group).or_default().isr = Some((term, isr));
        self.inner.1.notify_one();
    }

    /// Puts back what could not be sent, unless there is newer news.
    pub fn put_back(&self, reports: BTreeMap<GroupId, Report>) {
        let mut waiting = self.inner.0.lock();
        for (group, report) in reports {
            let newer = waiting.entry(group).or_default();
            newer.leading_term = newer.leading_term.or(report.leading_term);
            newer.isr = newer.isr.take().or(report.isr);
        }
        self.inner.1.notify_one();
    }

    /// Waits for reports and takes them all. Cancel safe.
    pub async fn next(&self) -> BTreeMap<GroupId, Report> {
        loop {
            let taken = std::mem::take(&mut *self.inner.0.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.inner.1.notified().await;
        }
    }
}
