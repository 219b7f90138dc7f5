//! Leaderships that count for nothing until a majority has confirmed them.
//!
//! A broker that was fenced may have been replaced as a leader without hearing of it. Raft keeps what it
//! appends safe; what it would answer to reads might be old. Does not know who is fenced, or why.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{ReadPolicy, ServerState};
use tokio::time::timeout;

use super::group::Group;

/// Time for a majority to confirm a leadership; the controller asks for it again.
const CONFIRM_WITHIN: Duration = Duration::from_millis(500);

/// The leaderships of one replica that are suspended: those of terms below a bound.
#[derive(Debug, Default)]
pub(super) struct Suspension {
    below: AtomicU64,
}

impl Suspension {
    /// Whether a leadership of this term is suspended.
    pub(super) fn covers(&self, term: u64) -> bool {
        term < self.below.load(Ordering::Acquire)
    }
}

impl Group {
    /// Lets no leadership that this replica has, or campaigns for, count any more. Ends with a newer
    /// term, or with [`Self::confirm_leadership`]. Repetition changes nothing.
    pub(super) fn suspend_leadership(&self) {
        let term = self.raft().metrics().borrow_watched().current_term;
        let below = term.saturating_add(1);
        self.suspension.below.fetch_max(below, Ordering::AcqRel);
    }

    /// Asks a majority whether this replica's leadership is still the newest (ReadIndex, Raft section
    /// 6.4), and lets it count again if it was suspended; gives its term. A leader that others have voted
    /// past steps down by the answers, which an idle one would never hear of otherwise. Does nothing for
    /// a replica that does not lead, and gives up after a while.
    pub(super) async fn confirm_leadership(&self) -> Option<u64> {
        let below = self.suspension.below.load(Ordering::Acquire);
        let term = {
            let metrics = self.raft().metrics();
            let metrics = metrics.borrow_watched();
            let is_leader = metrics.state == ServerState::Leader;
            is_leader.then_some(metrics.current_term)
        };
        let term = term?;
        let raft_group = self.id().0;
        let asked = self.raft().get_read_linearizer(ReadPolicy::ReadIndex);
        if !matches!(timeout(CONFIRM_WITHIN, asked).await, Ok(Ok(_))) {
            tracing::debug!(raft_group, term, "leadership not confirmed");
            return None;
        }
        // Unless it was suspended once more meanwhile.
        let resumed = self.suspension.below.compare_exchange(
            below,
            below.min(term),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        resumed.ok()?;
        tracing::trace!(target: "raftmq::mark", name = "leadership_confirmed");
        tracing::info!(raft_group, term, "leadership confirmed");
        Some(term)
    }
}
