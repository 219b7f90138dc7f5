//! Many groups at once on the real engine: appends, truncation, purging and reads from several
//! threads while segments are freed and survivors move.

use std::sync::Arc;

use raftmq_store::{CommitDriver, DiskEngine, Entry, GroupId, GroupStore, Store, StoreConfig};
use tempfile::TempDir;

use crate::model::Random;
use crate::support::{append, entries_of, entry, payload, purge, small_disk, truncate_after};

const GROUPS: u64 = 12;
const ROUNDS: u64 = 150;
/// The index is flushed in the background, by one thread for all tests of this process.
const HOUSEKEEPING_MAX: std::time::Duration = std::time::Duration::from_secs(120);

fn open(folder: &std::path::Path) -> Store {
    let engine = Arc::new(DiskEngine::open(folder, small_disk()).unwrap());
    // Almost nothing stays in memory, so that reads meet the disk.
    let config = StoreConfig {
        tail_cache_bytes: 16 * 1024,
        ..StoreConfig::default()
    };
    Store::open(engine, CommitDriver::Thread, config).unwrap()
}

fn numbered(group: u64, term: u64, from: u64, to: u64) -> Vec<Entry> {
    let len = |index: u64| (group * 131 + index * 17) as usize % 1_500;
    let new = |index| entry(term, index, payload(group, term, index, len(index)));
    (from..=to).map(new).collect()
}

/// What a group should hold, kept beside it.
struct Expected {
    entries: Vec<Entry>,
    next: u64,
    term: u64,
}

async fn run_group(group: GroupStore, seed: u64) -> Expected {
    let id = group.id().0;
    let mut random = Random(seed);
    let mut expected = Expected {
        entries: Vec::new(),
        next: 1,
        term: 1,
    };
    for _ in 0..ROUNDS {
        let to = expected.next + random.below(8);
        let new = numbered(id, expected.term, expected.next, to);
        append(&group, new.clone()).await.unwrap();
        expected.entries.extend(new);
        expected.next = to + 1;
        match random.below(10) {
            0 if expected.entries.len() > 4 => {
                let kept = expected.entries.len() - 3;
                truncate_after(&group, Some(expected.entries[kept - 1].log_id)).await;
                expected.entries.truncate(kept);
                expected.next = expected.entries[kept - 1].log_id.index + 1;
                expected.term += 1;
            }
            // One group in three keeps everything, so that sparse segments have survivors.
            1..4 if !id.is_multiple_of(3) && expected.entries.len() > 10 => {
                let cut = expected.entries.len() - 5;
                purge(&group, expected.entries[cut - 1].log_id).await;
                expected.entries.drain(..cut);
            }
            _ => check_read(&group, &expected, &mut random).await,
        }
    }
    expected
}

async fn check_read(group: &GroupStore, expected: &Expected, random: &mut Random) {
    let place = random.below(expected.entries.len() as u64) as usize;
    let from = expected.entries[place].log_id.index;
    let read = group
        .read_entries(from, random.below(5_000) as usize)
        .await
        .unwrap();
    assert!(!read.is_empty());
    assert_eq!(read, expected.entries[place..place + read.len()]);
}

/// Lets batches pass, each with a step of housekeeping, until segments are as few as they should be.
async fn keep_house(store: &Store) {
    loop {
        let usage = store.stats().usage;
        // A segment may be as little as 30 % live; a few more wait for the index to be flushed.
        let bound = usage.live_bytes * 10 / 3 + 12 * small_disk().journal.segment_bytes;
        if usage.segment_bytes < bound {
            return;
        }
        store.put_node_row("tick", "tock".into()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn concurrent_groups_read_what_they_wrote_while_segments_are_freed_and_moved() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let groups = (0..GROUPS).map(|id| tokio::spawn(run_group(store.group(GroupId(id)), id)));
    let mut expected = Vec::new();
    for group in groups.collect::<Vec<_>>() {
        expected.push(group.await.unwrap());
    }
    let kept = tokio::time::timeout(HOUSEKEEPING_MAX, keep_house(&store)).await;
    assert!(kept.is_ok(), "segments are not freed: {:?}", store.stats());
    for (id, expected) in expected.iter().enumerate() {
        assert_eq!(
            entries_of(&store.group(GroupId(id as u64))).await,
            expected.entries
        );
    }
    store.shutdown().await.unwrap();
    drop(store);

    let store = open(folder.path());
    for (id, expected) in expected.iter().enumerate() {
        let group = store.group(GroupId(id as u64));
        assert_eq!(entries_of(&group).await, expected.entries);
        let last = expected.entries.last().map(|entry| entry.log_id);
        assert_eq!(group.log_id_at(last.unwrap().index).unwrap(), last);
    }
}
