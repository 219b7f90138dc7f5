//! What the tests share: a type configuration, a small state machine, stores on both engines.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{
    EntryResponder, IOFlushed, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine, Snapshot,
    SnapshotMeta,
};
use openraft::type_config::TypeConfigExt;
use openraft::{OptionalSend, RaftLogReader};
use raftmq_store::{
    Checkpoint, Command, CommitDriver, CommittedLeaderId, DiskConfig, DiskEngine, Entry, GroupId,
    GroupStore, LogId, MemoryDisk, MemoryEngine, Payload, StateUpdate, Store, StoreConfig,
    StoreError, StoredMembership, Vote, log_id,
};
use tempfile::TempDir;

openraft::declare_raft_types!(
    pub Types:
        D = Command,
        R = (),
        Node = openraft::impls::EmptyNode,
        LeaderId = raftmq_store::LeaderId,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

/// An entry with a payload.
pub(crate) fn entry(term: u64, index: u64, payload: impl Into<Bytes>) -> Entry {
    Entry {
        log_id: log_id(term, index),
        payload: Payload::Normal(Command(payload.into())),
    }
}

/// Payload bytes that name their entry.
pub(crate) fn payload(group: u64, term: u64, index: u64, len: usize) -> Bytes {
    let seed = format!("{group}/{term}/{index};");
    seed.bytes().cycle().take(len).collect::<Vec<u8>>().into()
}

/// Appends entries and waits until they are complete.
pub(crate) async fn append(group: &GroupStore, entries: Vec<Entry>) -> Result<(), std::io::Error> {
    let (sender, receiver) = <Types as TypeConfigExt>::oneshot();
    let mut log = group.log();
    RaftLogStorage::<Types>::append(&mut log, entries, IOFlushed::signal(sender)).await?;
    receiver.await.expect("a completion is always reported")
}

/// Appends entries without waiting for them.
pub(crate) async fn append_only(group: &GroupStore, entries: Vec<Entry>) {
    let mut log = group.log();
    RaftLogStorage::<Types>::append(&mut log, entries, IOFlushed::noop())
        .await
        .unwrap();
}

pub(crate) async fn save_vote(group: &GroupStore, vote: Vote) -> Result<(), std::io::Error> {
    RaftLogStorage::<Types>::save_vote(&mut group.log(), &vote).await
}

pub(crate) async fn read_vote(group: &GroupStore) -> Option<Vote> {
    RaftLogReader::<Types>::read_vote(&mut group.log())
        .await
        .unwrap()
}

pub(crate) async fn truncate_after(group: &GroupStore, last: Option<LogId>) {
    RaftLogStorage::<Types>::truncate_after(&mut group.log(), last)
        .await
        .unwrap();
}

pub(crate) async fn purge(group: &GroupStore, upto: LogId) {
    RaftLogStorage::<Types>::purge(&mut group.log(), upto)
        .await
        .unwrap();
}

pub(crate) async fn entries_of(group: &GroupStore) -> Vec<Entry> {
    RaftLogReader::<Types>::try_get_log_entries(&mut group.log(), ..)
        .await
        .unwrap()
}

/// A store on a simulated disk, driven by a task.
pub(crate) fn memory_store(disk: &MemoryDisk) -> Store {
    memory_store_with(disk, StoreConfig::default())
}

pub(crate) fn memory_store_with(disk: &MemoryDisk, config: StoreConfig) -> Store {
    let engine = Arc::new(MemoryEngine::open(disk).unwrap());
    Store::open(engine, CommitDriver::Task, config).unwrap()
}

/// Small segments, so that short tests meet many of them.
pub(crate) fn small_disk() -> DiskConfig {
    let mut config = DiskConfig::default();
    config.journal.segment_bytes = 64 * 1024;
    config.journal.replay_bytes_max = 256 * 1024;
    config
}

/// A store in a folder, driven by a thread.
pub(crate) fn disk_store(folder: &std::path::Path) -> Store {
    let engine = Arc::new(DiskEngine::open(folder, small_disk()).unwrap());
    Store::open(engine, CommitDriver::Thread, StoreConfig::default()).unwrap()
}

/// Both engines, each with what keeps its disk alive.
pub(crate) fn both_stores() -> Vec<(&'static str, Store, Option<TempDir>)> {
    let folder = TempDir::new().unwrap();
    let disk = disk_store(folder.path());
    vec![
        ("memory", memory_store(&MemoryDisk::new()), None),
        ("disk", disk, Some(folder)),
    ]
}

/// A state machine that keeps applied log id, membership and snapshots in the store.
pub(crate) struct TestMachine(pub(crate) GroupStore);

impl TestMachine {
    async fn state(&self) -> (Option<LogId>, StoredMembership) {
        let saved = self.0.load_state().await.unwrap().unwrap_or_default();
        (saved.applied, saved.membership)
    }

    async fn save(&self, applied: Option<LogId>, membership: StoredMembership) {
        let update = StateUpdate {
            applied,
            membership,
            ..StateUpdate::default()
        };
        self.0.save_state(update).await.unwrap();
    }
}

type TestSnapshot = Snapshot<CommittedLeaderId, u64, openraft::impls::EmptyNode, Bytes>;
type TestMeta = SnapshotMeta<CommittedLeaderId, u64, openraft::impls::EmptyNode>;

fn snapshot_of(checkpoint: Checkpoint) -> TestSnapshot {
    let meta = SnapshotMeta {
        last_log_id: Some(checkpoint.log_id),
        last_membership: checkpoint.membership,
    };
    Snapshot {
        meta,
        snapshot: checkpoint.body,
    }
}

async fn keep_snapshot(group: &GroupStore, checkpoint: Checkpoint) -> Result<(), StoreError> {
    let index = checkpoint.log_id.index;
    group.save_checkpoint(checkpoint).await?;
    group.set_snapshot_pointer(Some(index)).await?;
    group.drop_checkpoints_below(index).await
}

impl RaftSnapshotBuilder<Types> for TestMachine {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<TestSnapshot, std::io::Error> {
        let (applied, membership) = self.state().await;
        let Some(log_id) = applied else {
            let meta = SnapshotMeta {
                last_log_id: None,
                last_membership: membership,
            };
            return Ok(Snapshot {
                meta,
                snapshot: Bytes::new(),
            });
        };
        let checkpoint = Checkpoint {
            log_id,
            membership,
            body: Bytes::from_static(b"body"),
        };
        keep_snapshot(&self.0, checkpoint.clone()).await?;
        Ok(snapshot_of(checkpoint))
    }
}

impl RaftStateMachine<Types> for TestMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), std::io::Error> {
        Ok(self.state().await)
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), std::io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, std::io::Error>> + Unpin + OptionalSend,
    {
        let (mut applied, mut membership) = self.state().await;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            applied = Some(entry.log_id);
            if let Payload::Membership(changed) = entry.payload {
                membership = StoredMembership::new(applied, changed);
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        self.save(applied, membership).await;
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        Self(self.0.clone())
    }

    async fn install_snapshot(
        &mut self,
        meta: &TestMeta,
        body: Bytes,
    ) -> Result<(), std::io::Error> {
        let log_id = meta.last_log_id.expect("a snapshot contains something");
        let membership = meta.last_membership.clone();
        self.save(Some(log_id), membership.clone()).await;
        Ok(keep_snapshot(
            &self.0,
            Checkpoint {
                log_id,
                membership,
                body,
            },
        )
        .await?)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<TestSnapshot>, std::io::Error> {
        let Some(index) = self.0.snapshot_pointer().await? else {
            return Ok(None);
        };
        Ok(self.0.load_checkpoint(index).await?.map(snapshot_of))
    }
}

/// The group that single-group tests use.
pub(crate) const GROUP: GroupId = GroupId(7);
