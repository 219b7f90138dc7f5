//! Plans over any cluster: they come to an end, keep racks apart, and move no more than they need.

use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};
use raftmq_core::GroupNumber;
use raftmq_core::cluster::balance::{Bounds, Loads, plan};
use raftmq_core::cluster::placement::racks_count;
use raftmq_core::cluster::{Command, CreateTopic};

use super::balance::{all, carry_out, counts, moves_count, rates, spread, with_racks};
use crate::support::cluster::{Harness, brokers, topic};

/// Plans after which nothing is left to do.
const PLANS_MAX: usize = 20;

/// Brokers with racks, partitions somewhere on them, and what they take in.
#[derive(Debug, Clone)]
struct Scene {
    racks: Vec<u8>,
    partitions: Vec<(Vec<usize>, u64)>,
}

fn any_scene() -> impl Strategy<Value = Scene> {
    let partition = (
        proptest::collection::vec(0..100_usize, 1..4),
        proptest::sample::select(vec![0, 0, 1, 10, 1_000, 50_000_u64]),
    );
    (
        proptest::collection::vec(0..4_u8, 1..7),
        proptest::collection::vec(partition, 0..30),
    )
        .prop_map(|(racks, partitions)| Scene { racks, partitions })
}

impl Scene {
    fn build(&self) -> (Harness, Loads) {
        let names: Vec<String> = self
            .racks
            .iter()
            .map(|rack| {
                if *rack == 0 {
                    String::new()
                } else {
                    format!("r{rack}")
                }
            })
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut harness = with_racks(&names);
        let mut loads = Loads::new();
        let mut assignments = Vec::new();
        for (at, (picks, rate)) in self.partitions.iter().enumerate() {
            let mut replicas: Vec<u32> = Vec::new();
            for pick in picks {
                let id = u32::try_from(pick % names.len()).unwrap() + 1;
                if !replicas.contains(&id) {
                    replicas.push(id);
                }
            }
            let create = CreateTopic {
                assignments: vec![brokers(&replicas)],
                ..topic(&format!("t{at}"), 0, 0)
            };
            assignments.push((create, *rate));
        }
        for (create, rate) in assignments {
            let group = GroupNumber(harness.image().last_group.get() + 1);
            harness.accept(&Command::CreateTopic(create));
            loads.extend(rates(&[(group, rate)]));
        }
        (harness, loads)
    }
}

proptest! {
    #[test]
    fn plans_come_to_an_end_and_never_bring_racks_closer(scene in any_scene()) {
        let (mut harness, loads) = scene.build();
        let bounds = Bounds { moves_max: 10, ..Bounds::default() };
        let mut plans_count = 0;
        loop {
            let changes = plan(harness.image(), &loads, bounds, all);
            prop_assert!(moves_count(&changes) <= bounds.moves_max);
            for change in &changes {
                let image = harness.image();
                let (from, to) = (racks_count(image, &change.from), racks_count(image, &change.to));
                prop_assert!(to >= from, "{change:?}");
                prop_assert_eq!(change.to.len(), change.from.len());
                let mut unique = change.to.clone();
                unique.sort_unstable();
                unique.dedup();
                prop_assert_eq!(unique.len(), change.to.len(), "nobody twice");
            }
            prop_assert_eq!(&plan(harness.image(), &loads, bounds, all), &changes);
            if changes.is_empty() {
                break;
            }
            carry_out(&mut harness, &changes);
            plans_count += 1;
            prop_assert!(plans_count <= PLANS_MAX, "still at it: {changes:?}");
        }
    }

    #[test]
    fn without_racks_everything_ends_even(
        brokers_count in 1..7_u32,
        partitions in proptest::collection::vec(
            proptest::collection::vec(0..100_u32, 1..4), 0..40),
    ) {
        let mut harness = Harness::with_brokers(brokers_count);
        for (at, picks) in partitions.iter().enumerate() {
            let mut replicas: Vec<u32> = picks.iter().map(|pick| pick % brokers_count + 1).collect();
            replicas.sort_unstable();
            replicas.dedup();
            harness.add_partition_on(&format!("t{at}"), &replicas);
        }
        let (before, _) = counts(harness.image());
        let total: usize = before.values().sum();
        let bounds = Bounds { deviation_percent: 0, ..Bounds::default() };

        let changes = plan(harness.image(), &Loads::new(), bounds, all);

        let share = total.div_ceil(brokers_count as usize);
        let surplus: usize = before.values().map(|count| count.saturating_sub(total / brokers_count as usize)).sum();
        prop_assert!(moves_count(&changes) <= surplus, "moves what is over, share {share}");
        carry_out(&mut harness, &changes);
        let (replicas, _) = counts(harness.image());
        prop_assert!(spread(&replicas) <= 1, "{replicas:?}");
        prop_assert_eq!(plan(harness.image(), &Loads::new(), bounds, all), vec![]);
    }
}
