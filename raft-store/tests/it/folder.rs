//! The data folder: who may open it, and what is found in it again.

use bytes::Bytes;
use openraft::storage::RaftLogStorage;
use raftmq_store::{
    Checkpoint, DiskEngine, GroupId, MemoryDisk, StateUpdate, Store, StoreError, StoredMembership,
    Vote, log_id,
};
use tempfile::TempDir;

use crate::support::{
    GROUP, Types, append, disk_store, entries_of, entry, memory_store, purge, read_vote, save_vote,
    small_disk,
};

#[test]
fn two_engines_on_one_folder_are_refused() {
    let folder = TempDir::new().unwrap();
    let first = DiskEngine::open(folder.path(), small_disk()).unwrap();

    let second = DiskEngine::open(folder.path(), small_disk());

    assert!(
        matches!(second, Err(StoreError::InUse { .. })),
        "{second:?}"
    );
    drop(first);
    DiskEngine::open(folder.path(), small_disk()).unwrap();
}

#[test]
fn a_folder_of_a_newer_format_is_refused_and_not_changed() {
    let folder = TempDir::new().unwrap();
    drop(DiskEngine::open(folder.path(), small_disk()).unwrap());
    std::fs::write(folder.path().join("FORMAT"), "raftmq-store 2\n").unwrap();

    let refused = DiskEngine::open(folder.path(), small_disk());

    assert!(
        matches!(
            refused,
            Err(StoreError::NewerFormat {
                found: 2,
                supported: 1
            })
        ),
        "{refused:?}"
    );
    let format = std::fs::read_to_string(folder.path().join("FORMAT")).unwrap();
    assert_eq!(format, "raftmq-store 2\n");
}

#[test]
fn a_folder_with_something_else_in_it_is_refused() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("holiday.jpg"), "").unwrap();

    let refused = DiskEngine::open(folder.path(), small_disk());

    assert!(
        matches!(refused, Err(StoreError::NotAStore { .. })),
        "{refused:?}"
    );
}

async fn write_everything(store: &Store) {
    let group = store.group(GROUP);
    save_vote(&group, Vote::new_committed(4, 2)).await.unwrap();
    append(&group, (1..=20).map(|i| entry(4, i, vec![7; 50])).collect())
        .await
        .unwrap();
    RaftLogStorage::<Types>::save_committed(&mut group.log(), Some(log_id(4, 15)))
        .await
        .unwrap();
    group.note_acknowledged(log_id(4, 18));
    let update = StateUpdate {
        applied: Some(log_id(4, 12)),
        membership: StoredMembership::default(),
        puts: vec![(Bytes::from_static(b"a"), Bytes::from_static(b"1"))],
        ..StateUpdate::default()
    };
    group.save_state(update).await.unwrap();
    let checkpoint = Checkpoint {
        log_id: log_id(4, 10),
        membership: StoredMembership::default(),
        body: Bytes::from_static(b"checkpoint"),
    };
    group.save_checkpoint(checkpoint).await.unwrap();
    group.set_snapshot_pointer(Some(10)).await.unwrap();
    purge(&group, log_id(4, 5)).await;
    store
        .put_node_row("broker-id", Bytes::from_static(b"3"))
        .await
        .unwrap();
}

async fn check_everything(store: &Store) {
    assert_eq!(store.group_ids(), [GROUP]);
    let group = store.group(GROUP);
    assert_eq!(read_vote(&group).await, Some(Vote::new_committed(4, 2)));
    assert_eq!(
        (group.first_log_index(), group.last_log_index()),
        (Some(6), Some(20))
    );
    assert_eq!(group.log_bytes(), 15 * 50);
    let mut log = group.log();
    let state = RaftLogStorage::<Types>::get_log_state(&mut log)
        .await
        .unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(4, 5)));
    let committed = RaftLogStorage::<Types>::read_committed(&mut log)
        .await
        .unwrap();
    assert_eq!(committed, Some(log_id(4, 15)));
    assert_eq!(group.acknowledged(), Some(log_id(4, 18)));
    let saved = group.load_state().await.unwrap().unwrap();
    assert_eq!(saved.applied, Some(log_id(4, 12)));
    assert_eq!(saved.rows[&b"a"[..]], "1");
    assert_eq!(group.checkpoints().await.unwrap(), [log_id(4, 10)]);
    assert_eq!(group.snapshot_pointer().await.unwrap(), Some(10));
    assert_eq!(
        group.load_checkpoint(10).await.unwrap().unwrap().body,
        "checkpoint"
    );
    assert_eq!(store.node_row("broker-id").unwrap().unwrap(), "3");
    assert_eq!(entries_of(&group).await.len(), 15);
}

#[tokio::test]
async fn everything_is_found_again_after_a_clean_shutdown() {
    let folder = TempDir::new().unwrap();
    let store = disk_store(folder.path());
    write_everything(&store).await;
    assert!(!store.was_shut_down_cleanly());
    store.shutdown().await.unwrap();
    drop(store);

    let store = disk_store(folder.path());

    assert!(store.was_shut_down_cleanly());
    assert_eq!(store.recovery().frames_replayed, 0);
    check_everything(&store).await;
}

#[tokio::test]
async fn everything_is_found_again_after_a_kill() {
    let disk = MemoryDisk::new();
    let store = memory_store(&disk);
    write_everything(&store).await;
    disk.crash();

    let store = memory_store(&disk);

    assert!(!store.was_shut_down_cleanly());
    assert!(store.recovery().frames_replayed > 0);
    check_everything(&store).await;
}

#[tokio::test]
async fn the_clean_marker_counts_for_one_start_only() {
    let disk = MemoryDisk::new();
    memory_store(&disk).shutdown().await.unwrap();
    assert!(memory_store(&disk).was_shut_down_cleanly());

    disk.power_loss(1, raftmq_store::Torn::No);

    assert!(!memory_store(&disk).was_shut_down_cleanly());
    assert_eq!(memory_store(&disk).group_ids(), Vec::<GroupId>::new());
}
