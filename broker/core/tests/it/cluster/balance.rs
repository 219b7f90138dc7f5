//! Plans: what they even out, what they never do, and that they come to an end.

use std::collections::BTreeMap;

use raftmq_core::cluster::balance::{
    BalanceError, Bounds, Change, Loads, PartitionLoad, plan, plan_by_itself, plan_decommission,
};
use raftmq_core::cluster::placement::racks_count;
use raftmq_core::cluster::{Broker, Command, Image};
use raftmq_core::{BrokerId, GroupNumber};

use crate::support::cluster::{Harness, brokers, configs};

pub(super) fn with_racks(racks: &[&str]) -> Harness {
    let mut harness = Harness::created();
    for (id, rack) in (1..).zip(racks) {
        harness.add_live_broker(id, rack);
    }
    harness
}

pub(super) fn all(_: &Broker) -> bool {
    true
}

fn plan_of(harness: &Harness, loads: &Loads) -> Vec<Change> {
    plan(harness.image(), loads, Bounds::default(), all)
}

/// Carries a plan out at once.
pub(super) fn carry_out(harness: &mut Harness, changes: &[Change]) {
    for change in changes {
        let (group, target) = (change.group, change.to.clone());
        harness.accept(&Command::SetReplicas { group, target });
        let partition = harness.partition(group);
        if partition.is_moving() {
            harness.accept(&Command::CompleteReassignment {
                group,
                replicas: change.to.clone(),
                move_epoch: partition.move_epoch,
                membership: None,
            });
        }
    }
}

pub(super) type Counts = BTreeMap<BrokerId, usize>;

/// Replicas and preferred leaders of each live broker.
pub(super) fn counts(image: &Image) -> (Counts, Counts) {
    let none = |broker: &std::sync::Arc<Broker>| (broker.id, 0);
    let mut replicas: Counts = image.alive_brokers().map(none).collect();
    let mut leaders = replicas.clone();
    for partition in image.partitions.values() {
        for id in &partition.replicas {
            replicas.entry(*id).and_modify(|count| *count += 1);
        }
        leaders
            .entry(partition.replicas[0])
            .and_modify(|count| *count += 1);
    }
    (replicas, leaders)
}

pub(super) fn spread(counts: &Counts) -> usize {
    counts.values().max().unwrap() - counts.values().min().unwrap()
}

pub(super) fn moves_count(changes: &[Change]) -> usize {
    changes.iter().map(Change::moves_count).sum()
}

pub(super) fn rates(pairs: &[(GroupNumber, u64)]) -> Loads {
    let load = |in_bytes_per_s| PartitionLoad {
        in_bytes_per_s,
        size_bytes: 0,
    };
    pairs
        .iter()
        .map(|(group, rate)| (*group, load(*rate)))
        .collect()
}

#[test]
fn what_is_even_is_left_alone() {
    let mut harness = Harness::with_brokers(3);
    harness.add_topic("logs", 12, 3);

    assert_eq!(plan_of(&harness, &Loads::new()), vec![]);
}

#[test]
fn without_brokers_or_partitions_there_is_no_plan() {
    assert_eq!(plan_of(&Harness::created(), &Loads::new()), vec![]);
    assert_eq!(plan_of(&Harness::with_brokers(3), &Loads::new()), vec![]);
}

#[test]
fn a_new_broker_gets_its_share_and_nothing_else_moves() {
    let mut harness = Harness::with_brokers(3);
    harness.add_topic("logs", 40, 3);
    harness.add_live_broker(4, "");

    let changes = plan_of(&harness, &Loads::new());

    assert_eq!(moves_count(&changes), 30, "a quarter of 120 replicas");
    let only_there = changes.iter().all(|change| {
        let is_new = |id: &&BrokerId| !change.from.contains(id);
        change.to.iter().filter(is_new).all(|id| *id == BrokerId(4))
    });
    assert!(only_there);
    carry_out(&mut harness, &changes);
    let (replicas, leaders) = counts(harness.image());
    assert_eq!(replicas.values().copied().collect::<Vec<_>>(), vec![30; 4]);
    assert_eq!(leaders.values().copied().collect::<Vec<_>>(), vec![10; 4]);
}

#[test]
fn leaders_are_evened_without_moving_a_byte() {
    let mut harness = Harness::with_brokers(3);
    for name in ["a", "b", "c", "d", "e", "f"] {
        harness.add_partition_on(name, &[1, 2, 3]);
    }

    let changes = plan_of(&harness, &Loads::new());

    assert_eq!(moves_count(&changes), 0);
    carry_out(&mut harness, &changes);
    let (_, leaders) = counts(harness.image());
    assert_eq!(leaders.values().copied().collect::<Vec<_>>(), vec![2; 3]);
}

