//! Which leaderships are to move, although their leaders live: home to the preferred replica, and
//! away from brokers that are draining.
//!
//! Pure: an image comes in, moves come out. The host carries them out and asks again; a move that
//! does not happen costs time, never data. Source: Kafka's preferred leader election (KIP-460) and
//! controlled shutdown; ARCHITECTURE.md, "Planned moves of leaderships".

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::image::{Image, PartitionInfo};
use crate::ids::{BrokerId, GroupNumber, Term};
use crate::planted::{self, Bug};

/// One leadership that is to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeadershipMove {
    /// The group.
    pub group: GroupNumber,
    /// Who leads it, as the image shows.
    pub from: BrokerId,
    /// The term in which that is so: an order for an older one is void.
    pub leader_epoch: Term,
    /// Who is to lead.
    pub to: BrokerId,
}

/// What bounds a plan.
#[derive(Debug, Clone, Default)]
pub struct MoveLimits {
    /// Moves that may be ordered now.
    pub moves_max: usize,
    /// `auto.leader.rebalance.enable`: leaderships go home to their preferred replica.
    pub restores_preferred: bool,
    /// Groups that are left alone: a move of theirs is under way, or has just failed.
    pub busy: BTreeSet<GroupNumber>,
    /// Brokers that may be given leaderships; others lose them at most.
    pub takers: BTreeSet<BrokerId>,
}

/// Moves to be ordered, and how many more there are to come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MovePlan {
    /// Those for now; what leaves a draining broker comes first.
    pub moves: Vec<LeadershipMove>,
    /// Moves that are wanted and had to wait for `moves_max` or because their group is busy.
    pub waiting_count: usize,
}

/// Plans moves of leaderships.
///
/// A group goes home to its preferred replica; one whose leader drains, and that has no home to go
/// to, gets the in-sync replica that leads the fewest groups. Only live, in-sync replicas that do not drain are
/// given anything. Groups without a live leader (`election` cares for them) and groups whose
/// replicas are being changed are left alone.
#[must_use]
pub fn plan_moves(image: &Image, limits: &MoveLimits) -> MovePlan {
    let mut loads = leaders_counts(image);
    let (mut away, mut home) = (Vec::new(), Vec::new());
    for partition in image.partitions.values() {
        let Some(leader) = movable_leader(image, partition) else {
            continue;
        };
        let drains = is_draining(image, leader);
        let mut to = preferred(image, partition, limits);
        if drains && to.is_none() {
            to = stand_in(image, partition, limits, &loads);
        }
        let Some(to) = to.filter(|to| *to != leader) else {
            continue;
        };
        if let Some(load) = loads.get_mut(&leader) {
            *load = load.saturating_sub(1);
        }
        *loads.entry(to).or_default() += 1;
        let wanted = LeadershipMove {
            group: partition.group,
            from: leader,
            leader_epoch: partition.leader_epoch,
            to,
        };
        if drains {
            away.push(wanted);
        } else {
            home.push(wanted);
        }
    }
    away.append(&mut home);
    let wanted_count = away.len();
    away.retain(|wanted| !limits.busy.contains(&wanted.group));
    away.truncate(limits.moves_max);
    if !away.is_empty() {
        tracing::trace!(target: "raftmq::mark", name = "leadership_moves_planned");
    }
    MovePlan {
        waiting_count: wanted_count - away.len(),
        moves: away,
    }
}

/// Counts the partitions that have another leader than the preferred one, or none.
#[must_use]
pub fn skewed_count(image: &Image) -> usize {
    let is_skewed =
        |partition: &PartitionInfo| partition.leader != partition.replicas.first().copied();
    let partitions = image.partitions.values();
    partitions.filter(|partition| is_skewed(partition)).count()
}

/// Counts the groups that each broker leads; brokers that lead none are left out.
#[must_use]
pub fn leaders_counts(image: &Image) -> BTreeMap<BrokerId, usize> {
    let mut counts = BTreeMap::new();
    for leader in image.partitions.values().filter_map(|info| info.leader) {
        *counts.entry(leader).or_default() += 1;
    }
    counts
}

/// The leader, if it lives and nothing else is being done to the group.
fn movable_leader(image: &Image, partition: &PartitionInfo) -> Option<BrokerId> {
    let leader = partition.leader.filter(|leader| image.is_alive(*leader))?;
    partition.target.is_none().then_some(leader)
}

fn is_draining(image: &Image, broker: BrokerId) -> bool {
    image.broker(broker).is_some_and(|known| known.is_draining)
}

/// Tells whether a replica may be given the leadership of its group.
fn may_take(
    image: &Image,
    partition: &PartitionInfo,
    limits: &MoveLimits,
    broker: BrokerId,
) -> bool {
    let drains = is_draining(image, broker) && !planted::is_planted(Bug::DrainingBrokerLeads);
    !drains
        && image.is_alive(broker)
        && limits.takers.contains(&broker)
        && partition.isr.contains(&broker)
}

fn preferred(image: &Image, partition: &PartitionInfo, limits: &MoveLimits) -> Option<BrokerId> {
    let first = partition.replicas.first().copied()?;
    let is_wanted = limits.restores_preferred && may_take(image, partition, limits, first);
    is_wanted.then_some(first)
}

/// The replica that leads the fewest groups; the earlier in the list among equals.
fn stand_in(
    image: &Image,
    partition: &PartitionInfo,
    limits: &MoveLimits,
    loads: &BTreeMap<BrokerId, usize>,
) -> Option<BrokerId> {
    let replicas = partition.replicas.iter().copied();
    replicas
        .filter(|id| Some(*id) != partition.leader && may_take(image, partition, limits, *id))
        .min_by_key(|id| loads.get(id).copied().unwrap_or(0))
}
