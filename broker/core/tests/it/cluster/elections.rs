//! Which groups need a leader, and whom to have elected.

use std::collections::BTreeMap;

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use raftmq_core::cluster::Command;
use raftmq_core::cluster::election::{
    Disowned, ElectionOrder, Survivor, VoteInfo, leaderless_groups, plan_elections,
};
use raftmq_core::{BrokerId, GroupNumber, LogIndex, Term};

use crate::support::cluster::{Harness, brokers, report_isr};

fn vote(term: u64, voted_for: u32) -> VoteInfo {
    VoteInfo {
        term: Term(term),
        voted_for: Some(BrokerId(voted_for)),
        is_committed: true,
    }
}

/// A survivor that followed broker 1 in term 1, with a log up to `log_index` of that term.
fn survivor(broker: u32, log_index: u64) -> Survivor {
    Survivor {
        broker: BrokerId(broker),
        vote: vote(1, 1),
        last_log: Some((Term(1), LogIndex(log_index))),
        is_recovering: false,
        is_leading: false,
    }
}

/// Three brokers and one partition whose leader, broker 1, was fenced.
fn dead_leader() -> (Harness, GroupNumber) {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[1, 2, 3]);
    harness.lead(group, 1, 1);
    harness.fence(1);
    (harness, group)
}

fn plan(harness: &Harness, group: GroupNumber, survivors: &[Survivor]) -> Option<ElectionOrder> {
    let replies = BTreeMap::from([(group, survivors.to_vec())]);
    let mut orders = plan_elections(harness.image(), &Disowned::new(), &replies);
    assert!(orders.len() <= 1);
    orders.pop()
}

fn candidate(harness: &Harness, group: GroupNumber, survivors: &[Survivor]) -> Option<u32> {
    plan(harness, group, survivors).map(|order| order.candidate.0)
}

#[test]
fn a_new_group_has_no_leader() {
    let mut harness = Harness::with_brokers(1);
    let groups = harness.add_topic("logs", 3, 1);

    assert_eq!(leaderless_groups(harness.image(), &Disowned::new()), groups);
}

#[test]
fn a_group_with_a_live_leader_is_left_alone() {
    let mut harness = Harness::with_brokers(3);
    let groups = harness.add_topic("logs", 3, 3);
    harness.lead(groups[1], 2, 1);

    assert_eq!(
        leaderless_groups(harness.image(), &Disowned::new()),
        vec![groups[0], groups[2]]
    );
}

#[test]
fn a_group_whose_leader_was_fenced_needs_one() {
    let (harness, group) = dead_leader();

    assert_eq!(
        leaderless_groups(harness.image(), &Disowned::new()),
        vec![group]
    );
}

#[test]
fn a_group_without_a_live_replica_has_to_wait() {
    let mut harness = Harness::with_brokers(2);
    harness.add_partition_on("logs", &[1]);

    harness.fence(1);

    assert_eq!(leaderless_groups(harness.image(), &Disowned::new()), vec![]);
}

#[test]
fn a_replica_that_is_to_come_counts_as_a_survivor() {
    let mut harness = Harness::with_brokers(2);
    let group = harness.add_partition_on("logs", &[1]);
    harness.accept(&Command::SetReplicas {
        group,
        target: brokers(&[2]),
    });

    harness.fence(1);

    assert_eq!(
        leaderless_groups(harness.image(), &Disowned::new()),
        vec![group]
    );
}

/// The voters may be others by now than the in-sync replicas of the image.
#[test]
fn while_replicas_move_the_most_complete_log_wins_in_sync_or_not() {
    let mut harness = Harness::with_brokers(4);
    let group = harness.add_partition_on("logs", &[1, 2]);
    harness.lead(group, 1, 1);
    harness.accept(&Command::SetReplicas {
        group,
        target: brokers(&[3, 4]),
    });
    harness.fence(1);
    let survivors = [survivor(2, 10), survivor(3, 10), survivor(4, 11)];

    assert_eq!(candidate(&harness, group, &survivors), Some(4));
    let still_learning = Survivor {
        is_recovering: true,
        ..survivor(4, 11)
    };
    let survivors = [survivor(2, 10), survivor(3, 10), still_learning];
    assert_eq!(candidate(&harness, group, &survivors), Some(2));
}

#[test]
fn the_order_names_the_vote_that_it_replaces() {
    let (harness, group) = dead_leader();

    let order = plan(&harness, group, &[survivor(2, 10), survivor(3, 10)]);

    assert_eq!(
        order,
        Some(ElectionOrder {
            group,
            candidate: BrokerId(2),
            replaced_vote: vote(1, 1)
        })
    );
}

#[test]
fn the_newest_vote_of_all_survivors_is_replaced() {
    let (harness, group) = dead_leader();
    let newer = VoteInfo {
        term: Term(4),
        voted_for: Some(BrokerId(3)),
        is_committed: false,
    };
    let third = Survivor {
        vote: newer,
        ..survivor(3, 5)
    };

    let order = plan(&harness, group, &[survivor(2, 10), third]).unwrap();

    assert_eq!(order.candidate, BrokerId(2));
    assert_eq!(order.replaced_vote, newer);
}

