//! `decide` with nothing in flight: the sequence rules of Kafka 4.

use raftmq_core::partition::{AppendError, Decision};
use raftmq_core::{Offset, ProducerId};

use crate::support::batch::{BatchSpec, from_producer, plain};
use crate::support::partition::Harness;

const PRODUCER: i64 = 42;

fn appended(base_offset: i64) -> Result<Decision, AppendError> {
    Ok(Decision::Append {
        base_offset: Offset(base_offset),
    })
}

fn duplicate_of(base_offset: i64) -> Result<Decision, AppendError> {
    Ok(Decision::Duplicate {
        base_offset: Offset(base_offset),
        log_append_time_ms: None,
    })
}

fn out_of_order(expected: i32, actual: i32) -> Result<Decision, AppendError> {
    let producer_id = ProducerId(PRODUCER);
    Err(AppendError::OutOfOrderSequence {
        producer_id,
        expected,
        actual,
    })
}

/// Checks that a batch is judged so, and that judging changes nothing.
fn assert_refused(
    harness: &mut Harness,
    batch: BatchSpec,
    expected: Result<Decision, AppendError>,
) {
    let before = harness.partition.clone();
    assert_eq!(harness.produce(batch), expected);
    assert_eq!(harness.partition, before);
}

#[test]
fn a_batch_without_a_producer_is_always_appended() {
    let mut harness = Harness::default();

    assert_eq!(harness.produce(plain(3)), appended(0));
    assert_eq!(harness.produce(plain(3)), appended(3));
    assert_eq!(harness.partition.producers_count(), 0);
}

#[test]
fn a_sequence_without_a_gap_is_appended() {
    let mut harness = Harness::default();

    assert_eq!(harness.produce(from_producer(PRODUCER, 0, 3)), appended(0));
    assert_eq!(harness.produce(from_producer(PRODUCER, 3, 1)), appended(3));
    assert_eq!(harness.produce(from_producer(PRODUCER, 4, 2)), appended(4));
    let producer = harness.partition.producer(ProducerId(PRODUCER)).unwrap();
    assert_eq!(producer.next_sequence(), 6);
    assert_eq!(producer.producer_epoch(), 0);
}

#[test]
fn a_sequence_gap_is_refused_and_changes_nothing() {
    let mut harness = Harness::default();
    harness.produce(from_producer(PRODUCER, 0, 3)).unwrap();

    assert_refused(
        &mut harness,
        from_producer(PRODUCER, 4, 1),
        out_of_order(3, 4),
    );
}

#[test]
fn an_unknown_producer_may_start_with_any_sequence() {
    let mut harness = Harness::default();

    assert_eq!(harness.produce(from_producer(PRODUCER, 17, 1)), appended(0));
    assert_eq!(harness.produce(from_producer(PRODUCER, 18, 1)), appended(1));
}

#[test]
fn a_repeated_batch_is_answered_with_its_first_offset() {
    let mut harness = Harness::default();
    harness.produce(plain(10)).unwrap();
    harness.produce(from_producer(PRODUCER, 0, 3)).unwrap();
    harness.produce(plain(10)).unwrap();

    assert_refused(
        &mut harness,
        from_producer(PRODUCER, 0, 3),
        duplicate_of(10),
    );
}

#[test]
fn each_of_the_last_five_batches_is_known_as_a_duplicate() {
    let mut harness = Harness::default();
    for sequence in 0..8 {
        harness
            .produce(from_producer(PRODUCER, sequence, 1))
            .unwrap();
    }

    for sequence in 3..8 {
        let expected = duplicate_of(i64::from(sequence));
        assert_refused(&mut harness, from_producer(PRODUCER, sequence, 1), expected);
    }
}

#[test]
fn a_batch_older_than_the_last_five_is_a_duplicate_without_an_offset() {
    let mut harness = Harness::default();
    for sequence in 0..8 {
        harness
            .produce(from_producer(PRODUCER, sequence, 1))
            .unwrap();
    }

    for actual in 0..3 {
        let expected = Err(AppendError::DuplicateSequence {
            producer_id: ProducerId(PRODUCER),
            expected: 8,
            actual,
        });
        assert_refused(&mut harness, from_producer(PRODUCER, actual, 1), expected);
    }
}

#[test]
fn a_sequence_before_an_unknown_start_was_not_surely_appended() {
    let mut harness = Harness::default();
    harness.produce(from_producer(PRODUCER, 100, 5)).unwrap();
    for sequence in 105..110 {
        harness
            .produce(from_producer(PRODUCER, sequence, 1))
            .unwrap();
    }

    let known = Err(AppendError::DuplicateSequence {
        producer_id: ProducerId(PRODUCER),
        expected: 110,
        actual: 100,
    });
    assert_refused(&mut harness, from_producer(PRODUCER, 100, 5), known);
    assert_refused(
        &mut harness,
        from_producer(PRODUCER, 99, 1),
        out_of_order(110, 99),
    );
    assert_refused(
        &mut harness,
        from_producer(PRODUCER, 98, 5),
        out_of_order(110, 98),
    );
}

