//! Who votes in the metadata group: growth, replacement, leaving, and what is never done.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};
use raftmq_core::BrokerId;
use raftmq_core::cluster::membership::{Goal, Membership};
use raftmq_core::cluster::voters::{Duty, Electorate, check_decommission, next_duty, plan_voters};
use raftmq_core::cluster::{ClusterError, Command, Image};

use crate::support::cluster::{Harness, configs};

fn set(ids: &[u32]) -> BTreeSet<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

/// Led by broker 1; every broker has the log, nobody is overdue.
fn electorate(image: &Image, voters: &[u32]) -> Electorate {
    Electorate {
        voters: set(voters),
        caught_up: image.brokers.keys().copied().collect(),
        overdue: BTreeSet::new(),
        leader: BrokerId(1),
    }
}

fn planned(harness: &Harness, voters: &[u32]) -> BTreeSet<BrokerId> {
    plan_voters(harness.image(), &electorate(harness.image(), voters))
}

fn decommission(harness: &mut Harness, id: u32) {
    harness.accept(&Command::DecommissionBroker { id: BrokerId(id) });
}

fn want(harness: &mut Harness, count: &str) {
    harness.accept(&Command::AlterClusterConfigs {
        set: configs(&[("controller.quorum.voters.count", count)]),
        unset: vec![],
    });
}

/// A committed membership whose members all have the log.
fn group(voters: &[&[u32]], learners: &[u32]) -> Membership {
    let voters: Vec<BTreeSet<BrokerId>> = voters.iter().map(|ids| set(ids)).collect();
    let learners = set(learners);
    let members = voters.iter().flatten().chain(&learners);
    let matched: BTreeMap<BrokerId, u64> = members.map(|id| (*id, 1_000)).collect();
    Membership {
        voters,
        learners,
        is_committed: true,
        last_index: 1_000,
        matched,
        leader: BrokerId(1),
    }
}

#[test]
fn voters_grow_to_odd_numbers_up_to_the_wanted_one() {
    for (brokers_count, voters) in [
        (1, &[1][..]),
        (2, &[1]),
        (3, &[1, 2, 3]),
        (4, &[1, 2, 3]),
        (7, &[1, 2, 3]),
    ] {
        assert_eq!(
            planned(&Harness::with_brokers(brokers_count), &[1]),
            set(voters)
        );
    }
    for (brokers_count, voters) in [(4, &[1, 2, 3][..]), (5, &[1, 2, 3, 4, 5])] {
        let mut harness = Harness::with_brokers(brokers_count);
        want(&mut harness, "5");
        assert_eq!(planned(&harness, &[1, 2, 3]), set(voters));
    }
    assert_eq!(planned(&Harness::with_brokers(3), &[1, 2]), set(&[1, 2, 3]));
}

#[test]
fn too_many_voters_become_fewer_and_the_leader_stays() {
    let mut harness = Harness::with_brokers(5);

    assert_eq!(planned(&harness, &[1, 2, 3, 4, 5]), set(&[1, 2, 3]));
    harness.fence(2);
    let left = planned(&harness, &[1, 2, 3, 4, 5]);
    assert_eq!(left, set(&[1, 3, 4]), "who is out of service goes first");
    want(&mut harness, "1");
    assert_eq!(planned(&harness, &[1, 3, 4]), set(&[1]));
}

#[test]
fn new_voters_come_from_other_racks() {
    let mut harness = Harness::created();
    for (id, rack) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b"), (6, "c")] {
        harness.add_live_broker(id, rack);
    }

    assert_eq!(planned(&harness, &[1]), set(&[1, 4, 6]));
    want(&mut harness, "5");
    assert_eq!(planned(&harness, &[1]), set(&[1, 2, 4, 5, 6]));
}

#[test]
fn who_has_not_the_log_or_is_out_of_service_does_not_vote() {
    let mut harness = Harness::with_brokers(4);
    harness.fence(2);
    let mut seen = electorate(harness.image(), &[1]);
    seen.caught_up.remove(&BrokerId(3));

    assert_eq!(plan_voters(harness.image(), &seen), set(&[1]));

    seen.caught_up.insert(BrokerId(3));
    assert_eq!(plan_voters(harness.image(), &seen), set(&[1, 3, 4]));
}

#[test]
fn the_overdue_are_replaced_one_for_one_and_never_just_dropped() {
    let mut harness = Harness::with_brokers(4);
    harness.fence(3);
    let mut seen = electorate(harness.image(), &[1, 2, 3]);
    let before = plan_voters(harness.image(), &seen);
    assert_eq!(before, set(&[1, 2, 3]), "it may come back");

    seen.overdue = set(&[3]);
    assert_eq!(plan_voters(harness.image(), &seen), set(&[1, 2, 4]));

    harness.fence(4);
    assert_eq!(
        plan_voters(harness.image(), &seen),
        set(&[1, 2, 3]),
        "nobody is there for it"
    );
    harness.unfence(3);
    assert_eq!(
        plan_voters(harness.image(), &seen),
        set(&[1, 2, 3]),
        "it is back"
    );
}

