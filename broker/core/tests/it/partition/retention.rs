//! `retention`: what has expired, by age and by size.

use raftmq_core::Offset;
use raftmq_core::partition::{LogStartReason, RetentionCut};

use crate::support::batch::plain;
use crate::support::partition::Harness;

const BLOCK: usize = 64 * 1024;
const ENTRY_BYTES: i64 = 64 * 1024 + 61;
/// Switches a limit off.
const NEVER: i64 = -1;

/// Five entries of ten records and a block each.
fn five_blocks(timestamps: [i64; 5]) -> Harness {
    let mut harness = Harness::default();
    for timestamp_ms in timestamps {
        harness.append(&[plain(10).of_bytes(BLOCK).at_time(timestamp_ms)]);
    }
    harness
}

fn by_time(log_start: i64) -> Option<RetentionCut> {
    Some(RetentionCut {
        log_start: Offset(log_start),
        reason: LogStartReason::RetentionTime,
    })
}

fn by_bytes(log_start: i64) -> Option<RetentionCut> {
    Some(RetentionCut {
        log_start: Offset(log_start),
        reason: LogStartReason::RetentionBytes,
    })
}

#[test]
fn without_limits_nothing_expires() {
    let harness = five_blocks([0; 5]);

    assert_eq!(harness.partition.retention(i64::MAX, NEVER, NEVER), None);
}

#[test]
fn an_empty_log_has_nothing_to_lose() {
    let harness = Harness::default();

    assert_eq!(harness.partition.retention(i64::MAX, 0, 0), None);
}

#[test]
fn blocks_older_than_the_limit_expire() {
    let harness = five_blocks([1_000, 2_000, 3_000, 4_000, 5_000]);

    let retention = |now_ms| harness.partition.retention(now_ms, 1_000, NEVER);
    assert_eq!(retention(2_000), None, "exactly as old as allowed");
    assert_eq!(retention(2_001), by_time(10));
    assert_eq!(retention(4_500), by_time(30));
}

#[test]
fn when_all_is_old_all_expires() {
    let harness = five_blocks([1_000, 2_000, 3_000, 4_000, 5_000]);

    assert_eq!(
        harness.partition.retention(10_000, 1_000, NEVER),
        by_time(50)
    );
}

#[test]
fn a_young_block_keeps_the_older_ones_behind_it() {
    let harness = five_blocks([1_000, 9_000, 1_000, 1_000, 1_000]);

    assert_eq!(
        harness.partition.retention(5_000, 1_000, NEVER),
        by_time(10)
    );
}

#[test]
fn a_young_block_that_is_gone_keeps_nobody() {
    let mut harness = five_blocks([9_000, 1_000, 1_000, 1_000, 5_000]);
    assert_eq!(harness.partition.retention(5_000, 1_000, NEVER), None);

    harness.advance_log_start(10);

    assert_eq!(
        harness.partition.retention(5_000, 1_000, NEVER),
        by_time(40)
    );
}

#[test]
fn the_oldest_blocks_beyond_the_size_expire() {
    let harness = five_blocks([0; 5]);

    let retention = |kept_bytes| harness.partition.retention(0, NEVER, kept_bytes);
    assert_eq!(retention(5 * ENTRY_BYTES), None);
    assert_eq!(retention(4 * ENTRY_BYTES), by_bytes(10));
    assert_eq!(
        retention(4 * ENTRY_BYTES - 1),
        by_bytes(10),
        "at least that much stays"
    );
    assert_eq!(retention(3 * ENTRY_BYTES + 1), by_bytes(10));
    assert_eq!(retention(3 * ENTRY_BYTES), by_bytes(20));
}

#[test]
fn the_last_block_is_never_too_large() {
    let harness = five_blocks([0; 5]);

    assert_eq!(harness.partition.retention(0, NEVER, 0), by_bytes(40));
}

#[test]
fn the_size_counts_from_the_log_start() {
    let mut harness = five_blocks([0; 5]);
    harness.advance_log_start(20);

    assert_eq!(harness.partition.retention(0, NEVER, 3 * ENTRY_BYTES), None);
    assert_eq!(
        harness.partition.retention(0, NEVER, 2 * ENTRY_BYTES),
        by_bytes(30)
    );
}

#[test]
fn the_stricter_limit_counts() {
    let harness = five_blocks([1_000, 2_000, 3_000, 4_000, 5_000]);

    assert_eq!(
        harness.partition.retention(2_500, 1_000, 2 * ENTRY_BYTES),
        by_bytes(30)
    );
    assert_eq!(
        harness.partition.retention(5_500, 1_000, 4 * ENTRY_BYTES),
        by_time(40)
    );
}

#[test]
fn asking_changes_nothing_and_obeying_ends_it() {
    let mut harness = five_blocks([1_000, 2_000, 3_000, 4_000, 5_000]);
    let before = harness.partition.clone();
    let cut = harness.partition.retention(4_500, 1_000, NEVER).unwrap();
    assert_eq!(harness.partition, before);

    harness.advance_log_start(cut.log_start.0);

    assert_eq!(harness.partition.retention(4_500, 1_000, NEVER), None);
}

#[test]
fn a_clock_before_the_records_expires_nothing() {
    let harness = five_blocks([1_000, 2_000, 3_000, 4_000, 5_000]);

    assert_eq!(harness.partition.retention(i64::MIN, 1_000, NEVER), None);
    assert_eq!(harness.partition.retention(0, i64::MAX, NEVER), None);
}
