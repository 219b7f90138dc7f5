//! What a group's openraft shows of itself, as plain numbers: for health, metrics and the
//! invariant checkers of the simulation.

use std::sync::{Arc, Weak};

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::{RaftDataMetrics, RaftMetrics};
use openraft::type_config::alias::WatchReceiverOf;

use super::group::Group;
use super::serve::missing_mark;
use super::types::TypeConfig;

/// Follows what openraft shows of a group's data.
pub type DataMetrics = WatchReceiverOf<TypeConfig, RaftDataMetrics<TypeConfig>>;

/// The matched log index of each replica, as the leader knows it; empty on others.
#[must_use]
pub fn matched_of(data: &DataMetrics) -> Vec<(u32, u64)> {
    let metrics = data.borrow_watched();
    let Some(replication) = metrics.replication.as_ref() else {
        return Vec::new();
    };
    let matched = replication.iter().filter_map(|(id, log_id)| {
        let broker = u32::try_from(*id).ok()?;
        log_id.as_ref().map(|log_id| (broker, log_id.index))
    });
    matched.collect()
}

/// A moment of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    /// The broker.
    pub broker_id: u32,
    /// The group.
    pub group_id: u64,
    /// Current term.
    pub term: u64,
    /// Whom the vote is for.
    pub voted_for: u64,
    /// Whether a quorum granted that vote, as far as this replica knows.
    pub vote_committed: bool,
    /// Whether this replica leads.
    pub is_leader: bool,
    /// Last log index.
    pub last_log_index: Option<u64>,
    /// (term, index) committed here.
    pub committed: Option<(u64, u64)>,
    /// (term, index) applied.
    pub applied: Option<(u64, u64)>,
    /// (term, index) of the snapshot.
    pub snapshot: Option<(u64, u64)>,
    /// (term, index) up to which the log is purged.
    pub purged: Option<(u64, u64)>,
    /// Voters of each config: one, or two while they change.
    pub voters: Vec<Vec<u64>>,
    /// (term, index) of the entry that says so; in effect before it is committed.
    pub membership_at: Option<(u64, u64)>,
    /// Whether entries are missing that it had acknowledged.
    pub is_recovering: bool,
    /// (term, index) up to which it has acknowledged its log, if that is known; more may be flushed.
    pub acknowledged: Option<(u64, u64)>,
    /// Whether openraft still runs.
    pub is_running: bool,
}

impl RaftStatus {
    /// Reads a group.
    #[must_use]
    pub fn of(broker_id: u32, group: &Group) -> Self {
        let metrics = group.raft().metrics();
        let metrics = metrics.borrow_watched();
        Self::read(broker_id, group, &metrics)
    }

    fn read(broker_id: u32, group: &Group, metrics: &RaftMetrics<TypeConfig>) -> Self {
        let pair = |log_id: Option<super::LogId>| log_id.map(|id| (id.leader_id.term, id.index));
        let configs = metrics.membership_config.membership().get_joint_config();
        Self {
            broker_id,
            group_id: group.id().0,
            // Of the vote that is on the disk, as the vote itself is: `current_term` may be ahead of it.
            term: metrics.vote.leader_id.term,
            voted_for: metrics.vote.leader_id.voted_for,
            vote_committed: metrics.vote.committed,
            is_leader: metrics.state == ServerState::Leader,
            last_log_index: metrics.last_log_index,
            committed: pair(metrics.local_committed),
            applied: pair(metrics.last_applied),
            snapshot: pair(metrics.snapshot),
            purged: pair(metrics.purged),
            voters: configs
                .iter()
                .map(|config| config.iter().copied().collect())
                .collect(),
            membership_at: pair(*metrics.membership_config.log_id()),
            is_recovering: missing_mark(group).is_some(),
            acknowledged: pair(group.store().acknowledged()),
            is_running: metrics.running_state.is_ok(),
        }
    }
}

/// Follows one replica, for who looks at it many times a second and mostly finds what was there before.
pub struct StatusWatch {
    /// Does not keep it alive.
    group: Weak<Group>,
    metrics: WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>,
    is_recovering: bool,
}

impl std::fmt::Debug for StatusWatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StatusWatch")
            .field("is_recovering", &self.is_recovering)
            .finish_non_exhaustive()
    }
}

impl StatusWatch {
    /// Begins to follow a group, and reads it.
    #[must_use]
    pub fn new(broker_id: u32, group: &Arc<Group>) -> (Self, RaftStatus) {
        let mut metrics = group.raft().metrics();
        let status = RaftStatus::read(broker_id, group, &metrics.borrow_and_update());
        let watch = Self {
            group: Arc::downgrade(group),
            metrics,
            is_recovering: status.is_recovering,
        };
        (watch, status)
    }

    /// Whether this is the group that it follows, and not one that was made in its place.
    #[must_use]
    pub fn follows(&self, group: &Arc<Group>) -> bool {
        std::ptr::eq(self.group.as_ptr(), Arc::as_ptr(group))
    }

    /// Reads the group that it follows again, unless that certainly shows what it showed at the last look; of
    /// what a healthy replica has acknowledged since, nothing is said.
    pub fn look(&mut self, broker_id: u32, group: &Group) -> Option<RaftStatus> {
        let metrics = self.metrics.borrow_and_update();
        let was_recovering = self.is_recovering;
        self.is_recovering = missing_mark(group).is_some();
        let may_differ = metrics.has_changed() || was_recovering || self.is_recovering;
        may_differ.then(|| RaftStatus::read(broker_id, group, &metrics))
    }
}
