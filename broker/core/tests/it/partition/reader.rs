//! `LogReader`: what consumers see of the raw log.

use bytes::Bytes;
use raftmq_core::partition::reader::Progress;
use raftmq_core::partition::{LogReader, Position, RawEntry};
use raftmq_core::{LogIndex, Offset, Term};

use crate::support::batch::{HEADER_BYTES, from_producer, plain};
use crate::support::partition::{Harness, entry_of};

const BATCH_BYTES: usize = HEADER_BYTES + 100;

fn offsets(harness: &Harness, from: i64, bytes_max: usize) -> Vec<i64> {
    let batches = harness.read(from, bytes_max);
    batches
        .iter()
        .map(|batch| batch.header.base_offset)
        .collect()
}

#[test]
fn an_empty_log_gives_nothing() {
    assert_eq!(
        offsets(&Harness::default(), 0, usize::MAX),
        Vec::<i64>::new()
    );
}

#[test]
fn batches_come_in_order_from_the_one_that_holds_the_offset() {
    let mut harness = Harness::default();
    harness.append(&[plain(3), plain(3)]);
    harness.append(&[plain(3)]);

    assert_eq!(offsets(&harness, 0, usize::MAX), vec![0, 3, 6]);
    assert_eq!(offsets(&harness, 2, usize::MAX), vec![0, 3, 6]);
    assert_eq!(offsets(&harness, 3, usize::MAX), vec![3, 6]);
    assert_eq!(offsets(&harness, 5, usize::MAX), vec![3, 6]);
    assert_eq!(offsets(&harness, 8, usize::MAX), vec![6]);
    assert_eq!(offsets(&harness, 9, usize::MAX), Vec::<i64>::new());
}

#[test]
fn batches_come_out_as_they_are_in_the_log_without_a_copy() {
    let mut harness = Harness::default();
    harness.append(&[plain(1).marked(1), plain(1).marked(2)]);

    let batches = harness.read(0, usize::MAX);

    let log = &harness.log[0].command;
    let starts: Vec<*const u8> = batches.iter().map(|batch| batch.bytes.as_ptr()).collect();
    assert_eq!(
        starts,
        vec![log[26..].as_ptr(), log[26 + BATCH_BYTES..].as_ptr()]
    );
    assert!(batches[1].bytes.ends_with(&[2; 100]));
    assert_eq!(batches[1].next_offset(), Offset(2));
}

#[test]
fn void_entries_are_skipped_by_the_rule_of_apply() {
    let mut harness = Harness::default();
    harness.append(&[plain(2)]);
    harness.commit(entry_of(9, Offset(2), 0, &[plain(1)]));
    harness.commit(entry_of(1, Offset(7), 0, &[plain(1)]));
    harness.commit(entry_of(1, Offset(0), 0, &[plain(2)]));
    harness.commit(entry_of(1, Offset(2), 0, &[]));
    harness.append(&[plain(2)]);

    assert_eq!(offsets(&harness, 0, usize::MAX), vec![0, 2]);
    assert_eq!(harness.partition.log_end(), Offset(4));
}

#[test]
fn entries_that_hold_no_records_are_skipped() {
    let mut harness = Harness::default();
    harness.append(&[plain(2)]);
    harness.commit_blank();
    harness.advance_log_start(1);
    harness.append(&[plain(2)]);

    assert_eq!(offsets(&harness, 1, usize::MAX), vec![0, 2]);
}

#[test]
fn the_byte_limit_ends_the_reading() {
    let mut harness = Harness::default();
    harness.append(&[plain(1), plain(1)]);
    harness.append(&[plain(1), plain(1)]);

    assert_eq!(offsets(&harness, 0, 3 * BATCH_BYTES), vec![0, 1, 2]);
    assert_eq!(offsets(&harness, 0, 3 * BATCH_BYTES - 1), vec![0, 1]);
    assert_eq!(offsets(&harness, 2, BATCH_BYTES), vec![2]);
}

#[test]
fn one_batch_comes_whatever_the_limit() {
    let mut harness = Harness::default();
    harness.append(&[plain(1), plain(1)]);

    assert_eq!(offsets(&harness, 0, 0), vec![0]);
    assert_eq!(offsets(&harness, 1, 1), vec![1]);
}

#[test]
fn nothing_at_or_above_the_end_comes_out() {
    let mut harness = Harness::default();
    for _ in 0..4 {
        harness.append(&[plain(2)]);
    }
    let position = harness.partition.locate(Offset(0)).unwrap();
    let mut reader = LogReader::new(position, Offset(0), Offset(4), usize::MAX);

    assert_eq!(reader.feed(&harness.log[0]), Ok(Progress::More));
    assert_eq!(reader.feed(&harness.log[1]), Ok(Progress::Full));
    assert_eq!(
        reader.feed(&harness.log[2]),
        Ok(Progress::Full),
        "and stays full"
    );
    assert_eq!(reader.finish().len(), 2);
}

#[test]
fn a_reader_can_go_on_where_another_one_ended() {
    let mut harness = Harness::default();
    harness.append(&[plain(2)]);
    harness.commit(entry_of(1, Offset(7), 0, &[plain(1)]));
    let position = harness.partition.locate(Offset(0)).unwrap();
    let mut first = LogReader::new(position, Offset(0), Offset(9), usize::MAX);
    for entry in &harness.log {
        assert_eq!(first.feed(entry), Ok(Progress::More));
    }
    let position = first.position();
    assert_eq!(
        position,
        Position {
            log_index: LogIndex(3),
            base_offset: Offset(2)
        }
    );
    assert_eq!(first.bytes(), BATCH_BYTES);

    harness.append(&[plain(3)]);
    let mut second = LogReader::new(position, Offset(2), Offset(5), usize::MAX);

    assert_eq!(second.feed(&harness.log[2]), Ok(Progress::Full));
    assert_eq!(second.finish()[0].header.base_offset, 2);
}

#[test]
fn an_entry_that_does_not_decode_is_an_error() {
    let position = Position {
        log_index: LogIndex(1),
        base_offset: Offset(0),
    };
    let mut reader = LogReader::new(position, Offset(0), Offset(9), usize::MAX);
    let entry = RawEntry {
        log_index: LogIndex(1),
        term: Term(1),
        command: Bytes::from_static(&[77]),
    };

    assert!(reader.feed(&entry).is_err());
}

#[test]
#[should_panic(expected = "entries are fed in log order")]
fn feeding_another_entry_is_our_own_bug() {
    let position = Position {
        log_index: LogIndex(1),
        base_offset: Offset(0),
    };
    let mut reader = LogReader::new(position, Offset(0), Offset(9), usize::MAX);
    let entry = RawEntry {
        log_index: LogIndex(2),
        term: Term(1),
        command: Bytes::new(),
    };

    let _ = reader.feed(&entry);
}

#[test]
fn records_of_several_terms_are_read_in_one_go() {
    let mut harness = Harness::default();
    for term in 1..=5 {
        harness.term = term;
        harness.commit_blank();
        harness.append(&[from_producer(1, i32::try_from(term).unwrap(), 1)]);
    }

    let epochs: Vec<i32> = harness
        .read(0, usize::MAX)
        .iter()
        .map(|batch| batch.header.partition_leader_epoch)
        .collect();
    assert_eq!(epochs, vec![1, 2, 3, 4, 5]);
}
