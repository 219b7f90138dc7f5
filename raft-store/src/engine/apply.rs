//! Applying a frame to the index, the same way when it is written and when it is replayed.
//!
//! Owns the count of live bytes per segment, which stands in the index beside what it counts. Does
//! not know whether the frame is durable.

use std::collections::BTreeMap;

use super::frame::{FrameOp, Location};
use super::index::{self, EntryRow, Index, IndexOp, JournalMark};
use super::journal::Segments;
use super::{Op, RowFamily};
use crate::error::StoreError;
use crate::types::GroupId;

/// Bytes that an entry needs in a segment beside its payload: its description.
pub(super) const ENTRY_META_BYTES: u64 = 38;

/// More removed entries or rows than this are removed as a range.
const POINT_DELETES_MAX: usize = 512;

/// Memory that one row takes in the index beside key and value, roughly.
const ROW_OVERHEAD_BYTES: usize = 64;

const FAMILIES: [RowFamily; 7] = [
    RowFamily::Meta,
    RowFamily::State,
    RowFamily::Checkpoint,
    RowFamily::Node,
    RowFamily::CheckpointHead,
    RowFamily::Survivor,
    RowFamily::SurvivorHead,
];

/// Turns the changes of one frame into changes of the index.
pub(super) struct Applier<'a, I: Index> {
    index: &'a I,
    pending: Vec<IndexOp>,
    live: BTreeMap<u64, i64>,
    bytes: usize,
}

impl<'a, I: Index> Applier<'a, I> {
    pub(super) const fn new(index: &'a I) -> Self {
        Self {
            index,
            pending: Vec::new(),
            live: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Adds one change of a frame whose body starts at `body`.
    pub(super) fn push(&mut self, op: FrameOp, body: Location) -> Result<(), StoreError> {
        match op {
            FrameOp::Entry {
                group,
                head,
                body_offset,
                moved_from,
            } => {
                let key = index::entry_key(group, head.index);
                if let Some(old) = moved_from {
                    let Some(value) = self.index.get(&key)? else {
                        return Ok(());
                    };
                    if EntryRow::decode(&key, &value)?.1.place != old {
                        return Ok(());
                    }
                    self.count(old.segment, head.payload_bytes, false);
                }
                let place = Location {
                    position: body.position + body_offset,
                    ..body
                };
                self.count(place.segment, head.payload_bytes, true);
                self.put(key, EntryRow { head, place }.encode());
            }
            FrameOp::Other(op) => self.other(op)?,
        }
        Ok(())
    }

    fn other(&mut self, op: Op) -> Result<(), StoreError> {
        match op {
            // An appended entry is a `FrameOp::Entry`.
            Op::Append { .. } => {}
            Op::Truncate { group, from } => {
                self.remove_entries(
                    group,
                    index::entry_key(group, from),
                    index::entries_end(group),
                )?;
            }
            Op::Purge { group, from, upto } => {
                let end = match upto.checked_add(1) {
                    Some(next) => index::entry_key(group, next),
                    None => index::entries_end(group),
                };
                let start = index::entry_key(group, from);
                if start < end {
                    self.remove_entries(group, start, end)?;
                }
            }
            Op::Put {
                group,
                family,
                key,
                value,
            } => {
                self.put(index::row_key(group, family, &key), value.to_vec());
            }
            Op::Delete { group, family, key } => {
                self.bytes += ROW_OVERHEAD_BYTES;
                self.pending
                    .push(IndexOp::Delete(index::row_key(group, family, &key)));
            }
            Op::DeleteFamily { group, family } => self.remove_family(group, family)?,
            Op::RemoveGroup { group } => {
                let (start, end) = (index::entry_key(group, 0), index::entries_end(group));
                self.remove_entries(group, start, end)?;
                for family in FAMILIES {
                    self.remove_family(group, family)?;
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len() + ROW_OVERHEAD_BYTES;
        self.pending.push(IndexOp::Put(key, value));
    }

    fn count(&mut self, segment: u64, payload_bytes: u32, is_added: bool) {
        let bytes = i64::from(payload_bytes) + ENTRY_META_BYTES.cast_signed();
        *self.live.entry(segment).or_default() += if is_added { bytes } else { -bytes };
    }

    /// Removes rows; what this frame added before is applied first, so that it is seen.
    fn remove_family(&mut self, group: GroupId, family: RowFamily) -> Result<(), StoreError> {
        self.index.apply(std::mem::take(&mut self.pending))?;
        let (start, end) = index::family_bounds(group, family);
        let mut keys = Vec::new();
        self.index.scan(&start, &end, &mut |key, _| {
            keys.push(key.to_vec());
            keys.len() <= POINT_DELETES_MAX
        })?;
        self.remove_keys(keys, start, end);
        Ok(())
    }

    /// Removes `keys`, which are all keys of a range or more than [`POINT_DELETES_MAX`] of them.
    ///
    /// RocksDB sorts all removed ranges of its memtable anew for the first read after each of them, so
    /// that thousands make every read slow.
    fn remove_keys(&mut self, keys: Vec<Vec<u8>>, start: Vec<u8>, end: Vec<u8>) {
        self.bytes += ROW_OVERHEAD_BYTES * keys.len().min(POINT_DELETES_MAX);
        if keys.len() > POINT_DELETES_MAX {
            self.pending.push(IndexOp::DeleteRange(start, end));
        } else {
            self.pending.extend(keys.into_iter().map(IndexOp::Delete));
        }
    }

    /// Removes entries; what this frame added before is applied first, so that it is seen.
    fn remove_entries(
        &mut self,
        group: GroupId,
        start: Vec<u8>,
        end: Vec<u8>,
    ) -> Result<(), StoreError> {
        self.index.apply(std::mem::take(&mut self.pending))?;
        let mut removed = Vec::new();
        let mut failed = None;
        self.index.scan(
            &start,
            &end,
            &mut |key, value| match EntryRow::decode(key, value) {
                Ok((_, row)) => {
                    removed.push(row);
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
        for row in &removed {
            self.count(row.place.segment, row.head.payload_bytes, false);
        }
        let keys = removed.iter();
        let keys = keys.map(|row| index::entry_key(group, row.head.index));
        self.remove_keys(keys.collect(), start, end);
        Ok(())
    }

    /// Applies everything and the new mark; answers roughly how much memory the index took for it.
    pub(super) fn finish<T>(
        mut self,
        mark: JournalMark,
        segments: &mut Segments<T>,
    ) -> Result<usize, StoreError> {
        for (number, change) in std::mem::take(&mut self.live) {
            let Some(segment) = segments.get_mut(&number) else {
                let text = format!("segment {number} is missing");
                return Err(StoreError::Damaged {
                    what: "journal",
                    text,
                });
            };
            segment.live_bytes = segment.live_bytes.saturating_add_signed(change);
            let live = segment.live_bytes.to_le_bytes().to_vec();
            self.put(index::segment_key(number), live);
        }
        self.put(index::journal_key(), mark.encode());
        self.index.apply(std::mem::take(&mut self.pending))?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests;
