//! `SetReplicas`, `CancelReassignment` and `CompleteReassignment`.

use raftmq_core::cluster::{Cluster, ClusterError, Command, Outcome};
use raftmq_core::{BrokerId, Effect, GroupNumber, LogIndex, Machine, Term};

use crate::support::cluster::{Harness, brokers, report_isr, report_leader};

/// Five brokers and one partition on the first three, led by broker 1.
fn led_partition() -> (Harness, GroupNumber) {
    let mut harness = Harness::with_brokers(5);
    let group = harness.add_partition_on("logs", &[1, 2, 3]);
    harness.lead(group, 1, 1);
    (harness, group)
}

fn set(group: GroupNumber, target: &[u32]) -> Command {
    Command::SetReplicas {
        group,
        target: brokers(target),
    }
}

/// The completion of the first reassignment.
fn complete(group: GroupNumber, replicas: &[u32]) -> Command {
    complete_of(group, replicas, 1)
}

fn complete_of(group: GroupNumber, replicas: &[u32], move_epoch: u64) -> Command {
    Command::CompleteReassignment {
        group,
        replicas: brokers(replicas),
        move_epoch,
        membership: None,
    }
}

#[test]
fn a_reassignment_starts_with_a_target() {
    let (mut harness, group) = led_partition();

    let applied = harness.commit(&set(group, &[4, 5, 1]));

    assert_eq!(applied.reply, Ok(Outcome::Done));
    assert_eq!(
        applied.effects,
        vec![Effect::GroupChanged { group }, Effect::ImageChanged]
    );
    let partition = harness.partition(group);
    assert_eq!(partition.replicas, brokers(&[1, 2, 3]));
    assert_eq!(partition.target, Some(brokers(&[4, 5, 1])));
    assert_eq!(partition.adding, brokers(&[4, 5]));
    assert_eq!(partition.removing, brokers(&[2, 3]));
    assert_eq!(partition.move_epoch, 1);
    assert_eq!(partition.leader, Some(BrokerId(1)));
    assert!(partition.has_replica(BrokerId(4)));
    assert!(partition.has_replica(BrokerId(2)));
    assert_eq!(
        partition.all_replicas().collect::<Vec<_>>(),
        brokers(&[1, 2, 3, 4, 5])
    );
}

#[test]
fn the_same_target_again_changes_nothing() {
    let (mut harness, group) = led_partition();
    harness.accept(&set(group, &[4, 5, 1]));
    let before = harness.cluster.clone();

    let again = harness.commit(&set(group, &[4, 5, 1]));

    assert_eq!(again.reply, Ok(Outcome::Done));
    assert_eq!(again.effects, vec![]);
    assert_eq!(harness.cluster, before);
}

/// Brokers of the first target may vote already: dropped from the image, they would be wiped.
#[test]
fn a_redirected_reassignment_keeps_everybody_who_may_vote() {
    let (mut harness, group) = led_partition();
    harness.accept(&set(group, &[4, 2, 1]));

    harness.accept(&set(group, &[1, 2, 5]));

    let partition = harness.partition(group);
    assert_eq!(partition.replicas, brokers(&[1, 2, 3]));
    assert_eq!(partition.target, Some(brokers(&[1, 2, 5])));
    assert_eq!(partition.adding, brokers(&[5]));
    assert_eq!(partition.removing, brokers(&[3, 4]));
    assert_eq!(partition.move_epoch, 2);
    assert!((1..=5).all(|id| partition.has_replica(BrokerId(id))));
}

#[test]
fn a_cancelled_reassignment_goes_back_and_keeps_everybody_until_it_is_there() {
    let (mut harness, group) = led_partition();
    harness.accept(&set(group, &[4, 5, 1]));

    let cancelled = harness.commit(&Command::CancelReassignment { group });

    assert_eq!(cancelled.reply, Ok(Outcome::Done));
    let partition = harness.partition(group);
    assert_eq!(partition.target, Some(brokers(&[1, 2, 3])));
    assert_eq!(partition.adding, brokers(&[]));
    assert_eq!(partition.removing, brokers(&[4, 5]));
    assert!(partition.has_replica(BrokerId(4)));

    harness.accept(&complete_of(group, &[1, 2, 3], 2));
    let partition = harness.partition(group);
    assert_eq!(partition.target, None);
    assert_eq!(partition.replicas, brokers(&[1, 2, 3]));
    assert!(!partition.has_replica(BrokerId(4)));
    assert_eq!(partition.leader, Some(BrokerId(1)));
}

