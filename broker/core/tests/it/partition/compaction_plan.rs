//! When a cleaning pass is due and how far it may go; what retention means beside it.

use raftmq_core::partition::compaction::{
    ChunkHead, CompactionSettings, Plan, Survivors, cut, plan,
};
use raftmq_core::partition::{Boundary, LogStartReason, RetentionCut};
use raftmq_core::{LogIndex, Offset};

use crate::support::NOW_MS;
use crate::support::batch::plain;
use crate::support::partition::Harness;

const SEGMENT: usize = 64 * 1024;
const NEVER: i64 = -1;
const EAGER: CompactionSettings = CompactionSettings {
    dirty_ratio_min_ppm: 0,
    lag_ms: 0,
    delete_retention_ms: 1_000,
};

/// So many entries of ten records, each a segment.
fn segments(timestamps: &[i64]) -> Harness {
    let mut harness = Harness {
        segment_bytes: SEGMENT as u64,
        ..Harness::default()
    };
    for timestamp_ms in timestamps {
        harness.append(&[plain(10).of_bytes(SEGMENT).at_time(*timestamp_ms)]);
    }
    harness
}

fn at(log_index: u64, log_end: i64) -> Boundary {
    Boundary {
        log_index: LogIndex(log_index),
        log_end: Offset(log_end),
    }
}

fn checkpoints(harness: &Harness) -> Vec<LogIndex> {
    harness.checkpoints.iter().map(|(at, _)| *at).collect()
}

fn chunk(base_offset: i64, end: i64) -> ChunkHead {
    ChunkHead {
        base_offset: Offset(base_offset),
        end: Offset(end),
        bytes: SEGMENT as u64,
        max_timestamp_ms: NOW_MS,
        horizon_ms: None,
    }
}

fn survivors(end: i64, cleaned_to: i64, boundary: u64) -> Survivors {
    Survivors {
        end: Offset(end),
        cleaned_to: Offset(cleaned_to),
        boundary: LogIndex(boundary),
    }
}

fn planned(
    harness: &Harness,
    whole: Survivors,
    heads: &[ChunkHead],
    settings: CompactionSettings,
) -> Option<Plan> {
    let checkpoints = checkpoints(harness);
    let state = &harness.partition;
    plan(state, &whole, heads.iter(), &settings, &checkpoints, NOW_MS)
}

#[test]
fn closed_segments_are_due_and_the_newest_records_stay_in_the_log() {
    let harness = segments(&[NOW_MS; 3]);

    let plan = planned(&harness, Survivors::default(), &[], EAGER).unwrap();

    assert_eq!(plan.targets, [at(1, 10), at(2, 20)]);
    assert_eq!((plan.dirty_from, plan.log_from), (Offset(0), Offset(0)));
    assert_eq!(plan.dirty_end(), Offset(20));
    assert_eq!(plan.target_for(Offset(20)), Some(at(2, 20)));
    assert_eq!(plan.target_for(Offset(3)), Some(at(1, 10)));
    assert_eq!(plan.target_for(Offset(0)), None);
}

#[test]
fn an_open_segment_or_a_boundary_without_a_checkpoint_is_not() {
    let mut harness = segments(&[]);
    harness.append(&[plain(10)]);
    assert_eq!(planned(&harness, Survivors::default(), &[], EAGER), None);

    let harness = segments(&[NOW_MS; 3]);
    let only = [LogIndex(2)];
    let whole = Survivors::default();
    let none = std::iter::empty();
    let plan = plan(&harness.partition, &whole, none, &EAGER, &only, NOW_MS).unwrap();
    assert_eq!(plan.targets, [at(2, 20)]);
}

#[test]
fn a_pass_waits_until_enough_was_never_cleaned() {
    let harness = segments(&[NOW_MS; 3]);
    let whole = survivors(10, 10, 1);
    let heads = [chunk(0, 4), chunk(4, 7), chunk(7, 10)];
    let with_ratio = |dirty_ratio_min_ppm| CompactionSettings {
        dirty_ratio_min_ppm,
        ..EAGER
    };

    // One dirty segment beside three of survivors.
    assert_eq!(planned(&harness, whole, &heads, with_ratio(260_000)), None);
    let due = planned(&harness, whole, &heads, with_ratio(240_000)).unwrap();
    assert_eq!(due.targets, [at(2, 20)]);
    assert_eq!(due.dirty_from, Offset(10));
}

