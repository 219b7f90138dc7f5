//! The registry of the Raft groups of this broker: opens, finds, closes and removes them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::RaftLogStorageExt;
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use parking_lot::RwLock;
use raftmq_store::{GroupHealth, GroupId, GroupStore, Store, log_id};
use thiserror::Error;

use super::adopt::voters_entry;
use super::events::Events;
use super::group::{Group, GroupKind};
use super::machine::HostedMachine;
use super::network::NetworkFactory;
use super::space::DiskSpace;
use super::state_machine::StateMachine;
use super::transport::Transport;
use super::types::{LogId, Raft, TypeConfig};
use super::vouching::Vouching;
use crate::env::Env;
use crate::planted::{Bug, is_planted};

/// Pause between rounds of repeating lost appends.
const REPEAT_INTERVAL: Duration = Duration::from_millis(100);
/// How often it is looked whether the metadata group is whole again.
const WHOLE_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a group could not be opened or removed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("group {group} could not be {action}: {reason}")]
pub struct HostError {
    /// The group.
    pub group: GroupId,
    /// What was tried.
    pub action: &'static str,
    /// Why not.
    pub reason: String,
}

/// With what a replica begins that has no log on disk; changes nothing for others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beginning {
    /// The group's first voters, the same on every replica. With none it waits for a leader to send it
    /// a log.
    pub first_voters: Vec<u32>,
    /// Log id of the newest membership that is known to be committed. This broker may have had a
    /// replica before, voted, and wiped it when that membership left it out: until it has the log up to
    /// there, the replica votes for nobody who lacks it. Durable before the first entry.
    pub settled_at: Option<LogId>,
}

/// The groups of this broker. Cheap to clone.
#[derive(Clone)]
pub struct RaftHost {
    shared: Arc<Shared>,
}

struct Shared {
    broker_id: u32,
    env: Env,
    store: Store,
    transport: Transport,
    space: DiskSpace,
    events: Events,
    vouching: Vouching,
    groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
}

impl std::fmt::Debug for RaftHost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RaftHost").finish_non_exhaustive()
    }
}

impl RaftHost {
    /// A host without groups.
    #[must_use]
    pub fn new(
        broker_id: u32,
        env: Env,
        store: Store,
        transport: Transport,
        space: DiskSpace,
    ) -> Self {
        let events = Events::default();
        let groups = RwLock::default();
        Self {
            shared: Arc::new(Shared {
                broker_id,
                env,
                store,
                transport,
                space,
                events,
                vouching: Vouching::new(),
                groups,
            }),
        }
    }

    /// This broker.
    #[must_use]
    pub fn broker_id(&self) -> u32 {
        self.shared.broker_id
    }

    /// The links to other brokers.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    /// The room on this broker's disk.
    #[must_use]
    pub fn space(&self) -> &DiskSpace {
        &self.shared.space
    }

    pub(super) fn vouching(&self) -> &Vouching {
        &self.shared.vouching
    }

    /// What groups tell.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// Opens a group with whatever it has on disk, and starts it. It elects nobody by itself,
    /// unless it is the metadata group.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or the state on disk is not this machine's.
    pub async fn open(
        &self,
        id: GroupId,
        kind: GroupKind,
        machine: Arc<dyn HostedMachine>,
        beginning: &Beginning,
    ) -> Result<Arc<Group>, HostError> {
        let failed = |reason: String| HostError {
            group: id,
            action: "opened",
            reason,
        };
        let shared = &self.shared;
        let store = shared.store.group(id);
        // One that lost the beginning of its log is sent it.
        let is_new = store.last_log_index().is_none() && store.health() == GroupHealth::Ok;
        if is_new {
            begin(&store, beginning)
                .await
                .map_err(|error| failed(error.to_string()))?;
        }
        let state_machine = StateMachine::open(machine, store.clone(), shared.events.clone())
            .await
            .map_err(|error| failed(error.to_string()))?;
        let config = kind
            .config()
            .validate()
            .map_err(|error| failed(error.to_string()))?;
        let network = NetworkFactory::new(shared.transport.clone(), store.clone(), kind);
        let voters = network.voters();
        let node_id = u64::from(shared.broker_id);
        let started = Raft::new(
            node_id,
            Arc::new(config),
            network,
            store.log(),
            state_machine,
        );
        // openraft takes its randomness from the task that starts it.
        let seed = shared.env.random_u64();
        let raft = DeterministicRng::<TokioRuntime>::scope(seed, started)
            .await
            .map_err(|error| failed(error.to_string()))?;
        voters.follow(&raft);
        let group = Group::new(id, kind, raft, store);
        group.elect_unless_recovering();
        shared.groups.write().insert(id, group.clone());
        Ok(group)
    }

