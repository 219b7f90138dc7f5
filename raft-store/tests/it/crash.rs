//! Crashes at every write of the simulated disk: whatever prefix of the unsynced bytes survives, a
//! restart finds a whole prefix of the batches and nothing synced is missing.

use raftmq_store::{Engine, JournalConfig, MemoryDisk, MemoryEngine, Torn};

use crate::model::{Model, Random, Shape, random_batch};

const SHAPE: Shape = Shape {
    groups: 3,
    ops_max: 4,
    payload_max: 200,
};

/// Zero bytes that the descriptions of a batch can end with.
const TRAILING_ZEROS_MAX: u64 = 16;

fn tiny() -> JournalConfig {
    JournalConfig {
        segment_bytes: 4096,
        replay_bytes_max: 16 * 1024,
        ..JournalConfig::default()
    }
}

/// A disk in the middle of a history: the states after each batch, and how many are synced.
struct History {
    disk: MemoryDisk,
    engine: MemoryEngine,
    random: Random,
    states: Vec<Model>,
    /// End of each batch among the unsynced bytes, for the batches after the synced ones.
    ends: Vec<u64>,
    synced: usize,
}

impl History {
    fn new(seed: u64) -> Self {
        let disk = MemoryDisk::new();
        let engine = MemoryEngine::open_with(&disk, tiny()).unwrap();
        let states = vec![Model::default()];
        Self {
            disk,
            engine,
            random: Random(seed),
            states,
            ends: Vec::new(),
            synced: 0,
        }
    }

    fn write(&mut self) {
        let mut model = self.states.last().unwrap().clone();
        let batch = random_batch(&mut self.random, &model, SHAPE);
        model.apply_all(&batch);
        self.engine.write(batch).unwrap();
        self.states.push(model);
        self.ends.push(self.disk.unsynced_bytes());
    }

    fn sync(&mut self) {
        self.engine.sync().unwrap();
        self.engine.maintain().unwrap();
        self.synced = self.states.len() - 1;
        self.ends.clear();
    }

    /// The states that may be found after only `kept` unsynced bytes survived. A batch whose last
    /// bytes are zero is whole a little early, because what is missing reads as zero.
    fn states_after(&self, kept: u64) -> Vec<&Model> {
        let count = |reach: u64| self.ends.iter().filter(|end| **end <= kept + reach).count();
        self.states[self.synced + count(0)..=self.synced + count(TRAILING_ZEROS_MAX)]
            .iter()
            .collect()
    }

    /// Goes on from what a restart found.
    fn restart(&mut self) {
        self.engine = MemoryEngine::open_with(&self.disk, tiny()).unwrap();
        let found = Model::read(&self.engine);
        let possible = self.states[self.synced..]
            .iter()
            .rposition(|state| *state == found);
        let place = possible.expect("a restart finds one of the states since the last sync");
        self.states.truncate(self.synced + place + 1);
        self.synced = self.states.len() - 1;
        self.ends.clear();
    }
}

#[test]
fn every_prefix_of_the_unsynced_bytes_recovers_to_whole_batches() {
    let mut checked = 0;
    for seed in 0..12 {
        let mut history = History::new(seed);
        for step in 0..40 {
            history.write();
            let unsynced = history.disk.unsynced_bytes();
            // Every cut near a batch's end, and a spread of others.
            let near = |cut: &u64| history.ends.iter().any(|end| cut.abs_diff(*end) <= 2);
            let cuts = (0..=unsynced).filter(|cut| near(cut) || cut % 23 == step % 23);
            for cut in cuts {
                let disk = history.disk.fork();
                disk.power_loss_keeping(cut);
                let engine = MemoryEngine::open_with(&disk, tiny()).unwrap();
                let found = Model::read(&engine);
                assert!(
                    history.states_after(cut).contains(&&found),
                    "seed {seed} cut {cut}"
                );
                assert_eq!(engine.recovery().holes, []);
                checked += 1;
            }
            if step % 3 == 2 {
                history.sync();
            }
        }
    }
    assert!(checked > 2_000, "only {checked} crash points");
}

#[test]
fn torn_blocks_recover_to_whole_batches_again_and_again() {
    for seed in 0..60 {
        let mut history = History::new(seed);
        for round in 0..25_usize {
            for _ in 0..history.random.below(4) {
                history.write();
                if history.random.below(3) == 0 {
                    history.sync();
                }
            }
            history.write();
            let torn = [Torn::No, Torn::Prefix, Torn::SubBlock][round % 3];
            history.disk.power_loss(history.random.next(), torn);
            history.restart();
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_written() {
    let mut history = History::new(99);
    for _ in 0..30 {
        history.write();
    }
    history.disk.crash();

    let engine = MemoryEngine::open_with(&history.disk, tiny()).unwrap();

    assert_eq!(Some(&Model::read(&engine)), history.states.last());
    assert_eq!(
        history.disk.unsynced_bytes(),
        0,
        "what was replayed is synced before new writes"
    );
}

#[test]
fn an_engine_of_before_the_crash_is_cut_off() {
    let mut history = History::new(5);
    history.write();
    history.disk.crash();

    let batch = random_batch(&mut history.random, &Model::default(), SHAPE);

    assert!(history.engine.write(batch).is_err());
    assert!(history.engine.sync().is_err());
}
