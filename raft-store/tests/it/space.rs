//! How much room is left, and housekeeping while there is little.

use std::sync::Arc;
use std::time::Duration;

use raftmq_store::{
    CommitDriver, DiskEngine, Engine, GroupId, JournalConfig, MemoryDisk, MemoryEngine, Store,
    StoreConfig,
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{append, append_only, entry, payload, purge, small_disk};

const SEGMENT_BYTES: u64 = 64 * 1024;
/// Entries of 4,000 bytes: more than three segments.
const ENTRIES: u64 = 56;

fn journal() -> JournalConfig {
    JournalConfig {
        segment_bytes: SEGMENT_BYTES,
        // Nothing else is a reason to flush the index.
        replay_bytes_max: u64::MAX,
        ..JournalConfig::default()
    }
}

#[test]
fn a_simulated_disk_has_what_its_capacity_leaves() {
    let disk = MemoryDisk::new();
    let engine = MemoryEngine::open(&disk).unwrap();
    assert_eq!(engine.free_bytes().unwrap(), None);

    disk.set_capacity(Some(disk.used_bytes() + 700));
    assert_eq!(engine.free_bytes().unwrap(), Some(700));
    disk.set_capacity(Some(1));
    assert_eq!(engine.free_bytes().unwrap(), Some(0));
}

#[test]
fn a_real_disk_has_what_is_free_or_what_the_capacity_of_the_folder_leaves() {
    let folder = TempDir::new().unwrap();
    let mut config = small_disk();
    let whole = DiskEngine::open(folder.path().join("whole"), config.clone()).unwrap();
    let free = whole.free_bytes().unwrap().unwrap();
    assert!(free > 0);

    config.capacity_bytes = Some(8 << 20);
    let limited = DiskEngine::open(folder.path().join("limited"), config.clone()).unwrap();
    let free = limited.free_bytes().unwrap().unwrap();
    assert!(free < 8 << 20, "its first segment takes room");
    assert!(free > 1 << 20, "its first segment is small: {free}");

    config.capacity_bytes = Some(1);
    let full = DiskEngine::open(folder.path().join("full"), config).unwrap();
    assert_eq!(full.free_bytes().unwrap(), Some(0));
}

/// Writes more than three segments, of which a purge leaves next to nothing.
async fn fill_and_purge(store: &Store) {
    let (dead, alive) = (store.group(GroupId(1)), store.group(GroupId(2)));
    for index in 1..=ENTRIES {
        append_only(&dead, vec![entry(1, index, payload(1, 1, index, 4_000))]).await;
        // Waits, because what is written at once goes into one segment.
        let sent = append(&alive, vec![entry(1, index, payload(2, 1, index, 40))]).await;
        sent.unwrap();
    }
    purge(&dead, dead.log_id_at(ENTRIES).unwrap().unwrap()).await;
}

async fn frees_segments_at_once_when_told(store: Store) {
    fill_and_purge(&store).await;
    let usage = store.stats().usage;
    assert!(usage.segments >= 3, "{usage:?}");

    // Idle from here on: only being told makes it look.
    let is_freed = async {
        while store.stats().usage.segments > 2 {
            store.set_tight(true);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), is_freed).await.unwrap();
    store.set_tight(false);

    let alive = store.group(GroupId(2));
    let kept = alive.read_entries(1, usize::MAX).await.unwrap();
    assert_eq!(kept.len() as u64, ENTRIES);
    store.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_idle_store_that_runs_short_of_space_frees_what_a_purge_left_on_both_engines() {
    let disk = MemoryDisk::new();
    let engine = Arc::new(MemoryEngine::open_with(&disk, journal()).unwrap());
    let store = Store::open(engine, CommitDriver::Task, StoreConfig::default()).unwrap();
    frees_segments_at_once_when_told(store).await;

    let folder = TempDir::new().unwrap();
    let mut config = small_disk();
    config.journal = journal();
    let engine = Arc::new(DiskEngine::open(folder.path(), config).unwrap());
    let store = Store::open(engine, CommitDriver::Thread, StoreConfig::default()).unwrap();
    frees_segments_at_once_when_told(store).await;
}

#[tokio::test]
async fn a_store_that_is_not_told_keeps_them_until_that_is_cheap() {
    let disk = MemoryDisk::new();
    let engine = Arc::new(MemoryEngine::open_with(&disk, journal()).unwrap());
    let store = Store::open(engine, CommitDriver::Task, StoreConfig::default()).unwrap();
    fill_and_purge(&store).await;
    let before = store.stats().usage.segments;

    store.set_tight(false);
    append_only(
        &store.group(GroupId(3)),
        vec![entry(1, 1, payload(3, 1, 1, 40))],
    )
    .await;

    assert_eq!(store.stats().usage.segments, before);
}

#[tokio::test]
async fn a_failed_store_tells_no_free_bytes() {
    let disk = MemoryDisk::new();
    let engine = Arc::new(MemoryEngine::open(&disk).unwrap());
    let store = Store::open(engine, CommitDriver::Task, StoreConfig::default()).unwrap();
    disk.set_capacity(Some(1 << 20));
    assert!(store.free_bytes().await.unwrap().is_some());

    disk.crash();

    assert!(store.free_bytes().await.is_err());
}
