//! Segment boundaries, and what a checkpoint holds.

use raftmq_core::limits::BOUNDARIES_COUNT_MAX;
use raftmq_core::partition::{OutOfRange, Partition, Pending, Position};
use raftmq_core::{Effect, LogIndex, Machine, Offset, ProducerId};

use crate::support::batch::{HEADER_BYTES, from_producer, plain};
use crate::support::partition::Harness;

/// The smallest segment there is.
const SEGMENT_BYTES: u64 = 16 * 1024;
/// Two batches of this payload fill a segment.
const HALF: usize = 8 * 1024;

fn small_segments() -> Harness {
    Harness {
        segment_bytes: SEGMENT_BYTES,
        ..Harness::default()
    }
}

#[test]
fn a_full_segment_asks_for_a_checkpoint() {
    let mut harness = small_segments();

    let first = harness.append(&[plain(1).of_bytes(HALF)]);
    let second = harness.append(&[plain(1).of_bytes(HALF)]);

    assert_eq!(
        first.effects,
        vec![Effect::Committed { log_end: Offset(1) }]
    );
    assert_eq!(
        second.effects,
        vec![
            Effect::Committed { log_end: Offset(2) },
            Effect::Checkpoint {
                log_index: LogIndex(2),
                log_end: Offset(2)
            },
        ]
    );
    let boundaries: Vec<(LogIndex, Offset)> = harness
        .partition
        .boundaries()
        .iter()
        .map(|boundary| (boundary.log_index, boundary.log_end))
        .collect();
    assert_eq!(boundaries, vec![(LogIndex(2), Offset(2))]);
}

#[test]
fn the_next_segment_counts_from_the_boundary() {
    let mut harness = small_segments();
    for _ in 0..10 {
        harness.append(&[plain(1).of_bytes(HALF)]);
    }

    let at: Vec<LogIndex> = harness.checkpoints.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [2, 4, 6, 8, 10].map(LogIndex).to_vec());
}

#[test]
fn one_large_entry_asks_for_one_checkpoint() {
    let mut harness = small_segments();

    let applied = harness.append(&[plain(1).of_bytes(5 * 16 * 1024)]);

    assert_eq!(applied.effects.len(), 2);
    assert_eq!(harness.partition.boundaries().len(), 1);
}

#[test]
fn a_smaller_setting_is_raised_to_the_smallest_segment() {
    let mut harness = Harness {
        segment_bytes: 1,
        ..Harness::default()
    };

    harness.append(&[plain(1)]);
    assert_eq!(harness.checkpoints.len(), 0);
    harness.append(&[plain(1).of_bytes(16 * 1024)]);
    assert_eq!(harness.checkpoints.len(), 1);
}

#[test]
fn without_a_setting_a_segment_has_sixty_four_mebibytes() {
    let mut harness = Harness::default();
    for _ in 0..63 {
        harness.append(&[plain(1).of_bytes(1024 * 1024)]);
    }
    assert_eq!(harness.checkpoints.len(), 0);

    harness.append(&[plain(1).of_bytes(1024 * 1024)]);

    assert_eq!(harness.checkpoints.len(), 1);
}

#[test]
fn a_void_entry_fills_no_segment() {
    let mut harness = small_segments();
    harness.append(&[plain(1).of_bytes(HALF)]);
    let void = harness.entry(Offset(99), &[plain(1).of_bytes(HALF)]);

    harness.commit(void);

    assert_eq!(harness.checkpoints.len(), 0);
}

#[test]
fn a_replica_from_a_checkpoint_goes_on_like_the_others() {
    let mut harness = small_segments();
    harness.append(&[from_producer(1, 0, 3).of_bytes(HALF)]);
    harness.append(&[from_producer(1, 3, 2).of_bytes(HALF)]);
    let (_, checkpoint) = harness.checkpoints[0].clone();

    let restored = Partition::restore_checkpoint(&checkpoint).unwrap();

    assert_eq!(restored.log_end(), Offset(5));
    assert_eq!(restored.applied(), LogIndex(2));
    assert_eq!(restored.now_ms(), harness.partition.now_ms());
    assert_eq!(restored.latest_epoch(), harness.partition.latest_epoch());
    assert_eq!(
        restored.producer(ProducerId(1)),
        harness.partition.producer(ProducerId(1))
    );
    assert_eq!(restored.boundaries(), harness.partition.boundaries());
    let pending = Pending::new(&restored);
    let next = from_producer(1, 5, 1).header();
    assert_eq!(
        restored.decide(&pending, &next),
        harness.partition.decide(&pending, &next)
    );
}