#[test]
fn without_a_majority_nothing_is_planned() {
    let mut harness = Harness::with_brokers(5);
    harness.fence(2);
    harness.fence(3);
    let mut seen = electorate(harness.image(), &[1, 2, 3]);
    seen.overdue = set(&[2, 3]);

    assert_eq!(plan_voters(harness.image(), &seen), set(&[1, 2, 3]));
}

#[test]
fn a_decommissioned_broker_votes_until_it_holds_nothing() {
    let mut harness = Harness::with_brokers(4);
    harness.add_partition_on("logs", &[2, 3]);
    decommission(&mut harness, 2);
    assert_eq!(planned(&harness, &[1, 2, 3]), set(&[1, 2, 3]));

    harness.accept(&Command::DeleteTopic {
        topic_id: crate::support::cluster::topic_id("logs"),
    });

    assert_eq!(planned(&harness, &[1, 2, 3]), set(&[1, 3, 4]));
    harness.fence(4);
    assert_eq!(
        planned(&harness, &[1, 2, 3]),
        set(&[1, 3]),
        "without a successor, too"
    );
}

#[test]
fn a_leader_that_leaves_hands_over_and_is_not_removed_by_itself() {
    let mut harness = Harness::with_brokers(3);
    decommission(&mut harness, 1);

    let duty = next_duty(harness.image(), &group(&[&[1, 2, 3]], &[]), &set(&[]));
    assert_eq!(duty, Duty::HandOver);

    let alone = next_duty(harness.image(), &group(&[&[1]], &[2, 3]), &set(&[]));
    let goal = Goal {
        voters: set(&[1, 2]),
        learners: set(&[3]),
    };
    assert_eq!(alone, Duty::Change(goal), "somebody must be there to lead");
}

#[test]
fn a_decommissioned_broker_loses_its_vote_then_its_place_then_is_forgotten() {
    let mut harness = Harness::with_brokers(4);
    decommission(&mut harness, 2);
    let no_one = set(&[]);

    let duty = next_duty(harness.image(), &group(&[&[1, 2, 3]], &[4]), &no_one);
    let goal = Goal {
        voters: set(&[1, 3, 4]),
        learners: set(&[]),
    };
    assert_eq!(duty, Duty::Change(goal.clone()));
    let duty = next_duty(harness.image(), &group(&[&[1, 3, 4]], &[2]), &no_one);
    assert_eq!(duty, Duty::Change(goal), "it learns no more");
    let duty = next_duty(harness.image(), &group(&[&[1, 3, 4]], &[]), &no_one);
    assert_eq!(duty, Duty::Remove(BrokerId(2)));
    harness.accept(&Command::RemoveBroker { id: BrokerId(2) });
    let duty = next_duty(harness.image(), &group(&[&[1, 3, 4]], &[]), &no_one);
    assert_eq!(duty, Duty::Rest);
}

#[test]
fn every_registered_broker_learns() {
    let mut harness = Harness::with_brokers(2);
    harness.fence(2);

    let duty = next_duty(harness.image(), &group(&[&[1]], &[]), &set(&[]));

    let goal = Goal {
        voters: set(&[1]),
        learners: set(&[2]),
    };
    assert_eq!(duty, Duty::Change(goal));
}

#[test]
fn nothing_is_done_before_the_last_change_is_committed() {
    let harness = Harness::with_brokers(3);
    let mut membership = group(&[&[1]], &[2, 3]);
    membership.is_committed = false;

    assert_eq!(
        next_duty(harness.image(), &membership, &set(&[])),
        Duty::Rest
    );
}

#[test]
fn a_joint_membership_is_ended_onwards_or_back_where_onwards_is_stuck() {
    let mut harness = Harness::with_brokers(5);
    let joint = group(&[&[1, 2, 3], &[1, 4, 5]], &[]);
    let voters = |harness: &Harness| match next_duty(harness.image(), &joint, &set(&[])) {
        Duty::Change(goal) => goal.voters,
        duty @ (Duty::HandOver | Duty::Remove(_) | Duty::Rest) => panic!("{duty:?}"),
    };

    assert_eq!(voters(&harness), set(&[1, 4, 5]));
    harness.fence(4);
    harness.fence(5);
    assert_eq!(voters(&harness), set(&[1, 2, 3]));
}

