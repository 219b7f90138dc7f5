//! `Pending`: decisions while batches are in flight.

use raftmq_core::partition::{AppendError, Decision, Partition, Pending};
use raftmq_core::{Offset, ProducerId};

use crate::support::batch::{BatchSpec, from_producer, plain};
use crate::support::partition::Harness;

const PRODUCER: i64 = 7;

/// Decides on a batch and takes note of it, as the leader does before it proposes.
fn propose(
    partition: &Partition,
    pending: &mut Pending,
    batch: BatchSpec,
) -> Result<Decision, AppendError> {
    let decision = partition.decide(pending, &batch.header())?;
    if let Decision::Append { base_offset } = decision {
        pending.record(partition, &batch.header(), base_offset);
    }
    Ok(decision)
}

#[test]
fn batches_in_flight_take_their_offsets() {
    let harness = Harness::default();
    let mut pending = Pending::new(&harness.partition);

    for base in [0, 3, 6] {
        let decision = propose(&harness.partition, &mut pending, plain(3));
        assert_eq!(
            decision,
            Ok(Decision::Append {
                base_offset: Offset(base)
            })
        );
    }
    assert_eq!(pending.log_end(), Offset(9));
    assert_eq!(
        pending.in_flight_count(),
        0,
        "only idempotent batches are remembered"
    );
    assert_eq!(harness.partition.log_end(), Offset(0));
}

#[test]
fn a_duplicate_of_a_batch_in_flight_waits_for_it() {
    let harness = Harness::default();
    let mut pending = Pending::new(&harness.partition);
    propose(&harness.partition, &mut pending, plain(5)).unwrap();
    propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 0, 2),
    )
    .unwrap();

    let again = propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 0, 2),
    );

    assert_eq!(
        again,
        Ok(Decision::DuplicateInFlight {
            base_offset: Offset(5)
        })
    );
    assert_eq!(pending.log_end(), Offset(7));
    assert_eq!(pending.in_flight_count(), 1);
}

#[test]
fn a_sequence_goes_on_behind_a_batch_in_flight() {
    let harness = Harness::default();
    let mut pending = Pending::new(&harness.partition);
    propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 0, 2),
    )
    .unwrap();

    let next = propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 2, 2),
    );
    let gap = propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 5, 1),
    );

    assert_eq!(
        next,
        Ok(Decision::Append {
            base_offset: Offset(2)
        })
    );
    let producer_id = ProducerId(PRODUCER);
    assert_eq!(
        gap,
        Err(AppendError::OutOfOrderSequence {
            producer_id,
            expected: 4,
            actual: 5
        })
    );
}

#[test]
fn a_sequence_goes_on_over_what_is_applied_and_in_flight() {
    let mut harness = Harness::default();
    harness.produce(from_producer(PRODUCER, 0, 2)).unwrap();
    let mut pending = Pending::new(&harness.partition);
    propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 2, 1),
    )
    .unwrap();

    let decide = |pending: &mut Pending, sequence, count| {
        propose(
            &harness.partition,
            pending,
            from_producer(PRODUCER, sequence, count),
        )
    };
    let applied = Decision::Duplicate {
        base_offset: Offset(0),
        log_append_time_ms: None,
    };
    let in_flight = Decision::DuplicateInFlight {
        base_offset: Offset(2),
    };
    assert_eq!(decide(&mut pending, 0, 2), Ok(applied));
    assert_eq!(decide(&mut pending, 2, 1), Ok(in_flight));
    assert_eq!(
        decide(&mut pending, 3, 1),
        Ok(Decision::Append {
            base_offset: Offset(3)
        })
    );
}

#[test]
fn a_batch_in_flight_becomes_a_plain_duplicate_once_it_is_applied() {
    let mut harness = Harness::default();
    let mut pending = Pending::new(&harness.partition);
    let batch = from_producer(PRODUCER, 0, 2);
    propose(&harness.partition, &mut pending, batch).unwrap();

    harness.append(&[batch]);

    let expected = Ok(Decision::Duplicate {
        base_offset: Offset(0),
        log_append_time_ms: None,
    });
    assert_eq!(
        propose(&harness.partition, &mut pending, batch),
        expected,
        "before settling"
    );
    pending.settle(&harness.partition);
    assert_eq!(
        propose(&harness.partition, &mut pending, batch),
        expected,
        "after settling"
    );
    assert_eq!(pending.in_flight_count(), 0);
}

