//! The real engine after a crash: its journal cut at every place past the last sync.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use raftmq_store::{DiskEngine, Engine, StoreError};
use tempfile::TempDir;

use crate::model::{Model, Random, Shape, random_batch};
use crate::support::small_disk;

const SHAPE: Shape = Shape {
    groups: 3,
    ops_max: 4,
    payload_max: 120,
};

/// A folder as a crash leaves it, with the places and states that matter.
struct Crashed {
    folder: TempDir,
    /// States after each batch, from the last synced one on, with the journal's end then.
    states: Vec<(u64, Model)>,
}

fn journal(folder: &Path) -> PathBuf {
    folder.join("journal").join(format!("{:020}.seg", 1))
}

/// Bytes of the journal's first segment up to its last byte that is not zero.
fn written(folder: &Path) -> u64 {
    let bytes = std::fs::read(journal(folder)).unwrap();
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last as u64 + 1)
}

fn crashed(synced: usize, unsynced: usize) -> Crashed {
    let live = TempDir::new().unwrap();
    let engine = DiskEngine::open(live.path(), small_disk()).unwrap();
    let mut random = Random(11);
    let mut model = Model::default();
    let mut states = Vec::new();
    for batch_number in 0..synced + unsynced {
        if batch_number == synced {
            engine.sync().unwrap();
        }
        if batch_number >= synced {
            states.push((written(live.path()), model.clone()));
        }
        let batch = random_batch(&mut random, &model, SHAPE);
        model.apply_all(&batch);
        engine.write(batch).unwrap();
    }
    states.push((written(live.path()), model));
    let folder = TempDir::new().unwrap();
    copy_folder(live.path(), folder.path());
    Crashed { folder, states }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn copy_of(crashed: &Crashed) -> TempDir {
    let copy = TempDir::new().unwrap();
    copy_folder(crashed.folder.path(), copy.path());
    copy
}

fn overwrite(folder: &Path, position: u64, bytes: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .open(journal(folder))
        .unwrap();
    file.write_all_at(bytes, position).unwrap();
}

#[test]
fn a_journal_cut_anywhere_past_the_last_sync_recovers_to_whole_batches() {
    let crashed = crashed(5, 3);
    let start = crashed.states[0].0;
    let end = crashed.states.last().unwrap().0;
    let near = |cut: u64| crashed.states.iter().any(|(at, _)| cut.abs_diff(*at) <= 1);
    let cuts: Vec<u64> = (start..=end)
        .filter(|cut| near(*cut) || cut % 41 == 0)
        .collect();
    for cut in cuts {
        let copy = copy_of(&crashed);
        overwrite(
            copy.path(),
            cut,
            &vec![0; usize::try_from(end - cut + 8).unwrap()],
        );

        let engine = DiskEngine::open(copy.path(), small_disk()).unwrap();

        // The last byte written may be a zero itself, so a batch can be whole a little early.
        let found = Model::read(&engine);
        let whole = crashed
            .states
            .iter()
            .rposition(|(at, _)| *at <= cut)
            .unwrap();
        let next = crashed.states.get(whole + 1);
        let is_whole = found == crashed.states[whole].1;
        assert!(
            is_whole || next.is_some_and(|(at, state)| *state == found && at - cut <= 8),
            "cut at {cut}"
        );
    }
}

#[test]
fn a_killed_process_loses_nothing_on_a_real_disk() {
    let crashed = crashed(2, 10);

    let engine = DiskEngine::open(crashed.folder.path(), small_disk()).unwrap();

    assert_eq!(Model::read(&engine), crashed.states.last().unwrap().1);
    assert!(engine.recovery().frames_replayed >= 12);
}

#[test]
fn a_damaged_synced_description_is_refused_and_never_dropped() {
    let crashed = crashed(5, 3);
    // Byte 60 lies in the descriptions of the first frame, far before the last sync.
    let mut byte = std::fs::read(journal(crashed.folder.path())).unwrap()[75];
    byte ^= 0x20;
    overwrite(crashed.folder.path(), 75, &[byte]);

    let refused = DiskEngine::open(crashed.folder.path(), small_disk());

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
}
