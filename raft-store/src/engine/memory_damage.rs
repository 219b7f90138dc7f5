//! Damage to a simulated disk: what was synced is not what is read.
//!
//! Owns where each kind of data lies. Knows nothing of how damage is found.

use std::ops::Range;

use super::index::{EntryRow, all_entries, entry_key, entry_of, row_key};
use super::memory::{DiskState, MemoryDisk};
use super::{RowFamily, entry_crc};
use crate::types::GroupId;
use crate::{codec, key};

/// What the disk holds in the place of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryCondition {
    /// What was written.
    Whole,
    /// Something else.
    Damaged,
    /// Nothing: the log was purged up to there or further, or the group was removed.
    Purged,
    /// Nothing, although the group's log begins before it.
    Missing,
}

/// The place of an entry with a payload.
fn row_of(disk: &DiskState, group: GroupId, log_index: u64) -> Option<EntryRow> {
    let key = entry_key(group, log_index);
    let (_, row) = EntryRow::decode(&key, disk.index.get(&key)?).ok()?;
    (row.head.payload_bytes > 0).then_some(row)
}

impl MemoryDisk {
    /// Group and log index of every stored entry with a payload, in order.
    #[must_use]
    pub fn entries(&self) -> Vec<(GroupId, u64)> {
        let disk = self.state();
        let (start, end) = all_entries();
        let places = disk.index.keys(start..end).filter_map(|key| entry_of(key));
        places
            .filter(|(group, index)| row_of(&disk, *group, *index).is_some())
            .collect()
    }

    /// What a read of an entry would find.
    #[must_use]
    pub fn condition_of_entry(&self, group: GroupId, log_index: u64) -> EntryCondition {
        let disk = self.state();
        if let Some(row) = row_of(&disk, group, log_index) {
            let head = row.head;
            let start = row.place.position;
            let payload = range_of(
                &disk,
                row.place.segment,
                start..start + u64::from(head.payload_bytes),
            );
            let is_whole = payload.is_some_and(|payload| {
                entry_crc(group, head.index, head.term, head.kind, &payload) == head.crc
            });
            return match is_whole {
                true => EntryCondition::Whole,
                false => EntryCondition::Damaged,
            };
        }
        let meta = |row: u8| {
            disk.index
                .get(&row_key(group, RowFamily::Meta, &key::meta(row)))
        };
        if disk.index.get(&entry_key(group, log_index)).is_some() {
            // Written anew, without a payload.
            return EntryCondition::Whole;
        }
        let purged = meta(key::PURGED).and_then(|row| codec::decode_log_id("purged", row).ok());
        let is_purged = purged
            .flatten()
            .is_some_and(|purged| purged.index >= log_index);
        if is_purged || meta(key::VOTE).is_none() {
            EntryCondition::Purged
        } else {
            EntryCondition::Missing
        }
    }

    /// Flips a bit in the payload of a stored entry; `false` when there is no such entry or it has
    /// none.
    #[must_use]
    pub fn flip_bit_in_entry(&self, group: GroupId, log_index: u64) -> bool {
        let disk = self.state();
        let Some(row) = row_of(&disk, group, log_index) else {
            return false;
        };
        let middle = row.place.position + u64::from(row.head.payload_bytes / 2);
        flip(&disk, row.place.segment, middle)
    }

    /// Flips a bit in the header of the segment that is written; `false` when there is none.
    #[must_use]
    pub fn flip_bit_in_newest_header(&self) -> bool {
        let disk = self.state();
        let newest = disk.files.keys().next_back().copied();
        newest.is_some_and(|segment| flip(&disk, segment, 20))
    }

    /// Cuts the segment that holds an entry in the middle of that entry's payload; `false` when there
    /// is no such entry or it has none.
    #[must_use]
    pub fn cut_segment_in_entry(&self, group: GroupId, log_index: u64) -> bool {
        let disk = self.state();
        let Some(row) = row_of(&disk, group, log_index) else {
            return false;
        };
        let Some(file) = disk.files.get(&row.place.segment) else {
            return false;
        };
        let mut file = file.lock();
        file.len = row.place.position + u64::from(row.head.payload_bytes / 2);
        let len = usize::try_from(file.len).unwrap_or(usize::MAX);
        file.data.truncate(len);
        true
    }

    /// Flips a bit in the body of a stored checkpoint; `false` when there is none at that log index.
    #[must_use]
    pub fn flip_bit_in_checkpoint(&self, group: GroupId, log_index: u64) -> bool {
        let key = row_key(group, RowFamily::Checkpoint, &log_index.to_be_bytes());
        self.state().index.flip_bit(&key, 1)
    }

    /// Flips a bit in a stored vote, at once and again after the next open; `false` when there is
    /// none.
    #[must_use]
    pub fn flip_bit_in_vote(&self, group: GroupId) -> bool {
        let mut disk = self.state();
        let key = row_key(group, RowFamily::Meta, &key::meta(key::VOTE));
        if disk.index.get(&key).is_none() {
            return false;
        }
        disk.damaged_votes.insert(group);
        true
    }
}

/// Bytes of a segment; what was never written is zero. `None` behind the segment's end.
fn range_of(disk: &DiskState, segment: u64, range: Range<u64>) -> Option<Vec<u8>> {
    let file = disk.files.get(&segment)?.lock();
    if range.end > file.len {
        return None;
    }
    let place = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    let (start, end) = (place(range.start), place(range.end));
    let known = file.data.len();
    let mut bytes = file.data[start.min(known)..end.min(known)].to_vec();
    bytes.resize(end - start, 0);
    Some(bytes)
}

fn flip(disk: &DiskState, segment: u64, position: u64) -> bool {
    let Some(file) = disk.files.get(&segment) else {
        return false;
    };
    let place = usize::try_from(position).unwrap_or(usize::MAX);
    let mut file = file.lock();
    file.data.get_mut(place).map(|byte| *byte ^= 0x10).is_some()
}
