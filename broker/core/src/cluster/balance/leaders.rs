//! The steps of a plan that change which replica is preferred to lead. They move no data.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::model::Model;
use super::replicas::pairs;
use crate::ids::{BrokerId, GroupNumber};

/// Evens preferred leaders by count: along chains of partitions, so that a broker which shares none
/// with the emptiest one can still give some away.
pub(super) fn even_counts(model: &mut Model<'_>) {
    loop {
        let ranked = model.ranked(|carried| carried.leads.len() as u64);
        let Some(chain) = pairs(&ranked)
            .take_while(|(difference, ..)| *difference >= 2)
            .find_map(|(_, full, empty)| chain(model, full, empty))
        else {
            return;
        };
        for (group, to) in chain {
            prefer(model, group, to);
        }
    }
}

/// Evens preferred leaders by bytes per second: exchanges of two, so that the counts stay.
pub(super) fn even_bytes(model: &mut Model<'_>) {
    // Each step brings two brokers closer; the bound only keeps one plan short.
    for _ in 0..model.groups().len() {
        let ranked = model.ranked(|carried| carried.leads_bytes);
        let Some((busy_group, busy, quiet_group, quiet)) = pairs(&ranked)
            .take_while(|(difference, ..)| model.is_worth_it(*difference, &ranked))
            .find_map(|(difference, busy, quiet)| {
                let (busy_group, quiet_group) = best_swap(model, busy, quiet, difference)?;
                Some((busy_group, busy, quiet_group, quiet))
            })
        else {
            return;
        };
        prefer(model, busy_group, quiet);
        prefer(model, quiet_group, busy);
    }
}

/// Finds the shortest chain of changes that takes one preferred leader off `full` and gives one to
/// `empty`; everybody between gives one and gets one.
fn chain(
    model: &Model<'_>,
    full: BrokerId,
    empty: BrokerId,
) -> Option<Vec<(GroupNumber, BrokerId)>> {
    let mut reached_by: BTreeMap<BrokerId, (BrokerId, GroupNumber)> = BTreeMap::new();
    let mut seen = BTreeSet::from([full]);
    let mut waiting = VecDeque::from([full]);
    while let Some(from) = waiting.pop_front() {
        if from == empty {
            break;
        }
        for group in model.free_groups_led_by(from) {
            for to in model.replicas(group) {
                if model.open.contains(to) && seen.insert(*to) {
                    reached_by.insert(*to, (from, group));
                    waiting.push_back(*to);
                }
            }
        }
    }
    let mut chain = Vec::new();
    let mut at = empty;
    while at != full {
        let (from, group) = reached_by.get(&at)?;
        chain.push((*group, at));
        at = *from;
    }
    Some(chain)
}

/// Finds the two partitions whose exchange of preferred leaders brings two brokers closest together.
fn best_swap(
    model: &Model<'_>,
    busy: BrokerId,
    quiet: BrokerId,
    difference: u64,
) -> Option<(GroupNumber, GroupNumber)> {
    let rate = |group: &GroupNumber| model.load(*group).in_bytes_per_s;
    let led_with = |leader: BrokerId, other: BrokerId| {
        model
            .free_groups_led_by(leader)
            .filter(move |group| model.replicas(*group).contains(&other))
    };
    let mut returned: Vec<(u64, GroupNumber)> = led_with(quiet, busy)
        .map(|group| (rate(&group), group))
        .collect();
    returned.sort_unstable();
    let half = difference / 2;
    let mut best: Option<(u64, GroupNumber, GroupNumber)> = None;
    for group in led_with(busy, quiet) {
        let own = rate(&group);
        let ideal = own.saturating_sub(half);
        let at = returned.partition_point(|(rate, _)| *rate < ideal);
        for (back, other) in returned[at.saturating_sub(1)..].iter().take(2) {
            let handed = own.saturating_sub(*back);
            if handed == 0 || handed >= difference {
                continue;
            }
            let found = (handed.abs_diff(half), group, *other);
            if best.is_none_or(|known| found < known) {
                best = Some(found);
            }
        }
    }
    best.map(|(_, group, other)| (group, other))
}

/// Puts a replica first; the one that was first takes its place.
fn prefer(model: &mut Model<'_>, group: GroupNumber, leader: BrokerId) {
    let mut replicas = model.replicas(group).to_vec();
    if let Some(at) = replicas.iter().position(|id| *id == leader) {
        replicas.swap(0, at);
        model.set(group, replicas);
    }
}
