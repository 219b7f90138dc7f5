//! Which leaderships move although their leaders live; and the draining that makes them.

use std::collections::BTreeSet;

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use raftmq_core::cluster::election::{Disowned, Survivor, VoteInfo, plan_elections};
use raftmq_core::cluster::leadership::{
    LeadershipMove, MoveLimits, MovePlan, leaders_counts, plan_moves, skewed_count,
};
use raftmq_core::cluster::{Cluster, ClusterError, Command};
use raftmq_core::{BrokerId, Effect, GroupNumber, LogIndex, Machine, Term};

use crate::support::cluster::{Harness, brokers, register, report_isr};

/// No bound, preferred leaders restored, brokers 1 to 9 take leaderships.
fn limits() -> MoveLimits {
    MoveLimits {
        moves_max: usize::MAX,
        restores_preferred: true,
        busy: BTreeSet::new(),
        takers: (1..10).map(BrokerId).collect(),
    }
}

fn drain(harness: &mut Harness, id: u32, is_draining: bool) -> Vec<Effect> {
    let id = BrokerId(id);
    let applied = harness.commit(&Command::SetBrokerDraining { id, is_draining });
    assert!(applied.reply.is_ok(), "{applied:?}");
    applied.effects
}

fn to(group: GroupNumber, from: u32, epoch: u64, to: u32) -> LeadershipMove {
    LeadershipMove {
        group,
        from: BrokerId(from),
        leader_epoch: Term(epoch),
        to: BrokerId(to),
    }
}

fn planned(moves: Vec<LeadershipMove>) -> MovePlan {
    MovePlan {
        moves,
        waiting_count: 0,
    }
}

/// Three brokers, one partition of theirs in which all are in sync, led by `leader` in epoch 4.
fn led_by(leader: u32) -> (Harness, GroupNumber) {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[1, 2, 3]);
    harness.lead(group, leader, 4);
    harness.accept(&report_isr(group, 4, &[1, 2, 3]));
    (harness, group)
}

#[test]
fn a_leadership_goes_home_to_the_preferred_replica() {
    let (harness, group) = led_by(2);

    assert_eq!(
        plan_moves(harness.image(), &limits()),
        planned(vec![to(group, 2, 4, 1)])
    );
    assert_eq!(skewed_count(harness.image()), 1);
}

#[test]
fn a_preferred_leader_stays() {
    let (harness, _) = led_by(1);

    assert_eq!(plan_moves(harness.image(), &limits()), MovePlan::default());
    assert_eq!(skewed_count(harness.image()), 0);
}

#[test]
fn nothing_goes_home_when_that_is_switched_off() {
    let (harness, _) = led_by(2);
    let limits = MoveLimits {
        restores_preferred: false,
        ..limits()
    };

    assert_eq!(plan_moves(harness.image(), &limits), MovePlan::default());
}

#[test]
fn a_preferred_replica_that_is_out_of_sync_or_fenced_or_stopping_gets_nothing() {
    let (mut lagging, group) = led_by(2);
    lagging.accept(&report_isr(group, 4, &[2, 3]));
    let (mut fenced, _) = led_by(2);
    fenced.fence(1);
    let (stopping, _) = led_by(2);
    let no_takers = MoveLimits {
        takers: brokers(&[2, 3]).into_iter().collect(),
        ..limits()
    };

    assert_eq!(plan_moves(lagging.image(), &limits()), MovePlan::default());
    assert_eq!(plan_moves(fenced.image(), &limits()), MovePlan::default());
    assert_eq!(
        plan_moves(stopping.image(), &no_takers),
        MovePlan::default()
    );
}

#[test]
fn a_group_that_is_leaderless_or_being_reassigned_is_left_alone() {
    let (mut leaderless, _) = led_by(2);
    leaderless.fence(2);
    let (mut moving, group) = led_by(2);
    moving.add_live_broker(4, "");
    moving.accept(&Command::SetReplicas {
        group,
        target: brokers(&[1, 2, 4]),
    });

    assert_eq!(
        plan_moves(leaderless.image(), &limits()),
        MovePlan::default()
    );
    assert_eq!(plan_moves(moving.image(), &limits()), MovePlan::default());
}

