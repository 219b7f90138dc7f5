//! The steps of a plan that move replicas.

use std::cmp::Reverse;

use super::BalanceError;
use super::model::{Carried, Model};
use crate::cluster::placement::racks_count;
use crate::ids::{BrokerId, GroupNumber};

/// Takes every replica off a broker: each goes to the open broker that carries least, in a rack that
/// the partition is not in, as far as there is one.
pub(super) fn empty_broker(model: &mut Model<'_>, broker: BrokerId) -> Result<(), BalanceError> {
    let groups: Vec<GroupNumber> = model.free_groups_on(broker).collect();
    for group in groups {
        let now = model.replicas(group);
        let Some(to) = best_replacement(model, group, broker) else {
            return Err(BalanceError::DoesNotFit {
                group,
                replicas_count: now.len(),
                brokers_count: model.open.len(),
            });
        };
        let then = model.exchanged(group, broker, to);
        model.set(group, then);
    }
    Ok(())
}

/// Moves replicas out of racks that hold another replica of the same partition, where a rack without
/// one is open.
pub(super) fn separate_racks(model: &mut Model<'_>) {
    for group in model.groups() {
        while model.may_move(1) {
            let now = model.replicas(group).to_vec();
            // The last ones first: the preferred leader stays where it is if it can.
            let crowded = now.iter().rev().find_map(|from| {
                let to = model
                    .is_crowded(group, *from)
                    .then(|| best_replacement(model, group, *from))??;
                let then = model.exchanged(group, *from, to);
                (racks_count(model.image, &then) > racks_count(model.image, &now)).then_some(then)
            });
            let Some(then) = crowded else { break };
            model.set(group, then);
        }
    }
}

/// Moves replicas from the fullest brokers to the emptiest, by count.
pub(super) fn even_counts(model: &mut Model<'_>) {
    let count = |carried: &Carried| carried.groups.len() as u64;
    let ranked = model.ranked(count);
    let largest = pairs(&ranked)
        .next()
        .map_or(0, |(difference, ..)| difference);
    // Once it is worth it at all, it is done in full.
    if !model.is_worth_it(largest, &ranked) {
        return;
    }
    while model.may_move(1) {
        let ranked = model.ranked(count);
        let best = pairs(&ranked)
            .take_while(|(difference, ..)| *difference >= 2)
            .find_map(|(_, full, empty)| {
                best_to_move(model, full, empty).map(|group| (group, full, empty))
            });
        let Some((group, from, to)) = best else {
            return;
        };
        let then = model.exchanged(group, from, to);
        model.set(group, then);
    }
}

/// Exchanges busy replicas of the busiest brokers for quieter ones of the quietest, by bytes per
/// second; the counts stay.
pub(super) fn even_bytes(model: &mut Model<'_>) {
    // Each step brings two brokers closer; the bound only keeps one plan short.
    for _ in 0..model.groups().len() {
        if !model.may_move(2) {
            return;
        }
        let ranked = model.ranked(|carried| carried.bytes);
        let Some((busy_group, busy, quiet_group, quiet)) = pairs(&ranked)
            .take_while(|(difference, ..)| model.is_worth_it(*difference, &ranked))
            .find_map(|(difference, busy, quiet)| {
                let (busy_group, quiet_group) = best_swap(model, busy, quiet, difference)?;
                Some((busy_group, busy, quiet_group, quiet))
            })
        else {
            return;
        };
        let then = model.exchanged(busy_group, busy, quiet);
        model.set(busy_group, then);
        let then = model.exchanged(quiet_group, quiet, busy);
        model.set(quiet_group, then);
    }
}

/// Pairs of a fuller and an emptier broker with the difference between them, the largest first.
pub(super) fn pairs(
    ranked: &[(u64, BrokerId)],
) -> impl Iterator<Item = (u64, BrokerId, BrokerId)> + use<> {
    let mut pairs: Vec<_> = ranked
        .iter()
        .enumerate()
        .flat_map(|(at, (empty_figure, empty))| {
            ranked[at + 1..].iter().map(move |(full_figure, full)| {
                let difference = full_figure - empty_figure;
                (difference, *full, *empty)
            })
        })
        .collect();
    pairs.sort_unstable_by_key(|(difference, full, empty)| (Reverse(*difference), *empty, *full));
    pairs.into_iter()
}

/// Finds the open broker that should hold a replica instead of `from`.
fn best_replacement(model: &Model<'_>, group: GroupNumber, from: BrokerId) -> Option<BrokerId> {
    let now = model.replicas(group);
    let candidates = model.open.iter().filter(|id| !now.contains(id));
    candidates.copied().min_by_key(|to| {
        let then = model.exchanged(group, from, *to);
        let carried = model.carried(*to);
        (
            Reverse(racks_count(model.image, &then)),
            carried.map_or(0, |carried| carried.groups.len()),
            carried.map_or(0, |carried| carried.bytes),
            *to,
        )
    })
}

/// Finds the replica that is best moved from one broker to another: not a preferred leader if it can
/// be, of the topic that is most uneven between the two, small.
fn best_to_move(model: &Model<'_>, from: BrokerId, to: BrokerId) -> Option<GroupNumber> {
    let topics_of = |broker: BrokerId| model.carried(broker).map(|carried| &carried.topics);
    let count_of = |broker: BrokerId, group: GroupNumber| {
        let topic = model.image.partition(group)?.topic_id;
        topics_of(broker)?.get(&topic).copied()
    };
    model
        .free_groups_on(from)
        .filter(|group| model.may_exchange(*group, from, to))
        .min_by_key(|group| {
            let is_leader = model.replicas(*group).first() == Some(&from);
            let here = count_of(from, *group).unwrap_or(0);
            let there = count_of(to, *group).unwrap_or(0);
            let skew =
                i64::try_from(here).unwrap_or(i64::MAX) - i64::try_from(there).unwrap_or(i64::MAX);
            (
                is_leader,
                Reverse(skew),
                model.load(*group).size_bytes,
                *group,
            )
        })
}

/// Finds the exchange that brings two brokers closest together, if one does: what changes hands must
/// be less than the difference.
fn best_swap(
    model: &Model<'_>,
    busy: BrokerId,
    quiet: BrokerId,
    difference: u64,
) -> Option<(GroupNumber, GroupNumber)> {
    let rate = |group: &GroupNumber| model.load(*group).in_bytes_per_s;
    let from_busy = model.free_groups_on(busy);
    let offered = from_busy.filter(|group| model.may_exchange(*group, busy, quiet));
    let from_quiet = model.free_groups_on(quiet);
    let returned = from_quiet.filter(|group| model.may_exchange(*group, quiet, busy));
    let mut returned: Vec<(u64, GroupNumber)> =
        returned.map(|group| (rate(&group), group)).collect();
    returned.sort_unstable();
    let half = difference / 2;
    let mut best: Option<(u64, GroupNumber, GroupNumber)> = None;
    for group in offered {
        let own = rate(&group);
        // The rate given back for which exactly half of the difference changes hands.
        let ideal = own.saturating_sub(half);
        let at = returned.partition_point(|(rate, _)| *rate < ideal);
        for (back, other) in returned[at.saturating_sub(1)..].iter().take(2) {
            let handed = own.saturating_sub(*back);
            if handed == 0 || handed >= difference {
                continue;
            }
            let miss = handed.abs_diff(half);
            if best.is_none_or(|known| (miss, group, *other) < known) {
                best = Some((miss, group, *other));
            }
        }
    }
    best.map(|(_, group, other)| (group, other))
}
