//! The arithmetic of sequences and the history of one producer.

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use raftmq_core::Offset;
use raftmq_core::partition::Producer;
use raftmq_core::partition::producer::{SequenceCheck, check_fields, sequence_after};

use crate::support::batch::{from_producer, plain};

#[test]
fn zero_follows_the_largest_sequence() {
    assert_eq!(sequence_after(i32::MAX, 1), 0);
    assert_eq!(sequence_after(i32::MAX, 3), 2);
    assert_eq!(sequence_after(0, 1), 1);
    assert_eq!(sequence_after(0, i32::MAX), i32::MAX);
    assert_eq!(sequence_after(5, 0), 5);
}

#[test]
fn a_batch_without_a_producer_needs_no_producer_fields() {
    assert_eq!(check_fields(&plain(1).header()), Ok(()));
    assert_eq!(check_fields(&from_producer(0, 0, 1).header()), Ok(()));
}

#[test]
fn a_producer_remembers_five_batches() {
    let mut producer = Producer::starting_with(&from_producer(1, 0, 1).header(), Offset(0), 0);
    for sequence in 1..10 {
        let header = from_producer(1, sequence, 1).header();
        producer.record(&header, Offset(i64::from(sequence)), 0);
    }

    let firsts: Vec<i32> = producer
        .batches()
        .map(|batch| batch.first_sequence)
        .collect();
    assert_eq!(firsts, vec![5, 6, 7, 8, 9]);
    assert_eq!(producer.next_sequence(), 10);
}

#[test]
fn a_recorded_jump_starts_a_new_history() {
    let mut producer = Producer::starting_with(&from_producer(1, 0, 1).header(), Offset(0), 0);

    producer.record(&from_producer(1, 9, 1).header(), Offset(1), 0);

    let firsts: Vec<i32> = producer
        .batches()
        .map(|batch| batch.first_sequence)
        .collect();
    assert_eq!(firsts, vec![9]);
    assert_eq!(producer.next_sequence(), 10);
}

proptest! {
    #[test]
    fn sequences_are_never_negative(sequence in 0..=i32::MAX, count in 0..=i32::MAX) {
        prop_assert!(sequence_after(sequence, count) >= 0);
    }

    #[test]
    fn steps_add_up(sequence in 0..=i32::MAX, first in 0..1_000_000, second in 0..1_000_000) {
        let in_two = sequence_after(sequence_after(sequence, first), second);
        prop_assert_eq!(in_two, sequence_after(sequence, first + second));
    }

    #[test]
    fn the_next_batch_is_next_wherever_the_sequence_stands(
        start in 0..=i32::MAX,
        counts in proptest::collection::vec(1..1000_i32, 1..20),
    ) {
        let first = from_producer(1, start, 1);
        let mut producer = Producer::starting_with(&first.header(), Offset(0), 0);
        for count in counts {
            let batch = from_producer(1, producer.next_sequence(), count);
            prop_assert_eq!(producer.check(&batch.header()), Ok(SequenceCheck::Next));
            producer.record(&batch.header(), Offset(1), 0);
            let again = producer.check(&batch.header());
            prop_assert!(matches!(again, Ok(SequenceCheck::Duplicate(_))));
        }
    }

    #[test]
    fn no_sequence_makes_the_check_panic(
        start in 0..=i32::MAX,
        sequence in 0..=i32::MAX,
        count in 1..=i32::MAX,
        epoch in any::<i16>(),
    ) {
        let producer =
            Producer::starting_with(&from_producer(1, start, 10).header(), Offset(0), 0);
        let mut header = from_producer(1, sequence, 1).of_epoch(epoch).header();
        header.last_offset_delta = count - 1;
        let _ = producer.check(&header);
    }
}
