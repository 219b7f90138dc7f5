//! Opening a journal: replaying what the index lost, and telling a torn tail from damage.
//!
//! Every frame says which frame was known to be synced when it was written. A frame that does not
//! verify was torn by a power loss, and is dropped with everything after it, unless a later frame
//! says that it had been synced: then acknowledged bytes are damaged, and nothing is dropped. A
//! damaged payload makes its group recovering; a damaged description makes the open fail, because it
//! may have held a vote. Does not repair: that is the peers' work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::files::{Files, SegmentFile};
use super::frame::{
    FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FRAME_HEADER_LEN, FrameBuilder, FrameHeader, FrameOp,
    Location, SEGMENT_HEADER_BYTES, SegmentHeader, decode_ops,
};
use super::index::{self, EntryRow, Index, JournalMark};
use super::journal::{JournalEngine, Segment, Writer, verified};
use super::opening::{create_first, open_segments, start_mark};
use super::segments::{Upkeep, read_frame_meta};
use super::{Hole, RecoveryReport, entry_crc};
use crate::config::{JournalConfig, VerifyOnOpen};
use crate::error::{Site, StoreError};
use crate::planted::{self, Bug};

/// Bytes read at once while later frames are searched for.
const SEARCH_BYTES: usize = 1024 * 1024;

/// A frame that was read back.
struct Frame {
    ops: Vec<FrameOp>,
    body: Location,
    next: Location,
    /// Entries whose payload does not match its checksum.
    damaged: Vec<Hole>,
}

/// What stands at a place where a frame is expected.
enum Found {
    Frame(Frame),
    /// Nothing that verifies; how many bytes it claims to have.
    Nothing {
        claimed_bytes: u64,
    },
}

impl<F: Files, I: Index> JournalEngine<F, I> {
    /// Opens a journal and its index, and replays what the index has not seen.
    pub(crate) fn open(files: F, index: I, config: JournalConfig) -> Result<Self, StoreError> {
        let (segments, headers) = open_segments(&files, &index)?;
        let mark = start_mark(&index, &headers)?;
        let file = segments
            .get(&mark.place.segment)
            .map(|segment| Arc::clone(&segment.file));
        let is_new = file.is_none();
        let file = match file {
            Some(file) => file,
            None => create_first(&files, &config)?,
        };
        let writer = Writer {
            segment: mark.place.segment,
            file,
            position: mark.place.position,
            next_sequence: mark.next_sequence,
            synced: mark.next_sequence - 1,
            unsynced: Vec::new(),
            frame: FrameBuilder::default(),
            index_bytes: 0,
            broken: None,
        };
        let mut engine = Self {
            files,
            index,
            config,
            writer: Mutex::new(writer),
            segments: RwLock::new(segments),
            upkeep: Mutex::new(Upkeep::starting_at(mark.place.segment)),
            replay_bytes: AtomicU64::new(0),
            recovery: RecoveryReport::default(),
        };
        if is_new {
            let file = Arc::clone(&engine.writer.lock().file);
            let known = Segment {
                file,
                live_bytes: 0,
                is_unmovable: false,
            };
            engine.segments.write().insert(mark.place.segment, known);
            return Ok(engine);
        }
        let mut report = RecoveryReport::default();
        let end = engine.replay(mark, &headers, &mut report)?;
        if engine.config.verify_on_open == VerifyOnOpen::Everything {
            engine.verify_everything(&mut report)?;
        }
        engine.recovery = report;
        engine.continue_after(mark, end)?;
        Ok(engine)
    }

    /// Goes on in a fresh segment, so that no remains of a torn tail can ever follow a new frame.
    fn continue_after(&self, start: JournalMark, end: JournalMark) -> Result<(), StoreError> {
        // What was replayed may not be durable yet, when only the process was killed. It becomes so
        // before anything new is written, because new frames call it synced.
        for segment in self
            .segments
            .read()
            .range(start.place.segment..)
            .map(|(_, segment)| segment)
        {
            segment
                .file
                .sync()
                .map_err(|error| StoreError::io(Site::Sync, &error))?;
        }
        let mut writer = self.writer.lock();
        // The journal's end may lie before the newest segment, when that one was torn from its start.
        let newest = self.segments.read().keys().next_back().copied();
        writer.segment = newest.unwrap_or(end.place.segment).max(end.place.segment);
        writer.next_sequence = end.next_sequence;
        writer.synced = end.next_sequence - 1;
        self.roll(&mut writer, 0)
    }

