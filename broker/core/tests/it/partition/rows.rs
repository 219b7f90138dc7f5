//! Incremental persistence: only what changed is written, and all of it comes back.

use bytes::Bytes;
use raftmq_core::codec::RestoreError;
use raftmq_core::partition::{Command, Partition};
use raftmq_core::{Machine, RowUpdates};

use crate::support::batch::{from_producer, plain};
use crate::support::partition::Harness;

const BLOCK: usize = 64 * 1024;

fn keys(updates: &RowUpdates) -> Vec<Vec<u8>> {
    updates.puts.iter().map(|(key, _)| key.to_vec()).collect()
}

fn index_key(chunk: u8) -> Vec<u8> {
    vec![b'i', 0, 0, 0, 0, 0, 0, 0, chunk]
}

fn producer_key(producer_id: u8) -> Vec<u8> {
    vec![b'p', 0, 0, 0, 0, 0, 0, 0, producer_id]
}

#[test]
fn a_new_partition_has_no_rows() {
    let mut partition = Partition::default();

    assert!(partition.dirty_rows().is_empty());
    assert_eq!(Partition::restore(std::iter::empty()), Ok(partition));
}

#[test]
fn the_first_append_writes_each_kind_of_row() {
    let mut harness = Harness::default();
    harness.append(&[from_producer(3, 0, 1)]);

    let updates = harness.partition.dirty_rows();

    let expected = vec![vec![b'e'], vec![b'h'], index_key(0), producer_key(3)];
    assert_eq!(keys(&updates), expected);
    assert_eq!(updates.deletes, Vec::<Bytes>::new());
}

#[test]
fn asking_again_gives_nothing() {
    let mut harness = Harness::default();
    harness.append(&[from_producer(3, 0, 1)]);
    harness.partition.dirty_rows();

    assert!(harness.partition.dirty_rows().is_empty());
}

#[test]
fn only_what_changed_is_written() {
    let mut harness = Harness::default();
    harness.append(&[from_producer(3, 0, 1), from_producer(4, 0, 1)]);
    harness.partition.dirty_rows();

    harness.append(&[from_producer(4, 1, 1)]);

    assert_eq!(
        keys(&harness.partition.dirty_rows()),
        vec![vec![b'h'], producer_key(4)],
        "the block has the same timestamp, the epoch is the same, producer 3 is silent"
    );
}

#[test]
fn a_void_entry_writes_the_head_only() {
    let mut harness = Harness::default();
    harness.append(&[from_producer(3, 0, 1)]);
    harness.partition.dirty_rows();
    let void = harness.entry(raftmq_core::Offset(9), &[from_producer(4, 0, 1)]);

    harness.commit(void);

    assert_eq!(keys(&harness.partition.dirty_rows()), vec![vec![b'h']]);
}

#[test]
fn only_the_last_chunk_of_the_index_is_written() {
    let mut harness = Harness::default();
    for _ in 0..600 {
        harness.append(&[plain(1).of_bytes(BLOCK)]);
    }
    assert_eq!(
        keys(&harness.partition.dirty_rows()),
        vec![vec![b'e'], vec![b'h'], index_key(0), index_key(1)]
    );

    harness.append(&[plain(1).of_bytes(BLOCK)]);

    assert_eq!(
        keys(&harness.partition.dirty_rows()),
        vec![vec![b'h'], index_key(1)]
    );
}

#[test]
fn chunks_below_the_log_start_are_deleted_once() {
    let mut harness = Harness::default();
    for _ in 0..1_100 {
        harness.append(&[plain(1).of_bytes(BLOCK)]);
    }
    harness.persist();

    harness.advance_log_start(1_050);
    let updates = harness.partition.dirty_rows();

    let deleted: Vec<Vec<u8>> = updates.deletes.iter().map(|key| key.to_vec()).collect();
    assert_eq!(deleted, vec![index_key(0), index_key(1)]);
    assert_eq!(keys(&updates), vec![vec![b'h']]);
    harness.rows.update(updates);
    assert_eq!(
        Partition::restore(harness.rows.iter()),
        Ok(harness.partition.clone())
    );
    harness.advance_log_start(1_060);
    assert_eq!(harness.partition.dirty_rows().deletes, Vec::<Bytes>::new());
}

