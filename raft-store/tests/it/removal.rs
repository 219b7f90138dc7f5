//! Handles that are taken while their group is being removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use raftmq_store::{
    CommitDriver, DiskEngine, Engine, GroupHealth, MemoryDisk, MemoryEngine, Store, StoreConfig,
    Vote, log_id,
};
use tempfile::TempDir;

use crate::spy::{Asked, Spy};
use crate::support::{GROUP, append, entries_of, entry, read_vote, save_vote, small_disk};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Both engines, with a group that has a log and a vote but no handle.
fn engines_with_group() -> Vec<(Arc<dyn Engine>, Option<TempDir>)> {
    let folder = TempDir::new().unwrap();
    let memory = MemoryDisk::new();
    let open_disk =
        || -> Arc<dyn Engine> { Arc::new(DiskEngine::open(folder.path(), small_disk()).unwrap()) };
    let open_memory = || -> Arc<dyn Engine> { Arc::new(MemoryEngine::open(&memory).unwrap()) };
    for engine in [open_disk(), open_memory()] {
        let store = Store::open(engine, CommitDriver::Thread, StoreConfig::default()).unwrap();
        runtime().block_on(async {
            let group = store.group(GROUP);
            append(&group, vec![entry(1, 1, "one"), entry(1, 2, "two")])
                .await
                .unwrap();
            save_vote(&group, Vote::new(3, 1)).await.unwrap();
            store.shutdown().await.unwrap();
        });
    }
    let (disk, memory) = (open_disk(), open_memory());
    vec![(disk, Some(folder)), (memory, None)]
}

#[test]
fn a_handle_taken_while_its_group_is_removed_starts_empty_and_resurrects_nothing() {
    for (engine, _folder) in engines_with_group() {
        let spy = Spy::new(engine);
        let store = Store::open(spy.clone(), CommitDriver::Thread, StoreConfig::default()).unwrap();
        let remover = store.clone();
        let is_removed = Arc::new(AtomicBool::new(false));
        let removed = Arc::clone(&is_removed);
        // The removal runs from its start to its end after the group's rows were read.
        spy.listen(move |asked| {
            if *asked == Asked::Bounds(GROUP) && !removed.swap(true, Ordering::Relaxed) {
                runtime().block_on(remover.remove_group(GROUP)).unwrap();
            }
        });

        let group = store.group(GROUP);

        assert!(is_removed.load(Ordering::Relaxed));
        assert_eq!(
            (group.last_log_index(), group.health()),
            (None, GroupHealth::Ok)
        );
        runtime().block_on(async {
            assert_eq!(read_vote(&group).await, None);
            append(&group, vec![entry(4, 1, "new")]).await.unwrap();
            assert_eq!(entries_of(&store.group(GROUP)).await, [entry(4, 1, "new")]);
            store.shutdown().await.unwrap();
        });
    }
}

#[test]
fn removals_of_one_group_at_the_same_time_all_succeed_and_leave_a_fresh_group_alone() {
    for (engine, _folder) in engines_with_group() {
        let store = Store::open(engine, CommitDriver::Thread, StoreConfig::default()).unwrap();
        runtime().block_on(async {
            let (first, second) =
                tokio::join!(store.remove_group(GROUP), store.remove_group(GROUP));
            assert_eq!((first, second), (Ok(()), Ok(())));

            let fresh = store.group(GROUP);
            append(&fresh, vec![entry(4, 1, "new")]).await.unwrap();

            assert_eq!(store.group(GROUP).log_id_at(1).unwrap(), Some(log_id(4, 1)));
            assert_eq!(store.stats().groups_loaded, 1);
            store.shutdown().await.unwrap();
        });
    }
}

#[test]
fn a_removal_whose_caller_went_away_is_completed_all_the_same() {
    for (engine, _folder) in engines_with_group() {
        let store = Store::open(engine, CommitDriver::Thread, StoreConfig::default()).unwrap();
        runtime().block_on(async {
            let mut removal = Box::pin(store.remove_group(GROUP));
            let waker = std::task::Waker::noop();
            let polled = removal
                .as_mut()
                .poll(&mut std::task::Context::from_waker(waker));
            drop((polled, removal));
            // Waits behind the removal.
            store
                .put_node_row("key", bytes::Bytes::new())
                .await
                .unwrap();

            append(&store.group(GROUP), vec![entry(4, 1, "new")])
                .await
                .unwrap();

            assert_eq!(entries_of(&store.group(GROUP)).await, [entry(4, 1, "new")]);
            store.shutdown().await.unwrap();
        });
    }
}
