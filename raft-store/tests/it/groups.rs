//! Groups through their handles: reads, bounds, cache, refusals, removal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use raftmq_store::{
    CommitDriver, Durability, GroupId, MemoryDisk, MemoryEngine, StateUpdate, Store, StoreConfig,
    StoreError, Vote, log_id,
};

use crate::support::{
    GROUP, Types, append, append_only, both_stores, entries_of, entry, memory_store,
    memory_store_with, payload, purge, read_vote, save_vote, truncate_after,
};

const KIB: usize = 1024;

fn kib(from: u64, to: u64) -> Vec<raftmq_store::Entry> {
    (from..=to)
        .map(|index| entry(1, index, payload(GROUP.0, 1, index, KIB)))
        .collect()
}

#[tokio::test]
async fn reads_are_the_same_from_memory_and_from_the_disk() {
    for (name, store, _folder) in both_stores() {
        let group = store.group(GROUP);
        for first in (1..=91).step_by(10) {
            append(&group, kib(first, first + 9)).await.unwrap();
        }
        let cached = group.read_entries(1, usize::MAX).await.unwrap();
        store.shutdown().await.unwrap();
        let (store, _folder) = match _folder {
            Some(folder) => {
                drop((group, store));
                (crate::support::disk_store(folder.path()), Some(folder))
            }
            None => continue,
        };
        let read = store
            .group(GROUP)
            .read_entries(1, usize::MAX)
            .await
            .unwrap();

        assert_eq!(cached, kib(1, 100), "{name}");
        assert_eq!(read, kib(1, 100), "{name}");
    }
}

#[tokio::test]
async fn the_cache_keeps_to_its_budget_and_evicted_entries_are_still_read() {
    let disk = MemoryDisk::new();
    let config = StoreConfig {
        tail_cache_bytes: 20 * KIB,
        ..StoreConfig::default()
    };
    let store = memory_store_with(&disk, config);
    let group = store.group(GROUP);

    for first in (1..=191).step_by(10) {
        append(&group, kib(first, first + 9)).await.unwrap();
    }
    // A batch completes before the cache is trimmed behind it.
    save_vote(&group, Vote::new(1, 1)).await.unwrap();
    save_vote(&group, Vote::new(1, 1)).await.unwrap();

    assert!(
        store.stats().tail_cache_bytes <= 20 * KIB,
        "{:?}",
        store.stats()
    );
    assert_eq!(entries_of(&group).await, kib(1, 200));
    assert_eq!(
        group.read_entries(150, 5 * KIB).await.unwrap(),
        kib(150, 154)
    );
    purge(&group, log_id(1, 200)).await;
    assert_eq!(store.stats().tail_cache_bytes, 0);
}

#[tokio::test]
async fn reads_are_bounded_in_bytes_and_always_make_progress() {
    let store = memory_store(&MemoryDisk::new());
    let group = store.group(GROUP);
    append(&group, kib(1, 20)).await.unwrap();

    assert_eq!(group.read_entries(3, 1).await.unwrap(), kib(3, 3));
    assert_eq!(group.read_entries(3, 2 * KIB).await.unwrap(), kib(3, 4));
    assert_eq!(group.read_entries(21, 1).await.unwrap(), []);
    purge(&group, log_id(1, 5)).await;
    assert_eq!(group.read_entries(5, 1).await.unwrap(), []);
    assert_eq!(
        (group.first_log_index(), group.log_bytes()),
        (Some(6), 15 * KIB as u64)
    );
    assert_eq!(group.log_bytes_from(16).unwrap(), Some(5 * KIB as u64));
    assert_eq!(group.log_id_at(16).unwrap(), Some(log_id(1, 16)));
    assert_eq!(group.log_id_at(5).unwrap(), None);
}

