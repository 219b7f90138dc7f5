//! The engine: what the store needs from a disk, in log terms, and its two implementations.
//!
//! Owns the trait and its operations. An engine is synchronous, knows groups, log indexes and rows,
//! and verifies every byte it reads. It does not know openraft, votes' meaning, caches, waiting or
//! acknowledgement; those belong to the store above.

mod apply;
mod disk;
mod disk_files;
mod files;
mod frame;
mod index;
mod journal;
mod memory;
mod memory_damage;
mod memory_index;
mod opening;
mod recovery;
mod rocks;
mod segments;
mod synced_search;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::error::StoreError;
use crate::types::GroupId;

pub use self::disk::DiskEngine;
pub use self::memory::{MemoryDisk, MemoryEngine, Torn};
pub use self::memory_damage::EntryCondition;

/// What an entry carries, as a stable number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Raft's own empty entry.
    Blank = 0,
    /// A command.
    Normal = 1,
    /// A membership.
    Membership = 2,
}

impl EntryKind {
    /// The kind behind a stored number.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Blank),
            1 => Some(Self::Normal),
            2 => Some(Self::Membership),
            _ => None,
        }
    }
}

/// A log entry as the engine stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRecord {
    /// Log index.
    pub index: u64,
    /// Raft term.
    pub term: u64,
    /// What it carries.
    pub kind: EntryKind,
    /// CRC-32C over group, index, term and kind, continued over the payload.
    pub crc: u32,
    /// Payload bytes of all entries of the group ever appended before this one (truncated ones taken
    /// back), so that sizes of ranges are differences.
    pub bytes_before: u64,
    /// The payload.
    pub payload: Bytes,
}

/// What the index alone says about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryMeta {
    /// Log index.
    pub index: u64,
    /// Raft term.
    pub term: u64,
    /// See [`EntryRecord::bytes_before`].
    pub bytes_before: u64,
    /// Bytes of the payload.
    pub payload_bytes: u32,
}

/// First and last entry of a group's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// The oldest entry.
    pub first: EntryMeta,
    /// The newest entry.
    pub last: EntryMeta,
}

/// A family of small rows. The numbers stand on the disk and are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RowFamily {
    /// Vote, committed, purged and the like: one fixed key each.
    Meta = 1,
    /// Rows of a group's state machine.
    State = 2,
    /// Checkpoints, keyed by log index.
    Checkpoint = 3,
    /// Rows of the broker itself; the group is [`NODE_GROUP`].
    Node = 4,
    /// Log ids of the checkpoints, keyed like them, so that they are listed without being read.
    CheckpointHead = 5,
    /// What is left of a log below its purge point, keyed by generation and the host's key.
    Survivor = 30,
    /// The host's notes on those, keyed like them, so that they are listed without being read.
    SurvivorHead = 31,
}

impl RowFamily {
    /// The family behind a stored number.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Meta),
            2 => Some(Self::State),
            3 => Some(Self::Checkpoint),
            4 => Some(Self::Node),
            5 => Some(Self::CheckpointHead),
            30 => Some(Self::Survivor),
            31 => Some(Self::SurvivorHead),
            _ => None,
        }
    }
}

/// The group under which the broker's own rows are kept; no Raft group may use it.
pub const NODE_GROUP: GroupId = GroupId(u64::MAX);

/// One change. A batch of them is written atomically and in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Adds an entry after the group's last one. The caller truncates first what it replaces.
    Append {
        /// The group.
        group: GroupId,
        /// The entry.
        entry: EntryRecord,
    },
    /// Removes the entries at `from` and after it.
    Truncate {
        /// The group.
        group: GroupId,
        /// First log index removed.
        from: u64,
    },
    /// Removes the entries from `from` up to `upto`, inclusive. `from` is the log's first entry (a
    /// lower number is right too, but makes the index step over what was removed before).
    Purge {
        /// The group.
        group: GroupId,
        /// First log index removed.
        from: u64,
        /// Last log index removed.
        upto: u64,
    },
    /// Writes a row.
    Put {
        /// The group.
        group: GroupId,
        /// The family.
        family: RowFamily,
        /// The key within the family.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Removes a row; a missing one is no error.
    Delete {
        /// The group.
        group: GroupId,
        /// The family.
        family: RowFamily,
        /// The key within the family.
        key: Bytes,
    },
    /// Removes every row of a family.
    DeleteFamily {
        /// The group.
        group: GroupId,
        /// The family.
        family: RowFamily,
    },
    /// Removes everything the group holds.
    RemoveGroup {
        /// The group.
        group: GroupId,
    },
}

