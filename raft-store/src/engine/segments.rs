//! The life of segments: flushing the index behind them, freeing dead ones, moving survivors on.
//!
//! The rule that matters: a segment is removed only when a flush of the index that saw it dead is
//! durable, because a restart works from the last durable index and the journal after it. Knows
//! nothing of groups beyond whose entry a description names.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::Maintenance;
use super::files::{Files, SegmentFile};
use super::frame::{
    EntryHead, FRAME_HEADER_BYTES, FRAME_HEADER_LEN, FrameHeader, FrameOp, Location,
    SEGMENT_HEADER_BYTES, decode_ops,
};
use super::index::{self, Index, IndexOp};
use super::journal::{JournalEngine, verified};
use crate::error::{Site, StoreError};
use crate::types::GroupId;

/// Bytes of survivors that one step moves at most (one entry may be larger).
const MOVE_BYTES_MAX: u64 = 1024 * 1024;

/// Frames that one step looks at.
const MOVE_FRAMES_MAX: usize = 1024;

/// Dead segments that wait for a flush of the index before one is started for them.
const DEAD_SEGMENTS_MAX: usize = 4;

/// Live share under which survivors are moved while space is short: half of what is moved comes back.
const RELOCATE_BELOW_PERCENT_TIGHT: u64 = 50;

/// A flush of the index that was started.
struct Flush {
    /// Segments that were dead when it started.
    dead: Vec<u64>,
    /// Segment in which the journal stood then: everything before it is fully behind the index.
    segment: u64,
}

/// State of housekeeping.
#[derive(Default)]
pub(super) struct Upkeep {
    flush: Option<Flush>,
    /// Segments before this one are fully behind a durable index.
    durable_segment: u64,
    /// Where moving survivors goes on.
    moving: Option<Location>,
}

impl Upkeep {
    /// State after a start at which everything before `segment` is behind the durable index.
    pub(super) fn starting_at(segment: u64) -> Self {
        Self {
            durable_segment: segment,
            ..Self::default()
        }
    }
}

/// A survivor and where it was.
type Survivor = (GroupId, EntryHead, Location);

impl<F: Files, I: Index> JournalEngine<F, I> {
    /// One bounded step of housekeeping.
    pub(crate) fn maintain(&self) -> Result<Maintenance, StoreError> {
        let mut upkeep = self.upkeep.lock();
        if upkeep.flush.is_some() {
            if !self.index.is_flushed()? {
                return Ok(Maintenance::Busy);
            }
            if let Some(flush) = upkeep.flush.take() {
                upkeep.durable_segment = upkeep.durable_segment.max(flush.segment);
                self.free(&flush.dead)?;
            }
            return Ok(Maintenance::Busy);
        }
        if self.is_flush_due(&upkeep) {
            self.start_flush(&mut upkeep)?;
            return Ok(Maintenance::Busy);
        }
        self.move_survivors(&mut upkeep)
    }

    fn is_flush_due(&self, upkeep: &Upkeep) -> bool {
        let index_bytes = self.writer.lock().index_bytes;
        self.replay_bytes.load(Ordering::Relaxed) >= self.config.replay_bytes_max
            || index_bytes >= self.config.index_memory_bytes
            || self.dead_segments().len() >= DEAD_SEGMENTS_MAX
            || self.is_tight() && self.would_free(upkeep)
    }

