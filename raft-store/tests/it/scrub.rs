//! The background scrub: reads all that is kept, in steps, and finds what is damaged.

use std::sync::Arc;

use bytes::Bytes;
use raftmq_store::{
    Checkpoint, CommitDriver, EntryCondition, GroupHealth, GroupId, JournalConfig, MemoryDisk,
    MemoryEngine, Scrub, ScrubStep, StateUpdate, Store, StoreConfig, StoreError, StoredMembership,
    Vote, log_id,
};

use crate::support::{GROUP, append, both_stores, entry, payload, purge, save_vote};

const KIB: u64 = 1024;

/// A store that verifies nothing at open but what it replays.
fn open(disk: &MemoryDisk) -> Store {
    let engine = MemoryEngine::open_with(disk, JournalConfig::default()).unwrap();
    Store::open(Arc::new(engine), CommitDriver::Task, StoreConfig::default()).unwrap()
}

fn checkpoint(index: u64) -> Checkpoint {
    Checkpoint {
        log_id: log_id(1, index),
        membership: StoredMembership::default(),
        body: Bytes::from(vec![1; 2_000]),
    }
}

/// Ten entries, a vote, a state and two checkpoints, of which the first is the snapshot.
async fn fill(store: &Store, id: GroupId) {
    let group = store.group(id);
    let entries = (1..=10).map(|index| entry(1, index, payload(id.0, 1, index, 1024)));
    append(&group, entries.collect()).await.unwrap();
    save_vote(&group, Vote::new(1, 1)).await.unwrap();
    for index in [3, 6] {
        group.save_checkpoint(checkpoint(index)).await.unwrap();
    }
    group.set_snapshot_pointer(Some(3)).await.unwrap();
    let update = StateUpdate {
        applied: Some(log_id(1, 3)),
        puts: vec![(Bytes::from_static(b"row"), Bytes::from(vec![2; 500]))],
        ..StateUpdate::default()
    };
    group.save_state(update).await.unwrap();
}

/// Steps until a pass is complete, and what they found together.
async fn pass(scrub: &mut Scrub, bytes_max: u64) -> Result<(u64, ScrubStep), StoreError> {
    let mut all = ScrubStep::default();
    for steps in 1..10_000 {
        let step = scrub.step(bytes_max).await?;
        all.bytes += step.bytes;
        all.damaged += step.damaged;
        if step.is_pass_complete {
            return Ok((steps, all));
        }
    }
    panic!("the pass never ends: {all:?}");
}

#[tokio::test]
async fn a_pass_reads_every_byte_that_is_kept_in_steps_of_the_size_asked_for() {
    for (name, store, _folder) in both_stores() {
        for id in 1..=3 {
            fill(&store, GroupId(id)).await;
        }
        let mut scrub = store.scrub();
        let kept = 3 * (10 * KIB + 2 * 2_000 + 500);

        let (steps, found) = pass(&mut scrub, 4 * KIB).await.unwrap();
        let (again, _) = pass(&mut scrub, u64::MAX).await.unwrap();

        assert!(found.bytes >= kept, "{name}: {found:?}");
        assert!(found.bytes < kept + 8 * KIB, "{name}: {found:?}");
        assert_eq!(found.damaged, 0, "{name}");
        assert!((10..=20).contains(&steps), "{name}: {steps} steps");
        assert_eq!(again, 1, "{name}: a new pass in one step");
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn an_empty_store_is_scrubbed_in_one_step() {
    for (name, store, _folder) in both_stores() {
        let step = store.scrub().step(1).await.unwrap();
        assert!(step.is_pass_complete, "{name}");
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_disk_tells_what_it_holds_in_the_place_of_an_entry() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    fill(&store, GROUP).await;
    assert_eq!(disk.entries().len(), 10);
    assert!(disk.flip_bit_in_entry(GROUP, 5));
    purge(&store.group(GROUP), log_id(1, 3)).await;

    for (group, index, expected) in [
        (GROUP, 3, EntryCondition::Purged),
        (GROUP, 4, EntryCondition::Whole),
        (GROUP, 5, EntryCondition::Damaged),
        (GROUP, 11, EntryCondition::Missing),
        (GroupId(8), 1, EntryCondition::Purged),
    ] {
        assert_eq!(disk.condition_of_entry(group, index), expected, "{index}");
    }
    store.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_damaged_entry_stops_the_store_and_makes_its_group_recovering_at_the_next_start() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    fill(&store, GROUP).await;
    fill(&store, GroupId(8)).await;
    assert!(disk.flip_bit_in_entry(GROUP, 5));

    let refused = pass(&mut store.scrub(), 4 * KIB).await;

    assert_eq!(
        refused.map(|(_, found)| found),
        Err(StoreError::DamagedEntry {
            group: GROUP,
            index: 5
        })
    );
    assert!(store.failure().borrow().is_some());
    disk.crash();
    let store = open(&disk);
    let recovering = GroupHealth::Recovering {
        missing_from: 5,
        acknowledged: Some(log_id(1, 10)),
    };
    assert_eq!(store.group(GROUP).health(), recovering);
    assert_eq!(store.group(GroupId(8)).health(), GroupHealth::Ok);
    // What lies behind the hole waits to be replaced and is no new finding.
    let (_, found) = pass(&mut store.scrub(), u64::MAX).await.unwrap();
    assert_eq!(found.damaged, 0);
}

#[tokio::test]
async fn a_damaged_checkpoint_is_dropped_unless_it_is_the_snapshot() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    fill(&store, GROUP).await;
    let group = store.group(GROUP);
    assert!(disk.flip_bit_in_checkpoint(GROUP, 3));
    assert!(disk.flip_bit_in_checkpoint(GROUP, 6));

    let (_, found) = pass(&mut store.scrub(), u64::MAX).await.unwrap();

    assert_eq!(found.damaged, 2);
    assert_eq!(group.checkpoints().await.unwrap(), [log_id(1, 3)]);
    assert_eq!(group.snapshot_pointer().await.unwrap(), Some(3));
    assert!(store.failure().borrow().is_none());
}

#[tokio::test]
async fn a_scrub_goes_on_while_groups_are_purged_and_removed() {
    for (name, store, _folder) in both_stores() {
        for id in 1..=3 {
            fill(&store, GroupId(id)).await;
        }
        let mut scrub = store.scrub();
        scrub.step(2 * KIB).await.unwrap();

        crate::support::purge(&store.group(GroupId(1)), log_id(1, 9)).await;
        store.remove_group(GroupId(2)).await.unwrap();
        let (_, found) = pass(&mut scrub, 4 * KIB).await.unwrap();

        assert_eq!(found.damaged, 0, "{name}");
        assert!(store.failure().borrow().is_none(), "{name}");
        store.shutdown().await.unwrap();
    }
}
