//! What a group's openraft shows of itself, as plain numbers: for health, metrics and the
//! invariant checkers of the simulation.

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftDataMetrics;
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