#[test]
fn a_checkpoint_of_the_restored_state_has_the_same_bytes() {
    let mut harness = small_segments();
    for sequence in 0..9 {
        harness.append(&[from_producer(1, sequence, 1).of_bytes(HALF)]);
    }
    for (_, checkpoint) in &harness.checkpoints {
        let restored = Partition::restore_checkpoint(checkpoint).unwrap();
        assert_eq!(&restored.checkpoint(), checkpoint);
    }
}

#[test]
fn a_replica_from_a_checkpoint_does_not_read_what_it_does_not_hold() {
    let mut harness = small_segments();
    harness.append(&[plain(4).of_bytes(2 * HALF)]);
    let mut restored = Partition::restore_checkpoint(&harness.checkpoints[0].1).unwrap();

    let missing = |partition: &Partition| {
        partition
            .locate(Offset(1))
            .map_err(|OutOfRange { log_start, .. }| log_start)
    };
    assert_eq!(missing(&restored), Err(Offset(4)));
    let tail = Position {
        log_index: LogIndex(2),
        base_offset: Offset(4),
    };
    assert_eq!(restored.locate(Offset(4)), Ok(tail));

    let entry = harness.entry(Offset(4), &[plain(2)]);
    let command = Partition::decode(&entry).unwrap();
    let mut effects = raftmq_core::Effects::new();
    restored.apply(&crate::support::meta(2, 1), command, &mut effects);
    assert_eq!(restored.locate(Offset(5)), Ok(tail));
    assert_eq!(missing(&restored), Err(Offset(4)));
}

#[test]
fn blocks_of_the_index_never_lie_across_a_boundary() {
    let mut harness = small_segments();
    let batch_bytes = (HALF + HEADER_BYTES) as u64;
    for _ in 0..6 {
        harness.append(&[plain(1).of_bytes(HALF)]);
    }

    for boundary in harness.partition.boundaries() {
        if boundary.log_end == harness.partition.log_end() {
            continue;
        }
        let position = harness.partition.locate(boundary.log_end).unwrap();
        let expected = LogIndex(boundary.log_index.0 + 1);
        assert_eq!(
            position.log_index, expected,
            "the block begins right after the boundary"
        );
    }
    assert_eq!(harness.partition.size_bytes(), 6 * batch_bytes);
}

#[test]
fn the_boundaries_of_a_long_log_are_thinned_out() {
    let mut harness = small_segments();
    for _ in 0..BOUNDARIES_COUNT_MAX {
        harness.append(&[plain(1).of_bytes(2 * HALF)]);
    }
    assert_eq!(harness.partition.boundaries().len(), BOUNDARIES_COUNT_MAX);

    harness.append(&[plain(1).of_bytes(2 * HALF)]);

    let boundaries = harness.partition.boundaries();
    assert_eq!(boundaries.len(), BOUNDARIES_COUNT_MAX / 2 + 1);
    assert_eq!(boundaries[0].log_index, LogIndex(1), "the oldest stays");
    let newest = LogIndex(BOUNDARIES_COUNT_MAX as u64 + 1);
    assert_eq!(boundaries[boundaries.len() - 1].log_index, newest);
    assert!(
        boundaries
            .windows(2)
            .all(|pair| pair[0].log_index < pair[1].log_index)
    );
    assert_eq!(harness.partition.checkpoint_floor(Offset(2)), LogIndex(1));
    assert_eq!(harness.partition.checkpoint_floor(Offset(3)), LogIndex(3));
}
