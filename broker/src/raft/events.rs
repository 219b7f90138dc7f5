//! What groups tell the host without waiting: that a leader's first entry has been applied, or that a
//! leadership was confirmed.
//!
//! Bounded by the number of groups: the newest event of a group replaces the one before.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use raftmq_store::GroupId;
use tokio::sync::Notify;

/// The sending and receiving side in one; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    terms: Mutex<BTreeMap<GroupId, u64>>,
    wake: Notify,
}

impl Events {
    /// The blank entry of `term` has been applied here, or the leadership of that term confirmed: whoever
    /// leads that term may propose now.
    pub fn leads(&self, group: GroupId, term: u64) {
        self.inner.terms.lock().insert(group, term);
        self.inner.wake.notify_one();
    }

    /// Waits for events and takes them all. Cancel safe.
    pub async fn next(&self) -> BTreeMap<GroupId, u64> {
        loop {
            let taken = std::mem::take(&mut *self.inner.terms.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.inner.wake.notified().await;
        }
    }
}