#[tokio::test]
async fn streams_deliver_a_range_in_bounded_chunks() {
    let config = StoreConfig {
        read_bytes_max: 3 * KIB,
        ..StoreConfig::default()
    };
    let store = memory_store_with(&MemoryDisk::new(), config);
    let group = store.group(GROUP);
    append(&group, kib(1, 50)).await.unwrap();
    let mut log = group.log();

    let stream = RaftLogReader::<Types>::entries_stream(&mut log, 5..45).await;
    let streamed: Vec<_> = stream.map(Result::unwrap).collect().await;
    let limited = RaftLogReader::<Types>::limited_get_log_entries(&mut log, 5, 45)
        .await
        .unwrap();

    assert_eq!(streamed, kib(5, 44));
    assert_eq!(limited, kib(5, 7));
}

#[tokio::test]
async fn entries_that_leave_a_gap_are_refused_and_change_nothing() {
    let store = memory_store(&MemoryDisk::new());
    let group = store.group(GROUP);
    append(&group, kib(1, 3)).await.unwrap();

    let refused = append(&group, kib(5, 5)).await;

    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("expected log index 4, got 5")
    );
    assert_eq!(entries_of(&group).await, kib(1, 3));
    append(&group, kib(4, 5)).await.unwrap();
    assert_eq!(store.stats().queued_bytes, 0);
}