    /// The group, if it is open here.
    #[must_use]
    pub fn get(&self, id: GroupId) -> Option<Arc<Group>> {
        self.shared.groups.read().get(&id).cloned()
    }

    /// Every open group, in order of number.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.shared.groups.read().values().cloned().collect()
    }

    /// No leadership of a partition that this broker has counts any more: it was fenced, and others
    /// may have been elected. The controller has them confirmed, or elects anew.
    pub fn suspend_leaderships(&self) {
        let groups = self.groups().into_iter();
        for group in groups.filter(|group| group.kind() == GroupKind::Partition) {
            group.suspend_leadership();
        }
    }

    /// Stops a group and deletes everything it has on this broker. Repetition changes nothing.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn remove(&self, id: GroupId) -> Result<(), HostError> {
        self.close(id).await;
        let removed = self.shared.store.remove_group(id).await;
        removed.map_err(|error| HostError {
            group: id,
            action: "removed",
            reason: error.to_string(),
        })
    }

    /// Stops a group; what it has on disk stays. Repetition changes nothing.
    pub async fn close(&self, id: GroupId) {
        let group = self.shared.groups.write().remove(&id);
        if let Some(group) = group {
            let _ = group.raft().shutdown().await;
        }
    }

    /// Stops every group; what they have on disk stays.
    pub async fn shutdown(&self) {
        let groups = std::mem::take(&mut *self.shared.groups.write());
        for group in groups.into_values() {
            let _ = group.raft().shutdown().await;
        }
    }

    /// Groups on disk, open or not.
    #[must_use]
    pub fn stored_groups(&self) -> Vec<GroupId> {
        self.shared.store.group_ids()
    }

    /// The broker's store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// A broker has started: what it has on disk may be less than it once had. The leaders here send
    /// it something, because one with nothing to send would never find out.
    pub fn look_again_at(&self, broker: u32) {
        if broker == self.shared.broker_id {
            return;
        }
        for group in self.shared.groups.read().values() {
            // Whether this replica leads is looked at when the repetition is due.
            if group.kind() == GroupKind::Partition && has_member(group, u64::from(broker)) {
                self.shared.transport.note_lost_append(broker, group.id());
            }
        }
    }

    /// Repeats what appends have lost, as soon as the peers can be reached: an idle follower that
    /// lost two commit updates never hears of them otherwise. Also lets the metadata group elect again
    /// once it is whole after a recovery. Runs for ever.
    pub async fn run_repeats(&self) {
        let transport = &self.shared.transport;
        loop {
            tokio::select! {
                biased;
                () = transport.has_lost_appends() => tokio::time::sleep(REPEAT_INTERVAL).await,
                () = tokio::time::sleep(WHOLE_LOOK_INTERVAL) => {}
            }
            if let Some(metadata) = self.get(GroupId(0)) {
                metadata.elect_unless_recovering();
            }
            for (broker, groups) in transport.take_lost_appends() {
                for group in groups.into_iter().filter_map(|id| self.get(id)) {
                    let concerned = group.kind() == GroupKind::Partition
                        && group.leader() == Some(self.shared.broker_id)
                        && has_member(&group, u64::from(broker));
                    if concerned {
                        let _ = group
                            .raft()
                            .trigger()
                            .reset_backoff([u64::from(broker)])
                            .await;
                        let _ = group.raft().trigger().heartbeat().await;
                    }
                }
            }
        }
    }
}

async fn begin(store: &GroupStore, beginning: &Beginning) -> Result<(), impl Display + use<>> {
    if let Some(settled_at) = beginning.settled_at
        && !is_planted(Bug::WipedReplicaVotes)
    {
        tracing::trace!(target: "raftmq::mark", name = "replica_begins_with_a_mark");
        store.note_acknowledged(settled_at);
    }
    if beginning.first_voters.is_empty() {
        return Ok(());
    }
    begin_log(store, &beginning.first_voters).await
}

/// Writes the first voters into an empty log, at the log id that openraft's own `initialize` gives
/// them: term 0, index 0, the same on every replica. `initialize` itself is no use here: it
/// campaigns at once, returns only when that is won, and refuses a replica that has voted.
async fn begin_log(store: &GroupStore, voters: &[u32]) -> Result<(), impl Display + use<>> {
    let entry = voters_entry(log_id(0, 0), voters);
    let mut log = store.log();
    RaftLogStorageExt::<TypeConfig>::blocking_append(&mut log, [entry]).await
}

fn has_member(group: &Group, broker: u64) -> bool {
    let mut members = group.raft().voter_ids().chain(group.raft().learner_ids());
    members.any(|id| id == broker)
}
