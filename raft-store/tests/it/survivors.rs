//! Survivors: sets of rows that change atomically, are replaced at once, and outlive a restart.

use std::sync::Arc;

use bytes::Bytes;
use raftmq_store::{
    CommitDriver, DiskEngine, Engine, GroupStore, MemoryDisk, MemoryEngine, RowFamily, Store,
    StoreConfig, StoreError, SurvivorChange, SurvivorRow,
};
use tempfile::TempDir;

use crate::support::{GROUP, small_disk};

const NOTE: Bytes = Bytes::from_static(b"note");

fn open(engine: Arc<dyn Engine>) -> Store {
    Store::open(engine, CommitDriver::Thread, StoreConfig::default()).unwrap()
}

fn memory(disk: &MemoryDisk) -> Arc<dyn Engine> {
    Arc::new(MemoryEngine::open(disk).unwrap())
}

fn row(key: u64, text: &'static str) -> SurvivorRow {
    SurvivorRow {
        key,
        note: Bytes::from_static(b"head"),
        body: Bytes::from_static(text.as_bytes()),
    }
}

fn change(puts: &[SurvivorRow], deletes: &[u64]) -> SurvivorChange {
    SurvivorChange {
        puts: puts.to_vec(),
        deletes: deletes.to_vec(),
    }
}

async fn keys(group: &GroupStore) -> Vec<u64> {
    let index = group.survivors().await.unwrap();
    index.heads.keys().copied().collect()
}

async fn body(group: &GroupStore, key: u64) -> Option<Bytes> {
    let generation = group.survivors().await.unwrap().generation;
    group.read_survivor(generation, key).await.unwrap()
}

#[tokio::test]
async fn rows_are_replaced_together_and_outlive_a_restart_on_both_engines() {
    let folder = TempDir::new().unwrap();
    let disk = MemoryDisk::new();
    for is_real in [true, false] {
        let engine = || -> Arc<dyn Engine> {
            match is_real {
                true => Arc::new(DiskEngine::open(folder.path(), small_disk()).unwrap()),
                false => memory(&disk),
            }
        };
        let store = open(engine());
        let group = store.group(GROUP);
        assert_eq!(keys(&group).await, []);
        group.note_survivors(0, NOTE).await.unwrap();
        let first = change(&[row(0, "a"), row(5, "b"), row(9, "c")], &[]);
        group.change_survivors(0, first).await.unwrap();
        let merged = change(&[row(0, "ab")], &[0, 5]);
        group.change_survivors(0, merged).await.unwrap();
        store.shutdown().await.unwrap();
        drop((group, store));

        let store = open(engine());
        let group = store.group(GROUP);
        assert_eq!(keys(&group).await, [0, 9]);
        assert_eq!(body(&group, 0).await.unwrap(), "ab");
        assert_eq!(body(&group, 5).await, None);
        assert_eq!(group.survivors().await.unwrap().note, NOTE);
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_staged_set_takes_the_place_of_the_one_in_force_at_once() {
    let disk = MemoryDisk::new();
    let store = open(memory(&disk));
    let group = store.group(GROUP);
    group.note_survivors(0, NOTE).await.unwrap();
    let old = change(&[row(1, "old")], &[]);
    group.change_survivors(0, old).await.unwrap();

    let generation = group.begin_survivors().await.unwrap();
    let staged = group.stage_survivors(generation, vec![row(1, "new"), row(2, "newer")]);
    assert!(staged.await.unwrap());
    assert_eq!(body(&group, 1).await.unwrap(), "old");
    assert!(!group.complete_survivors(generation, 3), "one is missing");
    assert!(group.complete_survivors(generation, 2));
    let note = Bytes::from_static(b"new note");
    let adopted = group
        .adopt_survivors(Some((generation, note.clone())))
        .await;
    adopted.unwrap();

    assert_eq!(keys(&group).await, [1, 2]);
    assert_eq!(body(&group, 1).await.unwrap(), "new");
    assert_eq!(group.read_survivor(0, 1).await.unwrap(), None, "freed");
    // Who still works on the old set changes nothing any more.
    let late = change(&[row(7, "late")], &[1]);
    group.change_survivors(0, late).await.unwrap();
    group.note_survivors(0, NOTE).await.unwrap();
    store.shutdown().await.unwrap();
    drop((group, store));
    let store = open(memory(&disk));
    let group = store.group(GROUP);
    assert_eq!(keys(&group).await, [1, 2]);
    assert_eq!(group.survivors().await.unwrap().note, note);
}

#[tokio::test]
async fn a_set_that_was_cut_off_changes_nothing_and_is_freed_by_the_next() {
    let disk = MemoryDisk::new();
    let store = open(memory(&disk));
    let group = store.group(GROUP);
    let first = group.begin_survivors().await.unwrap();
    group
        .stage_survivors(first, vec![row(1, "a")])
        .await
        .unwrap();

    let second = group.begin_survivors().await.unwrap();

    assert!(second > first);
    let late = group.stage_survivors(first, vec![row(2, "b")]).await;
    assert!(!late.unwrap());
    assert!(!group.complete_survivors(first, 1));
    assert_eq!(group.read_survivor(first, 1).await.unwrap(), None);
    let adopted = group.adopt_survivors(Some((first, NOTE))).await;
    assert!(matches!(adopted, Err(StoreError::Damaged { .. })));
    assert_eq!(keys(&group).await, []);
}

#[tokio::test]
async fn a_snapshot_without_survivors_takes_those_in_force_away() {
    let disk = MemoryDisk::new();
    let store = open(memory(&disk));
    let group = store.group(GROUP);
    group.note_survivors(0, NOTE).await.unwrap();
    let old = change(&[row(1, "old")], &[]);
    group.change_survivors(0, old).await.unwrap();

    group.adopt_survivors(None).await.unwrap();

    assert_eq!(keys(&group).await, []);
    assert_eq!(group.survivors().await.unwrap().note, Bytes::new());
    assert_eq!(group.read_survivor(0, 1).await.unwrap(), None);
}

#[tokio::test]
async fn survivors_are_not_cleaned_while_they_are_sent() {
    let store = open(memory(&MemoryDisk::new()));
    let group = store.group(GROUP);

    let sending = group.hold_survivors().unwrap();
    assert!(group.hold_survivors().is_some(), "to two at once");
    assert!(group.clean_survivors().is_none());
    drop(sending);
    let cleaning = group.clean_survivors().unwrap();
    assert!(group.hold_survivors().is_none());
    assert!(group.clean_survivors().is_none());
    drop(cleaning);
    assert!(group.hold_survivors().is_some());
}

#[tokio::test]
async fn a_removed_group_leaves_no_survivors() {
    let disk = MemoryDisk::new();
    let store = open(memory(&disk));
    let group = store.group(GROUP);
    group.note_survivors(0, NOTE).await.unwrap();
    let rows = change(&[row(1, "a")], &[]);
    group.change_survivors(0, rows).await.unwrap();

    store.remove_group(GROUP).await.unwrap();
    store.shutdown().await.unwrap();
    drop((group, store));

    let engine = memory(&disk);
    for family in [
        RowFamily::Survivor,
        RowFamily::SurvivorHead,
        RowFamily::Meta,
    ] {
        assert_eq!(engine.scan_rows(GROUP, family).unwrap(), []);
    }
}
