//! The cache of newest entries, shared by all groups and bounded in bytes.
//!
//! Owns the budget and the order of eviction: oldest submission first, over all groups. Entries that
//! are not yet durable are never evicted; the commit queue bounds those. The entries themselves stay
//! with their group. The order holds each group once, under its oldest cached entry, so that it is
//! never longer than the list of groups.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::group_inner::{GroupInner, GroupShared};
use crate::metrics::StoreMetrics;

/// Memory that one cached entry costs beside its payload.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 168;

/// Budget and eviction order of the cache.
///
/// A group's lock is taken before the order's, never behind it.
pub(crate) struct TailCache {
    budget: usize,
    used: AtomicUsize,
    submissions: AtomicU64,
    /// Groups with cached entries, each under a submission not newer than its oldest entry's.
    order: Mutex<BTreeMap<u64, Arc<GroupShared>>>,
    metrics: StoreMetrics,
}

impl std::fmt::Debug for TailCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TailCache")
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

/// What an attempt to evict from one group came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evicted {
    /// Entries went, or the group had moved in the order: go on.
    Progress,
    /// Its oldest entries are not durable yet.
    NotDurable,
}

impl TailCache {
    pub(crate) fn new(budget: usize, metrics: StoreMetrics) -> Self {
        Self {
            budget,
            used: AtomicUsize::new(0),
            submissions: AtomicU64::new(0),
            order: Mutex::new(BTreeMap::new()),
            metrics,
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Number of an append, in submission order over all groups.
    pub(crate) fn next_submission(&self) -> u64 {
        self.submissions.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts bytes that an append added to a group's tail. Called with the group locked.
    pub(crate) fn added(
        &self,
        group: &Arc<GroupShared>,
        inner: &mut GroupInner,
        submission: u64,
        bytes: usize,
    ) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        if inner.queued_at.is_none() {
            inner.queued_at = Some(submission);
            self.order.lock().insert(submission, Arc::clone(group));
        }
    }

    /// Counts bytes that a group took out of its tail.
    pub(crate) fn removed(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Drops what a group has cached, and the group from the order. Called with the group locked.
    pub(crate) fn forget(&self, inner: &mut GroupInner) {
        self.removed(inner.clear_tail());
        if let Some(queued_at) = inner.queued_at.take() {
            self.order.lock().remove(&queued_at);
        }
    }

    /// Evicts the oldest durable entries until the budget is met. Called after each batch.
    pub(crate) fn evict(&self) {
        while self.used() > self.budget {
            let Some((queued_at, group)) = self.order.lock().pop_first() else {
                break;
            };
            if self.evict_oldest(queued_at, group) == Evicted::NotDurable {
                break;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge takes floats")]
        self.metrics.tail_cache_bytes.set(self.used() as f64);
    }

    /// Evicts the oldest append of a group that stood in the order at `queued_at`, and puts the group
    /// back where its next one belongs.
    fn evict_oldest(&self, queued_at: u64, group: Arc<GroupShared>) -> Evicted {
        let shared = Arc::clone(&group);
        let mut inner = shared.inner.lock();
        inner.queued_at = None;
        let Some(oldest) = inner.tail.front().map(|front| front.submission) else {
            return Evicted::Progress;
        };
        let mut evicted = Evicted::Progress;
        if oldest == queued_at {
            let freed = inner.cut_durable(oldest);
            self.removed(freed);
            if freed == 0 {
                evicted = Evicted::NotDurable;
            }
        }
        if let Some(next) = inner.tail.front().map(|front| front.submission) {
            inner.queued_at = Some(next);
            self.order.lock().insert(next, group);
        }
        evicted
    }
}

#[cfg(test)]
mod tests;
