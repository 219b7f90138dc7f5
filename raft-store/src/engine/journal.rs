//! The engine over any files and any index: one journal for all groups, an index beside it.
//!
//! Owns writing frames, syncing, and reading entries back with their checksums verified. Recovery and
//! the life of segments stand in their own files. Does not know which disk is below.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};

use super::apply::Applier;
use super::files::{Files, SegmentFile};
use super::frame::{
    EntryHead, FrameBuilder, FrameOp, Location, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use super::index::{self, EntryRow, Index, JournalMark};
use super::segments::Upkeep;
use super::{
    EntryMeta, EntryRecord, LogBounds, RecoveryReport, RowFamily, Usage, WriteBatch, WriteReceipt,
    entry_crc,
};
use crate::config::JournalConfig;
use crate::error::{Site, StoreError};
use crate::planted::{self, Bug};
use crate::types::GroupId;

/// Entries that lie one after the other are read with one call of at most this many bytes.
const READ_BYTES_MAX: u64 = 1024 * 1024;

/// A read is tried again when the segment it needs was freed meanwhile, because its entries moved.
const READ_ATTEMPTS: usize = 4;

/// The writing end of the journal.
pub(super) struct Writer<T> {
    pub(super) segment: u64,
    pub(super) file: Arc<T>,
    pub(super) position: u64,
    pub(super) next_sequence: u64,
    /// Highest frame that is synced.
    pub(super) synced: u64,
    /// Files written since the last sync.
    pub(super) unsynced: Vec<Arc<T>>,
    pub(super) frame: FrameBuilder,
    /// Memory that the index took since its last flush, roughly.
    pub(super) index_bytes: usize,
    /// The first failure; nothing is written after it.
    pub(super) broken: Option<StoreError>,
}

/// What is known of one segment.
pub(super) struct Segment<T> {
    pub(super) file: Arc<T>,
    /// Bytes that entries in the index need.
    pub(super) live_bytes: u64,
    /// Its survivors cannot be moved, because one is damaged.
    pub(super) is_unmovable: bool,
}

pub(super) type Segments<T> = BTreeMap<u64, Segment<T>>;

/// A journal with its index.
pub(crate) struct JournalEngine<F: Files, I: Index> {
    pub(super) files: F,
    pub(super) index: I,
    pub(super) config: JournalConfig,
    pub(super) writer: Mutex<Writer<F::File>>,
    pub(super) segments: RwLock<Segments<F::File>>,
    pub(super) upkeep: Mutex<Upkeep>,
    pub(super) replay_bytes: AtomicU64,
    /// Space is short.
    pub(super) is_tight: AtomicBool,
    pub(super) recovery: RecoveryReport,
}

impl<F: Files, I: Index> JournalEngine<F, I> {
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<WriteReceipt, StoreError> {
        let mut writer = self.writer.lock();
        writer.frame.clear();
        for op in batch.ops {
            writer.frame.push(op);
        }
        self.write_frame(&mut writer)
    }

    /// Writes the frame that stands in the writer's builder and applies it to the index.
    pub(super) fn write_frame(
        &self,
        writer: &mut Writer<F::File>,
    ) -> Result<WriteReceipt, StoreError> {
        if let Some(error) = &writer.broken {
            return Err(error.clone());
        }
        let written = self.try_write_frame(writer);
        if let Err(error) = &written {
            writer.broken = Some(error.clone());
        }
        written
    }

    fn try_write_frame(&self, writer: &mut Writer<F::File>) -> Result<WriteReceipt, StoreError> {
        let total = writer.frame.total_bytes();
        if writer.position + total > writer.file.len() {
            self.roll(writer, total)?;
        }
        let place = Location {
            segment: writer.segment,
            position: writer.position,
        };
        let built = writer
            .frame
            .build(place, writer.next_sequence, writer.synced);
        let Some(built) = built else {
            let bytes = usize::try_from(total).unwrap_or(usize::MAX);
            return Err(StoreError::TooLarge {
                bytes,
                bytes_max: u32::MAX as usize,
            });
        };
        let mut slices = Vec::with_capacity(built.body.len() + 2);
        slices.push(IoSlice::new(&built.header));
        slices.push(IoSlice::new(built.meta));
        slices.extend(
            built
                .body
                .iter()
                .filter(|part| !part.is_empty())
                .map(|part| IoSlice::new(part)),
        );
        let wrote = writer.file.write_at(place.position, &mut slices);
        wrote.map_err(|error| StoreError::io(Site::Write, &error))?;
        if writer
            .unsynced
            .last()
            .is_none_or(|last| !Arc::ptr_eq(last, &writer.file))
        {
            writer.unsynced.push(Arc::clone(&writer.file));
        }
        let body = Location {
            position: place.position + writer.frame.body_start(),
            ..place
        };
        writer.position += total;
        writer.next_sequence += 1;
        let ops = writer.frame.take_ops();
        writer.index_bytes += self.apply(ops, body, writer_mark(writer))?;
        self.replay_bytes.fetch_add(total, Ordering::Relaxed);
        Ok(WriteReceipt { bytes: total })
    }

    /// Applies a frame whose body starts at `body`; the journal was then applied up to `mark`.
    pub(super) fn apply(
        &self,
        ops: Vec<FrameOp>,
        body: Location,
        mark: JournalMark,
    ) -> Result<usize, StoreError> {
        let mut applier = Applier::new(&self.index);
        for op in ops {
            applier.push(op, body)?;
        }
        applier.finish(mark, &mut self.segments.write())
    }

    /// Goes on in a new segment that has room for a frame of `total` bytes.
    pub(super) fn roll(&self, writer: &mut Writer<F::File>, total: u64) -> Result<(), StoreError> {
        let segment = writer.segment + 1;
        let len = self.config.segment_bytes.max(SEGMENT_HEADER_BYTES + total);
        let header = SegmentHeader {
            segment,
            first_sequence: writer.next_sequence,
        };
        let file = self.files.create(segment, len, &header.encode());
        let file = file.map_err(|error| StoreError::io(Site::Segment, &error))?;
        let known = Segment {
            file: Arc::clone(&file),
            live_bytes: 0,
            is_unmovable: false,
        };
        self.segments.write().insert(segment, known);
        writer.segment = segment;
        writer.file = file;
        writer.position = SEGMENT_HEADER_BYTES;
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let (files, last) = {
            let mut writer = self.writer.lock();
            if let Some(error) = &writer.broken {
                return Err(error.clone());
            }
            (
                std::mem::take(&mut writer.unsynced),
                writer.next_sequence - 1,
            )
        };
        for file in files {
            if let Err(error) = file.sync() {
                let error = StoreError::io(Site::Sync, &error);
                self.writer.lock().broken = Some(error.clone());
                return Err(error);
            }
        }
        let mut writer = self.writer.lock();
        writer.synced = writer.synced.max(last);
        Ok(())
    }

    pub(crate) fn close(&self) -> Result<(), StoreError> {
        self.sync()?;
        self.index.flush()?;
        self.replay_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn read_entries(
        &self,
        group: GroupId,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<EntryRecord>, StoreError> {
        let mut attempts = READ_ATTEMPTS;
        loop {
            attempts -= 1;
            let rows = self.entry_rows(group, &range, bytes_max)?;
            match self.read_rows(group, &rows)? {
                Some(entries) => return Ok(entries),
                None if attempts > 0 => {}
                None => {
                    let text = format!("segment of group {group}, log index {}", range.start);
                    return Err(StoreError::Damaged {
                        what: "journal",
                        text,
                    });
                }
            }
        }
    }

    /// Rows of a contiguous run of entries, until `bytes_max` is passed.
    fn entry_rows(
        &self,
        group: GroupId,
        range: &Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<EntryRow>, StoreError> {
        let mut rows: Vec<EntryRow> = Vec::new();
        let mut bytes = 0;
        let mut failed = None;
        let end = index::entry_key(group, range.end);
        self.index.scan(
            &index::entry_key(group, range.start),
            &end,
            &mut |key, value| match EntryRow::decode(key, value) {
                Ok((_, row)) => {
                    if rows
                        .last()
                        .is_some_and(|last| last.head.index + 1 != row.head.index)
                    {
                        return false;
                    }
                    bytes += row.head.payload_bytes as usize;
                    rows.push(row);
                    bytes < bytes_max
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            },
        )?;
        failed.map_or(Ok(rows), Err)
    }

    /// Reads and verifies the entries of `rows`; `None` when a segment is gone.
    fn read_rows(
        &self,
        group: GroupId,
        rows: &[EntryRow],
    ) -> Result<Option<Vec<EntryRecord>>, StoreError> {
        let mut entries = Vec::with_capacity(rows.len());
        let mut rest = rows;
        while let Some(first) = rest.first() {
            let (mut run, mut bytes) = contiguous(rest);
            let mut payloads = if bytes == 0 {
                Bytes::new()
            } else {
                let Some(file) = self.segment_file(first.place.segment) else {
                    return Ok(None);
                };
                (run, bytes) = within(&rest[..run], file.len());
                let len = usize::try_from(bytes).unwrap_or(usize::MAX);
                let mut buffer = BytesMut::zeroed(len);
                if len > 0 {
                    let read = file.read_at(first.place.position, &mut buffer);
                    read.map_err(|error| StoreError::io(Site::Read, &error))?;
                }
                buffer.freeze()
            };
            for row in &rest[..run] {
                let payload = payloads.split_to(row.head.payload_bytes as usize);
                entries.push(verified(group, &row.head, payload)?);
            }
            if run == 0 {
                // Its segment was cut off.
                let index = first.head.index;
                return Err(StoreError::DamagedEntry { group, index });
            }
            rest = &rest[run..];
        }
        Ok(Some(entries))
    }

    pub(super) fn segment_file(&self, segment: u64) -> Option<Arc<F::File>> {
        self.segments
            .read()
            .get(&segment)
            .map(|known| Arc::clone(&known.file))
    }

    pub(crate) fn entry_row(
        &self,
        group: GroupId,
        index: u64,
    ) -> Result<Option<EntryRow>, StoreError> {
        let key = index::entry_key(group, index);
        let Some(value) = self.index.get(&key)? else {
            return Ok(None);
        };
        Ok(Some(EntryRow::decode(&key, &value)?.1))
    }

    pub(crate) fn entry_meta(
        &self,
        group: GroupId,
        index: u64,
    ) -> Result<Option<EntryMeta>, StoreError> {
        Ok(self.entry_row(group, index)?.map(|row| row.meta()))
    }

    pub(crate) fn log_bounds(
        &self,
        group: GroupId,
        from: u64,
    ) -> Result<Option<LogBounds>, StoreError> {
        let (start, end) = (index::entry_key(group, from), index::entries_end(group));
        let mut first = None;
        self.index.scan(&start, &end, &mut |key, value| {
            first = Some(EntryRow::decode(key, value));
            false
        })?;
        let Some(first) = first.transpose()? else {
            return Ok(None);
        };
        let Some((key, value)) = self.index.last(&start, &end)? else {
            return Ok(None);
        };
        let last = EntryRow::decode(&key, &value)?;
        Ok(Some(LogBounds {
            first: first.1.meta(),
            last: last.1.meta(),
        }))
    }

    pub(crate) fn group_ids(&self) -> Result<Vec<GroupId>, StoreError> {
        let mut groups = std::collections::BTreeSet::new();
        for tag in index::group_tags() {
            let mut next = Some(0);
            while let Some(group) = next {
                let mut found = None;
                let end = index::group_start(tag + 1, 0);
                self.index
                    .scan(&index::group_start(tag, group), &end, &mut |key, _| {
                        found = key.get(1..9).and_then(|bytes| bytes.try_into().ok());
                        false
                    })?;
                let found = found.map(u64::from_be_bytes);
                groups.extend(found.map(GroupId));
                next = found.and_then(|group| group.checked_add(1));
            }
        }
        Ok(groups.into_iter().collect())
    }

    pub(crate) fn get_row(
        &self,
        group: GroupId,
        family: RowFamily,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError> {
        Ok(self
            .index
            .get(&index::row_key(group, family, key))?
            .map(Bytes::from))
    }

    pub(crate) fn scan_rows(
        &self,
        group: GroupId,
        family: RowFamily,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let (start, end) = index::family_bounds(group, family);
        let mut rows = Vec::new();
        self.index.scan(&start, &end, &mut |key, value| {
            let key = Bytes::copy_from_slice(&key[start.len()..]);
            rows.push((key, Bytes::copy_from_slice(value)));
            true
        })?;
        Ok(rows)
    }

    pub(crate) fn usage(&self) -> Usage {
        let segments = self.segments.read();
        Usage {
            segments: segments.len() as u64,
            segment_bytes: segments.values().map(|segment| segment.file.len()).sum(),
            live_bytes: segments.values().map(|segment| segment.live_bytes).sum(),
            replay_bytes: self.replay_bytes.load(Ordering::Relaxed),
        }
    }

    pub(crate) const fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }
}

/// Up to where the journal is written.
pub(super) const fn writer_mark<T>(writer: &Writer<T>) -> JournalMark {
    JournalMark {
        place: Location {
            segment: writer.segment,
            position: writer.position,
        },
        next_sequence: writer.next_sequence,
    }
}

/// How many of the first rows lie one after the other, and their bytes.
fn contiguous(rows: &[EntryRow]) -> (usize, u64) {
    let mut run = 0;
    let mut bytes = 0_u64;
    for row in rows {
        let first = rows[0].place;
        let next = Location {
            position: first.position + bytes,
            ..first
        };
        let len = u64::from(row.head.payload_bytes);
        if run > 0 && (row.place != next || bytes + len > READ_BYTES_MAX) {
            break;
        }
        run += 1;
        bytes += len;
    }
    (run, bytes)
}

/// How many of the first rows of a run lie within a file of `len` bytes, and their bytes.
fn within(run: &[EntryRow], len: u64) -> (usize, u64) {
    let mut bytes = 0_u64;
    for (count, row) in run.iter().enumerate() {
        let row_bytes = u64::from(row.head.payload_bytes);
        if row.place.position.saturating_add(row_bytes) > len {
            return (count, bytes);
        }
        bytes += row_bytes;
    }
    (run.len(), bytes)
}

/// The entry, if its checksum matches.
pub(super) fn verified(
    group: GroupId,
    head: &EntryHead,
    payload: Bytes,
) -> Result<EntryRecord, StoreError> {
    let is_whole = entry_crc(group, head.index, head.term, head.kind, &payload) == head.crc;
    if !is_whole && !planted::is_planted(Bug::DamageServed) {
        return Err(StoreError::DamagedEntry {
            group,
            index: head.index,
        });
    }
    Ok(EntryRecord {
        index: head.index,
        term: head.term,
        kind: head.kind,
        crc: head.crc,
        bytes_before: head.bytes_before,
        payload,
    })
}