/// Broker 1 shares no partition with broker 3: broker 2 passes one on.
#[test]
fn leaders_are_evened_along_a_chain() {
    let mut harness = Harness::with_brokers(3);
    for (name, replicas) in [("a", [1, 2]), ("b", [1, 2]), ("c", [2, 3])] {
        harness.add_partition_on(name, &replicas);
    }
    let (_, before) = counts(harness.image());
    assert_eq!(before.values().copied().collect::<Vec<_>>(), vec![2, 1, 0]);
    let no_moves = Bounds {
        moves_max: 0,
        ..Bounds::default()
    };

    let changes = plan(harness.image(), &Loads::new(), no_moves, all);
    carry_out(&mut harness, &changes);

    let (_, leaders) = counts(harness.image());
    assert_eq!(leaders.values().copied().collect::<Vec<_>>(), vec![1; 3]);
}

#[test]
fn busy_partitions_are_spread_by_their_bytes() {
    let mut harness = Harness::with_brokers(2);
    let groups: Vec<GroupNumber> = [("a", 1), ("b", 1), ("c", 2), ("d", 2)]
        .iter()
        .map(|(name, id)| harness.add_partition_on(name, &[*id]))
        .collect();
    let loads = rates(&[
        (groups[0], 1_000_000),
        (groups[1], 900_000),
        (groups[2], 10),
        (groups[3], 20),
    ]);

    let changes = plan_of(&harness, &loads);

    assert_eq!(changes.len(), 2, "one goes, one comes: {changes:?}");
    carry_out(&mut harness, &changes);
    let on_one: u64 = harness
        .image()
        .partitions
        .values()
        .filter(|partition| partition.replicas == brokers(&[1]))
        .map(|partition| loads[&partition.group].in_bytes_per_s)
        .sum();
    assert!((900_000..=1_000_020).contains(&on_one), "{on_one}");
    assert_eq!(plan_of(&harness, &loads), vec![]);
}

#[test]
fn leaders_are_evened_by_their_bytes() {
    let mut harness = Harness::with_brokers(2);
    let groups: Vec<GroupNumber> = [("a", [1, 2]), ("b", [1, 2]), ("c", [2, 1]), ("d", [2, 1])]
        .iter()
        .map(|(name, replicas)| harness.add_partition_on(name, replicas))
        .collect();
    let loads = rates(&[
        (groups[0], 500),
        (groups[1], 500),
        (groups[2], 1),
        (groups[3], 1),
    ]);

    let changes = plan_of(&harness, &loads);

    assert_eq!(moves_count(&changes), 0);
    assert_eq!(changes.len(), 2, "{changes:?}");
    carry_out(&mut harness, &changes);
    assert_eq!(plan_of(&harness, &loads), vec![]);
}

#[test]
fn replicas_that_share_a_rack_are_separated() {
    let mut harness = with_racks(&["a", "a", "b", "b"]);
    let group = harness.add_partition_on("logs", &[1, 2]);

    let changes = plan_of(&harness, &Loads::new());

    let expected = Change {
        group,
        from: brokers(&[1, 2]),
        to: brokers(&[1, 3]),
    };
    assert_eq!(changes, vec![expected]);
}

#[test]
fn racks_stay_apart_even_when_counts_suffer() {
    let mut harness = with_racks(&["a", "b"]);
    harness.add_topic("logs", 6, 2);
    harness.add_live_broker(3, "a");

    let changes = plan_of(&harness, &Loads::new());
    carry_out(&mut harness, &changes);

    for partition in harness.image().partitions.values() {
        assert!(partition.replicas.contains(&BrokerId(2)), "{partition:?}");
    }
    let (replicas, _) = counts(harness.image());
    assert_eq!(replicas[&BrokerId(1)], 3);
    assert_eq!(replicas[&BrokerId(3)], 3);
}

#[test]
fn a_plan_keeps_to_its_bound_and_the_next_goes_on() {
    let mut harness = Harness::with_brokers(3);
    harness.add_topic("logs", 20, 3);
    harness.add_live_broker(4, "");
    let bounds = Bounds {
        moves_max: 4,
        ..Bounds::default()
    };

    let mut moved = 0;
    loop {
        let changes = plan(harness.image(), &Loads::new(), bounds, all);
        assert!(moves_count(&changes) <= 4);
        if changes.is_empty() {
            break;
        }
        moved += moves_count(&changes);
        assert!(moved <= 15, "no more than it needs");
        carry_out(&mut harness, &changes);
    }
    assert_eq!(moved, 15);
}

