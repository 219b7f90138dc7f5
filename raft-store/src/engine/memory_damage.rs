//! Damage to a simulated disk: what was synced is not what is read.
//!
//! Owns where each kind of data lies. Knows nothing of how damage is found.

use super::RowFamily;
use super::index::{EntryRow, entry_key, row_key};
use super::memory::{DiskState, MemoryDisk};
use crate::key;
use crate::types::GroupId;

/// The place of an entry with a payload.
fn row_of(disk: &DiskState, group: GroupId, log_index: u64) -> Option<EntryRow> {
    let key = entry_key(group, log_index);
    let (_, row) = EntryRow::decode(&key, disk.index.get(&key)?).ok()?;
    (row.head.payload_bytes > 0).then_some(row)
}

impl MemoryDisk {
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

fn flip(disk: &DiskState, segment: u64, position: u64) -> bool {
    let Some(file) = disk.files.get(&segment) else {
        return false;
    };
    let place = usize::try_from(position).unwrap_or(usize::MAX);
    let mut file = file.lock();
    file.data.get_mut(place).map(|byte| *byte ^= 0x10).is_some()
}