    fn replay(
        &self,
        start: JournalMark,
        headers: &BTreeMap<u64, SegmentHeader>,
        report: &mut RecoveryReport,
    ) -> Result<JournalMark, StoreError> {
        let mut mark = start;
        let mut damaged = Vec::new();
        loop {
            if let Some(segment) = rolled_to(&mark, headers) {
                mark.place = Location {
                    segment,
                    position: SEGMENT_HEADER_BYTES,
                };
                continue;
            }
            let Some(file) = self.segment_file(mark.place.segment) else {
                let text = format!("segment {} is missing", mark.place.segment);
                return Err(StoreError::Damaged {
                    what: "journal",
                    text,
                });
            };
            match read_frame(&*file, &mark)? {
                Found::Frame(frame) => {
                    let is_torn = !frame.damaged.is_empty()
                        && !self.is_synced(frame.next, mark.next_sequence)?;
                    if is_torn {
                        report.torn_bytes_dropped = frame.next.position - mark.place.position;
                        break;
                    }
                    report.frames_replayed += 1;
                    report.bytes_replayed += frame.next.position - mark.place.position;
                    damaged.extend(frame.damaged);
                    mark = JournalMark {
                        place: frame.next,
                        next_sequence: mark.next_sequence + 1,
                    };
                    self.apply(frame.ops, frame.body, mark)?;
                }
                Found::Nothing { claimed_bytes } => {
                    let next = mark.place.position + FRAME_ALIGNMENT;
                    let after = Location {
                        position: next,
                        ..mark.place
                    };
                    if self.is_synced(after, mark.next_sequence)? {
                        let place = mark.place;
                        let text = format!(
                            "a synced frame at byte {} of segment {} does not verify",
                            place.position, place.segment
                        );
                        return Err(StoreError::Damaged {
                            what: "journal",
                            text,
                        });
                    }
                    report.torn_bytes_dropped = claimed_bytes;
                    break;
                }
            }
        }
        if report.torn_bytes_dropped > 0 {
            tracing::trace!(target: "raftmq::mark", name = "torn_tail_dropped");
            tracing::warn!(
                bytes = report.torn_bytes_dropped,
                "unsynced tail of the journal dropped"
            );
        }
        for hole in damaged {
            self.check_entry(hole, report)?;
        }
        Ok(mark)
    }

