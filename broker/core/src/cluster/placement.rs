//! Chooses the replicas of new partitions, and of partitions that get more or fewer of them: even,
//! rack-aware, the same on every replica.
//!
//! Looks at live brokers only and at nothing but the image. Does not move what is placed (`balance`
//! does), and does not know why a broker is unwilling: the caller says so.

use std::collections::BTreeMap;

use crate::cluster::ClusterError;
use crate::cluster::image::{Broker, Image, PartitionInfo, Topic};
use crate::ids::{BrokerId, GroupNumber};
use crate::limits::REPLICATION_FACTOR_MAX;
use crate::planted::{Bug, is_planted};

/// What a broker carries already.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    leaders: usize,
    replicas: usize,
    is_willing: bool,
}

type Loads = BTreeMap<BrokerId, Load>;

/// Chooses replicas for so many partitions, preferred leader first, on any live broker.
///
/// Whether a broker is to get replicas as long as others suffice: not one that drains.
#[must_use]
pub const fn is_willing(broker: &Broker) -> bool {
    !broker.is_draining
}

/// As [`place_where`] with [`is_willing`].
#[must_use]
pub fn place(image: &Image, partitions_count: u32, replication_factor: u32) -> Vec<Vec<BrokerId>> {
    place_where(image, partitions_count, replication_factor, is_willing)
}

/// Chooses replicas for so many partitions, preferred leader first.
///
/// Each partition goes to the brokers that carry least, in racks that hold fewest of its replicas
/// (brokers without a rack share none); the one of them with the fewest preferred leaders comes first.
/// Ties go to the smaller id, after the one chosen last, so that neighbours are spread. Unwilling
/// brokers get something only when there are not enough others. The replication factor must not be
/// larger than the number of live brokers; what is over is left out.
#[must_use]
pub fn place_where(
    image: &Image,
    partitions_count: u32,
    replication_factor: u32,
    is_willing: impl Fn(&Broker) -> bool,
) -> Vec<Vec<BrokerId>> {
    let mut loads = loads_of(image, is_willing);
    (0..partitions_count)
        .map(|_| place_one(image, &mut loads, replication_factor))
        .collect()
}

/// Chooses the replicas of each partition of a topic for another replication factor: those that stay
/// keep their places, so that no leader moves without need. Gives only partitions that change, and
/// starts from where a running reassignment leads.
///
/// # Errors
/// `InvalidReplicationFactor` when it is zero or larger than the number of live brokers.
pub fn rescale(
    image: &Image,
    topic: &Topic,
    replication_factor: u32,
    is_willing: impl Fn(&Broker) -> bool,
) -> Result<Vec<(GroupNumber, Vec<BrokerId>)>, ClusterError> {
    check_replication_factor(image, replication_factor)?;
    let mut loads = loads_of(image, is_willing);
    let wanted = replication_factor as usize;
    let mut changes = Vec::new();
    for partition in topic
        .partitions
        .iter()
        .filter_map(|id| image.partition(*id))
    {
        let mut replicas = partition.future_replicas().to_vec();
        while replicas.len() > wanted {
            drop_one(image, &mut loads, &mut replicas);
        }
        while replicas.len() < wanted {
            let Some(next) = choose(image, &loads, &replicas) else {
                break;
            };
            take(&mut loads, next);
            replicas.push(next);
        }
        if replicas != partition.future_replicas() {
            changes.push((partition.group, replicas));
        }
    }
    Ok(changes)
}

/// What people should know who ask for so many replicas.
#[must_use]
pub const fn warning(replicas_count: usize) -> Option<&'static str> {
    match replicas_count {
        2 => Some("replication factor 2 survives no failure: a majority of two is both"),
        _ => None,
    }
}

/// Checks a replication factor against the live brokers.
///
/// # Errors
/// `InvalidReplicationFactor` when it is zero, larger than the number of live brokers, or too large.
pub fn check_replication_factor(image: &Image, actual: u32) -> Result<(), ClusterError> {
    let alive = u32::try_from(image.alive_brokers().count()).unwrap_or(u32::MAX);
    let max = alive.min(REPLICATION_FACTOR_MAX);
    if (1..=max).contains(&actual) {
        return Ok(());
    }
    Err(ClusterError::InvalidReplicationFactor { actual, max })
}

