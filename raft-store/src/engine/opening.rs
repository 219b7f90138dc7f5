//! What stands on the disk before a journal is replayed: segments, and where the replay starts.
//!
//! Owns the checks that nothing is missing. Reads no frames, but the first one of a segment whose header
//! is damaged.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

use super::files::{Files, SegmentFile};
use super::frame::{Location, SEGMENT_HEADER_BYTES, SEGMENT_HEADER_LEN, SegmentHeader};
use super::index::{self, Index, JournalMark};
use super::journal::{Segment, Segments};
use super::segments::read_frame_meta;
use crate::config::JournalConfig;
use crate::error::{Site, StoreError};
use crate::planted::{self, Bug};

/// Segments with their headers.
pub(super) type Opened<T> = (Segments<T>, BTreeMap<u64, SegmentHeader>);

/// Bytes read at once while a segment is searched for anything that was written.
const SEARCH_BYTES: usize = 1024 * 1024;

/// Opens every segment and verifies its header.
pub(super) fn open_segments<F: Files, I: Index>(
    files: &F,
    index: &I,
) -> Result<Opened<F::File>, StoreError> {
    let failed = |error: std::io::Error| StoreError::io(Site::Open, &error);
    let listed = files.list().map_err(failed)?;
    let newest = listed.last().copied();
    let mut segments = BTreeMap::new();
    let mut headers = BTreeMap::new();
    for number in listed {
        let file = files.open(number).map_err(failed)?;
        let is_dropped_blindly =
            newest == Some(number) && planted::is_planted(Bug::DamagedSegmentDropped);
        let header = match read_header(&*file, number)? {
            Some(header) => header,
            None if is_dropped_blindly || is_unused(&*file, number, index)? => {
                // Its creation was interrupted: a segment is used only after its header is durable.
                files.remove(number).map_err(failed)?;
                continue;
            }
            None => restore_header(&*file, number)?,
        };
        headers.insert(number, header);
        let live = index.get(&index::segment_key(number))?.unwrap_or_default();
        let live_bytes = live
            .first_chunk::<8>()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        segments.insert(
            number,
            Segment {
                file,
                live_bytes,
                is_unmovable: false,
            },
        );
    }
    check_missing(index, &segments)?;
    Ok((segments, headers))
}

/// The header of a segment, if it verifies.
fn read_header<T: SegmentFile>(file: &T, number: u64) -> Result<Option<SegmentHeader>, StoreError> {
    if file.len() < SEGMENT_HEADER_BYTES {
        return Ok(None);
    }
    let mut bytes = [0; SEGMENT_HEADER_LEN];
    file.read_at(0, &mut bytes)
        .map_err(|error| StoreError::io(Site::Open, &error))?;
    Ok(SegmentHeader::decode(&bytes).filter(|header| header.segment == number))
}

/// Whether a segment whose header does not verify certainly never held a frame: nothing stands behind
/// the header, and the index knows nothing of it.
fn is_unused<T: SegmentFile, I: Index>(
    file: &T,
    number: u64,
    index: &I,
) -> Result<bool, StoreError> {
    let is_counted = index.get(&index::segment_key(number))?.is_some();
    let applied_to = index.get(&index::journal_key())?;
    let applied_to = applied_to
        .map(|bytes| JournalMark::decode(&bytes))
        .transpose()?;
    if is_counted || applied_to.is_some_and(|mark| mark.place.segment >= number) {
        return Ok(false);
    }
    let end = file.data_end().min(file.len());
    let mut position = SEGMENT_HEADER_BYTES;
    let mut buffer = vec![0; SEARCH_BYTES];
    while position < end {
        let len = usize::try_from(end - position)
            .unwrap_or(usize::MAX)
            .min(SEARCH_BYTES);
        file.read_at(position, &mut buffer[..len])
            .map_err(|error| StoreError::io(Site::Open, &error))?;
        if buffer[..len].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        position += len as u64;
    }
    Ok(true)
}

/// Writes a damaged header anew: its first frame says all that stood in it, and is verified with its
/// place.
fn restore_header<T: SegmentFile>(file: &T, number: u64) -> Result<SegmentHeader, StoreError> {
    let first = Location {
        segment: number,
        position: SEGMENT_HEADER_BYTES,
    };
    let Some((frame, _)) = read_frame_meta(file, first)? else {
        let text = format!("header of segment {number} does not verify, nor does its first frame");
        return Err(StoreError::Damaged {
            what: "journal",
            text,
        });
    };
    let header = SegmentHeader {
        segment: number,
        first_sequence: frame.sequence,
    };
    let written = file.write_at(0, &mut [IoSlice::new(&header.encode())]);
    written.map_err(|error| StoreError::io(Site::Write, &error))?;
    file.sync()
        .map_err(|error| StoreError::io(Site::Sync, &error))?;
    tracing::trace!(target: "raftmq::mark", name = "segment_header_restored");
    tracing::error!(
        segment = number,
        "header of a journal segment was damaged, and was restored from its first frame"
    );
    Ok(header)
}

/// A segment with live entries must exist.
fn check_missing<T, I: Index>(index: &I, segments: &Segments<T>) -> Result<(), StoreError> {
    let (start, end) = index::segment_bounds();
    let mut missing = None;
    index.scan(&start, &end, &mut |key, value| {
        let is_live = value.iter().any(|byte| *byte != 0);
        missing = index::segment_of(key).filter(|n| is_live && !segments.contains_key(n));
        missing.is_none()
    })?;
    match missing {
        None => Ok(()),
        Some(number) => {
            let text = format!("segment {number} is missing");
            Err(StoreError::Damaged {
                what: "journal",
                text,
            })
        }
    }
}

/// Where replay starts: where the index says, or at the very beginning.
pub(super) fn start_mark<I: Index>(
    index: &I,
    headers: &BTreeMap<u64, SegmentHeader>,
) -> Result<JournalMark, StoreError> {
    if let Some(bytes) = index.get(&index::journal_key())? {
        let mark = JournalMark::decode(&bytes)?;
        if !headers.contains_key(&mark.place.segment) || mark.next_sequence == 0 {
            let text = format!("segment {} is missing", mark.place.segment);
            return Err(StoreError::Damaged {
                what: "journal",
                text,
            });
        }
        return Ok(mark);
    }
    let first = headers.iter().next();
    if first.is_some_and(|(number, header)| *number != 1 || header.first_sequence != 1) {
        let text = "the index is missing and the journal does not reach back to its start";
        return Err(StoreError::Damaged {
            what: "index",
            text: text.to_owned(),
        });
    }
    let place = Location {
        segment: 1,
        position: SEGMENT_HEADER_BYTES,
    };
    Ok(JournalMark {
        place,
        next_sequence: 1,
    })
}

/// Creates the first segment of a new journal.
pub(super) fn create_first<F: Files>(
    files: &F,
    config: &JournalConfig,
) -> Result<Arc<F::File>, StoreError> {
    let header = SegmentHeader {
        segment: 1,
        first_sequence: 1,
    };
    let len = config.segment_bytes.max(SEGMENT_HEADER_BYTES);
    let created = files.create(1, len, &header.encode());
    created.map_err(|error| StoreError::io(Site::Segment, &error))
}