#[test]
fn settling_keeps_what_is_still_in_flight() {
    let mut harness = Harness::default();
    let mut pending = Pending::new(&harness.partition);
    let batches = [0, 1, 2].map(|sequence| from_producer(PRODUCER, sequence, 1));
    for batch in batches {
        propose(&harness.partition, &mut pending, batch).unwrap();
    }

    harness.append(&[batches[0]]);
    pending.settle(&harness.partition);

    assert_eq!(pending.in_flight_count(), 2);
    let decide = |batch: BatchSpec| harness.partition.decide(&pending, &batch.header());
    assert_eq!(
        decide(batches[0]),
        Ok(Decision::Duplicate {
            base_offset: Offset(0),
            log_append_time_ms: None
        })
    );
    assert_eq!(
        decide(batches[2]),
        Ok(Decision::DuplicateInFlight {
            base_offset: Offset(2)
        })
    );
}

#[test]
fn settling_again_and_again_changes_nothing() {
    let mut harness = Harness::default();
    let mut pending = Pending::new(&harness.partition);
    propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 0, 1),
    )
    .unwrap();
    pending.settle(&harness.partition);
    pending.settle(&harness.partition);
    assert_eq!(pending.in_flight_count(), 1);

    harness.append(&[from_producer(PRODUCER, 0, 1)]);
    pending.settle(&harness.partition);
    pending.settle(&harness.partition);
    assert_eq!(pending.in_flight_count(), 0);
    assert_eq!(pending.log_end(), Offset(1));
}

#[test]
fn a_new_leader_starts_from_what_is_applied() {
    let mut harness = Harness::default();
    let mut lost = Pending::new(&harness.partition);
    propose(&harness.partition, &mut lost, from_producer(PRODUCER, 0, 9)).unwrap();
    harness.produce(from_producer(PRODUCER, 0, 2)).unwrap();
    harness.term = 2;

    let mut pending = Pending::new(&harness.partition);

    assert_eq!(pending.log_end(), Offset(2));
    let next = propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 2, 1),
    );
    assert_eq!(
        next,
        Ok(Decision::Append {
            base_offset: Offset(2)
        })
    );
}

#[test]
fn a_new_producer_epoch_in_flight_fences_the_old_one() {
    let mut harness = Harness::default();
    harness.produce(from_producer(PRODUCER, 0, 1)).unwrap();
    let mut pending = Pending::new(&harness.partition);
    let newer = from_producer(PRODUCER, 0, 1).of_epoch(1);
    propose(&harness.partition, &mut pending, newer).unwrap();

    let older = propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 1, 1),
    );

    assert_eq!(
        older,
        Err(AppendError::InvalidProducerEpoch {
            producer_id: ProducerId(PRODUCER),
            current: 1,
            actual: 0,
        })
    );
}

#[test]
fn more_than_five_batches_in_flight_are_decided_too() {
    let mut harness = Harness::default();
    let mut pending = Pending::new(&harness.partition);
    let batches: Vec<BatchSpec> = (0..12)
        .map(|sequence| from_producer(PRODUCER, sequence, 1))
        .collect();
    for batch in &batches {
        propose(&harness.partition, &mut pending, *batch).unwrap();
    }

    harness.append(&batches);
    pending.settle(&harness.partition);

    assert_eq!(pending.in_flight_count(), 0);
    assert_eq!(pending.log_end(), harness.partition.log_end());
    let last = harness.partition.decide(&pending, &batches[11].header());
    assert_eq!(
        last,
        Ok(Decision::Duplicate {
            base_offset: Offset(11),
            log_append_time_ms: None
        })
    );
}

#[test]
fn a_refused_batch_leaves_the_overlay_as_it_was() {
    let harness = Harness::default();
    let mut pending = Pending::new(&harness.partition);
    propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 0, 1),
    )
    .unwrap();

    propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 5, 1),
    )
    .unwrap_err();

    assert_eq!(pending.log_end(), Offset(1));
    assert_eq!(pending.in_flight_count(), 1);
    let next = propose(
        &harness.partition,
        &mut pending,
        from_producer(PRODUCER, 1, 1),
    );
    assert_eq!(
        next,
        Ok(Decision::Append {
            base_offset: Offset(1)
        })
    );
}

#[test]
#[should_panic(expected = "a batch is recorded in the order of decisions")]
fn recording_a_batch_at_another_offset_is_our_own_bug() {
    let harness = Harness::default();
    let mut pending = Pending::new(&harness.partition);

    pending.record(&harness.partition, &plain(1).header(), Offset(4));
}
