//! Rows, checkpoints and entries from a damaged disk or a hostile peer: errors, never a panic.

use bytes::Bytes;
use proptest::prelude::{any, prop, prop_assert, proptest};
use raftmq_core::partition::{Append, Command, Partition, Reply, check_append};
use raftmq_core::{Effects, Machine, Offset, Term};

use crate::support::batch::from_producer;
use crate::support::meta;
use crate::support::partition::Harness;

fn busy() -> Harness {
    let mut harness = Harness {
        segment_bytes: 16 * 1024,
        ..Harness::default()
    };
    for sequence in 0..12 {
        harness.append(&[from_producer(i64::from(sequence % 4), sequence, 1).of_bytes(4_000)]);
    }
    harness.persist();
    harness
}

#[test]
fn a_checkpoint_cut_anywhere_is_refused() {
    let (_, checkpoint) = busy().checkpoints.pop().unwrap();

    for length in 0..checkpoint.len() {
        let cut = Partition::restore_checkpoint(&checkpoint.slice(..length));
        assert!(
            cut.is_err(),
            "cut after {length} of {} bytes",
            checkpoint.len()
        );
    }
}

#[test]
fn a_checkpoint_with_bytes_left_over_is_refused() {
    let (_, checkpoint) = busy().checkpoints.pop().unwrap();
    let mut bytes = checkpoint.to_vec();
    bytes.push(0);

    assert!(Partition::restore_checkpoint(&bytes.into()).is_err());
}

#[test]
fn every_row_cut_anywhere_is_refused() {
    let harness = busy();
    for (key, value) in harness.rows.iter() {
        for length in 0..value.len() {
            let mut rows = harness.rows.clone();
            rows.rows.insert(key.clone(), value.slice(..length));
            assert!(
                Partition::restore(rows.iter()).is_err(),
                "{key:?} cut after {length}"
            );
        }
    }
}

#[test]
fn a_huge_count_takes_no_memory() {
    let (_, checkpoint) = busy().checkpoints.pop().unwrap();
    let bytes = checkpoint.to_vec();
    for at in 0..bytes.len() - 4 {
        let mut hostile = bytes.clone();
        hostile[at..at + 4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
        // Some of these are other, valid numbers: what counts is that none allocates or panics.
        let _ = Partition::restore_checkpoint(&hostile.into());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_checkpoint_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = Partition::restore_checkpoint(&bytes.into());
    }

    #[test]
    fn no_rows_make_a_restore_panic(
        family in proptest::sample::select(vec![b'e', b'h', b'i', b'p', b'x']),
        key in proptest::collection::vec(any::<u8>(), 0..10),
        value in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let key = [vec![family], key].concat();
        let _ = Partition::restore([(Bytes::from(key), Bytes::from(value))].into_iter());
    }

    #[test]
    fn a_flipped_byte_in_a_checkpoint_never_panics(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let (_, checkpoint) = busy().checkpoints.pop().unwrap();
        let mut bytes = checkpoint.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(partition) = Partition::restore_checkpoint(&bytes.into()) {
            prop_assert!(partition.log_start() <= partition.log_end());
        }
    }

    #[test]
    fn no_batches_make_apply_panic(batches in proptest::collection::vec(any::<u8>(), 0..400)) {
        let append = Append {
            leader_epoch: Term(1),
            base_offset: Offset(0),
            segment_bytes: 0,
            batches: batches.into(),
        };
        let _ = check_append(&append, Term(1), Offset(0));
        let mut partition = Partition::default();
        let reply = partition.apply(&meta(1, 1), Command::Append(append), &mut Effects::new());
        prop_assert!(!matches!(reply, Reply::Void(_)) || partition.log_end() == Offset(0));
    }

    #[test]
    fn a_flipped_byte_in_a_batch_never_panics(at in 0..161_usize, flip in 1..=255_u8) {
        let harness = Harness::default();
        let mut entry = harness.entry(Offset(0), &[from_producer(1, 0, 1)]).to_vec();
        entry[26 + at] ^= flip;
        let mut partition = Partition::default();
        let command = Partition::decode(&entry.into()).unwrap();
        partition.apply(&meta(1, 1), command, &mut Effects::new());
        prop_assert!(partition.log_end() >= Offset(0));
    }
}