#[test]
fn a_decommission_that_would_lose_the_quorum_is_refused_by_name() {
    let mut harness = Harness::with_brokers(3);
    let voters = set(&[1, 2, 3]);
    let check =
        |harness: &Harness, id: u32| check_decommission(harness.image(), &voters, BrokerId(id));
    assert_eq!(check(&harness, 3), Ok(()));
    let broker = BrokerId(9);
    assert_eq!(
        check(&harness, 9),
        Err(ClusterError::UnknownBroker { broker })
    );

    harness.fence(2);
    let broker = BrokerId(3);
    let refused = ClusterError::MetadataQuorumLost {
        broker,
        alive_count: 1,
        voters_count: 2,
        required_count: 2,
    };
    assert_eq!(check(&harness, 3), Err(refused));
    assert_eq!(check(&harness, 2), Ok(()), "the dead one may go");
    harness.add_live_broker(4, "");
    assert_eq!(check(&harness, 3), Ok(()), "4 takes its place");

    let alone = Harness::with_brokers(1);
    let last = check_decommission(alone.image(), &set(&[1]), BrokerId(1));
    assert!(
        matches!(last, Err(ClusterError::MetadataQuorumLost { .. })),
        "{last:?}"
    );
}

/// Brokers: rack, in service, decommissioned, overdue, caught up; how many of them vote; how many are
/// to.
#[derive(Debug, Clone)]
struct Scene {
    brokers: Vec<(u8, bool, bool, bool, bool)>,
    voters_count: usize,
    wanted: &'static str,
}

fn any_scene() -> impl Strategy<Value = Scene> {
    let flag = || proptest::bool::weighted(0.7);
    let broker = (
        0..3_u8,
        flag(),
        proptest::bool::weighted(0.2),
        flag(),
        flag(),
    );
    (
        proptest::collection::vec(broker, 1..9),
        1..6_usize,
        proptest::sample::select(vec!["1", "3", "5"]),
    )
        .prop_map(|(brokers, voters_count, wanted)| Scene {
            brokers,
            voters_count,
            wanted,
        })
}

impl Scene {
    /// Broker 1 leads.
    fn build(&self) -> (Harness, Electorate) {
        let mut harness = Harness::created();
        let mut seen = Electorate {
            leader: BrokerId(1),
            ..Electorate::default()
        };
        for (at, (rack, is_alive, is_leaving, is_overdue, is_caught_up)) in (1..).zip(&self.brokers)
        {
            let rack = if *rack == 0 {
                String::new()
            } else {
                format!("r{rack}")
            };
            harness.add_live_broker(at, &rack);
            let id = BrokerId(at);
            if !is_alive {
                harness.fence(at);
            }
            if *is_leaving {
                // The last one is refused.
                let _ = harness.commit(&Command::DecommissionBroker { id });
            }
            if *is_overdue {
                seen.overdue.insert(id);
            }
            if *is_caught_up || at == 1 {
                seen.caught_up.insert(id);
            }
            if (at as usize) <= self.voters_count {
                seen.voters.insert(id);
            }
        }
        want(&mut harness, self.wanted);
        (harness, seen)
    }
}

fn has_live_majority(image: &Image, voters: &BTreeSet<BrokerId>) -> bool {
    let is_alive = |id: &&BrokerId| **id == BrokerId(1) || image.is_alive(**id);
    voters.iter().filter(is_alive).count() > voters.len() / 2
}

proptest! {
    #[test]
    fn plans_keep_a_live_majority_come_to_an_end_and_move_little(scene in any_scene()) {
        let (harness, mut seen) = scene.build();
        let image = harness.image();
        let begins_alive = has_live_majority(image, &seen.voters);
        let first = seen.voters.clone();
        let mut rounds = 0;
        loop {
            let plan = plan_voters(image, &seen);
            prop_assert!(!plan.is_empty());
            prop_assert!(plan.contains(&seen.leader), "a leader does not remove itself");
            if plan == seen.voters {
                break;
            }
            prop_assert!(begins_alive, "without a majority nothing can be changed");
            prop_assert!(has_live_majority(image, &plan), "{:?} to {plan:?}", seen.voters);
            for id in plan.difference(&seen.voters) {
                prop_assert!(seen.caught_up.contains(id), "{id} has not the log");
                prop_assert!(image.is_alive(*id) && !image.broker(*id).unwrap().is_decommissioned);
            }
            seen.voters = plan;
            rounds += 1;
            prop_assert!(rounds <= 12, "still at it: {:?}", seen.voters);
        }
        let is_wanted = |id: &&BrokerId| {
            image.broker(**id).is_some_and(|known| !known.is_decommissioned)
                && (!seen.overdue.contains(id) || image.is_alive(**id))
        };
        let fitting = first.iter().filter(is_wanted).count();
        let kept = first.intersection(&seen.voters).filter(is_wanted).count();
        if first.len() <= scene.wanted.parse::<usize>().unwrap() {
            prop_assert_eq!(kept, fitting, "who fits stays: {:?}", first);
        }
        prop_assert_eq!(plan_voters(image, &seen), seen.voters);
    }
}