#[test]
fn nothing_younger_than_the_lag_is_cleaned() {
    let lag_ms = 1_000;
    let settings = CompactionSettings { lag_ms, ..EAGER };
    let old = NOW_MS - lag_ms;
    let harness = segments(&[old, old + 1, old, NOW_MS]);

    let plan = planned(&harness, Survivors::default(), &[], settings).unwrap();

    assert_eq!(plan.targets, [at(1, 10)]);
}

#[test]
fn tombstones_whose_time_has_come_make_a_pass_due_without_anything_new() {
    let harness = segments(&[NOW_MS; 2]);
    let whole = survivors(10, 10, 1);
    let head = |horizon_ms| ChunkHead {
        horizon_ms: Some(horizon_ms),
        ..chunk(0, 10)
    };

    assert_eq!(planned(&harness, whole, &[head(NOW_MS + 1)], EAGER), None);
    let due = planned(&harness, whole, &[head(NOW_MS)], EAGER).unwrap();

    assert_eq!(due.targets, []);
    assert_eq!(due.dirty_end(), Offset(10));
    assert_eq!(due.target_for(Offset(10)), None, "no log is due");
}

#[test]
fn survivors_whose_keys_did_not_fit_are_dirty() {
    let harness = segments(&[NOW_MS; 2]);
    let heads = [chunk(0, 6), chunk(6, 10)];

    let due = planned(&harness, survivors(10, 6, 1), &heads, EAGER).unwrap();

    assert_eq!((due.dirty_from, due.log_from), (Offset(6), Offset(10)));
}

fn cut_at(log_start: i64, reason: LogStartReason) -> Option<RetentionCut> {
    let log_start = Offset(log_start);
    Some(RetentionCut { log_start, reason })
}

#[test]
fn survivors_expire_chunk_by_chunk_before_the_log_does() {
    let harness = segments(&[500, 500, 600, 700]);
    let aged = |base, end, max_timestamp_ms| ChunkHead {
        max_timestamp_ms,
        ..chunk(base, end)
    };
    let heads = [aged(0, 5, 100), aged(5, 12, 300), aged(12, 20, 200)];
    let whole = survivors(20, 20, 2);
    let at = |now_ms| cut(&harness.partition, &whole, &heads, now_ms, 0, NEVER);

    let time = LogStartReason::RetentionTime;
    assert_eq!(at(100), None, "the first chunk is young enough");
    assert_eq!(at(101), cut_at(5, time));
    assert_eq!(at(300), cut_at(5, time), "whole chunks, from the front");
    assert_eq!(at(301), cut_at(20, time));
    assert_eq!(at(601), cut_at(30, time), "then the log");
    assert_eq!(at(701), cut_at(40, time));
}

#[test]
fn survivors_count_for_retention_by_size() {
    let harness = segments(&[NOW_MS; 4]);
    let entry_bytes = i64::try_from(SEGMENT + 61).unwrap();
    let heads = [chunk(0, 8), chunk(8, 20)];
    let whole = survivors(20, 20, 2);
    let keeping = |bytes| cut(&harness.partition, &whole, &heads, NOW_MS, NEVER, bytes);

    let bytes = LogStartReason::RetentionBytes;
    assert_eq!(keeping(i64::MAX), None);
    assert_eq!(keeping(2 * entry_bytes + 1), cut_at(8, bytes));
    assert_eq!(keeping(2 * entry_bytes), cut_at(20, bytes));
    assert_eq!(keeping(entry_bytes), cut_at(30, bytes));
    assert_eq!(
        cut(&harness.partition, &whole, &heads, NOW_MS, NEVER, NEVER),
        None
    );
}

#[test]
fn a_log_without_survivors_expires_as_ever() {
    let harness = segments(&[100, 200, 300]);
    let state = &harness.partition;
    for now_ms in [0, 101, 250, 1_000] {
        for bytes in [NEVER, 0, 100_000] {
            assert_eq!(
                cut(state, &Survivors::default(), &[], now_ms, 0, bytes),
                state.retention(now_ms, 0, bytes)
            );
        }
    }
}
