//! How much room this broker's disk has, for everybody who asks, and what that means for appends.
//!
//! Levels are decided in `raftmq_core::space`. Does not know who looks how often.

use std::sync::Arc;

use metrics::Gauge;
use openraft::EntryPayload;
use parking_lot::Mutex;
use raftmq_core::partition::adds_records;
use raftmq_core::space::{Space, SpaceWatch};
use raftmq_store::{Entry, Store, StoreError};

use super::machine::ENVELOPE_BYTES;
use crate::planted::{self, Bug};

/// The room on this broker's disk, as last measured. Cheap to clone.
#[derive(Clone)]
pub struct DiskSpace {
    inner: Arc<Inner>,
}

struct Inner {
    watch: Mutex<SpaceWatch>,
    free_bytes: Gauge,
    level: Gauge,
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
    pub fn new(reserve_bytes: u64) -> Self {
        Self {
            inner: Arc::new(Inner {
                watch: Mutex::new(SpaceWatch::new(reserve_bytes)),
                free_bytes: metrics::gauge!("raftmq_broker_disk_free_bytes"),
                level: metrics::gauge!("raftmq_broker_disk_full_level"),
            }),
        }
    }

    /// The level now.
    #[must_use]
    pub fn space(&self) -> Space {
        self.inner.watch.lock().space()
    }

    /// Measures the disk, and has the store free what it can while room is short.
    ///
    /// # Errors
    ///
    /// The store has failed, or the disk does not say; the level stays.
    pub async fn look(&self, store: &Store) -> Result<Space, StoreError> {
        let free_bytes = store.free_bytes().await?;
        let (before, now) = {
            let mut watch = self.inner.watch.lock();
            (watch.space(), watch.observe(free_bytes))
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

/// Whether a follower must refuse these entries of a partition: they add records and there is no room.
pub(super) fn must_refuse(space: Space, entries: &[Entry]) -> bool {
    let adds = |entry: &Entry| match &entry.payload {
        EntryPayload::Normal(command) => command.0.get(ENVELOPE_BYTES..).is_some_and(adds_records),
        EntryPayload::Blank | EntryPayload::Membership(_) => false,
    };
    space == Space::Scarce
        && entries.iter().any(adds)
        && !planted::is_planted(Bug::FullFollowerTakesRecords)
}
