//! What a plan works on: who would hold what if the changes so far were carried out.
//!
//! Keeps counts and sums beside the lists. Does not decide what is worth a change.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bounds, Change, Loads, PartitionLoad};
use crate::cluster::image::Image;
use crate::cluster::placement::{racks_count, shares_rack};
use crate::ids::{BrokerId, GroupNumber, TopicId};

/// What a broker would carry.
#[derive(Debug, Clone, Default)]
pub(super) struct Carried {
    /// Groups of its replicas.
    pub(super) groups: BTreeSet<GroupNumber>,
    /// Replicas of each topic.
    pub(super) topics: BTreeMap<TopicId, usize>,
    /// Bytes per second written to its replicas.
    pub(super) bytes: u64,
    /// Groups in which it is the preferred leader.
    pub(super) leads: BTreeSet<GroupNumber>,
    /// Bytes per second written to those.
    pub(super) leads_bytes: u64,
}

/// See the module.
pub(super) struct Model<'a> {
    pub(super) image: &'a Image,
    loads: &'a Loads,
    pub(super) bounds: Bounds,
    /// Brokers that may get something.
    pub(super) open: BTreeSet<BrokerId>,
    /// Replicas of each partition as they would be.
    replicas: BTreeMap<GroupNumber, Vec<BrokerId>>,
    /// Partitions that are left alone.
    fixed: BTreeSet<GroupNumber>,
    carried: BTreeMap<BrokerId, Carried>,
    moved: BTreeMap<GroupNumber, usize>,
}

impl<'a> Model<'a> {
    pub(super) fn new(
        image: &'a Image,
        loads: &'a Loads,
        bounds: Bounds,
        open: BTreeSet<BrokerId>,
    ) -> Self {
        let carried = open.iter().map(|id| (*id, Carried::default())).collect();
        let mut model = Self {
            image,
            loads,
            bounds,
            open,
            replicas: BTreeMap::new(),
            fixed: BTreeSet::new(),
            carried,
            moved: BTreeMap::new(),
        };
        for partition in image.partitions.values() {
            let group = partition.group;
            if partition.is_moving() {
                model.fixed.insert(group);
            }
            let replicas = partition.future_replicas().to_vec();
            model.count(group, &replicas);
            model.replicas.insert(group, replicas);
        }
        model
    }

    /// Partitions that are being moved may be sent elsewhere.
    pub(super) fn include_moving(&mut self) {
        self.fixed.clear();
    }

    pub(super) fn load(&self, group: GroupNumber) -> PartitionLoad {
        self.loads.get(&group).copied().unwrap_or_default()
    }

    pub(super) fn replicas(&self, group: GroupNumber) -> &[BrokerId] {
        self.replicas.get(&group).map_or(&[], Vec::as_slice)
    }

    pub(super) fn groups(&self) -> Vec<GroupNumber> {
        let is_free = |group: &&GroupNumber| !self.fixed.contains(group);
        self.replicas.keys().filter(is_free).copied().collect()
    }

    pub(super) fn is_free(&self, group: GroupNumber) -> bool {
        !self.fixed.contains(&group)
    }

    pub(super) fn carried(&self, broker: BrokerId) -> Option<&Carried> {
        self.carried.get(&broker)
    }

    /// Free groups of which a broker would hold a replica.
    pub(super) fn free_groups_on(&self, broker: BrokerId) -> impl Iterator<Item = GroupNumber> {
        let groups = self.carried.get(&broker).map(|carried| &carried.groups);
        groups
            .into_iter()
            .flatten()
            .copied()
            .filter(|group| self.is_free(*group))
    }

    /// Free groups in which a broker would be the preferred leader.
    pub(super) fn free_groups_led_by(&self, broker: BrokerId) -> impl Iterator<Item = GroupNumber> {
        let groups = self.carried.get(&broker).map(|carried| &carried.leads);
        groups
            .into_iter()
            .flatten()
            .copied()
            .filter(|group| self.is_free(*group))
    }

    /// Open brokers with a figure of each, the largest last; ties in order of ids.
    pub(super) fn ranked(&self, figure: impl Fn(&Carried) -> u64) -> Vec<(u64, BrokerId)> {
        let of = |id: &BrokerId| self.carried.get(id).map_or(0, &figure);
        let mut ranked: Vec<_> = self.open.iter().map(|id| (of(id), *id)).collect();
        ranked.sort_unstable();
        ranked
    }