#[test]
fn the_more_complete_log_wins() {
    let (harness, group) = dead_leader();

    assert_eq!(
        candidate(&harness, group, &[survivor(2, 10), survivor(3, 11)]),
        Some(3)
    );
    let newer_term = Survivor {
        last_log: Some((Term(2), LogIndex(3))),
        ..survivor(3, 0)
    };
    assert_eq!(
        candidate(&harness, group, &[survivor(2, 10), newer_term]),
        Some(3)
    );
}

/// A survivor whose leader is gone for good.
fn orphan(broker: u32) -> Survivor {
    Survivor {
        vote: vote(1, 4),
        ..survivor(broker, 10)
    }
}

#[test]
fn among_equals_the_preferred_order_decides() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[3, 1, 2]);

    let all = [1, 2, 3].map(orphan);

    assert_eq!(candidate(&harness, group, &all), Some(3));
    assert_eq!(candidate(&harness, group, &all[..2]), Some(1));
}

/// A leader whose disk hung, and that crashed, lost what the two others committed without it.
#[test]
fn the_only_in_sync_replica_is_passed_over_when_its_log_is_behind() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[1, 2, 3]);
    harness.lead(group, 1, 1);
    harness.accept(&report_isr(group, 1, &[1, 2]));
    harness.fence(1);

    let survivors = [survivor(2, 10), survivor(3, 12)];

    assert_eq!(candidate(&harness, group, &survivors), Some(3));
    assert_eq!(candidate(&harness, group, &survivors[..1]), Some(2));
}

/// It may lead still, suspended: then the others cannot win without its vote, which it does not give.
#[test]
fn of_equal_logs_the_one_of_the_last_winner_wins() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[1, 2, 3]);
    harness.lead(group, 2, 5);
    harness.fence(2);
    harness.unfence(2);
    let survivors = [1, 2, 3].map(|broker| Survivor {
        vote: vote(5, 2),
        ..survivor(broker, 10)
    });
    let longer = Survivor {
        last_log: Some((Term(5), LogIndex(11))),
        ..survivors[2]
    };

    assert_eq!(candidate(&harness, group, &survivors), Some(2));
    let survivors = [survivors[0], survivors[1], longer];
    assert_eq!(candidate(&harness, group, &survivors), Some(3));
}

#[test]
fn of_equal_logs_an_in_sync_replica_s_wins() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[1, 2, 3]);
    harness.lead(group, 1, 1);
    harness.accept(&report_isr(group, 1, &[1, 3]));
    harness.fence(1);

    let survivors = [survivor(2, 10), survivor(3, 10)];

    assert_eq!(candidate(&harness, group, &survivors), Some(3));
}

#[test]
fn a_recovering_replica_never_leads() {
    let (harness, group) = dead_leader();
    let recovering = Survivor {
        is_recovering: true,
        ..survivor(2, 99)
    };

    assert_eq!(
        candidate(&harness, group, &[recovering, survivor(3, 1)]),
        Some(3)
    );
    assert_eq!(candidate(&harness, group, &[recovering]), None);
}

#[test]
fn a_fenced_replica_is_not_asked_to_lead() {
    let (mut harness, group) = dead_leader();
    harness.fence(2);

    let order = plan(&harness, group, &[survivor(2, 99), survivor(3, 1)]);

    assert_eq!(order.map(|order| order.candidate.0), Some(3));
}

#[test]
fn a_stranger_is_not_asked_to_lead() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[1, 2]);

    assert_eq!(
        candidate(&harness, group, &[survivor(3, 99), survivor(2, 1)]),
        Some(2)
    );
    assert_eq!(candidate(&harness, group, &[survivor(3, 99)]), None);
}

#[test]
fn nobody_is_chosen_when_nobody_answered() {
    let (harness, group) = dead_leader();

    assert_eq!(plan(&harness, group, &[]), None);
    assert_eq!(
        plan_elections(harness.image(), &Disowned::new(), &BTreeMap::new()),
        vec![]
    );
}

/// An open replica of a group that has never had a leader.
fn newborn(broker: u32) -> Survivor {
    Survivor {
        vote: VoteInfo::default(),
        last_log: Some((Term(0), LogIndex(0))),
        ..survivor(broker, 0)
    }
}

#[test]
fn a_first_election_waits_until_every_live_replica_is_open() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[2, 1, 3]);

    assert_eq!(candidate(&harness, group, &[newborn(1), newborn(3)]), None);
    let all = [newborn(1), newborn(2), newborn(3)];
    assert_eq!(candidate(&harness, group, &all), Some(2));
    harness.fence(2);
    assert_eq!(candidate(&harness, group, &all), Some(1));
    assert_eq!(
        candidate(&harness, group, &[newborn(1), newborn(3)]),
        Some(1)
    );
}

