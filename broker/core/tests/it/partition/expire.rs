//! `ExpireProducers`: silent producers are forgotten, others are not.

use raftmq_core::partition::{Command, Decision, Reply};
use raftmq_core::{Offset, ProducerId};

use crate::support::NOW_MS;
use crate::support::batch::{from_producer, plain};
use crate::support::partition::Harness;

/// Producer 1 is an hour older than producer 2.
fn two_producers() -> Harness {
    let mut harness = Harness::default();
    harness.append(&[from_producer(1, 0, 1)]);
    harness.now_ms += 3_600_000;
    harness.append(&[from_producer(2, 0, 1)]);
    harness
}

#[test]
fn a_silent_producer_is_forgotten() {
    let mut harness = two_producers();
    let command = Command::ExpireProducers {
        idle_before_ms: NOW_MS + 1,
    };

    let applied = harness.commit(command.encode());

    assert_eq!(applied.reply, Reply::ProducersExpired { count: 1 });
    assert_eq!(applied.effects, vec![]);
    assert_eq!(harness.partition.producer(ProducerId(1)), None);
    assert!(harness.partition.producer(ProducerId(2)).is_some());
}

#[test]
fn a_producer_that_appended_at_that_very_time_stays() {
    let mut harness = two_producers();
    let command = Command::ExpireProducers {
        idle_before_ms: NOW_MS,
    };

    let applied = harness.commit(command.encode());

    assert_eq!(applied.reply, Reply::ProducersExpired { count: 0 });
    assert_eq!(harness.partition.producers_count(), 2);
}

#[test]
fn expiring_again_changes_nothing() {
    let mut harness = two_producers();
    let command = Command::ExpireProducers {
        idle_before_ms: NOW_MS + 1,
    };
    harness.commit(command.encode());

    let again = harness.commit(command.encode());

    assert_eq!(again.reply, Reply::ProducersExpired { count: 0 });
    assert_eq!(harness.partition.producers_count(), 1);
}

#[test]
fn a_new_append_makes_a_producer_young_again() {
    let mut harness = two_producers();
    harness.append(&[from_producer(1, 1, 1)]);
    let command = Command::ExpireProducers {
        idle_before_ms: NOW_MS + 1,
    };

    harness.commit(command.encode());

    assert_eq!(harness.partition.producers_count(), 2);
}

#[test]
fn a_forgotten_producer_may_go_on_with_any_sequence() {
    let mut harness = two_producers();
    let command = Command::ExpireProducers {
        idle_before_ms: i64::MAX,
    };
    harness.commit(command.encode());

    let decision = harness.produce(from_producer(1, 9, 1));

    assert_eq!(
        decision,
        Ok(Decision::Append {
            base_offset: Offset(2)
        })
    );
}

#[test]
fn the_partition_says_when_there_is_somebody_to_forget() {
    let harness = two_producers();

    let command = harness.partition.expire_producers_command(3_599_999);
    assert_eq!(
        command,
        Some(Command::ExpireProducers {
            idle_before_ms: NOW_MS + 1
        })
    );
    assert_eq!(harness.partition.expire_producers_command(3_600_000), None);
    assert_eq!(harness.partition.expire_producers_command(i64::MAX), None);
}

#[test]
fn time_runs_with_the_log_not_with_a_clock() {
    let mut harness = Harness::default();
    harness.append(&[from_producer(1, 0, 1)]);
    assert_eq!(harness.partition.expire_producers_command(1_000), None);

    harness.now_ms += 1_001;
    harness.append(&[plain(1)]);

    assert!(harness.partition.expire_producers_command(1_000).is_some());
}