impl Op {
    /// Bytes that this change brings to the journal, without its fixed part.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Append { entry, .. } => entry.payload.len(),
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key, .. } => key.len(),
            Self::Truncate { .. }
            | Self::Purge { .. }
            | Self::DeleteFamily { .. }
            | Self::RemoveGroup { .. } => 0,
        }
    }
}

/// Changes that are written together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// The changes, in order.
    pub ops: Vec<Op>,
}

/// What a write cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteReceipt {
    /// Bytes written to the journal.
    pub bytes: u64,
}

/// Damage of one group found while the engine opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The group.
    pub group: GroupId,
    /// First entry that is missing or whose checksum is wrong.
    pub missing_from: u64,
}

/// What happened when the engine opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Frames of the journal applied to the index again.
    pub frames_replayed: u64,
    /// Bytes of the journal read for it.
    pub bytes_replayed: u64,
    /// Bytes of an unsynced, torn tail that were dropped.
    pub torn_bytes_dropped: u64,
    /// Groups with a damaged entry.
    pub holes: Vec<Hole>,
}

/// How much an engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Journal segments on the disk.
    pub segments: u64,
    /// Bytes of those segments.
    pub segment_bytes: u64,
    /// Bytes in them that log entries still need.
    pub live_bytes: u64,
    /// Journal bytes that a restart would replay.
    pub replay_bytes: u64,
}

/// What one step of housekeeping did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintenance {
    /// Nothing was due.
    Idle,
    /// Something was done and more may be due.
    Busy,
}

