//! A damaged header of a journal segment: nothing that it holds is lost, and only what certainly held
//! nothing is dropped.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use raftmq_store::{DiskEngine, GroupHealth, MemoryDisk, StoreError, Torn, log_id};
use tempfile::TempDir;

use crate::support::{GROUP, append, disk_store, entries_of, entry, memory_store, small_disk};

fn numbered(upto: u64) -> Vec<raftmq_store::Entry> {
    (1..=upto)
        .map(|index| entry(1, index, format!("entry {index}")))
        .collect()
}

fn newest_segment(folder: &Path) -> PathBuf {
    let journal = std::fs::read_dir(folder.join("journal")).unwrap();
    let mut segments: Vec<_> = journal.map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    segments.pop().unwrap()
}

/// A folder whose store was killed after three acknowledged entries.
async fn killed() -> TempDir {
    let live = TempDir::new().unwrap();
    let store = disk_store(live.path());
    append(&store.group(GROUP), numbered(3)).await.unwrap();
    let folder = TempDir::new().unwrap();
    copy(live.path(), folder.path());
    drop(store);
    folder
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn flip(file: &Path, position: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], position).unwrap();
}

#[tokio::test]
async fn acknowledged_entries_survive_a_damaged_header_of_the_newest_segment_in_memory() {
    let disk = MemoryDisk::new();
    append(&memory_store(&disk).group(GROUP), numbered(3))
        .await
        .unwrap();
    disk.power_loss(1, Torn::No);
    assert!(disk.flip_bit_in_newest_header());

    for _ in 0..2 {
        let group = memory_store(&disk).group(GROUP);

        assert_eq!(group.health(), GroupHealth::Ok);
        assert_eq!(entries_of(&group).await, numbered(3));
        disk.crash();
    }
}

#[tokio::test]
async fn acknowledged_entries_survive_any_damage_to_the_header_of_the_newest_segment_on_disk() {
    for position in 0..32 {
        let folder = killed().await;
        flip(&newest_segment(folder.path()), position);

        let store = disk_store(folder.path());

        let group = store.group(GROUP);
        assert_eq!(group.health(), GroupHealth::Ok, "byte {position}");
        assert_eq!(entries_of(&group).await, numbered(3), "byte {position}");
        append(&group, vec![entry(2, 4, "more")]).await.unwrap();
        assert_eq!(group.last_log_index(), Some(4));
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_segment_with_a_damaged_header_and_a_damaged_first_frame_is_refused_and_kept() {
    let folder = killed().await;
    let segment = newest_segment(folder.path());
    flip(&segment, 5);
    flip(&segment, 40);

    let refused = DiskEngine::open(folder.path(), small_disk());

    let Err(StoreError::Damaged { what, text }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(what, "journal");
    assert!(text.contains("header of segment 1"), "{text}");
    assert!(segment.exists());
}

#[tokio::test]
async fn a_segment_whose_creation_was_interrupted_is_dropped() {
    for len in [0, 7, 64 * 1024] {
        let folder = killed().await;
        let segment = folder.path().join("journal").join(format!("{:020}.seg", 2));
        std::fs::File::create(&segment)
            .unwrap()
            .set_len(len)
            .unwrap();

        let store = disk_store(folder.path());

        let group = store.group(GROUP);
        assert_eq!(entries_of(&group).await, numbered(3), "{len} bytes");
        assert_eq!(group.log_id_at(3).unwrap(), Some(log_id(1, 3)));
        store.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn an_empty_segment_that_the_index_knows_is_refused_and_kept() {
    let folder = killed().await;
    {
        // Everything is applied to the index, which then names the segment.
        let store = disk_store(folder.path());
        append(&store.group(GROUP), vec![entry(2, 4, "more")])
            .await
            .unwrap();
        store.shutdown().await.unwrap();
    }
    let segment = newest_segment(folder.path());
    let len = segment.metadata().unwrap().len();
    let file = std::fs::File::create(&segment).unwrap();
    file.set_len(len).unwrap();

    let refused = DiskEngine::open(folder.path(), small_disk());

    assert!(
        matches!(
            refused,
            Err(StoreError::Damaged {
                what: "journal",
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(segment.exists());
}
