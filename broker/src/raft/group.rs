//! One Raft group on this broker: its handle, its settings, and how commands are proposed.
//!
//! Does not know what the machine does. Elections are ordered from outside (`serve.rs`); only the
//! metadata group elects by timeout.

use std::sync::Arc;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use openraft::{Config, ServerState, SnapshotPolicy};
use raftmq_store::{Command, GroupHealth, GroupId, GroupStore};
use thiserror::Error;
use tokio::sync::oneshot;

use super::suspension::Suspension;
use super::types::{Raft, Reply, TypeConfig};

/// Lease of a partition's leader: years, because openraft refuses every write without a lease
/// when its ticks are off. Old leaders are stopped by the broker instead.
const LEASE_FOR_EVER_MS: u64 = 10 * 365 * 24 * 3_600 * 1_000;
/// openraft's vote RPC timeout where elections are ordered: a vote save may take long.
const VOTE_TIMEOUT_MS: u64 = 2_000;
/// openraft wakes five times as often.
const METADATA_HEARTBEAT_MS: u64 = 250;
const METADATA_ELECTION_MIN_MS: u64 = 600;
const METADATA_ELECTION_MAX_MS: u64 = 1_100;
/// A leader that has lost its majority sends no heartbeats for so long, then some, and so on: one that
/// reaches only a bridge between itself and a connected majority would else renew the bridge's lease for
/// ever, and nobody could be elected. At least twice the longest election timeout.
const METADATA_QUORUM_LOSS_PROBE_MS: u64 = 2_500;
/// Entries in one append and in one apply; bytes are bounded by the store's reader.
const APPEND_ENTRIES_MAX: u64 = 4_096;

/// How a group's elections and timers work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    /// Elects by timeout, with ticks and heartbeats.
    Metadata,
    /// Elected by order of the controller; costs nothing while idle.
    Partition,
    /// The same, with a queue's machine.
    Queue,
}

impl GroupKind {
    /// openraft's settings.
    pub(super) fn config(self) -> Config {
        let ticks = self == Self::Metadata;
        let (min, max, heartbeat) = match self {
            Self::Metadata => (
                METADATA_ELECTION_MIN_MS,
                METADATA_ELECTION_MAX_MS,
                METADATA_HEARTBEAT_MS,
            ),
            Self::Partition | Self::Queue => {
                (VOTE_TIMEOUT_MS, LEASE_FOR_EVER_MS, VOTE_TIMEOUT_MS / 2)
            }
        };
        Config {
            cluster_name: "raftmq".to_owned(),
            election_timeout_min: min,
            election_timeout_max: max,
            heartbeat_interval: heartbeat,
            max_payload_entries: APPEND_ENTRIES_MAX,
            max_append_entries: Some(APPEND_ENTRIES_MAX),
            // The defaults of the next four would delete users' records.
            snapshot_policy: SnapshotPolicy::Never,
            replication_lag_threshold: u64::MAX,
            max_in_snapshot_log_to_keep: 0,
            purge_batch_size: 1,
            enable_tick: ticks,
            enable_heartbeat: ticks,
            enable_elect: ticks,
            enable_pre_vote: Some(true),
            quorum_loss_probe_interval: ticks.then_some(METADATA_QUORUM_LOSS_PROBE_MS),
            // With true, a leader that lost its unsynced tail would resume its term and write other
            // entries at the same log ids: replicas diverge.
            enable_leader_restore: Some(false),
            // A replica under repair, or one with `durability = "os"`, may come back shorter.
            allow_log_reversion: Some(true),
            ..Config::default()
        }
    }
}

/// Why a proposal has no applied entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// This replica does not lead the group in the pinned term; nothing of it will be committed
    /// by this call, though an earlier copy may be.
    #[error("this replica does not lead the group")]
    NotLeader {
        /// Who does, if known.
        leader: Option<u32>,
    },
    /// The group stopped; whether the entry is committed is unknown.
    #[error("the group has stopped")]
    Stopped,
}

/// A proposal under way: resolves when its entry is applied here.
pub type Proposal = oneshot::Receiver<ClientWriteResult<TypeConfig>>;

/// A Raft group on this broker.
pub struct Group {
    id: GroupId,
    kind: GroupKind,
    raft: Raft,
    store: GroupStore,
    /// Which leaderships count for nothing here.
    pub(super) suspension: Suspension,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Group")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Group {
    pub(super) fn new(id: GroupId, kind: GroupKind, raft: Raft, store: GroupStore) -> Arc<Self> {
        Arc::new(Self {
            id,
            kind,
            raft,
            store,
            suspension: Suspension::default(),
        })
    }

    /// The group's number.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// How its elections work.
    #[must_use]
    pub fn kind(&self) -> GroupKind {
        self.kind
    }

    /// openraft's handle.
    #[must_use]
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Log and state on disk.
    #[must_use]
    pub fn store(&self) -> &GroupStore {
        &self.store
    }

