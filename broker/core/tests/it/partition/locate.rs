//! Where to read: by offset, by time, at the tail.

use raftmq_core::partition::{OutOfRange, Position};
use raftmq_core::{LogIndex, Offset};

use crate::support::batch::plain;
use crate::support::partition::Harness;

/// Payload that begins a block with every entry.
const BLOCK: usize = 64 * 1024;

fn at(log_index: u64, base_offset: i64) -> Position {
    Position {
        log_index: LogIndex(log_index),
        base_offset: Offset(base_offset),
    }
}

/// Five entries of ten records and a block each; timestamps 100, 200, 300, 250, 500.
fn five_blocks() -> Harness {
    let mut harness = Harness::default();
    for timestamp_ms in [100, 200, 300, 250, 500] {
        harness.append(&[plain(10).of_bytes(BLOCK).at_time(timestamp_ms)]);
    }
    harness
}

#[test]
fn an_empty_log_holds_its_end_only() {
    let harness = Harness::default();

    assert_eq!(harness.partition.locate(Offset(0)), Ok(at(1, 0)));
    let refused = harness.partition.locate(Offset(1));
    assert_eq!(
        refused,
        Err(OutOfRange {
            offset: Offset(1),
            log_start: Offset(0),
            log_end: Offset(0)
        })
    );
}

#[test]
fn every_offset_is_in_the_block_that_begins_at_or_before_it() {
    let harness = five_blocks();

    for offset in 0..50 {
        let block = offset / 10;
        let expected = at(u64::try_from(block).unwrap() + 1, block * 10);
        assert_eq!(
            harness.partition.locate(Offset(offset)),
            Ok(expected),
            "offset {offset}"
        );
    }
}

#[test]
fn the_log_end_is_where_the_next_entry_will_be() {
    let mut harness = five_blocks();
    assert_eq!(harness.partition.locate(Offset(50)), Ok(at(6, 50)));
    harness.commit_blank();

    harness.append(&[plain(1)]);

    assert_eq!(harness.partition.locate(Offset(51)), Ok(at(8, 51)));
    assert_eq!(harness.read(50, usize::MAX).len(), 1);
}

#[test]
fn offsets_outside_the_log_are_refused_with_its_bounds() {
    let mut harness = five_blocks();
    harness.advance_log_start(15);

    for offset in [-1, 0, 14, 51, i64::MAX] {
        let expected = OutOfRange {
            offset: Offset(offset),
            log_start: Offset(15),
            log_end: Offset(50),
        };
        assert_eq!(harness.partition.locate(Offset(offset)), Err(expected));
    }
    assert_eq!(harness.partition.locate(Offset(15)), Ok(at(2, 10)));
}

#[test]
fn small_entries_share_a_block() {
    let mut harness = Harness::default();
    for _ in 0..100 {
        harness.append(&[plain(1)]);
    }

    assert_eq!(harness.partition.locate(Offset(99)), Ok(at(1, 0)));
}

#[test]
fn a_block_begins_after_sixty_four_kibibytes() {
    let mut harness = Harness::default();
    for _ in 0..3 {
        harness.append(&[plain(1).of_bytes(BLOCK / 2)]);
    }

    assert_eq!(harness.partition.locate(Offset(1)), Ok(at(1, 0)));
    assert_eq!(harness.partition.locate(Offset(2)), Ok(at(3, 2)));
}

#[test]
fn a_time_is_looked_up_in_the_first_block_that_reaches_it() {
    let harness = five_blocks();

    let found = |timestamp_ms| {
        harness
            .partition
            .offset_for_time(Offset::ZERO, timestamp_ms)
    };
    assert_eq!(found(i64::MIN), Some(at(1, 0)));
    assert_eq!(found(100), Some(at(1, 0)));
    assert_eq!(found(101), Some(at(2, 10)));
    assert_eq!(
        found(250),
        Some(at(3, 20)),
        "the first record at or after it, not the nearest"
    );
    assert_eq!(found(301), Some(at(5, 40)));
    assert_eq!(found(500), Some(at(5, 40)));
    assert_eq!(found(501), None);
}

#[test]
fn a_time_is_looked_up_among_readable_records_only() {
    let mut harness = five_blocks();
    harness.advance_log_start(25);

    assert_eq!(
        harness.partition.offset_for_time(Offset::ZERO, 100),
        Some(at(3, 20))
    );
    harness.advance_log_start(50);
    assert_eq!(harness.partition.offset_for_time(Offset::ZERO, 100), None);
}

#[test]
fn the_largest_timestamp_is_found_in_its_block() {
    let mut harness = Harness::default();
    assert_eq!(harness.partition.max_timestamp_from(Offset::ZERO), None);
    for timestamp_ms in [100, 500, 300, 500] {
        harness.append(&[plain(10).of_bytes(BLOCK).at_time(timestamp_ms)]);
    }

    let found = |harness: &Harness| {
        let newest = harness.partition.max_timestamp_from(Offset::ZERO)?;
        harness.partition.offset_for_time(Offset::ZERO, newest)
    };
    assert_eq!(found(&harness), Some(at(2, 10)));
    assert_eq!(harness.partition.max_timestamp_ms(), Some(500));
    harness.advance_log_start(20);
    assert_eq!(found(&harness), Some(at(4, 30)));
    harness.advance_log_start(40);
    assert_eq!(harness.partition.max_timestamp_from(Offset::ZERO), None);
}

#[test]
fn a_later_record_raises_the_time_of_its_block() {
    let mut harness = Harness::default();
    harness.append(&[plain(1).at_time(100)]);
    assert_eq!(harness.partition.offset_for_time(Offset::ZERO, 200), None);

    harness.append(&[plain(1).at_time(200)]);
    harness.append(&[plain(1).at_time(150)]);

    assert_eq!(
        harness.partition.offset_for_time(Offset::ZERO, 200),
        Some(at(1, 0))
    );
    assert_eq!(harness.partition.offset_for_time(Offset::ZERO, 201), None);
}

#[test]
fn many_blocks_are_trimmed_chunk_by_chunk_and_still_found() {
    let mut harness = Harness::default();
    for _ in 0..1_200 {
        harness.append(&[plain(1).of_bytes(BLOCK)]);
    }

    harness.advance_log_start(1_100);

    for offset in [1_100, 1_150, 1_199] {
        let expected = at(u64::try_from(offset).unwrap() + 1, offset);
        assert_eq!(harness.partition.locate(Offset(offset)), Ok(expected));
    }
    let block_bytes = (BLOCK + 61) as u64;
    assert_eq!(harness.partition.size_bytes(), 100 * block_bytes);
}

#[test]
fn a_chunk_stays_while_it_holds_one_readable_record() {
    let mut harness = Harness::default();
    for _ in 0..1_000 {
        harness.append(&[plain(1).of_bytes(BLOCK)]);
    }

    harness.advance_log_start(511);

    assert_eq!(harness.partition.locate(Offset(511)), Ok(at(512, 511)));
    harness.advance_log_start(512);
    assert_eq!(harness.partition.locate(Offset(512)), Ok(at(513, 512)));
}