#[test]
fn a_draining_broker_gives_everything_away_evenly_and_gets_nothing_back() {
    let mut harness = Harness::with_brokers(3);
    let mut groups = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let group = harness.add_partition_on(name, &[1, 2, 3]);
        harness.lead(group, 1, 1);
        harness.accept(&report_isr(group, 1, &[1, 2, 3]));
        groups.push(group);
    }

    drain(&mut harness, 1, true);

    let plan = plan_moves(harness.image(), &limits());
    assert_eq!(
        plan,
        planned(vec![
            to(groups[0], 1, 1, 2),
            to(groups[1], 1, 1, 3),
            to(groups[2], 1, 1, 2),
            to(groups[3], 1, 1, 3),
        ])
    );
    for one in plan.moves {
        harness.lead(one.group, one.to.0, 2);
    }
    assert_eq!(plan_moves(harness.image(), &limits()), MovePlan::default());
    assert_eq!(leaders_counts(harness.image()).get(&BrokerId(1)), None);

    drain(&mut harness, 1, false);
    assert_eq!(plan_moves(harness.image(), &limits()).moves.len(), 4);
}

#[test]
fn a_leadership_with_nowhere_to_go_stays_on_the_draining_broker() {
    let (mut harness, group) = led_by(1);
    harness.accept(&report_isr(group, 4, &[1]));

    drain(&mut harness, 1, true);

    assert_eq!(plan_moves(harness.image(), &limits()), MovePlan::default());
}

#[test]
fn drains_come_before_restores_and_the_rest_waits() {
    let mut harness = Harness::with_brokers(3);
    let home = harness.add_partition_on("home", &[1, 2]);
    let away = harness.add_partition_on("away", &[3, 2]);
    harness.lead(home, 2, 1);
    harness.lead(away, 3, 1);
    drain(&mut harness, 3, true);
    let one = MoveLimits {
        moves_max: 1,
        ..limits()
    };
    let busy = MoveLimits {
        busy: BTreeSet::from([away]),
        ..limits()
    };

    let first = plan_moves(harness.image(), &one);
    let beside = plan_moves(harness.image(), &busy);

    assert_eq!(first.moves, vec![to(away, 3, 1, 2)]);
    assert_eq!(first.waiting_count, 1);
    assert_eq!(beside.moves, vec![to(home, 2, 1, 1)]);
    assert_eq!(beside.waiting_count, 1);
}

#[test]
fn an_image_can_show_brokers_as_draining_that_only_stop() {
    let (harness, group) = led_by(1);

    let stopping = harness.image().with_draining([BrokerId(1), BrokerId(77)]);

    assert_eq!(
        plan_moves(&stopping, &limits()).moves,
        vec![to(group, 1, 4, 2)]
    );
    assert!(!harness.image().broker(BrokerId(1)).unwrap().is_draining);
}

#[test]
fn draining_is_remembered_through_restarts_and_repetition_changes_nothing() {
    let mut harness = Harness::with_brokers(3);
    let broker = BrokerId(2);

    let effects = drain(&mut harness, 2, true);
    let again = drain(&mut harness, 2, true);

    let expected = vec![Effect::BrokerChanged { broker }, Effect::ImageChanged];
    assert_eq!((effects, again), (expected, vec![]));
    harness.fence(2);
    harness.accept(&Command::RegisterBroker(register(2, 9, "")));
    harness.persist();
    assert!(harness.image().broker(broker).unwrap().is_draining);
    assert_eq!(
        Cluster::restore(harness.rows.iter()),
        Ok(harness.cluster.clone())
    );
    drain(&mut harness, 2, false);
    assert!(!harness.image().broker(broker).unwrap().is_draining);
}

#[test]
fn an_unknown_broker_cannot_drain() {
    let mut harness = Harness::with_brokers(1);
    let (id, is_draining) = (BrokerId(7), true);

    assert_eq!(
        harness.refuse(&Command::SetBrokerDraining { id, is_draining }),
        ClusterError::UnknownBroker { broker: id }
    );
}