#[test]
fn a_batch_across_the_end_is_out_of_order() {
    let mut harness = Harness::default();
    harness.produce(from_producer(PRODUCER, 0, 3)).unwrap();

    assert_refused(
        &mut harness,
        from_producer(PRODUCER, 2, 2),
        out_of_order(3, 2),
    );
}

#[test]
fn a_batch_with_the_same_start_and_another_end_is_no_plain_duplicate() {
    let mut harness = Harness::default();
    harness.produce(from_producer(PRODUCER, 0, 3)).unwrap();

    let shorter = Err(AppendError::DuplicateSequence {
        producer_id: ProducerId(PRODUCER),
        expected: 3,
        actual: 0,
    });
    assert_refused(&mut harness, from_producer(PRODUCER, 0, 2), shorter);
    assert_refused(
        &mut harness,
        from_producer(PRODUCER, 0, 4),
        out_of_order(3, 0),
    );
}

#[test]
fn a_fenced_producer_cannot_append() {
    let mut harness = Harness::default();
    harness
        .produce(from_producer(PRODUCER, 0, 1).of_epoch(3))
        .unwrap();

    let fenced = Err(AppendError::InvalidProducerEpoch {
        producer_id: ProducerId(PRODUCER),
        current: 3,
        actual: 2,
    });
    assert_refused(
        &mut harness,
        from_producer(PRODUCER, 1, 1).of_epoch(2),
        fenced,
    );
}

#[test]
fn a_new_producer_epoch_starts_with_sequence_zero() {
    let mut harness = Harness::default();
    harness.produce(from_producer(PRODUCER, 0, 4)).unwrap();

    let second = from_producer(PRODUCER, 0, 4).of_epoch(1);
    assert_refused(
        &mut harness,
        from_producer(PRODUCER, 4, 1).of_epoch(1),
        out_of_order(0, 4),
    );
    assert_eq!(
        harness.produce(second),
        appended(4),
        "the same sequence is no duplicate"
    );
    assert_refused(&mut harness, second, duplicate_of(4));
}

#[test]
fn a_new_producer_epoch_forgets_the_batches_of_the_old_one() {
    let mut harness = Harness::default();
    harness.produce(from_producer(PRODUCER, 0, 4)).unwrap();
    harness
        .produce(from_producer(PRODUCER, 0, 1).of_epoch(1))
        .unwrap();

    let producer = harness.partition.producer(ProducerId(PRODUCER)).unwrap();
    assert_eq!(producer.batches().count(), 1);
    assert_eq!(producer.producer_epoch(), 1);
}

#[test]
fn producers_do_not_touch_each_other() {
    let mut harness = Harness::default();
    harness.produce(from_producer(1, 0, 2)).unwrap();

    assert_eq!(harness.produce(from_producer(2, 0, 2)), appended(2));
    assert_eq!(harness.produce(from_producer(1, 2, 1)), appended(4));
    assert_eq!(harness.partition.producers_count(), 2);
}

#[test]
fn sequences_wrap_to_zero() {
    let mut harness = Harness::default();
    harness
        .produce(from_producer(PRODUCER, i32::MAX - 1, 1))
        .unwrap();

    assert_eq!(
        harness.produce(from_producer(PRODUCER, i32::MAX, 3)),
        appended(1)
    );
    assert_eq!(harness.produce(from_producer(PRODUCER, 2, 1)), appended(4));
    assert_refused(
        &mut harness,
        from_producer(PRODUCER, i32::MAX, 3),
        duplicate_of(1),
    );
    assert_refused(
        &mut harness,
        from_producer(PRODUCER, 4, 1),
        out_of_order(3, 4),
    );
}

#[test]
fn a_duplicate_under_log_append_time_carries_the_first_append_time() {
    const LOG_APPEND_TIME: u16 = 1 << 3;
    let mut harness = Harness::default();
    let batch = BatchSpec {
        attributes: LOG_APPEND_TIME,
        ..from_producer(PRODUCER, 0, 1)
    };
    harness.append(&[batch.at_time(1234)]);

    let expected = Ok(Decision::Duplicate {
        base_offset: Offset(0),
        log_append_time_ms: Some(1234),
    });
    assert_refused(&mut harness, from_producer(PRODUCER, 0, 1), expected);
}

#[test]
fn a_producer_without_epoch_or_sequence_is_refused() {
    let mut harness = Harness::default();
    let broken = [
        from_producer(PRODUCER, -1, 1),
        from_producer(PRODUCER, 0, 1).of_epoch(-1),
        from_producer(-2, 0, 1),
    ];

    for batch in broken {
        let expected = Err(AppendError::InvalidProducerFields {
            producer_id: ProducerId(batch.producer_id),
            producer_epoch: batch.producer_epoch,
            sequence: batch.base_sequence,
        });
        assert_refused(&mut harness, batch, expected);
    }
}

#[test]
fn dedup_holds_across_a_change_of_leader() {
    let mut harness = Harness::default();
    harness.produce(from_producer(PRODUCER, 0, 3)).unwrap();
    harness.term = 2;
    harness.commit_blank();

    assert_refused(&mut harness, from_producer(PRODUCER, 0, 3), duplicate_of(0));
    assert_eq!(harness.produce(from_producer(PRODUCER, 3, 1)), appended(3));
    assert_refused(&mut harness, from_producer(PRODUCER, 0, 3), duplicate_of(0));
}
