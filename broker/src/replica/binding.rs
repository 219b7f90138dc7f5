//! What the host does about the effects of a partition machine: wakes fetches, asks for purges.
//!
//! Does not know whether this replica leads.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use raftmq_core::effect::{Effect, Effects};
use raftmq_core::partition::{self, Partition};
use raftmq_store::GroupId;
use tokio::sync::{Notify, watch};

use crate::raft::Reply;
use crate::raft::machine::{Binding, Hosted};

/// A partition machine as this broker hosts it.
pub type HostedPartition = Hosted<Partition, PartitionBinding>;

/// Groups whose log may be purged, and up to where. The newest request of a group counts.
#[derive(Debug, Clone, Default)]
pub struct Purges {
    inner: Arc<(Mutex<BTreeMap<GroupId, u64>>, Notify)>,
}

impl Purges {
    fn request(&self, group: GroupId, floor: u64) {
        self.inner.0.lock().insert(group, floor);
        self.inner.1.notify_one();
    }

    /// Waits for requests and takes them all. Cancel safe.
    pub async fn next(&self) -> BTreeMap<GroupId, u64> {
        loop {
            let taken = std::mem::take(&mut *self.inner.0.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.inner.1.notified().await;
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct PartitionBinding {
    group: GroupId,
    log_end: watch::Sender<i64>,
    purges: Purges,
    voids: metrics::Counter,
}

impl PartitionBinding {
    /// The binding of one replica.
    #[must_use]
    pub fn new(group: GroupId, purges: Purges) -> Self {
        let voids = metrics::counter!("raftmq_partition_void_entries_total");
        Self {
            group,
            log_end: watch::Sender::new(0),
            purges,
            voids,
        }
    }

    /// Follows the high watermark.
    #[must_use]
    pub fn log_end(&self) -> watch::Receiver<i64> {
        self.log_end.subscribe()
    }
}

impl Binding<Partition> for PartitionBinding {
    fn reply(&self, reply: partition::Reply) -> Reply {
        Reply::Partition(reply)
    }

    fn effects(&self, _machine: &Partition, effects: &mut Effects) -> bool {
        let mut checkpoint = false;
        for effect in effects.drain() {
            match effect {
                Effect::Checkpoint { .. } => checkpoint = true,
                Effect::LogStartAdvanced { floor, .. } => {
                    self.purges.request(self.group, floor.get());
                }
                Effect::Voided { log_index, reason } => {
                    self.voids.increment(1);
                    let raft_group = self.group.0;
                    tracing::warn!(
                        raft_group,
                        log_index = log_index.get(),
                        ?reason,
                        "void entry"
                    );
                }
                Effect::Committed { .. }
                | Effect::ImageChanged
                | Effect::GroupChanged { .. }
                | Effect::GroupRemoved { .. }
                | Effect::BrokerChanged { .. }
                | Effect::Queue(_) => {}
            }
        }
        checkpoint
    }

    fn settled(&self, machine: &Partition, _log_index: u64) {
        let log_end = machine.log_end().get();
        self.log_end
            .send_if_modified(|known| std::mem::replace(known, log_end) != log_end);
    }
}