#[test]
fn a_forgotten_producer_loses_its_row() {
    let mut harness = Harness::default();
    harness.append(&[from_producer(3, 0, 1)]);
    harness.persist();

    harness.commit(
        Command::ExpireProducers {
            idle_before_ms: i64::MAX,
        }
        .encode(),
    );
    let updates = harness.partition.dirty_rows();

    let deleted: Vec<Vec<u8>> = updates.deletes.iter().map(|key| key.to_vec()).collect();
    assert_eq!(deleted, vec![producer_key(3)]);
    assert_eq!(keys(&updates), vec![vec![b'h']]);
}

#[test]
fn the_restored_state_is_the_same() {
    let mut harness = Harness {
        segment_bytes: 16 * 1024,
        ..Harness::default()
    };
    for sequence in 0..40 {
        harness.term = 1 + u64::try_from(sequence / 10).unwrap();
        harness.append(&[from_producer(i64::from(sequence % 3), sequence, 1).of_bytes(10_000)]);
        if sequence % 7 == 0 {
            harness.persist();
        }
    }
    harness.advance_log_start(13);
    harness.persist();

    let restored = Partition::restore(harness.rows.iter()).unwrap();

    assert_eq!(restored, harness.partition);
    assert_eq!(restored.checkpoint(), harness.partition.checkpoint());
}

#[test]
fn the_restored_state_goes_on_writing_only_what_changed() {
    let mut harness = Harness::default();
    harness.append(&[from_producer(3, 0, 1)]);
    harness.persist();
    harness.partition = Partition::restore(harness.rows.iter()).unwrap();
    assert!(harness.partition.dirty_rows().is_empty());

    harness.append(&[plain(1)]);

    assert_eq!(keys(&harness.partition.dirty_rows()), vec![vec![b'h']]);
}

#[test]
fn a_checkpoint_writes_all_its_rows_anew() {
    let mut harness = Harness {
        segment_bytes: 16 * 1024,
        ..Harness::default()
    };
    harness.append(&[from_producer(3, 0, 1).of_bytes(20_000)]);
    let mut restored = Partition::restore_checkpoint(&harness.checkpoints[0].1).unwrap();

    let updates = restored.dirty_rows();

    assert_eq!(
        keys(&updates),
        vec![vec![b'e'], vec![b'h'], producer_key(3)]
    );
    let again = Partition::restore(updates.puts.into_iter());
    assert_eq!(again, Ok(restored));
}

#[test]
fn a_replica_from_a_checkpoint_persists_its_part_of_the_index() {
    let mut harness = Harness {
        segment_bytes: 5 * 64 * 1024,
        ..Harness::default()
    };
    for _ in 0..1_003 {
        harness.append(&[plain(1).of_bytes(BLOCK)]);
    }
    let (log_index, checkpoint) = harness.checkpoints.last().unwrap().clone();
    let mut replica = harness.clone();
    replica.partition = Partition::restore_checkpoint(&checkpoint).unwrap();
    replica.rows = crate::support::Rows::default();
    replica.log.truncate(usize::try_from(log_index.0).unwrap());
    for _ in 0..100 {
        replica.append(&[plain(1).of_bytes(BLOCK)]);
        replica.persist();
    }

    let restored = Partition::restore(replica.rows.iter());

    assert_eq!(restored, Ok(replica.partition));
}

