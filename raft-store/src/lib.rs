//! Log, vote, state and checkpoints of many Raft groups on one disk.
//!
//! Owns: the journal (the only write-ahead log: every change of every group is a record in shared,
//! checksummed segment files, made durable by one sync per batch), the index beside it (RocksDB), the
//! commit queue, the cache of newest entries, and openraft's log storage on top of them.
//!
//! Does not know: brokers, partitions, records, clients, or what a command means. Any storage error
//! poisons the whole store ([`Store::failure`]); the host ends the process.

mod codec;
mod commit;
mod config;
mod engine;
mod error;
#[cfg(test)]
mod golden;
mod group;
mod group_inner;
mod group_write;
mod health;
mod key;
mod load;
mod log;
mod metrics;
pub mod planted;
mod repair;
mod scrub;
mod state;
mod store;
mod survivors;
mod tail_cache;
mod types;

pub use self::commit::CommitDriver;
pub use self::config::{DiskConfig, Durability, JournalConfig, StoreConfig, VerifyOnOpen};
pub use self::engine::{
    DiskEngine, Engine, EntryCondition, EntryKind, EntryMeta, EntryRecord, Hole, LogBounds,
    Maintenance, MemoryDisk, MemoryEngine, NODE_GROUP, Op, RecoveryReport, RowFamily, Torn, Usage,
    WriteBatch, WriteReceipt, entry_crc,
};
pub use self::error::{Site, StoreError};
pub use self::group::GroupStore;
pub use self::health::GroupHealth;
pub use self::log::GroupLog;
pub use self::metrics::describe_metrics;
pub use self::scrub::{Scrub, ScrubStep};
pub use self::state::{Checkpoint, SavedState, StateUpdate};
pub use self::store::{Store, StoreStats};
pub use self::survivors::{SurvivorChange, SurvivorIndex, SurvivorRow};
pub use self::types::{
    Command, CommittedLeaderId, Entry, GroupId, LeaderId, LogId, Membership, Payload, StoreTypes,
    StoredMembership, Vote, log_id,
};
