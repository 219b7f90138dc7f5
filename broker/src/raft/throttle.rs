//! Slows what this broker sends to replicas that are catching up (`leader.replication.throttled.rate`).
//!
//! Who is slowed, and by how much, is decided in `raftmq_core::throttle`; this is where it meets the clock
//! and a group's membership. One bucket for all groups and all targets of this broker.

use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::RaftMetrics;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use parking_lot::Mutex;
use raftmq_core::throttle::{TokenBucket, concerns};
use tokio::time::{Instant, sleep};

use super::types::{Raft, TypeConfig};

/// Longest pause of whoever waits: after it, it is looked whether the limit or the membership has changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What is taken from the bucket at once: an append of megabytes is paid for in portions before it is sent, so
/// that groups take turns.
const PORTION_BYTES: u64 = 64 * 1024;

/// The bucket of this broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CatchUpThrottle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    bucket: Mutex<TokenBucket>,
}

impl Default for CatchUpThrottle {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                started: Instant::now(),
                bucket: Mutex::default(),
            }),
        }
    }
}

impl CatchUpThrottle {
    /// Sets the limit, bytes per second; `i64::MAX` and more are none. Counts at once, also for what waits.
    pub fn set_rate(&self, bytes_per_s: i64) {
        let rate = u64::try_from(bytes_per_s).ok().and_then(NonZeroU64::new);
        let rate = rate.filter(|_| bytes_per_s < i64::MAX);
        let now = self.shared.started.elapsed();
        self.shared.bucket.lock().set_rate(rate, now);
    }

    fn take(&self, bytes: u64) -> Result<(), Duration> {
        let now = self.shared.started.elapsed();
        self.shared.bucket.lock().take(bytes, now)
    }
}

/// Who votes in a group: known once openraft runs.
#[derive(Clone, Default)]
pub(super) struct Voters {
    metrics: Arc<OnceLock<WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>>>,
}

impl std::fmt::Debug for Voters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Voters").finish_non_exhaustive()
    }
}

impl Voters {
    /// Follows the membership of a group from here on. Repetition changes nothing.
    pub(super) fn follow(&self, raft: &Raft) {
        let _ = self.metrics.set(raft.metrics());
    }

    fn concerns(&self, member: u64) -> bool {
        let metrics = self.metrics.get();
        metrics.is_some_and(|metrics| {
            let metrics = metrics.borrow_watched();
            let membership = metrics.membership_config.membership();
            concerns(membership.get_joint_config(), &member)
        })
    }
}

/// The pace at which one group sends to one member.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    throttle: Option<CatchUpThrottle>,
    voters: Voters,
    member: u64,
    bytes_total: metrics::Counter,
}

impl Pace {
    /// `None` is no limit, whatever the member is.
    pub(super) fn new(throttle: Option<CatchUpThrottle>, voters: Voters, member: u64) -> Self {
        let bytes_total = metrics::counter!("raftmq_raft_catch_up_bytes_total");
        Self {
            throttle,
            voters,
            member,
            bytes_total,
        }
    }

    /// Waits until so many bytes may be sent: at once to a member that votes, and as soon as it does.
    /// Cancelled, it has taken what it had waited for until then.
    pub(super) async fn admit(&self, bytes: u64) {
        let Some(throttle) = &self.throttle else {
            return;
        };
        if bytes == 0 || !self.voters.concerns(self.member) {
            return;
        }
        let mut unpaid_bytes = bytes;
        while unpaid_bytes > 0 {
            let portion_bytes = unpaid_bytes.min(PORTION_BYTES);
            let Err(wait) = throttle.take(portion_bytes) else {
                unpaid_bytes -= portion_bytes;
                continue;
            };
            tracing::trace!(target: "raftmq::mark", name = "catch_up_throttled");
            sleep(wait.min(LOOK_INTERVAL)).await;
            if !self.voters.concerns(self.member) {
                return;
            }
        }
        self.bytes_total.increment(bytes);
    }
}