/// Counts in how many racks replicas stand; each broker without a rack counts as one.
#[must_use]
pub fn racks_count(image: &Image, replicas: &[BrokerId]) -> usize {
    let is_first = |(at, id): &(usize, &BrokerId)| !shares_rack(image, &replicas[..*at], **id);
    replicas.iter().enumerate().filter(is_first).count()
}

/// Tells whether one of `others` shares the rack. Brokers without a rack share none.
pub(super) fn shares_rack(image: &Image, others: &[BrokerId], id: BrokerId) -> bool {
    rack_mates(image, others, id) > 0
}

/// Counts how many of `others` share the rack.
fn rack_mates(image: &Image, others: &[BrokerId], id: BrokerId) -> usize {
    let rack_of = |id: BrokerId| image.broker(id).map_or("", |broker| broker.rack.as_str());
    let rack = rack_of(id);
    if rack.is_empty() || is_planted(Bug::RacksIgnored) {
        return 0;
    }
    others
        .iter()
        .filter(|other| rack_of(**other) == rack)
        .count()
}

/// Counts what each live broker carries. Partitions count by their preferred leader, not by who
/// leads at the moment: leadership goes back there.
fn loads_of(image: &Image, is_willing: impl Fn(&Broker) -> bool) -> Loads {
    let empty = |broker: &Broker| Load {
        is_willing: is_willing(broker),
        ..Load::default()
    };
    let mut loads: Loads = image
        .alive_brokers()
        .map(|broker| (broker.id, empty(broker)))
        .collect();
    for partition in image.partitions.values() {
        count_partition(&mut loads, partition);
    }
    loads
}

fn count_partition(loads: &mut Loads, partition: &PartitionInfo) {
    for (rank, broker) in partition.future_replicas().iter().enumerate() {
        if let Some(load) = loads.get_mut(broker) {
            load.replicas += 1;
            load.leaders += usize::from(rank == 0);
        }
    }
}

fn place_one(image: &Image, loads: &mut Loads, replication_factor: u32) -> Vec<BrokerId> {
    let mut chosen: Vec<BrokerId> = Vec::with_capacity(replication_factor as usize);
    for _ in 0..replication_factor {
        let Some(best) = choose(image, loads, &chosen) else {
            break;
        };
        take(loads, best);
        chosen.push(best);
    }
    let leaders = |id: &BrokerId| loads.get(id).map_or(usize::MAX, |load| load.leaders);
    // The first of equals: it was chosen first.
    let first = (0..chosen.len()).min_by_key(|at| leaders(&chosen[*at]));
    if let Some(first) = first {
        chosen[..=first].rotate_right(1);
        if let Some(load) = loads.get_mut(&chosen[0]) {
            load.leaders += 1;
        }
    }
    chosen
}

/// Finds the best broker beside those that are chosen.
fn choose(image: &Image, loads: &Loads, chosen: &[BrokerId]) -> Option<BrokerId> {
    loads
        .iter()
        .filter(|(id, _)| !chosen.contains(id))
        .min_by_key(|(id, load)| {
            (
                !load.is_willing,
                rack_mates(image, chosen, **id),
                load.replicas,
                after(chosen, **id),
            )
        })
        .map(|(id, _)| *id)
}

fn take(loads: &mut Loads, id: BrokerId) {
    if let Some(load) = loads.get_mut(&id) {
        load.replicas += 1;
    }
}

/// Gives up the replica that is missed least: a dead one first, then one of an unwilling broker, then
/// one that shares its rack, then the broker that carries most; never the preferred leader if it lives.
fn drop_one(image: &Image, loads: &mut Loads, replicas: &mut Vec<BrokerId>) {
    let worst = (0..replicas.len()).max_by_key(|at| {
        let id = replicas[*at];
        let others: Vec<BrokerId> = replicas.iter().copied().filter(|one| *one != id).collect();
        let load = loads.get(&id).copied().unwrap_or_default();
        (
            !image.is_alive(id),
            *at != 0,
            !load.is_willing,
            rack_mates(image, &others, id),
            load.replicas,
            *at,
        )
    });
    let Some(worst) = worst else { return };
    let dropped = replicas.remove(worst);
    if let Some(load) = loads.get_mut(&dropped) {
        load.replicas = load.replicas.saturating_sub(1);
    }
}

/// Orders ids in a ring that begins after the one chosen last.
fn after(chosen: &[BrokerId], id: BrokerId) -> (bool, BrokerId) {
    (chosen.last().is_some_and(|last| id <= *last), id)
}
