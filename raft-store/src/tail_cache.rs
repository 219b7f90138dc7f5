//! The cache of newest entries, shared by all groups and bounded in bytes.
//!
//! Owns the budget and the order of eviction: oldest submission first, over all groups. Entries that
//! are not yet durable are never evicted; the commit queue bounds those. The entries themselves stay
//! with their group.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::group_inner::GroupShared;
use crate::metrics::StoreMetrics;

/// Memory that one cached entry costs beside its payload.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 160;

/// One append of one group, in submission order.
struct Appended {
    group: Arc<GroupShared>,
    last_index: u64,
}

/// Budget and eviction order of the cache.
pub(crate) struct TailCache {
    budget: usize,
    used: AtomicUsize,
    appended: Mutex<VecDeque<Appended>>,
    metrics: StoreMetrics,
}

impl std::fmt::Debug for TailCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TailCache")
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl TailCache {
    pub(crate) fn new(budget: usize, metrics: StoreMetrics) -> Self {
        Self {
            budget,
            used: AtomicUsize::new(0),
            appended: Mutex::new(VecDeque::new()),
            metrics,
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Counts bytes that a group added to its tail.
    pub(crate) fn added(&self, group: &Arc<GroupShared>, last_index: u64, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.appended.lock().push_back(Appended {
            group: Arc::clone(group),
            last_index,
        });
    }

    /// Counts bytes that a group took out of its tail.
    pub(crate) fn removed(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Evicts the oldest durable entries until the budget is met. Called after each batch.
    pub(crate) fn evict(&self) {
        if self.used() > self.budget {
            let mut appended = self.appended.lock();
            while self.used() > self.budget {
                let Some(front) = appended.front() else { break };
                if !front.group.evict_up_to(front.last_index, self) {
                    break;
                }
                appended.pop_front();
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge takes floats")]
        self.metrics.tail_cache_bytes.set(self.used() as f64);
    }
}