    /// Tells whether a difference between two open brokers is worth a change.
    pub(super) fn is_worth_it(&self, difference: u64, ranked: &[(u64, BrokerId)]) -> bool {
        let total: u128 = ranked.iter().map(|(figure, _)| u128::from(*figure)).sum();
        let brokers_count = ranked.len().max(1) as u128;
        let percent = u128::from(self.bounds.deviation_percent);
        u128::from(difference) * 100 * brokers_count > total * percent
    }

    /// Tells whether so many more replicas may be moved.
    pub(super) fn may_move(&self, count: usize) -> bool {
        let moved: usize = self.moved.values().sum();
        moved.saturating_add(count) <= self.bounds.moves_max
    }

    /// Gives the replicas with `to` in the place of `from`.
    pub(super) fn exchanged(
        &self,
        group: GroupNumber,
        from: BrokerId,
        to: BrokerId,
    ) -> Vec<BrokerId> {
        let exchange = |id: &BrokerId| if *id == from { to } else { *id };
        self.replicas(group).iter().map(exchange).collect()
    }

    /// Tells whether `to` may take the place of `from` without bringing racks closer together.
    pub(super) fn may_exchange(&self, group: GroupNumber, from: BrokerId, to: BrokerId) -> bool {
        let now = self.replicas(group);
        if !now.contains(&from) || now.contains(&to) || !self.is_free(group) {
            return false;
        }
        let then = self.exchanged(group, from, to);
        racks_count(self.image, &then) >= racks_count(self.image, now)
    }

    /// Tells whether a replica shares its rack with another one of the partition.
    pub(super) fn is_crowded(&self, group: GroupNumber, broker: BrokerId) -> bool {
        let others: Vec<BrokerId> = self
            .replicas(group)
            .iter()
            .copied()
            .filter(|id| *id != broker)
            .collect();
        shares_rack(self.image, &others, broker)
    }

    /// Sets the replicas of a partition.
    pub(super) fn set(&mut self, group: GroupNumber, replicas: Vec<BrokerId>) {
        let before = self.replicas.insert(group, replicas).unwrap_or_default();
        self.uncount(group, &before);
        let after = self.replicas(group).to_vec();
        self.count(group, &after);
        let origin = self.image.partition(group);
        let is_new = |id: &&BrokerId| origin.is_none_or(|now| !now.future_replicas().contains(id));
        let moves_count = after.iter().filter(is_new).count();
        self.moved.insert(group, moves_count);
    }

    fn topic_of(&self, group: GroupNumber) -> TopicId {
        let partition = self.image.partition(group);
        partition.map_or(TopicId([0; 16]), |partition| partition.topic_id)
    }

    fn count(&mut self, group: GroupNumber, replicas: &[BrokerId]) {
        let (bytes, topic) = (self.load(group).in_bytes_per_s, self.topic_of(group));
        for (rank, broker) in replicas.iter().enumerate() {
            let carried = self.carried.entry(*broker).or_default();
            carried.groups.insert(group);
            *carried.topics.entry(topic).or_default() += 1;
            carried.bytes = carried.bytes.saturating_add(bytes);
            if rank == 0 {
                carried.leads.insert(group);
                carried.leads_bytes = carried.leads_bytes.saturating_add(bytes);
            }
        }
    }

    fn uncount(&mut self, group: GroupNumber, replicas: &[BrokerId]) {
        let (bytes, topic) = (self.load(group).in_bytes_per_s, self.topic_of(group));
        for broker in replicas {
            let carried = self.carried.entry(*broker).or_default();
            carried.groups.remove(&group);
            if let Some(count) = carried.topics.get_mut(&topic) {
                *count = count.saturating_sub(1);
            }
            carried.bytes = carried.bytes.saturating_sub(bytes);
            if carried.leads.remove(&group) {
                carried.leads_bytes = carried.leads_bytes.saturating_sub(bytes);
            }
        }
    }

    /// Gives what differs from the image, in order of groups.
    pub(super) fn into_changes(self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (group, to) in self.replicas {
            let Some(partition) = self.image.partition(group) else {
                continue;
            };
            let from = partition.future_replicas().to_vec();
            if from != to {
                changes.push(Change { group, from, to });
            }
        }
        changes
    }
}
