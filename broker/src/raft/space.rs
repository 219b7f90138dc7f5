//! How much room this broker's disk has, for everybody who asks, and what that means for appends.
//!
//! Levels are decided in `raftmq_core::space`. What was written since the last look counts as gone, so that
//! a burst is noticed before it has filled the disk. Does not know who looks how often.

use std::sync::Arc;

use bytes::Bytes;
use metrics::Gauge;
use openraft::EntryPayload;
use parking_lot::Mutex;
use raftmq_core::partition::adds_records;
use raftmq_core::queue::adds_messages;
use raftmq_core::space::{Space, SpaceWatch};
use raftmq_store::{Entry, Store, StoreError};

use super::group::GroupKind;
use super::machine::ENVELOPE_BYTES;
use crate::planted::{self, Bug};

/// The room on this broker's disk, as last measured. Cheap to clone.
#[derive(Clone)]
pub struct DiskSpace {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    seen: Mutex<Seen>,
    free_bytes: Gauge,
    level: Gauge,
}

struct Seen {
    watch: SpaceWatch,
    /// As measured; `None` before, and where nothing limits them.
    free_bytes: Option<u64>,
    /// What the store had been asked to write by then.
    submitted_bytes: u64,
}

impl std::fmt::Debug for DiskSpace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DiskSpace")
            .field("space", &self.space())
            .finish_non_exhaustive()
    }
}

impl DiskSpace {
    /// Ample until it is looked at.
    #[must_use]
    pub fn new(reserve_bytes: u64, store: Store) -> Self {
        let seen = Seen {
            watch: SpaceWatch::new(reserve_bytes),
            free_bytes: None,
            submitted_bytes: 0,
        };
        Self {
            inner: Arc::new(Inner {
                store,
                seen: Mutex::new(seen),
                free_bytes: metrics::gauge!("raftmq_broker_disk_free_bytes"),
                level: metrics::gauge!("raftmq_broker_disk_full_level"),
            }),
        }
    }

    /// The level now.
    #[must_use]
    pub fn space(&self) -> Space {
        let mut seen = self.inner.seen.lock();
        if let Some(free_bytes) = self.inner.left_of(&seen) {
            return seen.watch.observe(Some(free_bytes));
        }
        seen.watch.space()
    }

    /// The level that there would be once so many more bytes are written.
    #[must_use]
    pub fn space_after(&self, bytes: u64) -> Space {
        let seen = self.inner.seen.lock();
        match self.inner.left_of(&seen) {
            Some(free_bytes) => seen.watch.level_at(free_bytes.saturating_sub(bytes)),
            None => seen.watch.space(),
        }
    }

    /// Bytes that can still be written: measured, less what was written since. `None` where nothing
    /// limits them.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        self.inner.left_of(&self.inner.seen.lock())
    }

    /// Measures the disk, and has the store free what it can while room is short.
    ///
    /// # Errors
    ///
    /// The store has failed, or the disk does not say; the level stays.
    pub async fn look(&self) -> Result<Space, StoreError> {
        let store = &self.inner.store;
        // Before the measurement: what is written meanwhile counts twice rather than not at all.
        let submitted_bytes = store.submitted_bytes();
        let free_bytes = store.free_bytes().await?;
        let (before, now) = {
            let mut seen = self.inner.seen.lock();
            let before = seen.watch.space();
            (seen.free_bytes, seen.submitted_bytes) = (free_bytes, submitted_bytes);
            (before, seen.watch.observe(free_bytes))
        };
        if let Some(free_bytes) = free_bytes {
            #[expect(clippy::cast_precision_loss, reason = "a gauge takes floats")]
            self.inner.free_bytes.set(free_bytes as f64);
        }
        self.inner.level.set(f64::from(now as u8));
        if now > before {
            tracing::error!(?now, free_bytes, "the disk is running full");
        } else if now < before {
            tracing::info!(?now, free_bytes, "the disk has room again");
        }
        if (before, now) != (Space::Ample, Space::Ample) {
            store.set_tight(now != Space::Ample);
        }
        Ok(now)
    }
}

impl Inner {
    fn left_of(&self, seen: &Seen) -> Option<u64> {
        let written_bytes = self.store.submitted_bytes() - seen.submitted_bytes;
        Some(seen.free_bytes?.saturating_sub(written_bytes))
    }
}

/// Whether a follower must refuse these entries of a partition or queue: they add records, and there is no room or
/// would be none with them (one that catches up is sent much at once).
pub(super) fn must_refuse(space: &DiskSpace, kind: GroupKind, entries: &[Entry]) -> bool {
    let adds = match kind {
        GroupKind::Metadata => return false,
        GroupKind::Partition => adds_records,
        GroupKind::Queue => adds_messages,
    };
    let command = |entry: &Entry| match &entry.payload {
        EntryPayload::Normal(command) => Some(command.0.clone()),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    };
    let bytes: usize = entries
        .iter()
        .filter_map(command)
        .map(|all| all.len())
        .sum();
    let adds = |command: Bytes| command.get(ENVELOPE_BYTES..).is_some_and(adds);
    space.space_after(bytes as u64) == Space::Scarce
        && entries.iter().filter_map(command).any(adds)
        && !planted::is_planted(Bug::FullFollowerTakesRecords)
}
