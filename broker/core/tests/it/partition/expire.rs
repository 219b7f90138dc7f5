//! `ExpireProducers`: silent producers are forgotten, others are not.

use raftmq_core::limits::{PRODUCERS_COUNT_MAX, PRODUCERS_EVICTED_COUNT};
use raftmq_core::partition::{Command, Decision, Partition, Reply};
use raftmq_core::{Machine, Offset, ProducerId};

use crate::support::NOW_MS;
use crate::support::batch::{BatchSpec, from_producer};
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
    let command = |now_ms, expiration_ms| {
        let partition = &harness.partition;
        partition.expire_producers_command(now_ms, expiration_ms)
    };

    assert_eq!(
        command(harness.now_ms, 3_599_999),
        Some(Command::ExpireProducers {
            idle_before_ms: NOW_MS + 1
        })
    );
    assert_eq!(command(harness.now_ms, 3_600_000), None);
    assert_eq!(command(harness.now_ms, i64::MAX), None);
}

#[test]
fn time_runs_on_where_nothing_is_appended() {
    let mut harness = Harness::default();
    harness.append(&[from_producer(1, 0, 1)]);
    let command = |now_ms| harness.partition.expire_producers_command(now_ms, 1_000);

    assert_eq!(command(NOW_MS + 1_000), None);
    assert!(command(NOW_MS + 1_001).is_some());
}

#[test]
fn of_very_many_producers_the_longest_idle_are_forgotten() {
    let mut harness = Harness::default();
    let limit = i64::try_from(PRODUCERS_COUNT_MAX).unwrap();
    let batches = |ids: std::ops::Range<i64>| -> Vec<BatchSpec> {
        ids.map(|id| from_producer(id, 0, 1).of_bytes(0)).collect()
    };
    harness.append(&batches(0..limit));
    harness.now_ms += 1;
    harness.append(&[from_producer(0, 1, 1)]);
    assert_eq!(harness.partition.producers_count(), PRODUCERS_COUNT_MAX);
    harness.persist();

    harness.append(&[from_producer(limit, 0, 1)]);

    let evicted = i64::try_from(PRODUCERS_EVICTED_COUNT).unwrap();
    let count = PRODUCERS_COUNT_MAX + 1 - PRODUCERS_EVICTED_COUNT;
    assert_eq!(harness.partition.producers_count(), count);
    let knows = |id| harness.partition.producer(ProducerId(id)).is_some();
    assert!(knows(0), "it appended again");
    assert!(
        !knows(1) && !knows(evicted),
        "the longest idle, the smallest id first"
    );
    assert!(knows(evicted + 1) && knows(limit));
    harness.persist();
    assert_eq!(
        Partition::restore(harness.rows.iter()),
        Ok(harness.partition.clone())
    );
}