    /// Bytes that can still be written.
    pub(crate) fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        let free = self.files.free_bytes();
        free.map_err(|error| StoreError::io(Site::Space, &error))
    }

    pub(crate) fn set_tight(&self, is_tight: bool) {
        self.is_tight.store(is_tight, Ordering::Relaxed);
    }

    fn is_tight(&self) -> bool {
        self.is_tight.load(Ordering::Relaxed)
    }

    /// Whether a flush of the index lets go of a segment, or makes one movable.
    fn would_free(&self, upkeep: &Upkeep) -> bool {
        let current = self.writer.lock().segment;
        let not_durable = upkeep.durable_segment.min(current)..current;
        !self.dead_segments().is_empty() || self.sparse_in(not_durable).is_some()
    }

    /// Segments that hold no live entry and are no longer written.
    fn dead_segments(&self) -> Vec<u64> {
        let current = self.writer.lock().segment;
        let segments = self.segments.read();
        let before = segments.range(..current);
        before
            .filter(|(_, segment)| segment.live_bytes == 0)
            .map(|(number, _)| *number)
            .collect()
    }

    fn start_flush(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        // The index must never be durable ahead of the journal: a restart would find frames missing
        // that the index says were applied.
        self.sync()?;
        let dead = self.dead_segments();
        let mut writer = self.writer.lock();
        self.index.start_flush()?;
        writer.index_bytes = 0;
        self.replay_bytes.store(0, Ordering::Relaxed);
        upkeep.flush = Some(Flush {
            dead,
            segment: writer.segment,
        });
        Ok(())
    }

    fn free(&self, dead: &[u64]) -> Result<(), StoreError> {
        for number in dead {
            self.segments.write().remove(number);
            let removed = self.files.remove(*number);
            removed.map_err(|error| StoreError::io(Site::Segment, &error))?;
            self.index
                .apply(vec![IndexOp::Delete(index::segment_key(*number))])?;
        }
        Ok(())
    }

    /// The oldest segment of these that is worth moving.
    fn sparse_in(&self, numbers: Range<u64>) -> Option<u64> {
        let mut percent = u64::from(self.config.relocate_below_percent);
        if self.is_tight() {
            percent = percent.max(RELOCATE_BELOW_PERCENT_TIGHT);
        }
        let limit = self.config.segment_bytes / 100 * percent;
        let segments = self.segments.read();
        let mut movable = segments.range(numbers).filter(|(_, segment)| {
            segment.live_bytes > 0 && segment.live_bytes < limit && !segment.is_unmovable
        });
        movable.next().map(|(number, _)| *number)
    }

    fn move_survivors(&self, upkeep: &mut Upkeep) -> Result<Maintenance, StoreError> {
        let Some(number) = self.sparse_in(0..upkeep.durable_segment) else {
            upkeep.moving = None;
            return Ok(Maintenance::Idle);
        };
        let from = upkeep.moving.filter(|place| place.segment == number);
        let mut place = from.unwrap_or(Location {
            segment: number,
            position: SEGMENT_HEADER_BYTES,
        });
        let Some(file) = self.segment_file(number) else {
            return Ok(Maintenance::Idle);
        };
        let mut survivors = Vec::new();
        let mut bytes = 0;
        let mut is_end = false;
        for _ in 0..MOVE_FRAMES_MAX {
            let Some((ops, body, next)) = read_frame_ops(&*file, place)? else {
                is_end = true;
                break;
            };
            for op in ops {
                if let Some(survivor) = self.survivor(&op, body)? {
                    bytes += u64::from(survivor.1.payload_bytes);
                    survivors.push(survivor);
                }
            }
            place = next;
            if bytes >= MOVE_BYTES_MAX {
                break;
            }
        }
        let is_moved = self.write_moved(&*file, &survivors)?;
        upkeep.moving = Some(place);
        if is_end || !is_moved {
            upkeep.moving = None;
            let mut segments = self.segments.write();
            if let Some(segment) = segments.get_mut(&number)
                && segment.live_bytes > 0
            {
                tracing::error!(
                    segment = number,
                    live_bytes = segment.live_bytes,
                    "segment cannot be emptied"
                );
                segment.is_unmovable = true;
            }
        }
        Ok(Maintenance::Busy)
    }

    /// The entry of a frame, if the index still points to it.
    fn survivor(&self, op: &FrameOp, body: Location) -> Result<Option<Survivor>, StoreError> {
        let FrameOp::Entry {
            group,
            head,
            body_offset,
            ..
        } = op
        else {
            return Ok(None);
        };
        let place = Location {
            position: body.position + body_offset,
            ..body
        };
        let row = self.entry_row(*group, head.index)?;
        let is_live = row.is_some_and(|row| row.place == place && row.head.term == head.term);
        Ok(is_live.then_some((*group, *head, place)))
    }

    /// Writes survivors at the journal's end; `false` when one is damaged, which leaves it in place.
    fn write_moved(&self, file: &F::File, survivors: &[Survivor]) -> Result<bool, StoreError> {
        if survivors.is_empty() {
            return Ok(true);
        }
        let mut writer = self.writer.lock();
        writer.frame.clear();
        let mut is_whole = true;
        for (group, head, place) in survivors {
            let mut payload = vec![0; head.payload_bytes as usize];
            let read = file.read_at(place.position, &mut payload);
            read.map_err(|error| StoreError::io(Site::Read, &error))?;
            match verified(*group, head, payload.into()) {
                Ok(entry) => writer.frame.push_entry(*group, &entry, Some(*place)),
                Err(error) => {
                    tracing::error!(%error, "damaged entry cannot be moved");
                    is_whole = false;
                }
            }
        }
        self.write_frame(&mut writer)?;
        Ok(is_whole)
    }
}

/// Descriptions of the frame at `place`, where its body starts, and the next frame's place; `None` at
/// the segment's end or at bytes that are no frame.
pub(super) fn read_frame_ops<T: SegmentFile + ?Sized>(
    file: &T,
    place: Location,
) -> Result<Option<(Vec<FrameOp>, Location, Location)>, StoreError> {
    let Some((header, meta)) = read_frame_meta(file, place)? else {
        return Ok(None);
    };
    let Some(total) = header.total_bytes() else {
        return Ok(None);
    };
    let Some(ops) = decode_ops(&header, &meta) else {
        return Ok(None);
    };
    let body_start = FRAME_HEADER_BYTES + meta.len() as u64;
    let body = Location {
        position: place.position + body_start,
        ..place
    };
    let next = Location {
        position: place.position + total,
        ..place
    };
    Ok(Some((ops, body, next)))
}

/// Header and descriptions of the frame at `place`, verified; `None` when there is none.
pub(super) fn read_frame_meta<T: SegmentFile + ?Sized>(
    file: &T,
    place: Location,
) -> Result<Option<(FrameHeader, Vec<u8>)>, StoreError> {
    let failed = |error: std::io::Error| StoreError::io(Site::Read, &error);
    let rest = file.len().saturating_sub(place.position);
    if rest < FRAME_HEADER_BYTES {
        return Ok(None);
    }
    let mut bytes = [0; FRAME_HEADER_LEN];
    file.read_at(place.position, &mut bytes).map_err(failed)?;
    let Some(header) = FrameHeader::decode(&bytes) else {
        return Ok(None);
    };
    if header.total_bytes().is_none_or(|total| total > rest) {
        return Ok(None);
    }
    let mut meta = vec![0; header.meta_bytes as usize];
    file.read_at(place.position + FRAME_HEADER_BYTES, &mut meta)
        .map_err(failed)?;
    Ok(header.verify(place, &meta).then_some((header, meta)))
}