#[test]
fn cancelling_twice_changes_nothing_and_cancelling_nothing_is_refused() {
    let (mut harness, group) = led_partition();
    let cancel = Command::CancelReassignment { group };

    let refused = harness.refuse(&cancel);
    assert_eq!(refused, ClusterError::NoReassignment { group });

    harness.accept(&set(group, &[4, 5, 1]));
    harness.accept(&cancel);
    let before = harness.cluster.clone();
    let again = harness.commit(&cancel);
    assert_eq!(again.reply, Ok(Outcome::Done));
    assert_eq!(again.effects, vec![]);
    assert_eq!(harness.cluster, before);
}

/// It may be about a membership that the group has left again.
#[test]
fn a_completion_of_a_target_that_was_given_up_is_refused_although_the_replicas_fit() {
    let (mut harness, group) = led_partition();
    harness.accept(&set(group, &[1, 2, 4]));
    harness.accept(&set(group, &[1, 2, 5]));
    harness.accept(&set(group, &[1, 2, 4]));

    let late = harness.refuse(&complete_of(group, &[1, 2, 4], 1));

    assert_eq!(late, ClusterError::ReassignmentMismatch { group });
    harness.accept(&complete_of(group, &[1, 2, 4], 3));
    assert!(!harness.partition(group).has_replica(BrokerId(5)));
}

#[test]
fn replicas_that_cannot_have_a_majority_are_refused() {
    let (mut harness, group) = led_partition();
    harness.fence(2);
    harness.fence(3);

    let refused = harness.refuse(&set(group, &[1, 2, 3, 4, 5][..2]));
    let lost = ClusterError::QuorumLost {
        group,
        alive_count: 1,
        required_count: 2,
    };
    assert_eq!(refused, lost);
    harness.accept(&set(group, &[1, 2, 4]));
    harness.fence(1);
    let refused = harness.refuse(&Command::CancelReassignment { group });
    let lost = ClusterError::QuorumLost {
        group,
        alive_count: 0,
        required_count: 2,
    };
    assert_eq!(refused, lost);
}

#[test]
fn another_order_of_the_same_replicas_is_set_at_once() {
    let (mut harness, group) = led_partition();

    harness.accept(&set(group, &[3, 2, 1]));

    let partition = harness.partition(group);
    assert_eq!(partition.replicas, brokers(&[3, 2, 1]));
    assert_eq!(partition.target, None);
    assert_eq!(partition.leader, Some(BrokerId(1)));
}

#[test]
fn the_replication_factor_may_change() {
    let (mut harness, group) = led_partition();

    harness.accept(&set(group, &[1, 2, 3, 4, 5]));
    harness.accept(&complete(group, &[1, 2, 3, 4, 5]));

    assert_eq!(harness.partition(group).replicas.len(), 5);
}

#[test]
fn a_target_must_make_sense() {
    let (mut harness, group) = led_partition();

    let unknown = harness.refuse(&set(group, &[1, 9]));
    assert_eq!(
        unknown,
        ClusterError::UnknownBroker {
            broker: BrokerId(9)
        }
    );
    for target in [&[][..], &[1, 1]] {
        let refused = harness.refuse(&set(group, target));
        assert!(
            matches!(refused, ClusterError::InvalidAssignment { .. }),
            "{refused}"
        );
    }
}

#[test]
fn a_fenced_broker_gets_no_new_replica_but_may_keep_its_own() {
    let (mut harness, group) = led_partition();
    harness.fence(3);
    harness.fence(4);

    let refused = harness.refuse(&set(group, &[1, 2, 4]));
    assert_eq!(
        refused,
        ClusterError::BrokerFenced {
            broker: BrokerId(4)
        }
    );
    harness.accept(&set(group, &[1, 3, 5]));
}

