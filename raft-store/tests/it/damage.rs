//! Damage below what a group acknowledged: it comes up recovering, with log, state, committed and purge
//! point that agree, and stays so over restarts until it has fetched what it misses.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::{RaftLogStorage, StorageHelper};
use raftmq_store::{
    Checkpoint, CommitDriver, DiskEngine, Engine, Entry, GroupHealth, GroupStore, JournalConfig,
    LogId, MemoryDisk, MemoryEngine, Op, Payload, RowFamily, StateUpdate, Store, StoreConfig,
    StoreError, StoredMembership, VerifyOnOpen, Vote, WriteBatch, log_id,
};
use tempfile::TempDir;

use crate::support::{
    GROUP, TestMachine, Types, append, entries_of, entry, payload, purge, save_vote, small_disk,
    truncate_after,
};

/// Bytes of each entry's payload.
const ENTRY_BYTES: usize = 300;

/// The last entry of the log that most tests start from.
const END: u64 = 10;

/// A disk of one of the two kinds, with the store that is open on it.
enum Disk {
    Memory(MemoryDisk),
    Folder(TempDir),
}

impl Disk {
    fn both() -> [Self; 2] {
        [
            Self::Memory(MemoryDisk::new()),
            Self::Folder(TempDir::new().unwrap()),
        ]
    }

    fn open_with(&self, verify_on_open: VerifyOnOpen) -> Store {
        let journal = JournalConfig {
            verify_on_open,
            ..small_disk().journal
        };
        let engine: Arc<dyn Engine> = match self {
            Self::Memory(disk) => Arc::new(MemoryEngine::open_with(disk, journal).unwrap()),
            Self::Folder(folder) => {
                let mut config = small_disk();
                config.journal = journal;
                Arc::new(DiskEngine::open(folder.path(), config).unwrap())
            }
        };
        Store::open(engine, CommitDriver::Thread, StoreConfig::default()).unwrap()
    }

    /// Opens it and verifies every entry.
    fn open(&self) -> Store {
        self.open_with(VerifyOnOpen::Everything)
    }

    fn damage_entry(&self, index: u64) {
        match self {
            Self::Memory(disk) => assert!(disk.flip_bit_in_entry(GROUP, index)),
            Self::Folder(folder) => flip_in_files(folder.path(), &bytes_of(index)),
        }
    }
}

fn bytes_of(index: u64) -> Bytes {
    payload(GROUP.0, 1, index, ENTRY_BYTES)
}