#[test]
fn partitions_that_are_being_moved_are_left_alone() {
    let mut harness = Harness::with_brokers(3);
    let groups: Vec<GroupNumber> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| harness.add_partition_on(name, &[1]))
        .collect();
    for group in &groups {
        harness.accept(&Command::SetReplicas {
            group: *group,
            target: brokers(&[2]),
        });
    }

    assert_eq!(plan_of(&harness, &Loads::new()), vec![]);
}

#[test]
fn unwilling_and_fenced_brokers_get_nothing_and_keep_what_they_have() {
    let mut harness = Harness::with_brokers(4);
    harness.add_topic("logs", 8, 2);
    harness.add_live_broker(5, "");
    harness.add_live_broker(6, "");
    harness.fence(6);

    let changes = plan(
        harness.image(),
        &Loads::new(),
        Bounds::default(),
        |broker| broker.id != BrokerId(5),
    );

    assert_eq!(moves_count(&changes), 0, "{changes:?}");
}

#[test]
fn a_decommissioned_broker_is_emptied_and_nothing_else_moves() {
    let mut harness = with_racks(&["a", "a", "b", "b"]);
    harness.add_topic("logs", 10, 2);
    let (replicas, _) = counts(harness.image());
    let its_own = replicas[&BrokerId(2)];

    let changes = plan_decommission(harness.image(), &Loads::new(), BrokerId(2), all).unwrap();

    assert_eq!(moves_count(&changes), its_own);
    assert_eq!(changes.len(), its_own);
    carry_out(&mut harness, &changes);
    assert_eq!(harness.image().partitions_on(BrokerId(2)).count(), 0);
    for partition in harness.image().partitions.values() {
        assert_eq!(racks_count(harness.image(), &partition.replicas), 2);
    }
    let again = plan_decommission(harness.image(), &Loads::new(), BrokerId(2), all);
    assert_eq!(again, Ok(vec![]));
}

#[test]
fn a_dead_broker_can_be_decommissioned() {
    let mut harness = Harness::with_brokers(4);
    harness.add_topic("logs", 4, 3);
    harness.fence(4);

    let changes = plan_decommission(harness.image(), &Loads::new(), BrokerId(4), all).unwrap();
    carry_out(&mut harness, &changes);

    assert_eq!(harness.image().partitions_on(BrokerId(4)).count(), 0);
}

#[test]
fn a_move_towards_a_decommissioned_broker_is_sent_elsewhere() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[1]);
    harness.accept(&Command::SetReplicas {
        group,
        target: brokers(&[2]),
    });

    let changes = plan_decommission(harness.image(), &Loads::new(), BrokerId(2), all).unwrap();

    assert_eq!(changes.len(), 1);
    assert!(!changes[0].to.contains(&BrokerId(2)));
    assert_eq!(changes[0].from, brokers(&[2]));
}

#[test]
fn a_broker_that_cannot_be_spared_is_not_decommissioned() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_topic("logs", 1, 3)[0];
    let decommission =
        |id: u32| plan_decommission(harness.image(), &Loads::new(), BrokerId(id), all);

    let unknown = BrokerId(9);
    assert_eq!(
        decommission(9),
        Err(BalanceError::UnknownBroker { broker: unknown })
    );
    let does_not_fit = BalanceError::DoesNotFit {
        group,
        replicas_count: 3,
        brokers_count: 2,
    };
    assert_eq!(decommission(3), Err(does_not_fit));
    let mut alone = Harness::with_brokers(1);
    alone.add_topic("logs", 1, 1);
    let last = plan_decommission(alone.image(), &Loads::new(), BrokerId(1), all);
    assert_eq!(
        last,
        Err(BalanceError::LastBroker {
            broker: BrokerId(1)
        })
    );
}

#[test]
fn a_cluster_evens_itself_only_when_told_to_and_quiet() {
    let mut harness = Harness::with_brokers(2);
    let groups: Vec<GroupNumber> = (0..20)
        .map(|at| harness.add_partition_on(&format!("t{at}"), &[1]))
        .collect();
    let by_itself = |harness: &Harness| plan_by_itself(harness.image(), &Loads::new(), all);

    assert_eq!(by_itself(&harness), vec![], "not told to");
    harness.accept(&Command::AlterClusterConfigs {
        set: configs(&[("rebalance.enable", "true")]),
        unset: vec![],
    });
    let first = by_itself(&harness);
    assert_eq!(moves_count(&first), 4, "a few at a time");
    harness.fence(2);
    assert_eq!(by_itself(&harness), vec![], "a broker is away");
    harness.unfence(2);
    harness.accept(&Command::SetReplicas {
        group: groups[0],
        target: brokers(&[2]),
    });
    assert_eq!(by_itself(&harness), vec![], "a replica is being moved");
}