/// A disk in log terms. All calls are synchronous; writes come from one thread, reads from any.
pub trait Engine: Send + Sync + 'static {
    /// Writes `batch` atomically, in order after all earlier ones. It is visible to reads at once and
    /// survives a killed process, but a power loss only after [`Engine::sync`].
    ///
    /// # Errors
    /// Any error means that the engine must not be written again.
    fn write(&self, batch: WriteBatch) -> Result<WriteReceipt, StoreError>;

    /// Makes everything written so far survive a power loss.
    ///
    /// # Errors
    /// Any error means that the engine must not be used again: a failed sync may have dropped pages.
    fn sync(&self) -> Result<(), StoreError>;

    /// One bounded step of housekeeping: flushing the index, freeing segments, moving survivors.
    /// Called by the writing thread after a sync.
    ///
    /// # Errors
    /// As [`Engine::write`].
    fn maintain(&self) -> Result<Maintenance, StoreError>;

    /// Time that a simulated disk takes for a sync; zero on a real one.
    fn sync_delay(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether reads may block for long, so that they belong on a thread for blocking work.
    fn reads_block(&self) -> bool;

    /// Every group that has a row or an entry, in order.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn group_ids(&self) -> Result<Vec<GroupId>, StoreError>;

    /// First and last entry of a group from `from` on, or `None` when there is none.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn log_bounds(&self, group: GroupId, from: u64) -> Result<Option<LogBounds>, StoreError>;

    /// What the index says about one entry.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn entry_meta(&self, group: GroupId, index: u64) -> Result<Option<EntryMeta>, StoreError>;

    /// Reads entries of a range in order, from its first present one, until `bytes_max` payload bytes
    /// are passed: at least one entry if there is one. Verifies every checksum.
    ///
    /// # Errors
    /// [`StoreError::DamagedEntry`] for a wrong checksum; others when the disk fails.
    fn read_entries(
        &self,
        group: GroupId,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<EntryRecord>, StoreError>;

    /// Reads one row.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn get_row(
        &self,
        group: GroupId,
        family: RowFamily,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError>;

    /// Reads every row of a family in the order of keys.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn scan_rows(
        &self,
        group: GroupId,
        family: RowFamily,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError>;

    /// Sizes, for metrics.
    fn usage(&self) -> Usage;

    /// Bytes that can still be written; `None` where nothing limits them.
    ///
    /// # Errors
    /// When the disk does not say.
    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Whether space is short, so that housekeeping frees what it can at once instead of waiting until
    /// that is cheap. Repeating it is harmless.
    fn set_tight(&self, _is_tight: bool) {}

    /// What happened when this engine was opened.
    fn recovery(&self) -> &RecoveryReport;

    /// Flushes everything, so that the next open replays nothing. Repeating it is harmless.
    ///
    /// # Errors
    /// As [`Engine::sync`].
    fn close(&self) -> Result<(), StoreError>;
}

/// Implements [`Engine`] for a wrapper around a [`journal::JournalEngine`] in its field `0`.
macro_rules! delegate_engine {
    ($engine:ty, reads_block: $reads_block:expr, sync_delay: $sync_delay:expr) => {
        impl $crate::engine::Engine for $engine {
            fn write(&self, batch: WriteBatch) -> Result<WriteReceipt, StoreError> {
                self.0.write(batch)
            }

            fn sync(&self) -> Result<(), StoreError> {
                self.0.sync()
            }

            fn maintain(&self) -> Result<Maintenance, StoreError> {
                self.0.maintain()
            }

            fn sync_delay(&self) -> Duration {
                let sync_delay: fn(&Self) -> Duration = $sync_delay;
                sync_delay(self)
            }

            fn reads_block(&self) -> bool {
                $reads_block
            }

            fn group_ids(&self) -> Result<Vec<GroupId>, StoreError> {
                self.0.group_ids()
            }

            fn log_bounds(
                &self,
                group: GroupId,
                from: u64,
            ) -> Result<Option<LogBounds>, StoreError> {
                self.0.log_bounds(group, from)
            }

            fn entry_meta(
                &self,
                group: GroupId,
                index: u64,
            ) -> Result<Option<EntryMeta>, StoreError> {
                self.0.entry_meta(group, index)
            }

            fn read_entries(
                &self,
                group: GroupId,
                range: Range<u64>,
                bytes_max: usize,
            ) -> Result<Vec<EntryRecord>, StoreError> {
                self.0.read_entries(group, range, bytes_max)
            }

            fn get_row(
                &self,
                group: GroupId,
                family: RowFamily,
                key: &[u8],
            ) -> Result<Option<Bytes>, StoreError> {
                self.0.get_row(group, family, key)
            }

            fn scan_rows(
                &self,
                group: GroupId,
                family: RowFamily,
            ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
                self.0.scan_rows(group, family)
            }

            fn usage(&self) -> Usage {
                self.0.usage()
            }

            fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
                self.0.free_bytes()
            }

            fn set_tight(&self, is_tight: bool) {
                self.0.set_tight(is_tight);
            }

            fn recovery(&self) -> &RecoveryReport {
                self.0.recovery()
            }

            fn close(&self) -> Result<(), StoreError> {
                self.0.close()
            }
        }
    };
}
use delegate_engine;

/// Checksum of an entry, chained so that an entry read at another place is recognised.
#[must_use]
pub fn entry_crc(group: GroupId, index: u64, term: u64, kind: EntryKind, payload: &[u8]) -> u32 {
    let mut head = [0_u8; 25];
    head[..8].copy_from_slice(&group.0.to_le_bytes());
    head[8..16].copy_from_slice(&index.to_le_bytes());
    head[16..24].copy_from_slice(&term.to_le_bytes());
    head[24] = kind as u8;
    crc32c::crc32c_append(crc32c::crc32c(&head), payload)
}