    /// The term in which this replica leads *and may propose*: the blank entry of that term is
    /// applied. `None` when it does not lead.
    #[must_use]
    pub fn leading_term(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader;
        let applied_term = metrics.last_applied.map(|log_id| log_id.leader_id.term);
        let is_ready = leads && applied_term == Some(metrics.current_term);
        (is_ready && !self.suspension.covers(metrics.current_term)).then_some(metrics.current_term)
    }

    /// Whether this replica leads by its own lights, ready to propose or not.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.state == ServerState::Leader && !self.suspension.covers(metrics.current_term)
    }

    /// The newest term that this replica knows.
    #[must_use]
    pub fn term(&self) -> u64 {
        let metrics = self.raft.metrics();
        metrics.borrow_watched().current_term
    }

    /// Whether openraft has ended here for good: an entry that this version cannot apply, a storage
    /// error, or a shutdown.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        let metrics = self.raft.metrics();
        metrics.borrow_watched().running_state.is_err()
    }

    /// Waits until openraft has ended here. Cancel safe.
    pub async fn stopped(&self) {
        let mut server = self.raft.server_metrics();
        while server.changed().await.is_ok() {}
    }

    /// Whom this replica takes for the leader.
    #[must_use]
    pub fn leader(&self) -> Option<u32> {
        let metrics = self.raft.metrics();
        let leader = metrics.borrow_watched().current_leader;
        leader.and_then(|id| u32::try_from(id).ok())
    }

    /// Whether everything that is committed, as far as this replica knows, is applied here, and a
    /// leader is known.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.current_leader.is_some() && metrics.last_applied >= metrics.local_committed
    }

    /// The end of what this replica knows to have had: its log, and what it acknowledged of what is damaged.
    #[must_use]
    pub fn known_end(&self) -> u64 {
        let acknowledged = self.store.acknowledged().map_or(0, |id| id.index);
        let metrics = self.raft.metrics();
        let last = metrics.borrow_watched().last_log_index;
        acknowledged.max(last.unwrap_or(0))
    }

    /// Whether the entry with this index, or a later one, is applied here.
    #[must_use]
    pub fn has_applied(&self, log_index: u64) -> bool {
        let metrics = self.raft.metrics();
        let applied = metrics.borrow_watched().last_applied;
        applied.map_or(0, |id| id.index) >= log_index
    }

    /// Lets a group that elects by timeout do so while nothing that it acknowledged is missing: a
    /// recovering replica leads nothing. Changes nothing for other groups, or when repeated.
    pub(super) fn elect_unless_recovering(&self) {
        if self.kind == GroupKind::Metadata {
            let is_whole = self.store.health() == GroupHealth::Ok;
            self.raft.runtime_config().elect(is_whole);
        }
    }

    /// Hands an entry to openraft, pinned to `term`, in the order of calls.
    ///
    /// # Errors
    ///
    /// [`ProposeError::Stopped`] when openraft takes nothing any more. That the term is over is
    /// said by the proposal itself ([`outcome`]).
    pub async fn propose(&self, term: u64, command: Bytes) -> Result<Proposal, ProposeError> {
        let (responder, proposal) = openraft::impls::OneshotResponder::new_pair();
        let write = self
            .raft
            .write(Command(command))
            .with_leader(term)
            .responder(responder);
        write.await.map_err(|_fatal| ProposeError::Stopped)?;
        Ok(proposal)
    }

    /// Proposes and waits for the reply.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`].
    pub async fn write(&self, term: u64, command: Bytes) -> Result<(u64, Reply), ProposeError> {
        let proposal = self.propose(term, command).await?;
        outcome(proposal.await)
    }

    /// Lets the checkpoint at `log_index` be the group's snapshot and purges what it covers.
    /// Local to this replica. Repetition changes nothing.
    ///
    /// # Errors
    ///
    /// The store's, in words.
    pub async fn purge_to_checkpoint(&self, log_index: u64) -> Result<(), String> {
        let pointer = self
            .store
            .snapshot_pointer()
            .await
            .map_err(|error| error.to_string())?;
        if pointer.is_some_and(|pointer| pointer >= log_index) {
            return Ok(());
        }
        let pointer = self.store.set_snapshot_pointer(Some(log_index)).await;
        pointer.map_err(|error| error.to_string())?;
        self.raft
            .trigger()
            .snapshot()
            .await
            .map_err(|error| error.to_string())?;
        self.raft
            .trigger()
            .purge_log(log_index)
            .await
            .map_err(|error| error.to_string())?;
        let dropped = self.store.drop_checkpoints_below(log_index).await;
        dropped.map_err(|error| error.to_string())
    }
}

/// What became of a proposal: the entry's log index and the machine's reply.
///
/// # Errors
///
/// See [`ProposeError`].
pub fn outcome(
    result: Result<ClientWriteResult<TypeConfig>, oneshot::error::RecvError>,
) -> Result<(u64, Reply), ProposeError> {
    match result {
        Ok(Ok(response)) => Ok((response.log_id.index, response.data)),
        Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
            let leader = forward.leader_id.and_then(|id| u32::try_from(id).ok());
            Err(ProposeError::NotLeader { leader })
        }
        Ok(Err(_)) => Err(ProposeError::NotLeader { leader: None }),
        Err(_closed) => Err(ProposeError::Stopped),
    }
}
