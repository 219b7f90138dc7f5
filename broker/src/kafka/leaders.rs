//! Who leads a partition, as clients are told with an error (KIP-951), and the nodes that go with it.

use std::collections::BTreeMap;

use raftmq_core::cluster::{Image, PartitionInfo};
use raftmq_core::ids::PartitionIndex;
use raftmq_kafka_protocol::ErrorCode;

use super::context::{Context, NodeAddress};
use super::wire::{epoch, node_id};

/// A leader and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) id: i32,
    pub(super) epoch: i32,
}

/// The leaders that one response names, and how to reach them.
#[derive(Debug)]
pub(super) struct Hints {
    nodes: BTreeMap<i32, NodeAddress>,
}

impl Hints {
    pub(super) const fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
        }
    }

    /// The leader that goes with an error which says that it is somebody else; `None` with any
    /// other error, and while nobody else is known to lead.
    pub(super) fn leader(
        &mut self,
        context: &Context,
        error: ErrorCode,
        topic: &str,
        partition: i32,
    ) -> Option<Leader> {
        let is_elsewhere = matches!(
            error,
            ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
        );
        if !is_elsewhere {
            return None;
        }
        let image = context.image();
        let index = PartitionIndex(u32::try_from(partition).ok()?);
        let info = image.partition_of(topic, index)?;
        let leader = live_leader(&image, info)?;
        let broker = image.broker(leader.into())?;
        let address = context.address_of(broker)?;
        let id = address.id;
        self.nodes.insert(id, address);
        let epoch = epoch(info.leader_epoch);
        Some(Leader { id, epoch })
    }

    /// Every node that was named.
    pub(super) fn into_nodes(self) -> impl Iterator<Item = NodeAddress> {
        self.nodes.into_values()
    }
}

/// The leader of a partition, if its broker is in service.
pub(super) fn live_leader(image: &Image, info: &PartitionInfo) -> Option<u32> {
    let leader = info.leader.filter(|id| image.is_alive(*id))?;
    (node_id(leader) >= 0).then_some(leader.get())
}