#[test]
fn a_completed_reassignment_replaces_the_replicas() {
    let (mut harness, group) = led_partition();
    harness.accept(&set(group, &[4, 5, 1]));
    harness.accept(&report_isr(group, 1, &[1, 4, 5, 2]));

    let applied = harness.commit(&complete(group, &[4, 5, 1]));

    assert_eq!(applied.reply, Ok(Outcome::Done));
    let partition = harness.partition(group);
    assert_eq!(partition.replicas, brokers(&[4, 5, 1]));
    assert_eq!(partition.target, None);
    assert_eq!(partition.isr, brokers(&[1, 4, 5]));
    assert_eq!(partition.leader, Some(BrokerId(1)));
}

#[test]
fn a_completed_reassignment_says_with_which_membership() {
    let (mut harness, group) = led_partition();
    let completed_at = |membership| Command::CompleteReassignment {
        group,
        replicas: brokers(&[4, 5, 1]),
        move_epoch: 1,
        membership,
    };
    let membership = Some((Term(3), LogIndex(70)));
    harness.accept(&set(group, &[4, 5, 1]));
    assert_eq!(harness.partition(group).settled_at, None);

    harness.accept(&completed_at(membership));

    assert_eq!(harness.partition(group).settled_at, membership);
    harness.accept(&set(group, &[1, 4, 2]));
    harness.accept(&complete_of(group, &[1, 4, 2], 2));
    let settled_at = harness.partition(group).settled_at;
    assert_eq!(
        settled_at, membership,
        "a broker of an older version says nothing"
    );
    harness.persist();
    let restored = Cluster::restore(harness.rows.iter()).unwrap();
    assert_eq!(
        restored.image().partition(group).unwrap().settled_at,
        settled_at
    );
}

#[test]
fn a_leader_that_is_no_replica_any_more_leads_no_more() {
    let (mut harness, group) = led_partition();
    harness.accept(&set(group, &[4, 5]));
    harness.accept(&report_isr(group, 1, &[1, 4, 5]));

    harness.accept(&complete(group, &[4, 5]));

    let partition = harness.partition(group);
    assert_eq!(partition.leader, None);
    assert_eq!(partition.isr, brokers(&[4, 5]));
}

#[test]
fn when_nobody_stays_the_new_replicas_are_in_sync() {
    let (mut harness, group) = led_partition();
    harness.accept(&set(group, &[5, 4]));

    harness.accept(&complete(group, &[5, 4]));

    assert_eq!(harness.partition(group).isr, brokers(&[4, 5]));
}

#[test]
fn completing_again_changes_nothing() {
    let (mut harness, group) = led_partition();
    harness.accept(&set(group, &[4, 5, 1]));
    harness.accept(&complete(group, &[4, 5, 1]));
    let before = harness.cluster.clone();

    let again = harness.commit(&complete(group, &[4, 5, 1]));

    assert_eq!(again.reply, Ok(Outcome::Done));
    assert_eq!(again.effects, vec![]);
    assert_eq!(harness.cluster, before);
}

#[test]
fn completing_something_else_is_refused() {
    let (mut harness, group) = led_partition();
    let mismatch = ClusterError::ReassignmentMismatch { group };

    assert_eq!(
        harness.refuse(&complete(group, &[4, 5, 1])),
        mismatch,
        "none runs"
    );
    harness.accept(&set(group, &[4, 5, 1]));
    assert_eq!(
        harness.refuse(&complete(group, &[4, 5])),
        mismatch,
        "another target"
    );
    assert_eq!(
        harness.refuse(&complete(group, &[1, 2, 3])),
        mismatch,
        "not there yet"
    );
}

#[test]
fn a_target_replica_may_lead_already() {
    let (mut harness, group) = led_partition();
    harness.accept(&set(group, &[4, 5, 1]));

    harness.accept(&report_leader(group, 4, 2));

    assert_eq!(harness.partition(group).leader, Some(BrokerId(4)));
}