    /// Reports a hole where an entry does not verify; later frames may have replaced or removed it.
    fn check_entry(&self, entry: Hole, report: &mut RecoveryReport) -> Result<(), StoreError> {
        let index = entry.missing_from;
        match self.read_entries(entry.group, index..index + 1, usize::MAX) {
            Ok(_) => Ok(()),
            Err(StoreError::DamagedEntry { .. }) => {
                add_hole(&mut report.holes, entry);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a frame at or after `from` says that frame `sequence` had been synced.
    fn is_synced(&self, from: Location, sequence: u64) -> Result<bool, StoreError> {
        let segments = self.segments.read();
        for (number, segment) in segments.range(from.segment..) {
            let start = if *number == from.segment {
                from.position
            } else {
                SEGMENT_HEADER_BYTES
            };
            if search_synced(&*segment.file, *number, start, sequence)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn verify_everything(&self, report: &mut RecoveryReport) -> Result<(), StoreError> {
        let (start, end) = index::all_entries();
        let mut rows = Vec::new();
        let mut failed = None;
        self.index.scan(
            &start,
            &end,
            &mut |key, value| match EntryRow::decode(key, value) {
                Ok(row) => {
                    rows.push(row);
                    true
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            },
        )?;
        if let Some(error) = failed {
            return Err(error);
        }
        for (group, row) in rows {
            self.check_entry(
                Hole {
                    group,
                    missing_from: row.head.index,
                },
                report,
            )?;
        }
        Ok(())
    }
}

/// The segment in which the journal went on before frame `next_sequence` was written: the newest one
/// that starts with it. Segments between hold remains of a torn tail.
fn rolled_to(mark: &JournalMark, headers: &BTreeMap<u64, SegmentHeader>) -> Option<u64> {
    let mut later = headers.range(mark.place.segment + 1..).rev();
    let found = later.find(|(_, header)| header.first_sequence == mark.next_sequence);
    found.map(|(number, _)| *number)
}

/// Keeps the lowest hole of each group.
fn add_hole(holes: &mut Vec<Hole>, found: Hole) {
    match holes.iter_mut().find(|known| known.group == found.group) {
        Some(known) => known.missing_from = known.missing_from.min(found.missing_from),
        None => holes.push(found),
    }
}

/// Reads the frame expected at a mark.
fn read_frame<T: SegmentFile>(file: &T, mark: &JournalMark) -> Result<Found, StoreError> {
    let place = mark.place;
    let nothing = Found::Nothing {
        claimed_bytes: claimed_bytes(file, place)?,
    };
    let Some((header, meta)) = read_frame_meta(file, place)? else {
        return Ok(nothing);
    };
    if header.sequence != mark.next_sequence {
        return Ok(nothing);
    }
    let Some(total) = header.total_bytes() else {
        return Ok(nothing);
    };
    let Some(mut ops) = decode_ops(&header, &meta) else {
        return Ok(nothing);
    };
    let body_start = FRAME_HEADER_BYTES + meta.len() as u64;
    let body = Location {
        position: place.position + body_start,
        ..place
    };
    let mut bytes = vec![0; usize::try_from(header.body_bytes).unwrap_or(usize::MAX)];
    file.read_at(body.position, &mut bytes)
        .map_err(|error| StoreError::io(Site::Read, &error))?;
    let damaged = verify_payloads(&mut ops, &Bytes::from(bytes));
    let next = Location {
        position: place.position + total,
        ..place
    };
    Ok(Found::Frame(Frame {
        ops,
        body,
        next,
        damaged,
    }))
}

fn verify_payloads(ops: &mut [FrameOp], body: &Bytes) -> Vec<Hole> {
    let mut damaged = Vec::new();
    for op in ops {
        let FrameOp::Entry {
            group,
            head,
            body_offset,
            ..
        } = op
        else {
            continue;
        };
        let start = usize::try_from(*body_offset).unwrap_or(usize::MAX);
        let payload = body.slice(start..start + head.payload_bytes as usize);
        if planted::is_planted(Bug::TornTailAccepted) {
            head.crc = entry_crc(*group, head.index, head.term, head.kind, &payload);
        } else if verified(*group, head, payload).is_err() {
            damaged.push(Hole {
                group: *group,
                missing_from: head.index,
            });
        }
    }
    damaged
}

/// Bytes of a frame that may have been torn: what its header says, if it looks like one.
fn claimed_bytes<T: SegmentFile>(file: &T, place: Location) -> Result<u64, StoreError> {
    let rest = file.len().saturating_sub(place.position);
    if rest < FRAME_HEADER_BYTES {
        return Ok(0);
    }
    let mut bytes = [0; FRAME_HEADER_LEN];
    let read = file.read_at(place.position, &mut bytes);
    read.map_err(|error| StoreError::io(Site::Read, &error))?;
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(0);
    }
    let claimed = FrameHeader::decode(&bytes).and_then(|header| header.total_bytes());
    Ok(claimed.unwrap_or(FRAME_HEADER_BYTES).min(rest))
}

/// Whether some frame of a segment, from `start` on, says that frame `sequence` had been synced.
fn search_synced<T: SegmentFile>(
    file: &T,
    segment: u64,
    start: u64,
    sequence: u64,
) -> Result<bool, StoreError> {
    let step = usize::try_from(FRAME_ALIGNMENT).unwrap_or(usize::MAX);
    let end = file.data_end().min(file.len());
    let mut position = start.next_multiple_of(FRAME_ALIGNMENT);
    let mut buffer = vec![0; SEARCH_BYTES];
    while position < end {
        let len = usize::try_from(end - position)
            .unwrap_or(usize::MAX)
            .min(SEARCH_BYTES);
        let chunk = &mut buffer[..len];
        file.read_at(position, chunk)
            .map_err(|error| StoreError::io(Site::Read, &error))?;
        for (offset, word) in chunk.chunks_exact(step).enumerate() {
            if !FrameHeader::is_magic(word) {
                continue;
            }
            let place = Location {
                segment,
                position: position + (offset * step) as u64,
            };
            if let Some((header, _)) = read_frame_meta(file, place)?
                && header.sequence > sequence
                && header.synced >= sequence
            {
                return Ok(true);
            }
        }
        position += len as u64;
    }
    Ok(false)
}
