//! Chooses the replicas of new partitions: even, rack-aware, the same on every replica.
//!
//! Looks at live brokers only and at nothing but the image. Does not move what is placed.

use std::collections::BTreeMap;

use crate::cluster::image::Image;
use crate::ids::BrokerId;

/// What a broker carries already.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    leaders: usize,
    replicas: usize,
}

/// Chooses replicas for so many partitions, preferred leader first.
///
/// Each partition goes to the brokers that carry least: the preferred leader to the one with the
/// fewest preferred leaders, the others to those with the fewest replicas, in racks that the
/// partition is not in yet as long as there are any. Ties go to the smaller id, after the one
/// chosen last for the same rank, so that neighbours are spread. The replication factor must not
/// be larger than the number of live brokers; what is over is left out.
#[must_use]
pub fn place(image: &Image, partitions_count: u32, replication_factor: u32) -> Vec<Vec<BrokerId>> {
    let mut loads = loads_of(image);
    (0..partitions_count)
        .map(|_| place_one(image, &mut loads, replication_factor))
        .collect()
}

/// Counts what each live broker carries. Partitions count by their preferred leader, not by who
/// leads at the moment: leadership goes back there.
fn loads_of(image: &Image) -> BTreeMap<BrokerId, Load> {
    let mut loads: BTreeMap<BrokerId, Load> = image
        .alive_brokers()
        .map(|broker| (broker.id, Load::default()))
        .collect();
    for partition in image.partitions.values() {
        let replicas = partition.target.as_ref().unwrap_or(&partition.replicas);
        for (rank, broker) in replicas.iter().enumerate() {
            let Some(load) = loads.get_mut(broker) else {
                continue;
            };
            load.replicas += 1;
            load.leaders += usize::from(rank == 0);
        }
    }
    loads
}

fn place_one(
    image: &Image,
    loads: &mut BTreeMap<BrokerId, Load>,
    replication_factor: u32,
) -> Vec<BrokerId> {
    let mut chosen: Vec<BrokerId> = Vec::with_capacity(replication_factor as usize);
    for rank in 0..replication_factor {
        let is_leader = rank == 0;
        let best = loads
            .iter()
            .filter(|(id, _)| !chosen.contains(id))
            .min_by_key(|(id, load)| {
                let leaders = if is_leader { load.leaders } else { 0 };
                (
                    is_rack_taken(image, &chosen, **id),
                    leaders,
                    load.replicas,
                    after(&chosen, **id),
                )
            })
            .map(|(id, _)| *id);
        let Some(best) = best else { break };
        if let Some(load) = loads.get_mut(&best) {
            load.replicas += 1;
            load.leaders += usize::from(is_leader);
        }
        chosen.push(best);
    }
    chosen
}

/// Orders ids in a ring that begins after the one chosen last.
fn after(chosen: &[BrokerId], id: BrokerId) -> (bool, BrokerId) {
    (chosen.last().is_some_and(|last| id <= *last), id)
}

/// Tells whether a chosen broker shares the rack. Brokers without a rack share none.
fn is_rack_taken(image: &Image, chosen: &[BrokerId], id: BrokerId) -> bool {
    let rack_of = |id: BrokerId| image.broker(id).map_or("", |broker| broker.rack.as_str());
    let rack = rack_of(id);
    !rack.is_empty() && chosen.iter().any(|other| rack_of(*other) == rack)
}
