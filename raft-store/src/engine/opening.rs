//! What stands on the disk before a journal is replayed: segments, and where the replay starts.
//!
//! Owns the checks that nothing is missing. Reads no frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::{Files, SegmentFile};
use super::frame::{Location, SEGMENT_HEADER_BYTES, SEGMENT_HEADER_LEN, SegmentHeader};
use super::index::{self, Index, JournalMark};
use super::journal::{Segment, Segments};
use crate::config::JournalConfig;
use crate::error::{Site, StoreError};

/// Segments with their headers.
pub(super) type Opened<T> = (Segments<T>, BTreeMap<u64, SegmentHeader>);

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
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        let is_long_enough = file.len() >= SEGMENT_HEADER_BYTES;
        if is_long_enough {
            file.read_at(0, &mut bytes).map_err(failed)?;
        }
        match SegmentHeader::decode(&bytes).filter(|header| header.segment == number) {
            Some(header) => {
                headers.insert(number, header);
            }
            None if newest == Some(number) => {
                // Its creation was interrupted: a segment is used only after its header is durable.
                files.remove(number).map_err(failed)?;
                continue;
            }
            None => {
                let text = format!("header of segment {number} does not verify");
                return Err(StoreError::Damaged {
                    what: "journal",
                    text,
                });
            }
        }
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
