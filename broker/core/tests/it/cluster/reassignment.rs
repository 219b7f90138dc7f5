//! `SetReplicas` and `CompleteReassignment`.

use raftmq_core::cluster::{ClusterError, Command, Outcome};
use raftmq_core::{BrokerId, Effect, GroupNumber};

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

fn complete(group: GroupNumber, replicas: &[u32]) -> Command {
    Command::CompleteReassignment {
        group,
        replicas: brokers(replicas),
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
fn a_running_reassignment_can_neither_turn_elsewhere_nor_back() {
    let (mut harness, group) = led_partition();
    harness.accept(&set(group, &[4, 5, 1]));
    let before = harness.cluster.clone();

    for other in [[1, 2, 5], [1, 2, 3]] {
        let refused = harness.refuse(&set(group, &other));
        assert_eq!(refused, ClusterError::ReassignmentRunning { group });
    }

    assert_eq!(harness.cluster, before);
}

#[test]
fn another_order_of_the_same_replicas_is_a_target() {
    let (mut harness, group) = led_partition();

    harness.accept(&set(group, &[3, 2, 1]));

    assert_eq!(harness.partition(group).target, Some(brokers(&[3, 2, 1])));
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
