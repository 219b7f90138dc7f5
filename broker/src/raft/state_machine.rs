//! openraft's state machine of one group: applies entries to a [`HostedMachine`], persists state
//! behind the entries it contains, and serves the group's snapshot, which is the checkpoint at the
//! purge point and not the newest one (ARCHITECTURE.md, "Checkpoints and snapshots").
//!
//! Does not know kinds of machines, and nothing of the network.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};
use raftmq_store::{Checkpoint, GroupStore, StateUpdate};
use tokio::time::Instant;

use super::events::Events;
use super::machine::HostedMachine;
use super::types::{LogId, Reply, StoredMembership, TypeConfig};

/// Bytes of applied log after which state is persisted.
const PERSIST_BYTES: u64 = 16 << 20;
/// Age of unpersisted state, in a busy group, after which it is persisted.
const PERSIST_AGE: Duration = Duration::from_secs(10);

/// A snapshot on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotData {
    /// The body of a checkpoint.
    pub body: Bytes,
    /// What is left of the log below it.
    pub survivors: SnapshotSurvivors,
}

/// Where the survivors of a snapshot are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotSurvivors {
    /// In force here: it is this replica's own snapshot.
    InForce,
    /// There are none.
    None,
    /// They came in before.
    Staged {
        /// The number under which they are kept.
        generation: u64,
        /// The sender's note on them.
        note: Bytes,
    },
}

pub(super) type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>;
pub(super) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// See the module.
pub struct StateMachine {
    machine: Arc<dyn HostedMachine>,
    store: GroupStore,
    events: Events,
    applied: Option<LogId>,
    membership: StoredMembership,
    unpersisted_bytes: u64,
    persisted_at: Instant,
}

impl std::fmt::Debug for StateMachine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StateMachine")
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

fn storage_error(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

impl StateMachine {
    /// Restores the group's persisted state into `machine`.
    ///
    /// # Errors
    ///
    /// The state cannot be read, or its rows are not this machine's.
    pub async fn open(
        machine: Arc<dyn HostedMachine>,
        store: GroupStore,
        events: Events,
    ) -> io::Result<Self> {
        let saved = store.load_state().await.map_err(storage_error)?;
        let (mut applied, mut membership) = (None, StoredMembership::default());
        if let Some(saved) = saved {
            machine
                .restore(saved.rows.into_iter().collect())
                .map_err(storage_error)?;
            applied = saved.applied;
            membership = saved.membership;
        }
        machine.applied_through(applied.map_or(0, |log_id| log_id.index));
        Ok(Self {
            machine,
            store,
            events,
            applied,
            membership,
            unpersisted_bytes: 0,
            persisted_at: Instant::now(),
        })
    }

    fn apply_entry(&mut self, entry: &raftmq_store::Entry) -> io::Result<(Reply, bool)> {
        self.applied = Some(entry.log_id);
        match &entry.payload {
            EntryPayload::Blank => {
                self.events
                    .leads(self.store.id(), entry.log_id.leader_id.term);
                Ok((Reply::None, false))
            }
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                Ok((Reply::None, false))
            }
            EntryPayload::Normal(command) => {
                self.unpersisted_bytes += command.0.len() as u64;
                let (index, term) = (entry.log_id.index, entry.log_id.leader_id.term);
                let applied = self
                    .machine
                    .apply(index, term, &command.0)
                    .map_err(storage_error)?;
                Ok((applied.reply, applied.checkpoint))
            }
        }
    }

    async fn write_checkpoint(&self) -> io::Result<()> {
        let Some(log_id) = self.applied else {
            return Ok(());
        };
        let checkpoint = Checkpoint {
            log_id,
            membership: self.membership.clone(),
            body: self.machine.checkpoint(),
        };
        self.store
            .save_checkpoint(checkpoint)
            .await
            .map_err(storage_error)
    }

    async fn persist(&mut self, replace_all: bool) -> io::Result<()> {
        let rows = self.machine.dirty_rows();
        let update = StateUpdate {
            applied: self.applied,
            membership: self.membership.clone(),
            puts: rows.puts,
            deletes: rows.deletes,
            replace_all,
        };
        self.unpersisted_bytes = 0;
        self.persisted_at = Instant::now();
        self.store.save_state(update).await.map_err(storage_error)
    }

    async fn persist_when_due(&mut self) -> io::Result<()> {
        let old = self.unpersisted_bytes > 0 && self.persisted_at.elapsed() >= PERSIST_AGE;
        if old || self.unpersisted_bytes >= PERSIST_BYTES {
            self.persist(false).await?;
        }
        Ok(())
    }

    async fn snapshot(store: &GroupStore) -> io::Result<Option<Snapshot>> {
        let checkpoint = store.snapshot().await.map_err(storage_error)?;
        Ok(checkpoint.map(|checkpoint| Snapshot {
            meta: SnapshotMeta {
                last_log_id: Some(checkpoint.log_id),
                last_membership: checkpoint.membership,
            },
            snapshot: SnapshotData {
                body: checkpoint.body,
                survivors: SnapshotSurvivors::InForce,
            },
        }))
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let (reply, checkpoint) = self.apply_entry(&entry)?;
            if checkpoint {
                self.write_checkpoint().await?;
            }
            // Readers see the entry before its proposer is answered.
            self.machine.applied_through(entry.log_id.index);
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        self.persist_when_due().await
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            store: self.store.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> io::Result<()> {
        let SnapshotData { body, survivors } = snapshot;
        self.machine.install(&body).map_err(storage_error)?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        let Some(log_id) = meta.last_log_id else {
            return Ok(());
        };
        let membership = self.membership.clone();
        let checkpoint = Checkpoint {
            log_id,
            membership,
            body,
        };
        self.store
            .save_checkpoint(checkpoint)
            .await
            .map_err(storage_error)?;
        // Before the snapshot is chosen: what it stands for must be there.
        let adopted = match survivors {
            SnapshotSurvivors::InForce => Ok(()),
            SnapshotSurvivors::None => self.store.adopt_survivors(None).await,
            SnapshotSurvivors::Staged { generation, note } => {
                self.store.adopt_survivors(Some((generation, note))).await
            }
        };
        adopted.map_err(storage_error)?;
        // Before the state: a snapshot ahead of the state is installed again after a crash, but a state
        // without log or snapshot under it could never be opened.
        self.store
            .set_snapshot_pointer(Some(log_id.index))
            .await
            .map_err(storage_error)?;
        self.persist(true).await?;
        self.machine.applied_through(log_id.index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Self::snapshot(&self.store).await
    }
}

/// Hands openraft the checkpoint that the purge point names.
#[derive(Debug)]
pub struct SnapshotBuilder {
    store: GroupStore,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let snapshot = StateMachine::snapshot(&self.store).await?;
        snapshot.ok_or_else(|| storage_error("no checkpoint is chosen as snapshot"))
    }
}
