//! Segments are freed when nothing needs them, and survivors of sparse ones move on.

use std::sync::Arc;

use raftmq_store::{
    DiskEngine, Engine, EntryKind, EntryRecord, GroupId, JournalConfig, Maintenance, MemoryDisk,
    MemoryEngine, Op, Torn, WriteBatch, entry_crc,
};
use tempfile::TempDir;

use crate::support::{payload, small_disk};

const SEGMENT_BYTES: u64 = 64 * 1024;

fn append(group: u64, index: u64, len: usize) -> Op {
    let (payload, kind) = (payload(group, 1, index, len), EntryKind::Normal);
    let crc = entry_crc(GroupId(group), index, 1, kind, &payload);
    let entry = EntryRecord {
        index,
        term: 1,
        kind,
        crc,
        bytes_before: 0,
        payload,
    };
    Op::Append {
        group: GroupId(group),
        entry,
    }
}

fn write(engine: &dyn Engine, ops: Vec<Op>) {
    engine.write(WriteBatch { ops }).unwrap();
    engine.sync().unwrap();
}

/// Runs housekeeping until nothing is due. The index is flushed in the background, so it is given
/// real time for that.
#[expect(
    clippy::disallowed_methods,
    reason = "a background flush takes wall-clock time"
)]
fn keep_house(engine: &dyn Engine) {
    let started = std::time::Instant::now();
    while started.elapsed().as_secs() < 60 {
        if engine.maintain().unwrap() == Maintenance::Idle {
            return;
        }
        // Asking all the time would keep RocksDB's own thread from its lock.
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    panic!("housekeeping never ends: {:?}", engine.usage());
}

fn journal() -> JournalConfig {
    JournalConfig {
        segment_bytes: SEGMENT_BYTES,
        ..small_disk().journal
    }
}

/// Two groups interleaved over many segments; one keeps every entry, the other is purged.
fn fill(engine: &dyn Engine) {
    for index in 1..=200 {
        write(engine, vec![append(1, index, 4_000), append(2, index, 300)]);
    }
    keep_house(engine);
}

fn check_survivors(engine: &dyn Engine) {
    let read = engine.read_entries(GroupId(2), 1..201, usize::MAX).unwrap();
    assert_eq!(read.len(), 200);
    for entry in read {
        assert_eq!(entry.payload, payload(2, 1, entry.index, 300));
    }
    assert_eq!(engine.log_bounds(GroupId(1), 0).unwrap(), None);
}

fn purged_groups_free_their_segments(engine: &dyn Engine) {
    fill(engine);
    let before = engine.usage();
    write(
        engine,
        vec![Op::Purge {
            group: GroupId(1),
            from: 1,
            upto: 200,
        }],
    );

    // Enough is written afterwards that the index is flushed behind the purge.
    for index in 1..=40 {
        write(engine, vec![append(3, index, 8_000)]);
        keep_house(engine);
    }
    write(engine, vec![Op::RemoveGroup { group: GroupId(3) }]);
    keep_house(engine);

    let after = engine.usage();
    assert!(after.segments * 2 < before.segments, "{before:?} {after:?}");
    check_survivors(engine);
}

#[test]
fn purged_groups_free_their_segments_and_survivors_move_on_both_engines() {
    let folder = TempDir::new().unwrap();
    let memory = MemoryDisk::new();
    let mut config = small_disk();
    config.journal = journal();
    {
        let disk = DiskEngine::open(folder.path(), config.clone()).unwrap();
        purged_groups_free_their_segments(&disk);
        let memory = MemoryEngine::open_with(&memory, journal()).unwrap();
        purged_groups_free_their_segments(&memory);
    }
    let reopened: [Arc<dyn Engine>; 2] = [
        Arc::new(DiskEngine::open(folder.path(), config).unwrap()),
        Arc::new(MemoryEngine::open_with(&memory, journal()).unwrap()),
    ];
    for engine in reopened {
        check_survivors(&*engine);
    }
}

#[test]
fn a_power_loss_at_any_step_of_housekeeping_loses_no_survivor() {
    let disk = MemoryDisk::new();
    let engine = MemoryEngine::open_with(&disk, journal()).unwrap();
    fill(&engine);
    write(
        &engine,
        vec![Op::Purge {
            group: GroupId(1),
            from: 1,
            upto: 200,
        }],
    );
    let mut steps = 0;
    for index in 1..=40 {
        write(&engine, vec![append(3, index, 8_000)]);
        while engine.maintain().unwrap() == Maintenance::Busy {
            steps += 1;
            for torn in [Torn::No, Torn::SubBlock] {
                let fork = disk.fork();
                fork.power_loss(steps, torn);
                let recovered = MemoryEngine::open_with(&fork, journal()).unwrap();
                assert_eq!(recovered.recovery().holes, []);
                check_survivors(&recovered);
            }
        }
    }
    assert!(steps > 5, "only {steps} steps");
}

/// Everything up to the journal's end is dead when a broker starts, and it writes nothing before its
/// housekeeping frees that.
fn a_start_after_which_all_is_freed(open: &dyn Fn() -> Arc<dyn Engine>) {
    {
        let engine = open();
        write(&*engine, vec![append(1, 1, 4_000)]);
        write(&*engine, vec![Op::RemoveGroup { group: GroupId(1) }]);
    }
    {
        let engine = open();
        engine.set_tight(true);
        keep_house(&*engine);
        assert_eq!(engine.usage().segments, 1);
    }

    let engine = open();

    assert_eq!(engine.recovery().holes, []);
    write(&*engine, vec![append(1, 1, 300)]);
    let read = engine.read_entries(GroupId(1), 1..2, usize::MAX).unwrap();
    assert_eq!(read[0].payload, payload(1, 1, 1, 300));
}

#[test]
fn a_start_finds_its_journal_although_all_of_it_was_freed_after_the_start_before() {
    let folder = TempDir::new().unwrap();
    let mut config = small_disk();
    config.journal = journal();
    a_start_after_which_all_is_freed(&|| {
        Arc::new(DiskEngine::open(folder.path(), config.clone()).unwrap())
    });
    let disk = MemoryDisk::new();
    a_start_after_which_all_is_freed(&|| {
        disk.crash();
        Arc::new(MemoryEngine::open_with(&disk, journal()).unwrap())
    });
}
