//! Damage to the simulated disks: which entries it has hit, and whether they are whole again.
//!
//! Knows how the store names damage; does not know when a disk may be damaged.

use std::collections::{BTreeMap, BTreeSet};

use raftmq::node::NodeError;
use raftmq::raft::RaftHost;
use raftmq_store::{EntryCondition, GroupHealth, GroupId, MemoryDisk, StoreError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::nemesis::Rot;
use crate::system::Stop;

/// The newest entries of a group, where damage is to be at the end of its log.
const NEWEST_COUNT: usize = 8;

/// The entries that were damaged and are not known to be whole again, by broker.
#[derive(Debug, Default)]
pub(super) struct RottenEntries(BTreeMap<u32, BTreeSet<(GroupId, u64)>>);

impl RottenEntries {
    /// Flips bits; returns in how many entries.
    pub(super) fn damage(&mut self, broker: u32, disk: &MemoryDisk, rot: Rot) -> u64 {
        let mut groups: BTreeMap<GroupId, Vec<u64>> = BTreeMap::new();
        for (group, index) in disk.entries() {
            groups.entry(group).or_default().push(index);
        }
        let groups: Vec<_> = groups.into_iter().collect();
        let mut rng = StdRng::seed_from_u64(rot.rng_seed);
        let mut damaged_count = 0;
        for _ in 0..rot.entries_count {
            if groups.is_empty() {
                break;
            }
            let (group, indexes) = &groups[rng.random_range(0..groups.len())];
            let first = match rot.is_at_the_end {
                true => indexes.len().saturating_sub(NEWEST_COUNT),
                false => 0,
            };
            let index = indexes[rng.random_range(first..indexes.len())];
            // A second flip would undo the first.
            let is_whole = disk.condition_of_entry(*group, index) == EntryCondition::Whole;
            if is_whole && disk.flip_bit_in_entry(*group, index) {
                tracing::info!(target: "raftmq_chaos::nemesis", broker, raft_group = group.0, index, "rotten");
                self.0.entry(broker).or_default().insert((*group, index));
                damaged_count += 1;
            }
        }
        damaged_count
    }

    /// Whether a running broker has fetched, or has no more use for, all that was damaged, and misses
    /// nothing of any group.
    pub(super) fn are_whole(&mut self, broker: u32, disk: &MemoryDisk, host: &RaftHost) -> bool {
        let is_healthy = || {
            let mut groups = host.groups().into_iter();
            groups.all(|group| group.store().health() == GroupHealth::Ok)
        };
        let Some(damaged) = self.0.get_mut(&broker) else {
            return is_healthy();
        };
        damaged.retain(
            |(group, index)| match disk.condition_of_entry(*group, *index) {
                EntryCondition::Damaged | EntryCondition::Missing => true,
                EntryCondition::Whole | EntryCondition::Purged => false,
            },
        );
        damaged.is_empty() && is_healthy()
    }
}

/// Why a broker stops whose store failed.
pub(super) fn store_stop(error: &StoreError) -> Stop {
    let text = error.to_string();
    match error {
        StoreError::Damaged { .. } | StoreError::DamagedEntry { .. } => Stop::Damage(text),
        StoreError::Io { .. }
        | StoreError::Full { .. }
        | StoreError::InUse { .. }
        | StoreError::NewerFormat { .. }
        | StoreError::NotAStore { .. }
        | StoreError::GroupRemoved { .. }
        | StoreError::NotContiguous { .. }
        | StoreError::TooLarge { .. }
        | StoreError::UnknownVersion { .. }
        | StoreError::Closed => Stop::Other(text),
    }
}

/// Why a broker stops.
pub(super) fn node_stop(error: &NodeError) -> Stop {
    match error {
        NodeError::Store(error) => store_stop(error),
        NodeError::Listen { .. }
        | NodeError::ForeignBroker { .. }
        | NodeError::ForeignCluster { .. }
        | NodeError::WipedBroker { .. }
        | NodeError::JoinRefused { .. }
        | NodeError::Config(_)
        | NodeError::Internal(_) => Stop::Other(error.to_string()),
    }
}
