//! `CloseSegment`: an old segment ends, by replicated time, and an empty one never does.

use raftmq_core::partition::{Boundary, Command, Partition, Reply};
use raftmq_core::{Effect, LogIndex, Machine, Offset};

use crate::support::NOW_MS;
use crate::support::batch::plain;
use crate::support::partition::Harness;

const CLOSED: Reply = Reply::SegmentClosed { is_closed: true };
const OPEN: Reply = Reply::SegmentClosed { is_closed: false };

fn close(age_ms_min: i64) -> bytes::Bytes {
    Command::CloseSegment { age_ms_min }.encode()
}

#[test]
fn a_segment_as_old_as_asked_ends_with_a_checkpoint() {
    let mut harness = Harness::default();
    harness.append(&[plain(3)]);
    harness.now_ms = NOW_MS + 500;
    harness.append(&[plain(2)]);
    assert_eq!(harness.partition.segment_age_ms(NOW_MS + 700), Some(700));

    harness.now_ms = NOW_MS + 1_000;
    let applied = harness.commit(close(1_000));

    assert_eq!(applied.reply, CLOSED);
    let (log_index, log_end) = (LogIndex(3), Offset(5));
    assert_eq!(applied.effects, [Effect::Checkpoint { log_index, log_end }]);
    let boundary = Boundary { log_index, log_end };
    assert_eq!(harness.partition.boundaries(), [boundary]);
    assert_eq!(harness.partition.segment_age_ms(NOW_MS + 1_000), None);
}

#[test]
fn a_younger_segment_stays_open() {
    let mut harness = Harness::default();
    harness.append(&[plain(3)]);
    harness.now_ms = NOW_MS + 999;

    let applied = harness.commit(close(1_000));

    assert_eq!(applied.reply, OPEN);
    assert_eq!(applied.effects, []);
    assert_eq!(harness.partition.boundaries(), []);
}

#[test]
fn repeating_it_or_closing_an_empty_segment_changes_nothing() {
    let mut harness = Harness::default();
    assert_eq!(harness.commit(close(i64::MIN)).reply, OPEN);
    harness.append(&[plain(3)]);
    assert_eq!(harness.commit(close(i64::MIN)).reply, CLOSED);

    let again = harness.commit(close(i64::MIN));

    assert_eq!(again.reply, OPEN);
    assert_eq!(harness.partition.boundaries().len(), 1);
}

#[test]
fn a_leaders_clock_that_goes_back_closes_nothing_early() {
    let mut harness = Harness::default();
    harness.append(&[plain(1)]);
    harness.now_ms = NOW_MS - 5_000;

    assert_eq!(harness.commit(close(1)).reply, OPEN);
}

#[test]
fn the_segments_age_survives_rows_and_checkpoints() {
    let mut harness = Harness::default();
    harness.append(&[plain(1)]);
    harness.persist();

    let restored = Partition::restore(harness.rows.iter()).unwrap();
    assert_eq!(restored, harness.partition);
    assert_eq!(restored.segment_age_ms(NOW_MS + 9), Some(9));
    let installed = Partition::restore_checkpoint(&harness.partition.checkpoint()).unwrap();
    assert_eq!(installed.segment_age_ms(NOW_MS + 9), Some(9));
}

#[test]
fn once_everything_is_deleted_the_whole_log_up_to_the_boundary_is_needed_by_nobody() {
    let mut harness = Harness::default();
    harness.append(&[plain(4)]);
    harness.commit(close(i64::MIN));

    let applied = harness.advance_log_start(4);

    let (log_start, floor) = (Offset(4), LogIndex(2));
    assert_eq!(
        applied.effects,
        [Effect::LogStartAdvanced { log_start, floor }]
    );
}
