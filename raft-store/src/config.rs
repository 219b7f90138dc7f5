//! Settings of the store and their defaults.
//!
//! Owns names, units and bounds. Does not know where the values come from.

use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// When an append counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After the journal is flushed to the disk. The default.
    #[default]
    Flush,
    /// After the operating system took the bytes; they are flushed within
    /// [`StoreConfig::os_sync_interval`]. A power loss may take acknowledged entries back.
    Os,
}

/// Settings of a [`Store`](crate::Store).
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// When an append counts as done. Votes, truncation and purging are always flushed.
    pub durability: Durability,
    /// Bytes of newest entries kept in memory over all groups. Entries that are not yet flushed are
    /// kept beyond it, bounded by `queue_bytes_max`.
    pub tail_cache_bytes: usize,
    /// The commit queue is cut into batches of about this many bytes (one operation may be larger).
    pub commit_batch_bytes_max: usize,
    /// Bytes that may wait in the commit queue; further writers wait.
    pub queue_bytes_max: usize,
    /// Largest single operation. At most 1 GiB.
    pub operation_bytes_max: usize,
    /// Bytes that one read by openraft returns at most (at least one entry).
    pub read_bytes_max: usize,
    /// Time between flushes while `durability` is [`Durability::Os`].
    pub os_sync_interval: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            durability: Durability::Flush,
            tail_cache_bytes: 64 * MIB,
            commit_batch_bytes_max: 8 * MIB,
            queue_bytes_max: 64 * MIB,
            operation_bytes_max: 256 * MIB,
            read_bytes_max: 4 * MIB,
            os_sync_interval: Duration::from_secs(1),
        }
    }
}

/// What is read and checked when a store opens, beyond the part of the journal that is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VerifyOnOpen {
    /// Nothing more: other entries are verified when they are read.
    #[default]
    Replayed,
    /// Every entry of every group.
    Everything,
}

/// Settings of the journal, common to both engines.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// Size of one preallocated segment file.
    pub segment_bytes: u64,
    /// The index is flushed when this much journal would have to be replayed otherwise.
    pub replay_bytes_max: u64,
    /// The index is flushed when its memory reaches this size.
    pub index_memory_bytes: usize,
    /// Segments whose live share falls under this many percent have their survivors copied on.
    pub relocate_below_percent: u8,
    /// What is verified at open.
    pub verify_on_open: VerifyOnOpen,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * MIB as u64,
            replay_bytes_max: 512 * MIB as u64,
            index_memory_bytes: 64 * MIB,
            relocate_below_percent: 30,
            verify_on_open: VerifyOnOpen::Replayed,
        }
    }
}

/// Settings of the engine on a real disk.
#[derive(Debug, Clone)]
pub struct DiskConfig {
    /// The journal.
    pub journal: JournalConfig,
    /// Memory for blocks of the index that are read back.
    pub index_cache_bytes: usize,
    /// Bytes that the folder is to hold at most: less than the disk has is shown as free. Nothing is
    /// refused here. `None`: as much as the disk holds.
    pub capacity_bytes: Option<u64>,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            journal: JournalConfig::default(),
            index_cache_bytes: 16 * MIB,
            capacity_bytes: None,
        }
    }
}
