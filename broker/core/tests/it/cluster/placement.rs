//! Where new partitions go.

use std::collections::BTreeMap;

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use raftmq_core::BrokerId;
use raftmq_core::cluster::placement::{place, place_where, racks_count, rescale};
use raftmq_core::cluster::{Broker, ClusterError, Command, Image};

use crate::support::cluster::{Harness, brokers};

type Counts = BTreeMap<BrokerId, usize>;

/// Counts preferred leaders and replicas of each broker.
fn counts(placed: &[Vec<BrokerId>]) -> (Counts, Counts) {
    let (mut leaders, mut replicas) = (Counts::new(), Counts::new());
    for partition in placed {
        *leaders.entry(partition[0]).or_default() += 1;
        for broker in partition {
            *replicas.entry(*broker).or_default() += 1;
        }
    }
    (leaders, replicas)
}

/// The difference between the fullest and the emptiest broker.
fn spread(image: &Image, counts: &Counts) -> usize {
    let of = |id: BrokerId| counts.get(&id).copied().unwrap_or(0);
    let all: Vec<usize> = image.alive_brokers().map(|broker| of(broker.id)).collect();
    all.iter().max().unwrap() - all.iter().min().unwrap()
}

fn with_racks(racks: &[&str]) -> Harness {
    let mut harness = Harness::created();
    for (id, rack) in (1..).zip(racks) {
        harness.add_live_broker(id, rack);
    }
    harness
}

#[test]
fn leaders_and_replicas_go_round() {
    let harness = Harness::with_brokers(3);

    let placed = place(harness.image(), 3, 2);

    assert_eq!(
        placed,
        vec![brokers(&[1, 2]), brokers(&[3, 1]), brokers(&[2, 3])]
    );
}

#[test]
fn twelve_partitions_on_three_brokers_are_even() {
    let harness = Harness::with_brokers(3);

    let (leaders, replicas) = counts(&place(harness.image(), 12, 3));

    assert_eq!(leaders.values().copied().collect::<Vec<_>>(), vec![4, 4, 4]);
    assert_eq!(
        replicas.values().copied().collect::<Vec<_>>(),
        vec![12, 12, 12]
    );
}

#[test]
fn a_new_topic_begins_where_least_is() {
    let mut harness = Harness::with_brokers(3);
    harness.add_partition_on("a", &[1]);
    harness.add_partition_on("b", &[2]);

    assert_eq!(place(harness.image(), 1, 1), vec![brokers(&[3])]);
}

#[test]
fn topics_of_one_partition_are_spread() {
    let mut harness = Harness::with_brokers(3);
    for name in ["a", "b", "c", "d", "e", "f"] {
        harness.add_topic(name, 1, 1);
    }

    let placed: Vec<Vec<BrokerId>> = harness
        .image()
        .partitions
        .values()
        .map(|partition| partition.replicas.clone())
        .collect();
    let (leaders, _) = counts(&placed);

    assert_eq!(leaders.values().copied().collect::<Vec<_>>(), vec![2, 2, 2]);
}

#[test]
fn fenced_brokers_get_nothing() {
    let mut harness = Harness::with_brokers(4);
    harness.fence(2);

    let (_, replicas) = counts(&place(harness.image(), 8, 2));

    assert_eq!(replicas.get(&BrokerId(2)), None);
    assert_eq!(replicas.len(), 3);
}

#[test]
fn a_running_reassignment_counts_where_it_leads() {
    let mut harness = Harness::with_brokers(2);
    let group = harness.add_partition_on("a", &[1]);
    harness.accept(&Command::SetReplicas {
        group,
        target: brokers(&[2]),
    });

    assert_eq!(place(harness.image(), 1, 1), vec![brokers(&[1])]);
}

#[test]
fn replicas_go_to_different_racks() {
    let harness = with_racks(&["a", "a", "b", "b", "c", "c"]);

    for partition in place(harness.image(), 30, 3) {
        let mut racks: Vec<String> = partition
            .iter()
            .map(|id| harness.image().broker(*id).unwrap().rack.clone())
            .collect();
        racks.sort_unstable();
        assert_eq!(racks, vec!["a", "b", "c"], "{partition:?}");
    }
}

#[test]
fn with_fewer_racks_than_replicas_no_rack_is_left_out() {
    let harness = with_racks(&["a", "a", "a", "b"]);

    for partition in place(harness.image(), 12, 3) {
        assert!(partition.contains(&BrokerId(4)), "{partition:?}");
    }
}

#[test]
fn without_brokers_nothing_is_placed() {
    let harness = Harness::created();

    assert_eq!(place(harness.image(), 2, 1), vec![vec![], vec![]]);
}

#[test]
fn more_replicas_than_brokers_are_left_out() {
    let harness = Harness::with_brokers(2);

    let placed = place(harness.image(), 1, 5);

    assert_eq!(placed[0].len(), 2);
}

