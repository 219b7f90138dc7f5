//! `AdvanceLogStart`: records go, in order, and what they pinned goes with them.

use raftmq_core::partition::Reply;
use raftmq_core::{Effect, LogIndex, Offset, Term};

use crate::support::batch::plain;
use crate::support::partition::Harness;

const HALF: usize = 8 * 1024;

/// Ten entries of ten records, a checkpoint after every second one.
fn ten_entries() -> Harness {
    let mut harness = Harness {
        segment_bytes: 16 * 1024,
        ..Harness::default()
    };
    for term in 1..=10 {
        harness.term = term;
        harness.append(&[plain(10).of_bytes(HALF)]);
    }
    harness
}

#[test]
fn the_log_start_moves_and_says_which_entries_nobody_needs() {
    let mut harness = ten_entries();

    let applied = harness.advance_log_start(45);

    assert_eq!(
        applied.reply,
        Reply::LogStart {
            log_start: Offset(45)
        }
    );
    assert_eq!(
        applied.effects,
        vec![Effect::LogStartAdvanced {
            log_start: Offset(45),
            floor: LogIndex(4)
        }]
    );
    assert_eq!(harness.partition.log_start(), Offset(45));
    assert_eq!(harness.partition.log_end(), Offset(100));
}

#[test]
fn a_log_start_on_a_boundary_frees_everything_below() {
    let mut harness = ten_entries();

    let applied = harness.advance_log_start(60);

    assert_eq!(
        applied.effects,
        vec![Effect::LogStartAdvanced {
            log_start: Offset(60),
            floor: LogIndex(6)
        }]
    );
    let position = harness.partition.locate(Offset(60)).unwrap();
    assert_eq!(
        position.log_index,
        LogIndex(7),
        "the first entry that is kept"
    );
}

#[test]
fn the_log_start_never_goes_back() {
    let mut harness = ten_entries();
    harness.advance_log_start(45);

    for asked in [45, 44, 0, -7] {
        let applied = harness.advance_log_start(asked);
        assert_eq!(
            applied.reply,
            Reply::LogStart {
                log_start: Offset(45)
            }
        );
        assert_eq!(applied.effects, vec![]);
        assert_eq!(harness.partition.log_start(), Offset(45));
    }
}

#[test]
fn the_log_start_never_passes_the_log_end() {
    let mut harness = ten_entries();

    let applied = harness.advance_log_start(i64::MAX);

    assert_eq!(
        applied.reply,
        Reply::LogStart {
            log_start: Offset(100)
        }
    );
    assert_eq!(harness.partition.log_start(), Offset(100));
    assert_eq!(harness.partition.log_end(), Offset(100));
    assert_eq!(harness.partition.offset_for_time(Offset::ZERO, 0), None);
}

#[test]
fn an_emptied_log_goes_on_where_it_ended() {
    let mut harness = ten_entries();
    harness.advance_log_start(100);

    let applied = harness.append(&[plain(2)]);

    assert_eq!(
        applied.reply,
        Reply::Appended {
            base_offset: Offset(100),
            log_end: Offset(102)
        }
    );
    assert_eq!(harness.read(100, usize::MAX).len(), 1);
}

#[test]
fn boundaries_below_the_log_start_go_but_the_newest_of_them() {
    let mut harness = ten_entries();

    harness.advance_log_start(65);

    let at: Vec<LogIndex> = harness
        .partition
        .boundaries()
        .iter()
        .map(|boundary| boundary.log_index)
        .collect();
    assert_eq!(at, [6, 8, 10].map(LogIndex).to_vec());
    assert_eq!(harness.partition.checkpoint_floor(Offset(65)), LogIndex(6));
    assert_eq!(
        harness.partition.checkpoint_floor(Offset(100)),
        LogIndex(10)
    );
}

#[test]
fn without_a_boundary_below_it_a_log_start_frees_nothing() {
    let harness = ten_entries();

    assert_eq!(harness.partition.checkpoint_floor(Offset(0)), LogIndex(0));
    assert_eq!(harness.partition.checkpoint_floor(Offset(19)), LogIndex(0));
    assert_eq!(harness.partition.checkpoint_floor(Offset(20)), LogIndex(2));
}

#[test]
fn epochs_that_have_no_record_left_go() {
    let mut harness = ten_entries();

    harness.advance_log_start(45);

    let partition = &harness.partition;
    assert_eq!(partition.end_offset_for_epoch(Term(4)), None);
    assert_eq!(
        partition.end_offset_for_epoch(Term(5)),
        Some((Term(5), Offset(50)))
    );
    assert_eq!(partition.epoch_at(Offset(45)), Some(Term(5)));
    assert_eq!(partition.latest_epoch(), Some(Term(10)));
}

#[test]
fn the_newest_epoch_stays_even_without_a_record() {
    let mut harness = ten_entries();

    harness.advance_log_start(100);

    assert_eq!(harness.partition.latest_epoch(), Some(Term(10)));
}

#[test]
fn the_size_shrinks_with_the_log() {
    let mut harness = ten_entries();
    let before = harness.partition.size_bytes();

    harness.advance_log_start(60);

    let after = harness.partition.size_bytes();
    assert_eq!(after * 10, before * 4);
}

#[test]
fn producers_outlive_their_records() {
    let mut harness = ten_entries();
    harness.append(&[crate::support::batch::from_producer(1, 0, 1)]);

    harness.advance_log_start(101);

    assert_eq!(harness.partition.producers_count(), 1);
}
