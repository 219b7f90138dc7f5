//! Random operations on both engines against the naive model: no difference, ever.

use std::sync::Arc;

use raftmq_store::{DiskEngine, Engine, GroupId, MemoryDisk, MemoryEngine};
use tempfile::TempDir;

use crate::model::{Model, Random, Shape, random_batch};
use crate::support::small_disk;

const SHAPE: Shape = Shape {
    groups: 8,
    ops_max: 24,
    payload_max: 600,
};
const OPS_MIN: usize = 120_000;

#[test]
fn a_hundred_thousand_random_operations_leave_both_engines_equal_to_the_model() {
    let folder = TempDir::new().unwrap();
    let memory = MemoryDisk::new();
    let open_disk =
        || -> Arc<dyn Engine> { Arc::new(DiskEngine::open(folder.path(), small_disk()).unwrap()) };
    let open_memory = || -> Arc<dyn Engine> {
        let mut config = small_disk().journal;
        config.segment_bytes = 32 * 1024;
        Arc::new(MemoryEngine::open_with(&memory, config).unwrap())
    };
    let mut engines = [open_disk(), open_memory()];
    let mut model = Model::default();
    let mut random = Random(2026);
    let mut ops = 0;
    let mut batches = 0_u64;
    while ops < OPS_MIN {
        let batch = random_batch(&mut random, &model, SHAPE);
        ops += batch.ops.len();
        batches += 1;
        model.apply_all(&batch);
        for engine in &engines {
            engine.write(batch.clone()).unwrap();
        }
        if batches.is_multiple_of(64) {
            for engine in &engines {
                engine.sync().unwrap();
                engine.maintain().unwrap();
            }
        }
        check_range(&engines, &model, &mut random);
        if batches.is_multiple_of(1_500) {
            for engine in &engines {
                assert_eq!(Model::read(&**engine), model, "after {ops} operations");
            }
        }
        if batches.is_multiple_of(3_000) {
            // Half of the restarts find a flushed index, half replay the journal.
            if random.below(2) == 0 {
                engines.iter().for_each(|engine| engine.close().unwrap());
            }
            drop(engines);
            engines = [open_disk(), open_memory()];
        }
    }
    for engine in &engines {
        assert_eq!(Model::read(&**engine), model);
    }
}

/// A random range reads the same on both engines, and the same as in the model.
fn check_range(engines: &[Arc<dyn Engine>; 2], model: &Model, random: &mut Random) {
    let group = random.below(SHAPE.groups);
    let Some(log) = model.logs.get(&group) else {
        return;
    };
    let first = *log.keys().next().unwrap();
    let from = first + random.below(log.len() as u64);
    let end = from + 1 + random.below(10);
    let bytes_max = random.below(3_000) as usize;
    for engine in engines {
        let read = engine
            .read_entries(GroupId(group), from..end, bytes_max)
            .unwrap();
        assert!(!read.is_empty());
        for (entry, expected) in read.iter().zip(log.range(from..end)) {
            assert_eq!(
                (&entry.index, &(entry.term, entry.payload.clone())),
                expected
            );
        }
    }
}
