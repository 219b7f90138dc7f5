//! Checkpoints: listed without being read, and handed out whole while they are replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use raftmq_store::{
    Checkpoint, CommitDriver, DiskEngine, Engine, MemoryDisk, MemoryEngine, Op, RowFamily, Store,
    StoreConfig, StoreError, StoredMembership, WriteBatch, log_id,
};
use tempfile::TempDir;

use crate::spy::{Asked, Spy};
use crate::support::{GROUP, small_disk};

fn engines() -> Vec<(Arc<dyn Engine>, Option<TempDir>)> {
    let folder = TempDir::new().unwrap();
    let disk = DiskEngine::open(folder.path(), small_disk()).unwrap();
    let memory = MemoryEngine::open(&MemoryDisk::new()).unwrap();
    vec![(Arc::new(disk), Some(folder)), (Arc::new(memory), None)]
}

fn open(engine: Arc<dyn Engine>) -> Store {
    Store::open(engine, CommitDriver::Thread, StoreConfig::default()).unwrap()
}

fn checkpoint(index: u64) -> Checkpoint {
    Checkpoint {
        log_id: log_id(2, index),
        membership: StoredMembership::default(),
        body: Bytes::from(vec![u8::try_from(index).unwrap(); 1000]),
    }
}

#[tokio::test]
async fn checkpoints_are_listed_and_dropped_without_reading_their_bodies() {
    for (engine, _folder) in engines() {
        let spy = Spy::new(engine);
        let store = open(spy.clone());
        let group = store.group(GROUP);
        for index in [3, 6, 9] {
            group.save_checkpoint(checkpoint(index)).await.unwrap();
        }
        let bodies = Arc::new(AtomicUsize::new(0));
        let read = Arc::clone(&bodies);
        spy.listen(move |asked| match asked {
            Asked::Row(_, RowFamily::Checkpoint, _) | Asked::Rows(_, RowFamily::Checkpoint) => {
                read.fetch_add(1, Ordering::Relaxed);
            }
            Asked::Row(..) | Asked::Rows(..) | Asked::Bounds(_) => {}
        });

        let listed = group.checkpoints().await.unwrap();
        group.drop_checkpoints_below(9).await.unwrap();

        assert_eq!(listed, [log_id(2, 3), log_id(2, 6), log_id(2, 9)]);
        assert_eq!(group.checkpoints().await.unwrap(), [log_id(2, 9)]);
        assert_eq!(bodies.load(Ordering::Relaxed), 0);
        assert_eq!(group.load_checkpoint(6).await.unwrap(), None);
        let kept = group.load_checkpoint(9).await.unwrap();
        assert_eq!(kept, Some(checkpoint(9)));
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_that_a_purge_replaces_while_it_is_read_is_the_newer_one_and_whole() {
    for (engine, _folder) in engines() {
        let spy = Spy::new(engine.clone());
        let store = open(spy.clone());
        let group = store.group(GROUP);
        assert_eq!(group.snapshot().await.unwrap(), None);
        for index in [3, 6] {
            group.save_checkpoint(checkpoint(index)).await.unwrap();
        }
        group.set_snapshot_pointer(Some(3)).await.unwrap();
        assert_eq!(group.snapshot().await.unwrap(), Some(checkpoint(3)));
        let old = Bytes::copy_from_slice(&3_u64.to_be_bytes());
        // The purge happens between the reading of the pointer and of what it names.
        spy.listen(move |asked| {
            if *asked == Asked::Row(GROUP, RowFamily::Checkpoint, old.clone()) {
                let put = point_to(6);
                let drop_old = Op::Delete {
                    group: GROUP,
                    family: RowFamily::Checkpoint,
                    key: old.clone(),
                };
                let ops = vec![put, drop_old];
                engine.write(WriteBatch { ops }).unwrap();
            }
        });

        let snapshot = group.snapshot().await.unwrap();

        assert_eq!(snapshot, Some(checkpoint(6)));
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_whose_checkpoint_is_missing_is_named_and_not_taken_for_none() {
    for (engine, _folder) in engines() {
        let store = open(engine.clone());
        let group = store.group(GROUP);
        let is_named = |refused: &Result<_, StoreError>| {
            matches!(
                refused,
                Err(StoreError::Damaged {
                    what: "snapshot",
                    ..
                })
            )
        };

        let chosen = group.set_snapshot_pointer(Some(3)).await;
        assert!(is_named(&chosen), "{chosen:?}");
        assert_eq!(group.snapshot_pointer().await.unwrap(), None);

        let ops = vec![point_to(3)];
        engine.write(WriteBatch { ops }).unwrap();
        let read = group.snapshot().await.map(drop);
        assert!(is_named(&read), "{read:?}");
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_checkpoint_is_never_chosen_as_snapshot() {
    let disk = MemoryDisk::new();
    let store = open(Arc::new(MemoryEngine::open(&disk).unwrap()));
    let group = store.group(GROUP);
    for index in [3, 6] {
        group.save_checkpoint(checkpoint(index)).await.unwrap();
    }
    group.set_snapshot_pointer(Some(3)).await.unwrap();
    assert!(disk.flip_bit_in_checkpoint(GROUP, 6));

    let refused = group.set_snapshot_pointer(Some(6)).await;

    assert!(
        matches!(
            refused,
            Err(StoreError::Damaged {
                what: "checkpoint",
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(group.snapshot().await.unwrap(), Some(checkpoint(3)));
    store.shutdown().await.unwrap();
}

/// Points the group's snapshot somewhere, behind the store's back.
fn point_to(log_index: u64) -> Op {
    let mut pointer = vec![1];
    pointer.extend_from_slice(&log_index.to_le_bytes());
    Op::Put {
        group: GROUP,
        family: RowFamily::Meta,
        key: Bytes::from_static(&[6]),
        value: pointer.into(),
    }
}