/// Flips a bit wherever the journal holds these bytes.
fn flip_in_files(folder: &Path, searched: &[u8]) {
    let mut found = 0;
    for entry in std::fs::read_dir(folder.join("journal")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let places: Vec<_> = memchr_all(&bytes, searched);
        for place in &places {
            bytes[place + searched.len() / 2] ^= 0x10;
        }
        found += places.len();
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(found > 0, "nothing to damage");
}

fn memchr_all(bytes: &[u8], searched: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(searched.len()).enumerate();
    windows
        .filter(|(_, window)| *window == searched)
        .map(|(place, _)| place)
        .collect()
}

/// The entries of a group that began at index 0, as openraft writes them.
fn numbered(from: u64, upto: u64) -> Vec<Entry> {
    (from..=upto)
        .map(|index| match index {
            0 => Entry {
                log_id: log_id(0, 0),
                payload: Payload::Membership(raftmq_store::Membership::new_with_defaults(
                    vec![[1, 2, 3].into()],
                    [],
                )),
            },
            _ => entry(1, index, bytes_of(index)),
        })
        .collect()
}

fn recovering(missing_from: u64, acknowledged: LogId) -> GroupHealth {
    GroupHealth::Recovering {
        missing_from,
        acknowledged: Some(acknowledged),
    }
}

fn checkpoint(index: u64) -> Checkpoint {
    Checkpoint {
        log_id: log_id(1, index),
        membership: StoredMembership::default(),
        body: Bytes::from(format!("state at {index}")),
    }
}

async fn save_state(group: &GroupStore, index: u64) {
    let update = StateUpdate {
        applied: Some(log_id(1, index)),
        puts: vec![(Bytes::from_static(b"row"), Bytes::from(format!("{index}")))],
        ..StateUpdate::default()
    };
    group.save_state(update).await.unwrap();
}

async fn save_committed(group: &GroupStore, index: u64) {
    let committed = Some(log_id(1, index));
    RaftLogStorage::<Types>::save_committed(&mut group.log(), committed)
        .await
        .unwrap();
}

async fn read_committed(group: &GroupStore) -> Option<LogId> {
    RaftLogStorage::<Types>::read_committed(&mut group.log())
        .await
        .unwrap()
}

/// A store with entries 0 to [`END`], of which those up to `applied` are in the saved state.
async fn filled(disk: &Disk, applied: u64) -> Store {
    let store = disk.open();
    let group = store.group(GROUP);
    append(&group, numbered(0, END)).await.unwrap();
    save_vote(&group, Vote::new_committed(1, 1)).await.unwrap();
    save_committed(&group, applied + 1).await;
    save_state(&group, applied).await;
    store
}

/// What openraft makes of the group when it starts: applied, last and purged log id.
async fn start_raft(group: &GroupStore) -> (Option<LogId>, Option<LogId>, Option<LogId>) {
    let (mut log, mut machine) = (group.log(), TestMachine(group.clone()));
    let mut helper = StorageHelper::<Types, _, _>::new(&mut log, &mut machine).with_id(1);
    helper.get_initial_state().await.unwrap();
    let state = RaftLogStorage::<Types>::get_log_state(&mut log)
        .await
        .unwrap();
    let saved = group.load_state().await.unwrap().unwrap_or_default();
    (saved.applied, state.last_log_id, state.last_purged_log_id)
}

#[tokio::test]
async fn a_hole_above_the_state_cuts_the_log_before_it_and_keeps_the_state() {
    for disk in Disk::both() {
        let store = filled(&disk, 3).await;
        store.shutdown().await.unwrap();
        drop(store);
        disk.damage_entry(6);

        let store = disk.open();
        let group = store.group(GROUP);

        assert_eq!(group.health(), recovering(6, log_id(1, END)));
        assert_eq!(entries_of(&group).await, numbered(0, 5));
        let saved = group.load_state().await.unwrap().unwrap();
        assert_eq!(saved.applied, Some(log_id(1, 3)));
        assert_eq!(read_committed(&group).await, Some(log_id(1, 4)));
        let started = start_raft(&group).await;
        let (applied, last) = (Some(log_id(1, 4)), Some(log_id(1, 5)));
        assert_eq!(started, (applied, last, None));
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_hole_below_the_state_takes_the_state_back_to_what_the_log_still_leads_to() {
    for disk in Disk::both() {
        let store = filled(&disk, 8).await;
        store.shutdown().await.unwrap();
        drop(store);
        disk.damage_entry(5);

        for _ in 0..2 {
            let store = disk.open();
            let group = store.group(GROUP);

            assert_eq!(group.health(), recovering(5, log_id(1, END)));
            assert_eq!(entries_of(&group).await, numbered(0, 4));
            let started = start_raft(&group).await;
            let end = Some(log_id(1, 4));
            assert_eq!(started, (end, end, None));
            assert_eq!(read_committed(&group).await, end);
            let saved = group.load_state().await.unwrap().unwrap();
            assert_eq!((saved.applied, saved.rows.len()), (end, 0), "replayed");
            store.shutdown().await.unwrap();
        }

        // The leader sends the rest, and the group is whole again, for good.
        let store = disk.open();
        let group = store.group(GROUP);
        append(&group, numbered(5, 9)).await.unwrap();
        assert_eq!(group.health(), recovering(10, log_id(1, END)));
        append(&group, numbered(10, END)).await.unwrap();
        assert_eq!(group.health(), GroupHealth::Ok);
        store.shutdown().await.unwrap();
        drop((store, group));
        let store = disk.open();
        let group = store.group(GROUP);
        assert_eq!(group.health(), GroupHealth::Ok);
        assert_eq!(entries_of(&group).await, numbered(0, END));
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_hole_between_snapshot_and_state_starts_again_from_the_snapshot_and_loses_no_entry() {
    for disk in Disk::both() {
        let store = filled(&disk, 8).await;
        let group = store.group(GROUP);
        for index in [3, 7] {
            group.save_checkpoint(checkpoint(index)).await.unwrap();
        }
        group.set_snapshot_pointer(Some(3)).await.unwrap();
        purge(&group, log_id(1, 3)).await;
        store.shutdown().await.unwrap();
        drop((store, group));
        disk.damage_entry(6);

        let store = disk.open();
        let group = store.group(GROUP);

        assert_eq!(group.health(), recovering(6, log_id(1, END)));
        assert_eq!(group.load_state().await.unwrap(), None);
        assert_eq!(entries_of(&group).await, numbered(4, 5));
        let (end, purged) = (Some(log_id(1, 5)), Some(log_id(1, 3)));
        assert_eq!(start_raft(&group).await, (end, end, purged));
        store.shutdown().await.unwrap();
    }
}

/// A filled group with a snapshot at index 6; the purge that follows did not happen any more.
async fn fill_and_snapshot(disk: &Disk) {
    let store = filled(disk, 8).await;
    let group = store.group(GROUP);
    group.save_checkpoint(checkpoint(6)).await.unwrap();
    group.set_snapshot_pointer(Some(6)).await.unwrap();
    store.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_hole_that_the_snapshot_contains_is_purged_and_the_group_is_healthy() {
    for disk in Disk::both() {
        fill_and_snapshot(&disk).await;
        disk.damage_entry(5);

        let store = disk.open();
        let group = store.group(GROUP);

        assert_eq!(group.health(), GroupHealth::Ok);
        assert_eq!(entries_of(&group).await, numbered(7, END));
        let saved = group.load_state().await.unwrap().unwrap();
        assert_eq!(saved.applied, Some(log_id(1, 8)));
        let (last, purged) = (Some(log_id(1, END)), Some(log_id(1, 6)));
        let started = start_raft(&group).await;
        assert_eq!(started, (Some(log_id(1, 9)), last, purged));
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_second_hole_behind_the_snapshot_is_found_when_the_first_is_purged() {
    for disk in Disk::both() {
        fill_and_snapshot(&disk).await;
        disk.damage_entry(5);
        disk.damage_entry(8);

        let store = disk.open();
        let group = store.group(GROUP);

        assert_eq!(group.health(), recovering(8, log_id(1, END)));
        assert_eq!(entries_of(&group).await, numbered(7, 7));
        let (end, purged) = (Some(log_id(1, 7)), Some(log_id(1, 6)));
        assert_eq!(start_raft(&group).await, (end, end, purged));
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_group_whose_log_and_snapshot_are_damaged_is_named_and_nothing_of_it_is_touched() {
    let memory = MemoryDisk::new();
    let disk = Disk::Memory(memory.clone());
    let store = filled(&disk, 8).await;
    let group = store.group(GROUP);
    group.save_checkpoint(checkpoint(3)).await.unwrap();
    group.set_snapshot_pointer(Some(3)).await.unwrap();
    purge(&group, log_id(1, 3)).await;
    store.shutdown().await.unwrap();
    drop((store, group));
    disk.damage_entry(6);
    assert!(memory.flip_bit_in_checkpoint(GROUP, 3));

    for _ in 0..2 {
        let store = disk.open();
        let group = store.group(GROUP);

        assert_eq!(group.health(), GroupHealth::Damaged { what: "snapshot" });
        let saved = group.load_state().await.unwrap().unwrap();
        assert_eq!(saved.applied, Some(log_id(1, 8)));
        let vote = openraft::RaftLogReader::<Types>::read_vote(&mut group.log()).await;
        assert!(vote.is_err());
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_hole_found_by_replay_is_remembered_when_the_next_start_replays_nothing() {
    for disk in Disk::both() {
        let store = filled(&disk, 3).await;
        let first = match &disk {
            Disk::Memory(memory) => {
                memory.crash();
                VerifyOnOpen::Replayed
            }
            // Its index is flushed, so a start replays nothing.
            Disk::Folder(_) => {
                store.shutdown().await.unwrap();
                VerifyOnOpen::Everything
            }
        };
        drop(store);
        disk.damage_entry(6);
        for verify in [first, VerifyOnOpen::Replayed] {
            let store = disk.open_with(verify);
            let group = store.group(GROUP);
            assert_eq!(group.health(), recovering(6, log_id(1, END)));
            assert_eq!(entries_of(&group).await, numbered(0, 5));
            store.shutdown().await.unwrap();
        }
    }
}

/// A log of [`END`] entries, each larger than half a segment, so that most segments hold one.
fn large(from: u64, upto: u64) -> Vec<Entry> {
    let bytes = usize::try_from(small_disk().journal.segment_bytes / 2).unwrap();
    (from..=upto)
        .map(|index| entry(1, index, payload(GROUP.0, 1, index, bytes)))
        .collect()
}

async fn filled_with_large(disk: &Disk) -> Store {
    let store = disk.open();
    for index in 0..=END {
        append(&store.group(GROUP), large(index, index))
            .await
            .unwrap();
    }
    store
}

#[tokio::test]
async fn an_old_segment_that_was_cut_off_makes_its_groups_recovering() {
    let memory = MemoryDisk::new();
    let disk = Disk::Memory(memory.clone());
    let store = filled_with_large(&disk).await;
    store.shutdown().await.unwrap();
    drop(store);
    assert!(memory.cut_segment_in_entry(GROUP, 7));

    let store = disk.open();
    let group = store.group(GROUP);

    assert_eq!(group.health(), recovering(7, log_id(1, END)));
    assert_eq!(entries_of(&group).await, large(0, 6));
    append(&group, large(7, END)).await.unwrap();
    assert_eq!(group.health(), GroupHealth::Ok);
    store.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_journal_whose_end_was_cut_off_is_refused_because_a_vote_may_have_stood_there() {
    for is_clean in [true, false] {
        let memory = MemoryDisk::new();
        let disk = Disk::Memory(memory.clone());
        let store = filled_with_large(&disk).await;
        if is_clean {
            store.shutdown().await.unwrap();
        } else {
            memory.crash();
        }
        drop(store);
        assert!(memory.cut_segment_in_entry(GROUP, END));

        let refused = MemoryEngine::open_with(&memory, small_disk().journal);

        let Err(StoreError::Damaged { what, text }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(what, "journal");
        assert!(text.contains("was cut off at byte"), "{text}");
    }
}

#[tokio::test]
async fn a_mark_of_a_later_term_makes_a_longer_log_recovering() {
    for disk in Disk::both() {
        let store = disk.open();
        let group = store.group(GROUP);
        append(&group, numbered(0, END)).await.unwrap();

        group.note_acknowledged(log_id(2, 7));
        group.note_acknowledged(log_id(1, 9));

        assert_eq!(group.acknowledged(), Some(log_id(2, 7)));
        assert_eq!(group.health(), recovering(END + 1, log_id(2, 7)));
        truncate_after(&group, Some(log_id(1, 5))).await;
        let taken_back = Some(log_id(1, 5));
        assert_eq!(
            (group.health(), group.acknowledged()),
            (GroupHealth::Ok, taken_back)
        );
        // A mark of an older term is passed by any entry of a later one.
        group.note_acknowledged(log_id(1, 9));
        append(&group, vec![entry(2, 6, "later")]).await.unwrap();
        assert_eq!(group.health(), GroupHealth::Ok);
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_mark_written_before_marks_had_terms_is_still_read() {
    for (index, expected) in [(5, log_id(1, 5)), (END + 2, log_id(4, END + 2))] {
        for disk in Disk::both() {
            let store = disk.open();
            let group = store.group(GROUP);
            append(&group, numbered(0, END)).await.unwrap();
            save_vote(&group, Vote::new(4, 1)).await.unwrap();
            store.shutdown().await.unwrap();
            drop((store, group));
            let mut value = vec![1];
            value.extend_from_slice(&u64::to_le_bytes(index));
            write_meta(&disk, 4, value.into());

            let store = disk.open();
            let group = store.group(GROUP);

            assert_eq!(group.acknowledged(), Some(expected));
            assert_eq!(group.health() == GroupHealth::Ok, index <= END);
            store.shutdown().await.unwrap();
        }
    }
}

fn write_meta(disk: &Disk, key: u8, value: Bytes) {
    let engine: Arc<dyn Engine> = match disk {
        Disk::Memory(disk) => Arc::new(MemoryEngine::open(disk).unwrap()),
        Disk::Folder(folder) => Arc::new(DiskEngine::open(folder.path(), small_disk()).unwrap()),
    };
    let put = Op::Put {
        group: GROUP,
        family: RowFamily::Meta,
        key: Bytes::copy_from_slice(&[key]),
        value,
    };
    engine.write(WriteBatch { ops: vec![put] }).unwrap();
    engine.close().unwrap();
}
