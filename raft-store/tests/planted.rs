//! The planted bugs are real: each loses or invents what the unplanted store keeps.
//!
//! One test after the other in one function, because bugs are planted for the whole process.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::RaftLogReader;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use raftmq_store::planted::{Bug, clear, plant};
use raftmq_store::{
    Command, CommitDriver, Engine, Entry, GroupHealth, GroupId, GroupStore, JournalConfig,
    Maintenance, MemoryDisk, MemoryEngine, Op, Payload, RowFamily, Store, StoreConfig, Torn, Vote,
    WriteBatch, log_id,
};

openraft::declare_raft_types!(
    Types:
        D = Command,
        R = (),
        Node = openraft::impls::EmptyNode,
        LeaderId = raftmq_store::LeaderId,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

fn open(disk: &MemoryDisk) -> GroupStore {
    let engine = Arc::new(MemoryEngine::open(disk).unwrap());
    Store::open(engine, CommitDriver::Task, StoreConfig::default())
        .unwrap()
        .group(GroupId(1))
}

fn entry(index: u64) -> Entry {
    let payload = Bytes::from(vec![7; 4000]);
    Entry {
        log_id: log_id(1, index),
        payload: Payload::Normal(Command(payload)),
    }
}

/// Whether an append was acknowledged within a second, on a disk whose syncs take longer.
async fn is_acknowledged(group: &GroupStore) -> bool {
    let (sender, receiver) = <Types as TypeConfigExt>::oneshot();
    let done = IOFlushed::<Types>::signal(sender);
    RaftLogStorage::<Types>::append(&mut group.log(), [entry(1)], done)
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(1), receiver)
        .await
        .is_ok()
}

async fn is_vote_saved(group: &GroupStore) -> bool {
    let mut log = group.log();
    let vote = Vote::new(5, 1);
    let save = RaftLogStorage::<Types>::save_vote(&mut log, &vote);
    tokio::time::timeout(Duration::from_secs(1), save)
        .await
        .is_ok()
}

/// Whether a restart after some torn write shows an entry that was never written so.
async fn is_garbage_shown() -> bool {
    for seed in 0..40 {
        let disk = MemoryDisk::new();
        disk.slow(Duration::from_secs(3600));
        is_acknowledged(&open(&disk)).await;
        disk.power_loss(seed, Torn::SubBlock);
        let mut log = open(&disk).log();
        let found = RaftLogReader::<Types>::try_get_log_entries(&mut log, ..)
            .await
            .unwrap();
        if found.iter().any(|found| *found != entry(1)) {
            return true;
        }
    }
    false
}

/// Whether damage that one start finds is still known to the next, which replays nothing of it.
async fn is_damage_remembered() -> bool {
    let disk = MemoryDisk::new();
    let open = || {
        let engine = MemoryEngine::open_with(&disk, JournalConfig::default()).unwrap();
        Store::open(Arc::new(engine), CommitDriver::Task, StoreConfig::default()).unwrap()
    };
    let group = open().group(GroupId(1));
    is_acknowledged(&group).await;
    assert!(is_vote_saved(&group).await);
    disk.crash();
    assert!(disk.flip_bit_in_entry(GroupId(1), 1));
    open().shutdown().await.unwrap();
    open().group(GroupId(1)).health() != GroupHealth::Ok
}

/// Whether a read of an entry of which a bit was flipped fails.
async fn is_damage_noticed() -> bool {
    let disk = MemoryDisk::new();
    let engine = Arc::new(MemoryEngine::open(&disk).unwrap());
    let config = StoreConfig::default();
    let store = Store::open(engine.clone(), CommitDriver::Task, config).unwrap();
    assert!(is_acknowledged(&store.group(GroupId(1))).await);
    assert!(disk.flip_bit_in_entry(GroupId(1), 1));
    engine.read_entries(GroupId(1), 1..2, usize::MAX).is_err()
}

/// Whether an acknowledged entry survives a damaged header of the segment that it stands in.
async fn is_segment_kept() -> bool {
    let disk = MemoryDisk::new();
    assert!(is_acknowledged(&open(&disk)).await);
    disk.crash();
    assert!(disk.flip_bit_in_newest_header());
    open(&disk).last_log_index() == Some(1)
}

/// Whether a start finds its journal when everything before was freed after the start before.
fn is_found_after_all_was_freed() -> bool {
    let disk = MemoryDisk::new();
    let open = || MemoryEngine::open_with(&disk, JournalConfig::default());
    let engine = open().unwrap();
    let (group, row) = (GroupId(1), Bytes::from_static(b"row"));
    let put = Op::Put {
        group,
        family: RowFamily::State,
        key: row.clone(),
        value: row,
    };
    engine.write(WriteBatch { ops: vec![put] }).unwrap();
    engine.sync().unwrap();
    disk.crash();
    let engine = open().unwrap();
    engine.set_tight(true);
    while engine.maintain().unwrap() == Maintenance::Busy {}
    disk.crash();
    open().is_ok()
}

#[tokio::test(start_paused = true)]
async fn each_planted_bug_breaks_what_it_names_and_nothing_else_does() {
    let slow = || {
        let disk = MemoryDisk::new();
        disk.slow(Duration::from_secs(60));
        open(&disk)
    };
    assert!(!is_acknowledged(&slow()).await);
    assert!(!is_vote_saved(&slow()).await);
    assert!(!is_garbage_shown().await);
    assert!(is_damage_remembered().await);
    assert!(is_damage_noticed().await);
    assert!(is_segment_kept().await);
    assert!(is_found_after_all_was_freed());

    plant(Bug::MarkLeftBehind);
    assert!(!is_found_after_all_was_freed());
    assert!(is_segment_kept().await);
    clear();

    plant(Bug::DamageServed);
    assert!(!is_damage_noticed().await);
    clear();

    plant(Bug::HoleForgotten);
    assert!(!is_damage_remembered().await);
    assert!(is_segment_kept().await);
    clear();

    plant(Bug::DamagedSegmentDropped);
    assert!(!is_segment_kept().await);
    assert!(is_damage_remembered().await);
    clear();

    plant(Bug::AckBeforeFlush);
    assert!(is_acknowledged(&slow()).await);
    assert!(!is_vote_saved(&slow()).await);
    clear();

    plant(Bug::VoteNotSynced);
    assert!(is_vote_saved(&slow()).await);
    assert!(!is_acknowledged(&slow()).await);
    clear();

    plant(Bug::TornTailAccepted);
    assert!(is_garbage_shown().await);
    clear();
}
