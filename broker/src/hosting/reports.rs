//! What leaders report to the metadata group, until it is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use raftmq_store::GroupId;
use tokio::sync::Notify;

/// What the metadata group should know of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// This broker leads it, and may propose, in this term.
    pub leading_term: Option<u64>,
    /// New in-sync replicas, and the term of the leader that says so.
    pub isr: Option<(u64, Vec<u32>)>,
}

/// Reports that wait to be sent; the newest of a group counts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Reports {
    inner: Arc<(Mutex<BTreeMap<GroupId, Report>>, Notify)>,
}

impl Reports {
    /// This broker leads `group` since `term`.
    pub fn leading(&self, group: GroupId, term: u64) {
        self.inner.0.lock().entry(group).or_default().leading_term = Some(term);
        self.inner.1.notify_one();
    }

    /// The in-sync replicas of `group` are now these.
    pub fn in_sync(&self, group: GroupId, term: u64, isr: Vec<u32>) {
        self.inner.0.lock().entry(group).or_default().isr = Some((term, isr));
        self.inner.1.notify_one();
    }

    /// Puts back what could not be sent, unless there is newer news.
    pub fn put_back(&self, reports: BTreeMap<GroupId, Report>) {
        let mut waiting = self.inner.0.lock();
        for (group, report) in reports {
            let newer = waiting.entry(group).or_default();
            newer.leading_term = newer.leading_term.or(report.leading_term);
            newer.isr = newer.isr.take().or(report.isr);
        }
        self.inner.1.notify_one();
    }

    /// Waits for reports and takes those of so many groups, at least of one. Cancel safe.
    pub async fn next(&self, groups_max: usize) -> BTreeMap<GroupId, Report> {
        loop {
            let taken = self.take(groups_max);
            if !taken.is_empty() {
                return taken;
            }
            self.inner.1.notified().await;
        }
    }

    fn take(&self, groups_max: usize) -> BTreeMap<GroupId, Report> {
        let mut waiting = self.inner.0.lock();
        let rest = waiting.keys().nth(groups_max).copied();
        let rest = rest.map(|first| waiting.split_off(&first));
        std::mem::replace(&mut *waiting, rest.unwrap_or_default())
    }
}
