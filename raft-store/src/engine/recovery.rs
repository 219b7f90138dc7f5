//! Opening a journal: replaying what the index lost, and telling a torn tail from damage.
//!
//! Every frame says which frame was known to be synced when it was written. A frame that does not
//! verify was torn by a power loss, and is dropped with everything after it, unless a later frame
//! says that it had been synced: then acknowledged bytes are damaged, and nothing is dropped. A
//! damaged payload makes its group recovering; a damaged description makes the open fail, because it
//! may have held a vote. Does not repair: that is the peers' work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::files::{Files, SegmentFile};
use super::frame::{
    FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FRAME_HEADER_LEN, FrameBuilder, FrameHeader, FrameOp,
    Location, SEGMENT_HEADER_BYTES, SegmentHeader, decode_ops,
};
use super::index::{self, EntryRow, Index, IndexOp, JournalMark};
use super::journal::{JournalEngine, Segment, Writer, verified, writer_mark};
use super::opening::{create_first, open_segments, start_mark};
use super::segments::{Upkeep, read_frame_meta};
use super::synced_search::SyncedSearch;
use super::{Hole, RecoveryReport, entry_crc};
use crate::config::{JournalConfig, VerifyOnOpen};
use crate::error::{Site, StoreError};
use crate::planted::{self, Bug};
use crate::types::GroupId;

/// Entries whose places are held in memory while everything is verified.
const VERIFIED_AT_ONCE: usize = 4096;

/// A frame that was read back.
struct Frame {
    ops: Vec<FrameOp>,
    body: Location,
    next: Location,
    /// Entries whose payload does not match its checksum.
    damaged: Vec<(GroupId, u64)>,
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
            is_tight: AtomicBool::new(false),
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
        self.roll(&mut writer, 0)?;
        if planted::is_planted(Bug::MarkLeftBehind) {
            return Ok(());
        }
        // A later start must not look for the segments before, which may be freed before anything is
        // written to this one.
        let mark = writer_mark(&writer).encode();
        self.index
            .apply(vec![IndexOp::Put(index::journal_key(), mark)])
    }

    fn replay(
        &self,
        start: JournalMark,
        headers: &BTreeMap<u64, SegmentHeader>,
        report: &mut RecoveryReport,
    ) -> Result<JournalMark, StoreError> {
        let mut mark = start;
        let mut damaged = BTreeSet::new();
        let mut search = SyncedSearch::new(&self.segments.read());
        let starts = segments_by_start(headers);
        loop {
            // Segments between hold remains of a torn tail.
            if let Some(segment) = starts.get(&mark.next_sequence)
                && *segment > mark.place.segment
            {
                mark.place = Location {
                    segment: *segment,
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
                        && !search.is_synced(frame.next, mark.next_sequence)?;
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
                    if search.is_synced(after, mark.next_sequence)? {
                        return Err(unverified(mark.place));
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
        for (group, index) in damaged {
            self.check_entry(group, index, report)?;
        }
        Ok(mark)
    }

    /// Reports a hole where an entry does not verify; later frames may have replaced or removed it.
    fn check_entry(
        &self,
        group: GroupId,
        index: u64,
        report: &mut RecoveryReport,
    ) -> Result<(), StoreError> {
        match self.read_entries(group, index..index.saturating_add(1), usize::MAX) {
            Ok(_) => Ok(()),
            Err(StoreError::DamagedEntry { .. }) => {
                // Entries are checked in order, group by group, so the first one found is the lowest.
                if report.holes.last().is_none_or(|known| known.group != group) {
                    report.holes.push(Hole {
                        group,
                        missing_from: index,
                    });
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Checks every entry of every group, some at a time.
    fn verify_everything(&self, report: &mut RecoveryReport) -> Result<(), StoreError> {
        report.holes.clear();
        let (mut start, end) = index::all_entries();
        loop {
            let mut entries = Vec::new();
            let mut failed = None;
            self.index.scan(&start, &end, &mut |key, value| {
                match EntryRow::decode(key, value) {
                    Ok((group, row)) => entries.push((group, row.head.index)),
                    Err(error) => failed = Some(error),
                }
                failed.is_none() && entries.len() < VERIFIED_AT_ONCE
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            let Some((group, index)) = entries.last() else {
                return Ok(());
            };
            start = index::entry_key(*group, *index);
            start.push(0);
            for (group, index) in entries {
                self.check_entry(group, index, report)?;
            }
        }
    }
}

/// The refusal of a frame that was synced and does not verify.
fn unverified(place: Location) -> StoreError {
    StoreError::Damaged {
        what: "journal",
        text: format!(
            "a synced frame at byte {} of segment {} does not verify",
            place.position, place.segment
        ),
    }
}

/// The newest segment that starts with each frame.
fn segments_by_start(headers: &BTreeMap<u64, SegmentHeader>) -> BTreeMap<u64, u64> {
    let starts = headers.iter();
    starts
        .map(|(number, header)| (header.first_sequence, *number))
        .collect()
}

/// Reads the frame expected at a mark.
fn read_frame<T: SegmentFile>(file: &T, mark: &JournalMark) -> Result<Found, StoreError> {
    let place = mark.place;
    let nothing = Found::Nothing {
        claimed_bytes: claimed_bytes(file, place)?,
    };
    let Some((header, meta)) = read_frame_meta(file, place)? else {
        return check_not_cut(file, mark).map(|()| nothing);
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

/// Refuses a file that ends before a mark or within the frame expected there. Files have their full
/// length before they are used, so no power loss explains that, and what followed may have held a vote.
fn check_not_cut<T: SegmentFile>(file: &T, mark: &JournalMark) -> Result<(), StoreError> {
    let place = mark.place;
    let cut = || StoreError::Damaged {
        what: "journal",
        text: format!(
            "segment {} was cut off at byte {}",
            place.segment,
            file.len()
        ),
    };
    let Some(rest) = file.len().checked_sub(place.position) else {
        return Err(cut());
    };
    if rest < FRAME_HEADER_BYTES {
        return Ok(());
    }
    let failed = |error: std::io::Error| StoreError::io(Site::Read, &error);
    let mut bytes = [0; FRAME_HEADER_LEN];
    file.read_at(place.position, &mut bytes).map_err(failed)?;
    let Some(header) = FrameHeader::decode(&bytes) else {
        return Ok(());
    };
    let is_expected = header.sequence == mark.next_sequence;
    if !is_expected || u64::from(header.meta_bytes) > rest - FRAME_HEADER_BYTES {
        return Ok(());
    }
    let mut meta = vec![0; header.meta_bytes as usize];
    file.read_at(place.position + FRAME_HEADER_BYTES, &mut meta)
        .map_err(failed)?;
    let is_short = header.total_bytes().is_none_or(|total| total > rest);
    if is_short && header.verify(place, &meta) {
        return Err(cut());
    }
    Ok(())
}

fn verify_payloads(ops: &mut [FrameOp], body: &Bytes) -> Vec<(GroupId, u64)> {
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
            damaged.push((*group, head.index));
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