#[test]
fn the_rows_have_the_bytes_that_were_agreed_on() {
    let mut harness = Harness {
        now_ms: 0x0a0b,
        term: 2,
        ..Harness::default()
    };
    harness.append(&[from_producer(1, 5, 2).at_time(0x0c0d)]);
    harness.persist();

    let rows: Vec<(Vec<u8>, Vec<u8>)> = harness
        .rows
        .iter()
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect();
    let size = u8::try_from(crate::support::batch::HEADER_BYTES + 100).unwrap();
    let zeros = |count: usize| vec![0; count];
    let u64_of = |high: u8, low: u8| [zeros(6), vec![high, low]].concat();
    let epochs = [vec![1, 0, 0, 0, 1], u64_of(0, 2), zeros(8)].concat();
    let head = [
        vec![2],
        u64_of(0, 1),    // applied
        zeros(8),        // log start
        u64_of(0, 2),    // log end
        u64_of(0, size), // bytes total
        u64_of(0, size), // bytes since boundary
        vec![1],
        u64_of(0x0c, 0x0d), // max timestamp
        u64_of(0x0a, 0x0b), // now
        u64_of(0, 1),       // next block
        vec![0],            // must begin
        zeros(4),           // boundaries
        vec![1],
        u64_of(0x0a, 0x0b), // segment began
    ]
    .concat();
    let index = [
        vec![1],
        zeros(8),
        vec![0, 0, 0, 1],
        u64_of(0, 1),
        zeros(8),
        zeros(8),
        u64_of(0x0c, 0x0d),
    ]
    .concat();
    let producer = [
        vec![1, 0, 0],
        u64_of(0, 2),
        u64_of(0x0a, 0x0b),
        vec![0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 6],
        zeros(8),
        vec![0],
        zeros(8),
    ]
    .concat();
    let expected = vec![
        (vec![b'e'], epochs),
        (vec![b'h'], head),
        (index_key(0), index),
        (producer_key(1), producer),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_head_of_before_segments_had_an_age_is_read() {
    let mut harness = Harness::default();
    harness.append(&[from_producer(3, 0, 1)]);
    harness.persist();
    let head = harness.rows.rows[&b"h"[..]].to_vec();
    let mut older = head[..head.len() - 9].to_vec();
    older[0] = 1;
    harness
        .rows
        .rows
        .insert(Bytes::from_static(b"h"), older.into());

    let restored = Partition::restore(harness.rows.iter());

    // Its open segment counts as begun at the last replicated time.
    assert_eq!(restored, Ok(harness.partition.clone()));
}

#[test]
fn rows_without_a_head_are_refused() {
    let mut harness = Harness::default();
    harness.append(&[from_producer(3, 0, 1)]);
    harness.persist();
    harness.rows.rows.remove(&b"h"[..]);

    let refused = Partition::restore(harness.rows.iter());

    assert_eq!(refused, Err(RestoreError::HeadMissing { rows_count: 3 }));
}

#[test]
fn a_row_of_an_unknown_family_is_refused() {
    let row = (Bytes::from_static(b"zz"), Bytes::new());
    assert_eq!(
        Partition::restore([row].into_iter()),
        Err(RestoreError::UnknownRow {
            family: b'z',
            key_bytes: 2
        })
    );
    let row = (Bytes::new(), Bytes::new());
    assert_eq!(
        Partition::restore([row].into_iter()),
        Err(RestoreError::UnknownRow {
            family: 0,
            key_bytes: 0
        })
    );
}

#[test]
fn an_index_chunk_that_is_missing_is_noticed() {
    let mut harness = Harness::default();
    for _ in 0..1_100 {
        harness.append(&[plain(1).of_bytes(BLOCK)]);
    }
    harness.persist();
    for (chunk, what) in [
        (1, "index chunks leave a gap"),
        (2, "index and head do not match"),
    ] {
        let mut rows = harness.rows.clone();
        rows.rows.remove(&index_key(chunk)[..]);

        let refused = Partition::restore(rows.iter());

        assert_eq!(refused, Err(RestoreError::Contradiction { what }));
    }
}

#[test]
fn a_log_that_starts_after_its_end_is_refused() {
    let mut harness = Harness::default();
    harness.append(&[plain(1)]);
    harness.persist();
    let head = harness.rows.rows.get_mut(&b"h"[..]).unwrap();
    let mut bytes = head.to_vec();
    bytes[16] = 9; // the last byte of the log start
    *head = bytes.into();

    let refused = Partition::restore(harness.rows.iter());

    assert_eq!(
        refused,
        Err(RestoreError::LogBounds {
            log_start: 9,
            log_end: 1
        })
    );
}
