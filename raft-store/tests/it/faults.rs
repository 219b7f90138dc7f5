//! Failing disks and wrong bytes: the store stops at the first, and tells a torn tail from damage.

use std::time::Duration;

use bytes::Bytes;
use raftmq_store::{
    Durability, GroupHealth, GroupId, MemoryDisk, MemoryEngine, Site, Store, StoreConfig,
    StoreError, Torn, Vote, log_id,
};

use crate::support::{
    GROUP, append, append_only, entries_of, entry, memory_store, memory_store_with, payload,
    read_vote, save_vote, truncate_after,
};

fn numbered(from: u64, to: u64) -> Vec<raftmq_store::Entry> {
    (from..=to)
        .map(|index| entry(1, index, payload(GROUP.0, 1, index, 1000)))
        .collect()
}

/// A store whose cache keeps nothing that is durable, so that reads go to the disk.
fn uncached(disk: &MemoryDisk) -> Store {
    memory_store_with(
        disk,
        StoreConfig {
            tail_cache_bytes: 0,
            ..StoreConfig::default()
        },
    )
}

async fn assert_poisoned(store: &Store) {
    let mut failure = store.failure();
    let failed = failure.wait_for(Option::is_some);
    tokio::time::timeout(Duration::from_secs(1), failed)
        .await
        .unwrap()
        .unwrap();
    let group = store.group(GROUP);
    assert!(append(&group, numbered(1_000, 1_000)).await.is_err());
    assert!(save_vote(&group, Vote::new(9, 9)).await.is_err());
    assert!(store.put_node_row("key", Bytes::new()).await.is_err());
    assert!(store.shutdown().await.is_err());
}

#[tokio::test]
async fn an_io_error_at_any_site_of_a_write_poisons_the_store_and_acknowledges_nothing() {
    for site in [Site::Write, Site::Sync, Site::Index, Site::Segment] {
        let disk = MemoryDisk::new();
        let store = memory_store(&disk);
        let group = store.group(GROUP);
        append(&group, numbered(1, 3)).await.unwrap();

        disk.fail_next(site);
        // More than a segment holds, so that a new one is needed too.
        let large = entry(1, 4, payload(GROUP.0, 1, 4, 2_000_000));
        let refused = append(&group, vec![large]).await;

        assert!(refused.is_err(), "{site:?}");
        assert_poisoned(&store).await;
        disk.power_loss(1, Torn::No);
        let entries = entries_of(&memory_store(&disk).group(GROUP)).await;
        assert_eq!(entries, numbered(1, 3), "{site:?}");
    }
}

#[tokio::test]
async fn what_waits_behind_a_failed_write_fails_too() {
    let disk = MemoryDisk::new();
    let store = memory_store(&disk);
    disk.fail_next_sync();
    let (first, second) = (store.group(GroupId(1)), store.group(GroupId(2)));

    let (first, second) = tokio::join!(
        append(&first, numbered(1, 1)),
        append(&second, numbered(1, 1))
    );

    assert!(first.is_err() && second.is_err());
    assert_poisoned(&store).await;
}

