//! One cleaning pass: first the keys of the dirty range are learnt, then every batch below its end
//! is filtered by them.
//!
//! Kafka's rules (`Cleaner.shouldRetainRecord`): a record goes when a later one of its key was
//! learnt; a tombstone goes once `delete.retention.ms` has passed since a pass first saw it as the
//! last of its key; a record without a key goes. Deviation: a batch that cannot be decompressed
//! (one that came before the topic was compacted) stays whole, and supersedes nothing; Kafka's
//! cleaner gives such a partition up.

use bytes::Bytes;
use raftmq_records::{BatchError, DecodeLimits, Record, Retained, records, retain};

use crate::ids::Offset;
use crate::partition::compaction::key_map::KeyMap;
use crate::partition::reader::Progress;
use crate::planted::{self, Bug};

/// What an earlier pass did for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// It was cleaned before; its tombstones may go from then on.
    Clean {
        /// When its tombstones may go, milliseconds since 1970; `None` when it has none.
        horizon_ms: Option<i64>,
    },
    /// Its keys are learnt by this pass.
    Dirty,
    /// It lies behind what this pass has learnt.
    Beyond,
}

/// What is left of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// What stays.
    pub retained: Retained,
    /// When the tombstones in it may go; `None` when it has none, or none that is known to be the
    /// last of its key.
    pub horizon_ms: Option<i64>,
}

/// See the module.
#[derive(Debug)]
pub struct Pass {
    map: KeyMap,
    now_ms: i64,
    delete_retention_ms: i64,
}

impl Pass {
    /// Starts a pass at a time, with so much memory for keys.
    #[must_use]
    pub const fn new(keys_bytes_max: usize, now_ms: i64, delete_retention_ms: i64) -> Self {
        Self {
            map: KeyMap::new(keys_bytes_max),
            now_ms,
            delete_retention_ms,
        }
    }

    /// Learns the keys of the next dirty batch. `Full`: nothing of it was learnt; the pass covers
    /// what came before it.
    pub fn learn(&mut self, batch: &Bytes) -> Progress {
        let Ok(keyed) = keys_of(batch) else {
            return Progress::More;
        };
        let is_new = |key: &&Bytes| !self.map.contains(key);
        let (mut count, mut bytes) = (0, 0);
        for key in keyed.iter().map(|(key, _)| key).filter(is_new) {
            count += 1;
            bytes += key.len();
        }
        if !self.map.has_room(count, bytes) {
            return Progress::Full;
        }
        for (key, offset) in keyed {
            self.map.observe(&key, offset);
        }
        Progress::More
    }

    /// Counts the keys learnt.
    #[must_use]
    pub fn keys_count(&self) -> usize {
        self.map.len()
    }

    /// Filters one batch.
    #[must_use]
    pub fn clean(&self, batch: &Bytes, region: Region) -> Cleaned {
        let horizon_ms = match region {
            Region::Clean { horizon_ms } => horizon_ms,
            Region::Dirty => Some(self.now_ms.saturating_add(self.delete_retention_ms.max(0))),
            Region::Beyond => None,
        };
        let drops_tombstones = match region {
            Region::Clean { horizon_ms } => horizon_ms.is_some_and(|at_ms| at_ms <= self.now_ms),
            Region::Dirty => planted::is_planted(Bug::TombstonesDroppedAtOnce),
            Region::Beyond => false,
        };
        let mut has_tombstones = false;
        let filtered = retain(batch, DecodeLimits::default(), |record| {
            let stays = match region {
                Region::Beyond => true,
                Region::Clean { .. } | Region::Dirty => self.stays(record, drops_tombstones),
            };
            has_tombstones |= stays && record.value.is_none();
            stays
        });
        let Ok(retained) = filtered else {
            tracing::trace!(target: "raftmq::mark", name = "compaction_kept_unreadable_batch");
            return Cleaned {
                retained: Retained::All,
                horizon_ms: None,
            };
        };
        Cleaned {
            retained,
            horizon_ms: horizon_ms.filter(|_| has_tombstones),
        }
    }

    fn stays(&self, record: &Record, drops_tombstones: bool) -> bool {
        let Some(key) = &record.key else {
            return false;
        };
        let offset = Offset(record.offset);
        let newest = self.map.newest(key);
        if planted::is_planted(Bug::CompactionDropsNewest) && newest == Some(offset) {
            return false;
        }
        if newest.is_some_and(|newest| newest > offset) {
            return false;
        }
        !(record.value.is_none() && drops_tombstones)
    }
}

/// Keys and offsets of a batch's records, those without a key left out.
fn keys_of(batch: &Bytes) -> Result<Vec<(Bytes, Offset)>, BatchError> {
    let mut keyed = Vec::new();
    for record in records(batch, DecodeLimits::default())? {
        let record = record?;
        keyed.extend(record.key.map(|key| (key, Offset(record.offset))));
    }
    Ok(keyed)
}

/// Finds the first record of a batch without a key: its number in the batch. A compacted topic
/// takes none (Kafka: `INVALID_RECORD`).
///
/// # Errors
/// The records cannot be read.
pub fn check_keys(batch: &Bytes) -> Result<Option<usize>, BatchError> {
    for (number, record) in records(batch, DecodeLimits::default())?.enumerate() {
        if record?.key.is_none() {
            return Ok(Some(number));
        }
    }
    Ok(None)
}