#[tokio::test]
async fn an_operation_over_the_limit_is_refused_and_changes_nothing() {
    let config = StoreConfig {
        operation_bytes_max: 4 * KIB,
        ..StoreConfig::default()
    };
    let store = memory_store_with(&MemoryDisk::new(), config);
    let group = store.group(GROUP);
    let row = (Bytes::from_static(b"key"), Bytes::from(vec![0; 8 * KIB]));

    let update = StateUpdate {
        puts: vec![row],
        ..StateUpdate::default()
    };
    let refused = group.save_state(update).await;

    assert!(
        matches!(
            refused,
            Err(StoreError::TooLarge {
                bytes_max: 4096,
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(append(&group, kib(1, 8)).await.is_err());
    assert_eq!(group.load_state().await.unwrap(), None);
    assert_eq!(group.last_log_index(), None);
    append(&group, kib(1, 2)).await.unwrap();
}

#[tokio::test]
async fn writers_wait_while_the_queue_is_full_and_none_is_lost() {
    let config = StoreConfig {
        queue_bytes_max: 4 * KIB,
        ..StoreConfig::default()
    };
    let disk = MemoryDisk::new();
    let store = memory_store_with(&disk, config);
    let writers: Vec<_> = (0..20)
        .map(|id| {
            let group = store.group(GroupId(id));
            tokio::spawn(async move { append(&group, kib(1, 3)).await })
        })
        .collect();

    for writer in writers {
        writer.await.unwrap().unwrap();
    }

    for id in 0..20 {
        assert_eq!(entries_of(&store.group(GroupId(id))).await, kib(1, 3));
    }
    assert_eq!(store.stats().queued_bytes, 0);
}

#[tokio::test]
async fn replaced_entries_are_the_ones_that_stay() {
    let disk = MemoryDisk::new();
    let store = memory_store(&disk);
    let group = store.group(GROUP);
    append_only(&group, kib(1, 10)).await;
    truncate_after(&group, Some(log_id(1, 6))).await;
    let newer: Vec<_> = (7..=8).map(|index| entry(2, index, vec![2; KIB])).collect();
    append(&group, newer.clone()).await.unwrap();
    assert_eq!(group.log_bytes(), 8 * KIB as u64);
    disk.power_loss(3, raftmq_store::Torn::No);

    let group = memory_store(&disk).group(GROUP);

    let entries = entries_of(&group).await;
    assert_eq!((&entries[..6], &entries[6..]), (&kib(1, 6)[..], &newer[..]));
    assert_eq!(group.log_bytes(), 8 * KIB as u64);
}

#[tokio::test]
async fn a_removed_group_frees_everything_and_its_handles_refuse() {
    for (name, store, _folder) in both_stores() {
        let (group, other) = (store.group(GROUP), store.group(GroupId(8)));
        append(&other, kib(1, 3)).await.unwrap();
        append(&group, kib(1, 30)).await.unwrap();
        save_vote(&group, Vote::new(3, 1)).await.unwrap();
        let cached = store.stats().tail_cache_bytes;

        store.remove_group(GROUP).await.unwrap();

        assert_eq!(store.group_ids(), [GroupId(8)], "{name}");
        assert!(store.stats().tail_cache_bytes < cached, "{name}");
        assert!(append(&group, kib(31, 31)).await.is_err());
        let refused = group.read_entries(1, 1).await;
        assert_eq!(refused, Err(StoreError::GroupRemoved { group: GROUP }));
        let fresh = store.group(GROUP);
        assert_eq!(
            (fresh.last_log_index(), read_vote(&fresh).await),
            (None, None)
        );
        assert_eq!(entries_of(&other).await, kib(1, 3));
        store.remove_group(GroupId(99)).await.unwrap();
    }
}

#[tokio::test]
async fn completions_come_in_submission_order_over_all_groups() {
    let store = memory_store(&MemoryDisk::new());
    let order = Arc::new(AtomicU64::new(0));
    let mut waiting = Vec::new();
    for number in 0..50_u64 {
        let group = store.group(GroupId(number % 7));
        let order = Arc::clone(&order);
        let at = number / 7 + 1;
        waiting.push(async move {
            append(&group, kib(at, at)).await.unwrap();
            (number, order.fetch_add(1, Ordering::Relaxed))
        });
    }

    for (number, place) in futures_util::future::join_all(waiting).await {
        assert_eq!(number, place);
    }
}

#[tokio::test]
async fn a_group_can_choose_weaker_durability_than_the_store() {
    let disk = MemoryDisk::new();
    let store = memory_store(&disk);
    let weak = store.group(GROUP);
    weak.set_durability(Durability::Os);

    append(&weak, kib(1, 1)).await.unwrap();
    assert!(disk.unsynced_bytes() > 0);
    append(&store.group(GroupId(8)), kib(1, 1)).await.unwrap();

    assert_eq!(disk.unsynced_bytes(), 0);
}

#[tokio::test]
async fn a_committed_mark_never_runs_ahead_of_its_entries_on_the_disk() {
    let disk = MemoryDisk::new();
    let config = StoreConfig {
        commit_batch_bytes_max: 2 * KIB,
        ..StoreConfig::default()
    };
    let engine = Arc::new(MemoryEngine::open(&disk).unwrap());
    let store = Store::open(engine, CommitDriver::Task, config).unwrap();
    let group = store.group(GROUP);
    append_only(&group, kib(1, 2)).await;
    for index in 3..=12 {
        append_only(&group, kib(index, index)).await;
    }
    let mut log = group.log();
    RaftLogStorage::<Types>::save_committed(&mut log, Some(log_id(1, 12)))
        .await
        .unwrap();
    // One turn of the loop writes one batch, which is not all of it.
    tokio::task::yield_now().await;
    disk.power_loss(1, raftmq_store::Torn::No);

    let group = memory_store(&disk).group(GROUP);

    let committed = RaftLogStorage::<Types>::read_committed(&mut group.log())
        .await
        .unwrap();
    assert!(committed.is_none_or(|committed| Some(committed.index) <= group.last_log_index()));
}

#[tokio::test]
async fn an_idle_group_costs_less_than_ten_kibibytes() {
    let store = memory_store(&MemoryDisk::new());
    let before = resident_bytes();
    let groups: Vec<_> = (0..5_000).map(|id| store.group(GroupId(id))).collect();

    let each = resident_bytes().saturating_sub(before) / groups.len() as u64;

    assert!(each < 10 * 1024, "{each} bytes a group");
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