#[tokio::test]
async fn a_failed_read_poisons_the_store() {
    let disk = MemoryDisk::new();
    let store = uncached(&disk);
    let group = store.group(GROUP);
    append(&group, numbered(1, 3)).await.unwrap();
    append(&group, numbered(4, 4)).await.unwrap();
    disk.fail_next_read();

    let refused = group.read_entries(1, usize::MAX).await;

    assert!(
        matches!(
            refused,
            Err(StoreError::Io {
                site: Site::Read,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_poisoned(&store).await;
}

#[tokio::test]
async fn a_full_disk_poisons_the_store_and_keeps_what_was_acknowledged() {
    let disk = MemoryDisk::new();
    let store = memory_store(&disk);
    let group = store.group(GROUP);
    append(&group, numbered(1, 3)).await.unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 500));

    let refused = append(&group, numbered(4, 4)).await;

    assert!(refused.is_err());
    assert!(matches!(
        *store.failure().borrow(),
        Some(StoreError::Full { .. })
    ));
    assert_poisoned(&store).await;
    disk.set_capacity(None);
    disk.crash();
    assert_eq!(
        entries_of(&memory_store(&disk).group(GROUP)).await,
        numbered(1, 3)
    );
}

#[tokio::test]
async fn a_torn_unsynced_tail_is_dropped_and_the_group_is_healthy() {
    for seed in 0..40 {
        let disk = MemoryDisk::new();
        disk.slow(Duration::from_secs(3600));
        {
            let store = memory_store(&disk);
            append_only(&store.group(GROUP), numbered(1, 8)).await;
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        assert!(disk.unsynced_bytes() > 0);
        disk.power_loss(seed, Torn::SubBlock);
        disk.slow(Duration::ZERO);

        let group = memory_store(&disk).group(GROUP);

        assert_eq!(group.health(), GroupHealth::Ok);
        let entries = entries_of(&group).await;
        assert!(
            entries.is_empty() || entries == numbered(1, 8),
            "{}",
            entries.len()
        );
    }
}

#[tokio::test]
async fn a_damaged_acknowledged_entry_makes_its_group_recovering_and_leaves_others_alone() {
    let disk = MemoryDisk::new();
    {
        let store = memory_store(&disk);
        for group in [GROUP, GroupId(8)] {
            append(&store.group(group), numbered(1, 10)).await.unwrap();
            store.group(group).note_acknowledged(log_id(1, 10));
        }
        append(&store.group(GROUP), numbered(11, 11)).await.unwrap();
        save_vote(&store.group(GROUP), Vote::new_committed(3, 1))
            .await
            .unwrap();
    }
    disk.power_loss(1, Torn::No);
    assert!(disk.flip_bit_in_entry(GROUP, 5));

    let store = memory_store(&disk);
    let group = store.group(GROUP);

    // Entry 11 was flushed, so it may have been acknowledged without a mark.
    let recovering = |missing_from| GroupHealth::Recovering {
        missing_from,
        acknowledged: Some(log_id(1, 11)),
    };
    assert_eq!(group.health(), recovering(5));
    assert_eq!(entries_of(&group).await, numbered(1, 4));
    assert_eq!(group.last_log_index(), Some(4));
    assert_eq!(read_vote(&group).await, Some(Vote::new_committed(3, 1)));
    assert_eq!(store.group(GroupId(8)).health(), GroupHealth::Ok);
    assert_eq!(entries_of(&store.group(GroupId(8))).await, numbered(1, 10));

    // The leader sends what is missing, possibly over two restarts.
    append(&group, numbered(5, 7)).await.unwrap();
    assert_eq!(group.health(), recovering(8));
    disk.crash();
    let group = memory_store(&disk).group(GROUP);
    assert_eq!(group.health(), recovering(8));
    append(&group, numbered(8, 10)).await.unwrap();
    assert_eq!(group.health(), recovering(11));
    append(&group, numbered(11, 11)).await.unwrap();
    assert_eq!(group.health(), GroupHealth::Ok);
    assert_eq!(entries_of(&group).await, numbered(1, 11));
}

#[tokio::test]
async fn damage_found_by_a_read_stops_the_store_and_is_remembered_at_the_next_start() {
    let disk = MemoryDisk::new();
    let store = uncached(&disk);
    let group = store.group(GROUP);
    append(&group, numbered(1, 10)).await.unwrap();
    append(&group, numbered(11, 11)).await.unwrap();
    assert!(disk.flip_bit_in_entry(GROUP, 3));

    let refused = group.read_entries(1, usize::MAX).await;

    assert_eq!(
        refused,
        Err(StoreError::DamagedEntry {
            group: GROUP,
            index: 3
        })
    );
    assert_poisoned(&store).await;
    disk.crash();
    let config = raftmq_store::JournalConfig::default();
    let engine = std::sync::Arc::new(MemoryEngine::open_with(&disk, config).unwrap());
    let driver = raftmq_store::CommitDriver::Task;
    let store = Store::open(engine, driver, StoreConfig::default()).unwrap();
    let health = store.group(GROUP).health();
    assert!(
        matches!(
            health,
            GroupHealth::Recovering {
                missing_from: 3,
                ..
            }
        ),
        "{health:?}"
    );
}

#[tokio::test]
async fn a_damaged_vote_is_named_and_never_read() {
    let disk = MemoryDisk::new();
    save_vote(&memory_store(&disk).group(GROUP), Vote::new(3, 1))
        .await
        .unwrap();
    assert!(disk.flip_bit_in_vote(GROUP));
    disk.crash();

    let group = memory_store(&disk).group(GROUP);

    assert_eq!(group.health(), GroupHealth::Damaged { what: "vote" });
    let read = openraft::RaftLogReader::<crate::support::Types>::read_vote(&mut group.log()).await;
    assert!(read.is_err());
}

#[tokio::test]
async fn a_log_that_ends_below_its_acknowledged_mark_is_recovering() {
    let disk = MemoryDisk::new();
    let group = memory_store(&disk).group(GROUP);
    append(&group, numbered(1, 3)).await.unwrap();
    assert_eq!(group.health(), GroupHealth::Ok);

    // Peers remember that this replica had acknowledged more.
    group.note_acknowledged(log_id(1, 5));

    assert_eq!(
        group.health(),
        GroupHealth::Recovering {
            missing_from: 4,
            acknowledged: Some(log_id(1, 5))
        }
    );
    group.accept_loss().await.unwrap();
    assert_eq!(group.health(), GroupHealth::Ok);
    assert_eq!(group.acknowledged(), Some(log_id(1, 3)));
}

#[tokio::test]
async fn a_truncation_by_the_leader_lowers_the_mark_and_is_no_damage() {
    let disk = MemoryDisk::new();
    {
        let group = memory_store(&disk).group(GROUP);
        append(&group, numbered(1, 6)).await.unwrap();
        group.note_acknowledged(log_id(1, 6));
        append(&group, numbered(7, 7)).await.unwrap();
        truncate_after(&group, Some(log_id(1, 4))).await;
        assert_eq!(group.health(), GroupHealth::Ok);
    }
    disk.power_loss(1, Torn::No);

    let group = memory_store(&disk).group(GROUP);

    let acknowledged = Some(log_id(1, 4));
    assert_eq!(
        (group.health(), group.acknowledged()),
        (GroupHealth::Ok, acknowledged)
    );
    assert_eq!(entries_of(&group).await, numbered(1, 4));
}

#[tokio::test(start_paused = true)]
async fn with_os_durability_appends_complete_early_but_votes_do_not() {
    let disk = MemoryDisk::new();
    let config = StoreConfig {
        durability: Durability::Os,
        ..StoreConfig::default()
    };
    let store = memory_store_with(&disk, config);
    let group = store.group(GROUP);

    append(&group, numbered(1, 3)).await.unwrap();
    assert!(disk.unsynced_bytes() > 0, "complete before the sync");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(disk.unsynced_bytes(), 0, "synced in the background");
    append(&group, numbered(4, 6)).await.unwrap();
    save_vote(&group, Vote::new(2, 1)).await.unwrap();
    assert_eq!(
        disk.unsynced_bytes(),
        0,
        "a vote is flushed, and what stands before it"
    );
    append(&group, numbered(7, 9)).await.unwrap();
    disk.power_loss(1, Torn::No);

    let group = memory_store(&disk).group(GROUP);
    assert_eq!(entries_of(&group).await, numbered(1, 6));
    assert_eq!(read_vote(&group).await, Some(Vote::new(2, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_hung_sync_shows_in_the_age_of_the_last_one() {
    let disk = MemoryDisk::new();
    let store = memory_store(&disk);
    let group = store.group(GROUP);
    append(&group, numbered(1, 1)).await.unwrap();
    assert_eq!(store.sync_age(), None, "nothing waits");
    disk.slow(Duration::from_secs(30));

    append_only(&group, numbered(2, 2)).await;
    tokio::time::sleep(Duration::from_secs(10)).await;

    assert!(store.sync_age().unwrap() >= Duration::from_secs(10));
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(store.sync_age(), None);
}

#[tokio::test(start_paused = true)]
async fn once_idle_a_sync_is_confirmed_so_that_damage_to_its_last_entry_is_no_torn_tail() {
    for (wait, expected) in [
        (Duration::ZERO, GroupHealth::Ok),
        (
            Duration::from_secs(3),
            GroupHealth::Recovering {
                missing_from: 1,
                acknowledged: Some(log_id(1, 1)),
            },
        ),
    ] {
        let disk = MemoryDisk::new();
        let store = memory_store(&disk);
        append(&store.group(GROUP), numbered(1, 1)).await.unwrap();
        tokio::time::sleep(wait).await;
        disk.crash();
        assert!(disk.flip_bit_in_entry(GROUP, 1));

        let group = memory_store(&disk).group(GROUP);

        assert_eq!(group.health(), expected, "after {wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_store_writes_nothing() {
    let disk = MemoryDisk::new();
    let store = memory_store(&disk);
    append(&store.group(GROUP), numbered(1, 1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = disk.used_bytes();

    tokio::time::sleep(Duration::from_secs(3600)).await;

    assert_eq!(disk.used_bytes(), before);
}