#[test]
fn unwilling_brokers_get_something_only_when_there_are_not_enough_others() {
    let harness = Harness::with_brokers(4);
    let willing = |broker: &Broker| broker.id.get() != 2;

    let (_, replicas) = counts(&place_where(harness.image(), 8, 3, willing));
    assert_eq!(replicas.get(&BrokerId(2)), None);
    let placed = place_where(harness.image(), 8, 4, willing);
    assert!(
        placed
            .iter()
            .all(|replicas| replicas.contains(&BrokerId(2)))
    );
    assert!(
        placed
            .iter()
            .all(|replicas| replicas[3] == BrokerId(2) || replicas[0] == BrokerId(2))
    );
}

#[test]
fn four_replicas_in_two_racks_are_two_and_two() {
    let harness = with_racks(&["a", "a", "a", "b", "b"]);

    for partition in place(harness.image(), 10, 4) {
        let in_b = partition.iter().filter(|id| id.get() > 3).count();
        assert_eq!(in_b, 2, "{partition:?}");
    }
}

fn rescaled(harness: &Harness, factor: u32) -> Vec<Vec<BrokerId>> {
    let topic = harness.image().topic("logs").unwrap();
    let changes = rescale(harness.image(), topic, factor, |_| true).unwrap();
    changes.into_iter().map(|(_, replicas)| replicas).collect()
}

#[test]
fn more_replicas_are_added_where_least_is_and_leaders_stay() {
    let mut harness = with_racks(&["a", "b", "c", "c"]);
    harness.add_topic("logs", 4, 2);
    let before: Vec<Vec<BrokerId>> = harness
        .image()
        .partitions
        .values()
        .map(|partition| partition.replicas.clone())
        .collect();

    let after = rescaled(&harness, 3);

    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after[..2], before[..]);
        assert_eq!(racks_count(harness.image(), after), 3, "{after:?}");
    }
}

#[test]
fn fewer_replicas_give_up_the_dead_and_the_crowded_first() {
    let mut harness = with_racks(&["a", "a", "b", "c"]);
    harness.add_partition_on("logs", &[1, 2, 3]);
    assert_eq!(rescaled(&harness, 2), vec![brokers(&[1, 3])]);
    assert_eq!(rescaled(&harness, 1), vec![brokers(&[1])]);

    harness.fence(3);
    assert_eq!(rescaled(&harness, 2), vec![brokers(&[1, 2])]);
    harness.fence(1);
    assert_eq!(rescaled(&harness, 2), vec![brokers(&[1, 2])]);
}

#[test]
fn the_same_replication_factor_changes_nothing_and_an_impossible_one_is_refused() {
    let mut harness = Harness::with_brokers(3);
    harness.add_topic("logs", 3, 2);
    assert_eq!(rescaled(&harness, 2), Vec::<Vec<BrokerId>>::new());

    let topic = harness.image().topic("logs").unwrap();
    for actual in [0, 4] {
        let refused = rescale(harness.image(), topic, actual, |_| true);
        let expected = ClusterError::InvalidReplicationFactor { actual, max: 3 };
        assert_eq!(refused, Err(expected));
    }
}

#[test]
fn a_running_move_is_rescaled_from_where_it_leads() {
    let mut harness = Harness::with_brokers(4);
    let group = harness.add_partition_on("logs", &[1, 2]);
    harness.accept(&Command::SetReplicas {
        group,
        target: brokers(&[3, 4]),
    });

    assert_eq!(rescaled(&harness, 1), vec![brokers(&[3])]);
    assert_eq!(rescaled(&harness, 3), vec![brokers(&[3, 4, 1])]);
}

proptest! {
    #[test]
    fn placement_is_even_and_names_nobody_twice(
        brokers_count in 1..12_u32,
        partitions_count in 1..60_u32,
        replication_factor in 1..5_u32,
    ) {
        let replication_factor = replication_factor.min(brokers_count);
        let harness = Harness::with_brokers(brokers_count);
        let placed = place(harness.image(), partitions_count, replication_factor);

        prop_assert_eq!(placed.len(), partitions_count as usize);
        for partition in &placed {
            let mut unique = partition.clone();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), replication_factor as usize);
        }
        let (leaders, replicas) = counts(&placed);
        prop_assert!(spread(harness.image(), &leaders) <= 1, "leaders {leaders:?}");
        prop_assert!(spread(harness.image(), &replicas) <= 1, "replicas {replicas:?}");
        prop_assert_eq!(place(harness.image(), partitions_count, replication_factor), placed);
    }

    #[test]
    fn racks_are_used_as_far_as_they_reach(
        racks in proptest::collection::vec(0..4_u8, 1..10),
        replication_factor in 1..5_u32,
    ) {
        let names: Vec<String> = racks.iter().map(|rack| format!("rack-{rack}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let harness = with_racks(&names);
        let mut distinct = racks.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let factor = replication_factor.min(u32::try_from(racks.len()).unwrap());

        for partition in place(harness.image(), 20, factor) {
            let mut used: Vec<&str> = partition
                .iter()
                .map(|id| harness.image().broker(*id).unwrap().rack.as_str())
                .collect();
            used.sort_unstable();
            used.dedup();
            prop_assert_eq!(used.len(), distinct.len().min(factor as usize));
        }
    }
}
