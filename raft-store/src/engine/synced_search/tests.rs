//! The search finds exactly the frames that verify, at a cost that grows like the journal, whatever
//! stands in it. Cost is counted in reads and bytes, not in time.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::*;
use crate::engine::frame::FrameBuilder;
use crate::engine::journal::Segment;
use crate::engine::{Op, RowFamily};
use crate::types::GroupId;

/// A file that counts what is read of it.
struct Counted {
    bytes: Vec<u8>,
    reads: AtomicU64,
    bytes_read: AtomicU64,
}

impl Counted {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            reads: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
        }
    }
}

impl SegmentFile for Counted {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn write_at(&self, _: u64, _: &mut [io::IoSlice<'_>]) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes_read
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let start = usize::try_from(position).unwrap();
        bytes.copy_from_slice(&self.bytes[start..start + bytes.len()]);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn segments(files: Vec<Vec<u8>>) -> Segments<Counted> {
    let numbered = (1..).zip(files);
    numbered
        .map(|(number, bytes)| {
            let segment = Segment {
                file: Arc::new(Counted::new(bytes)),
                live_bytes: 0,
                is_unmovable: false,
            };
            (number, segment)
        })
        .collect()
}

/// A segment of frames, each with a row of `row_bytes` bytes, the first at `first_sequence`; each calls
/// the one before it synced. Also answers where each frame starts.
fn frames(segment: u64, first_sequence: u64, count: u64, row_bytes: usize) -> (Vec<u8>, Vec<u64>) {
    let mut bytes = vec![0; FRAME_HEADER_LEN - 8];
    let mut starts = Vec::new();
    let mut builder = FrameBuilder::default();
    for sequence in first_sequence..first_sequence + count {
        builder.clear();
        builder.push(Op::Put {
            group: GroupId(1),
            family: RowFamily::State,
            key: Bytes::from_static(b"key"),
            value: Bytes::from(vec![7; row_bytes]),
        });
        let place = Location {
            segment,
            position: bytes.len() as u64,
        };
        let end = place.position + builder.total_bytes();
        let built = builder.build(place, sequence, sequence - 1).unwrap();
        starts.push(place.position);
        bytes.extend_from_slice(&built.header);
        bytes.extend_from_slice(built.meta);
        bytes.resize(usize::try_from(end).unwrap(), 0);
    }
    (bytes, starts)
}

/// Bytes that look like headers of frames which claim everything behind them, as a payload may.
fn fake_headers(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; FRAME_HEADER_LEN - 8];
    let end = bytes.len() + count * FRAME_HEADER_LEN;
    for _ in 0..count {
        let meta_bytes = u32::try_from(end - bytes.len() - FRAME_HEADER_LEN).unwrap();
        bytes.extend_from_slice(&0x314d_5246_u32.to_le_bytes());
        bytes.extend_from_slice(&[1, 2, 3, 4]);
        bytes.extend_from_slice(&1_000_u64.to_le_bytes());
        bytes.extend_from_slice(&999_u64.to_le_bytes());
        bytes.extend_from_slice(&meta_bytes.to_le_bytes());
        bytes.extend_from_slice(&[0; 12]);
    }
    bytes
}

const START: Location = Location {
    segment: 1,
    position: SEGMENT_HEADER_BYTES,
};

fn bytes_read(segments: &Segments<Counted>) -> u64 {
    let files = segments.values();
    files
        .map(|segment| segment.file.bytes_read.load(Ordering::Relaxed))
        .sum()
}

#[test]
fn a_frame_that_calls_the_asked_one_synced_is_found_and_no_other() {
    for row_bytes in [0, 1, 30, 200, 5_000] {
        let (bytes, _) = frames(1, 10, 5, row_bytes);
        let segments = segments(vec![bytes]);

        for sequence in 5..=13 {
            let found = SyncedSearch::new(&segments).is_synced(START, sequence);
            assert_eq!(found, Ok(true), "{sequence} with rows of {row_bytes}");
        }
        let found = SyncedSearch::new(&segments).is_synced(START, 14);
        assert_eq!(found, Ok(false), "nothing calls the last frame synced");
    }
}

#[test]
fn a_frame_with_any_flipped_bit_proves_nothing() {
    let (bytes, starts) = frames(1, 10, 1, 90);
    let start = usize::try_from(starts[0]).unwrap();
    for place in start..start + FRAME_HEADER_LEN + 90 {
        let mut damaged = bytes.clone();
        damaged[place] ^= 4;
        let segments = segments(vec![damaged]);
        let found = SyncedSearch::new(&segments).is_synced(START, 9);
        assert_eq!(found, Ok(false), "byte {place}");
    }
}

#[test]
fn later_segments_are_searched_too_and_a_frame_of_another_place_proves_nothing() {
    let (other, _) = frames(7, 10, 3, 50);
    let (second, _) = frames(2, 10, 3, 50);

    let misplaced = segments(vec![vec![0; 4_096], other]);
    assert_eq!(SyncedSearch::new(&misplaced).is_synced(START, 9), Ok(false));

    let right = segments(vec![vec![0; 4_096], second]);
    assert_eq!(SyncedSearch::new(&right).is_synced(START, 9), Ok(true));
}

#[test]
fn twice_the_bytes_that_look_like_frames_cost_about_twice() {
    let cost = |count| {
        let segments = segments(vec![fake_headers(count)]);
        let found = SyncedSearch::new(&segments).is_synced(START, 1);
        assert_eq!(found, Ok(false));
        bytes_read(&segments)
    };

    let (once, twice) = (cost(4_000), cost(8_000));

    assert!(twice < once * 5 / 2, "{once} and then {twice} bytes read");
    let size = (8_000 * FRAME_HEADER_LEN) as u64;
    assert!(twice < 8 * size, "{twice} bytes read of {size}");
}

#[test]
fn asking_for_every_frame_of_a_journal_costs_about_as_much_as_reading_it() {
    let cost = |count: u64| {
        let (bytes, starts) = frames(1, 1, count, 100);
        let size = bytes.len() as u64;
        let segments = segments(vec![bytes]);
        let mut search = SyncedSearch::new(&segments);
        for (sequence, position) in (1..count).zip(starts.iter().skip(1)) {
            let place = Location {
                segment: 1,
                position: *position,
            };
            assert_eq!(search.is_synced(place, sequence), Ok(true));
        }
        (bytes_read(&segments), size)
    };

    let ((once, _), (twice, size)) = (cost(1_000), cost(2_000));

    assert!(twice < once * 5 / 2, "{once} and then {twice} bytes read");
    assert!(twice < 64 * size, "{twice} bytes read of {size}");
}