/// A survivor of broker 1, which led in term 1, with a log up to `log_index`.
fn survivor(broker: u32, log_index: u64) -> Survivor {
    let vote = VoteInfo {
        term: Term(1),
        voted_for: Some(BrokerId(1)),
        is_committed: true,
    };
    Survivor {
        broker: BrokerId(broker),
        vote,
        last_log: Some((Term(1), LogIndex(log_index))),
        is_recovering: false,
        is_leading: false,
    }
}

fn candidate(harness: &Harness, group: GroupNumber, survivors: &[Survivor]) -> Option<u32> {
    let replies = [(group, survivors.to_vec())].into();
    let orders = plan_elections(harness.image(), &Disowned::new(), &replies);
    orders.first().map(|order| order.candidate.0)
}

#[test]
fn an_election_prefers_a_broker_that_does_not_drain_unless_its_log_is_shorter() {
    let (mut harness, group) = led_by(1);
    drain(&mut harness, 2, true);
    harness.fence(1);

    let equal = [survivor(2, 10), survivor(3, 10)];
    let shorter = [survivor(2, 10), survivor(3, 9)];

    assert_eq!(candidate(&harness, group, &equal), Some(3));
    assert_eq!(candidate(&harness, group, &shorter), Some(2));
    assert_eq!(candidate(&harness, group, &equal[..1]), Some(2));
}

proptest! {
    #[test]
    fn every_planned_move_is_allowed_and_plans_come_to_an_end(
        facts in proptest::collection::vec((0..120_usize, any::<u8>(), 0..3_usize), 1..20),
        fenced in any::<u8>(),
        draining in any::<u8>(),
        moves_max in 1..6_usize,
    ) {
        let mut harness = Harness::with_brokers(5);
        for (at, (order, in_sync, leader)) in facts.into_iter().enumerate() {
            let first = u32::try_from(order % 5).unwrap();
            let replicas = [first + 1, (first + 1) % 5 + 1, (first + 2) % 5 + 1];
            let group = harness.add_partition_on(&format!("t{at}"), &replicas);
            let leader = replicas[leader];
            harness.lead(group, leader, 1);
            let is_in_sync = |id: &u32| *id == leader || in_sync & (1 << id) != 0;
            let isr: Vec<u32> = replicas.iter().copied().filter(is_in_sync).collect();
            harness.accept(&report_isr(group, 1, &isr));
        }
        for id in (1..=5).filter(|id| draining & (1 << id) != 0) {
            drain(&mut harness, id, true);
        }
        for id in (1..=5).filter(|id| fenced & (1 << id) != 0 && fenced & (1 << (id - 1)) != 0) {
            harness.fence(id);
        }
        let limits = MoveLimits { moves_max, ..limits() };
        let mut epoch = 2;
        loop {
            let plan = plan_moves(harness.image(), &limits);
            prop_assert!(plan.moves.len() <= moves_max);
            prop_assert!(plan.waiting_count == 0 || plan.moves.len() == moves_max);
            if plan.moves.is_empty() {
                break;
            }
            for one in plan.moves {
                let partition = harness.partition(one.group);
                let taker = harness.image().broker(one.to).unwrap();
                prop_assert_eq!(partition.leader, Some(one.from));
                prop_assert!(one.from != one.to && partition.isr.contains(&one.to));
                prop_assert!(!taker.is_fenced && !taker.is_draining);
                harness.lead(one.group, one.to.0, epoch);
            }
            epoch += 1;
            prop_assert!(epoch < 60, "each leadership moves once");
        }
        for partition in harness.image().partitions.values() {
            let Some(leader) = partition.leader else { continue };
            let could = |id: &&BrokerId| {
                let broker = harness.image().broker(**id).unwrap();
                partition.isr.contains(*id) && !broker.is_fenced && !broker.is_draining
            };
            let drains = harness.image().broker(leader).unwrap().is_draining;
            let has_taker = partition.replicas.iter().any(|id| could(&id));
            prop_assert!(!drains || !has_taker, "nothing is left on a draining broker");
        }
    }
}