#[test]
fn a_replica_with_an_empty_log_is_not_asked_to_lead() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[1, 2, 3]);
    let empty = Survivor {
        last_log: None,
        ..newborn(1)
    };

    let survivors = [empty, newborn(2), newborn(3)];

    assert_eq!(candidate(&harness, group, &survivors), Some(2));
    assert_eq!(
        candidate(&harness, group, &[empty, survivor(2, 5)]),
        Some(2)
    );
    assert_eq!(candidate(&harness, group, &[empty]), None);
}

#[test]
fn a_leader_that_disowns_its_group_is_replaced() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("logs", &[1, 2, 3]);
    harness.lead(group, 1, 1);
    let replies = BTreeMap::from([(group, vec![survivor(1, 5), survivor(2, 6)])]);
    let none = Disowned::new();
    let by_leader = Disowned::from([(group, BrokerId(1))]);
    let by_another = Disowned::from([(group, BrokerId(2))]);

    assert_eq!(leaderless_groups(harness.image(), &none), vec![]);
    assert_eq!(leaderless_groups(harness.image(), &by_another), vec![]);
    assert_eq!(leaderless_groups(harness.image(), &by_leader), vec![group]);
    assert_eq!(plan_elections(harness.image(), &none, &replies), vec![]);
    let orders = plan_elections(harness.image(), &by_leader, &replies);
    assert_eq!(orders[0].candidate, BrokerId(2));
}

#[test]
fn a_group_that_is_led_again_is_left_alone() {
    let (mut harness, group) = dead_leader();
    harness.lead(group, 2, 2);

    assert_eq!(
        plan(&harness, group, &[survivor(2, 10), survivor(3, 10)]),
        None
    );
}

#[test]
fn a_survivor_that_leads_in_the_newest_term_will_report_itself() {
    let (harness, group) = dead_leader();
    let leading = Survivor {
        vote: vote(2, 3),
        is_leading: true,
        ..survivor(3, 10)
    };

    assert_eq!(plan(&harness, group, &[survivor(2, 10), leading]), None);
}

#[test]
fn a_survivor_that_leads_in_an_older_term_does_not_count() {
    let (harness, group) = dead_leader();
    let old = Survivor {
        vote: vote(1, 3),
        is_leading: true,
        ..survivor(3, 10)
    };
    let newer = Survivor {
        vote: vote(2, 2),
        ..survivor(2, 10)
    };

    assert_eq!(candidate(&harness, group, &[newer, old]), Some(2));
}

#[test]
fn a_restarted_leader_that_holds_its_own_vote_is_elected_anew() {
    let mut harness = Harness::with_brokers(1);
    let group = harness.add_partition_on("logs", &[1]);

    assert_eq!(candidate(&harness, group, &[survivor(1, 10)]), Some(1));
}

#[test]
fn an_unknown_group_is_left_out() {
    let (harness, _) = dead_leader();
    let replies = BTreeMap::from([(GroupNumber(99), vec![survivor(2, 1)])]);

    assert_eq!(
        plan_elections(harness.image(), &Disowned::new(), &replies),
        vec![]
    );
}

#[test]
fn many_groups_are_planned_in_one_go() {
    let mut harness = Harness::with_brokers(3);
    let groups = harness.add_topic("logs", 30, 3);
    let replies: BTreeMap<GroupNumber, Vec<Survivor>> = groups
        .iter()
        .map(|group| (*group, [1, 2, 3].map(orphan).to_vec()))
        .collect();

    let orders = plan_elections(harness.image(), &Disowned::new(), &replies);

    assert_eq!(orders.len(), 30);
    for order in orders {
        let preferred = harness.partition(order.group).replicas[0];
        assert_eq!(order.candidate, preferred);
    }
}

proptest! {
    #[test]
    fn the_candidate_has_the_longest_log_of_the_in_sync_ones(
        logs in proptest::collection::vec((0..3_u64, 0..5_u64, any::<bool>()), 3),
    ) {
        let mut harness = Harness::with_brokers(3);
        let group = harness.add_partition_on("logs", &[1, 2, 3]);
        let survivors: Vec<Survivor> = (1..)
            .zip(&logs)
            .map(|(broker, (term, log_index, is_recovering))| Survivor {
                last_log: Some((Term(*term), LogIndex(*log_index))),
                is_recovering: *is_recovering,
                ..survivor(broker, 0)
            })
            .collect();

        let order = plan(&harness, group, &survivors);

        let able = || survivors.iter().filter(|survivor| !survivor.is_recovering);
        prop_assert_eq!(order.is_some(), able().count() > 0);
        if let Some(order) = order {
            let chosen = able().find(|survivor| survivor.broker == order.candidate).unwrap();
            prop_assert!(able().all(|survivor| survivor.last_log <= chosen.last_log));
        }
    }
}
