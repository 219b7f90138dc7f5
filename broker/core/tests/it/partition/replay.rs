//! Same bytes in, same state out: applied twice, restored half way, rebuilt from a checkpoint.

use proptest::prelude::{
    Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use raftmq_core::partition::{Command, LogStartReason, Partition, RawEntry};
use raftmq_core::{Effect, Effects, Machine, Offset};

use crate::support::batch::{BatchSpec, from_producer, plain};
use crate::support::partition::{Harness, entry_of};
use crate::support::{Rows, meta};

/// What happens to a partition.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<BatchSpec>),
    StrayAppend { term_lag: u64, offset_shift: i64 },
    Blank,
    NewTerm,
    AdvanceLogStart { share: u8 },
    Expire { age_ms: i64 },
    TimePasses { ms: i64 },
}

fn any_batch() -> impl Strategy<Value = BatchSpec> {
    let plain = (1..5_i32, 1..40_000_usize).prop_map(|(count, bytes)| plain(count).of_bytes(bytes));
    let idempotent = (0..4_i64, 0..3_i16, 0..20, 1..4_i32)
        .prop_map(|(id, epoch, at, count)| from_producer(id, at, count).of_epoch(epoch));
    let timed = (plain, 0..5_000_i64).prop_map(|(batch, at)| batch.at_time(at));
    prop_oneof![timed, idempotent]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(any_batch(), 1..4).prop_map(Step::Append),
        1 => (0..2_u64, -2..3_i64)
            .prop_map(|(term_lag, offset_shift)| Step::StrayAppend { term_lag, offset_shift }),
        1 => Just(Step::Blank),
        1 => Just(Step::NewTerm),
        1 => any::<u8>().prop_map(|share| Step::AdvanceLogStart { share }),
        1 => (0..2_000_i64).prop_map(|age_ms| Step::Expire { age_ms }),
        2 => (-500..2_000_i64).prop_map(|ms| Step::TimePasses { ms }),
    ]
}

fn take_step(harness: &mut Harness, step: &Step) {
    match step {
        Step::Append(batches) => {
            harness.append(batches);
        }
        Step::StrayAppend {
            term_lag,
            offset_shift,
        } => {
            let base_offset = harness.partition.log_end().advance(*offset_shift);
            let term = harness.term - term_lag;
            harness.commit(entry_of(term, base_offset, 0, &[plain(1)]));
        }
        Step::Blank => harness.commit_blank(),
        Step::NewTerm => {
            harness.term += 1;
            harness.commit_blank();
        }
        Step::AdvanceLogStart { share } => {
            let log_start = harness.partition.log_end().0 * i64::from(*share) / 255;
            let command = Command::AdvanceLogStart {
                log_start: Offset(log_start),
                reason: LogStartReason::RetentionTime,
            };
            harness.commit(command.encode());
        }
        Step::Expire { age_ms } => {
            let idle_before_ms = harness.partition.now_ms() - age_ms;
            harness.commit(Command::ExpireProducers { idle_before_ms }.encode());
        }
        Step::TimePasses { ms } => harness.now_ms += ms,
    }
}

/// Runs the steps, and gives the harness with the times at which entries were proposed.
fn run(steps: &[Step]) -> (Harness, Vec<i64>) {
    let mut harness = Harness {
        segment_bytes: 64 * 1024,
        term: 2,
        ..Harness::default()
    };
    let mut times = Vec::new();
    for step in steps {
        take_step(&mut harness, step);
        times.resize(harness.log.len(), harness.now_ms);
    }
    (harness, times)
}

fn apply_all<'a>(
    partition: &mut Partition,
    entries: impl Iterator<Item = (&'a RawEntry, &'a i64)>,
) -> Vec<Effect> {
    let mut effects = Effects::new();
    for (entry, time) in entries.filter(|(entry, _)| !entry.command.is_empty()) {
        let mut meta = meta(entry.log_index.0, entry.term.0);
        meta.proposed_at_ms = *time;
        let command = Partition::decode(&entry.command).unwrap();
        partition.apply(&meta, command, &mut effects);
    }
    effects.drain().collect()
}

proptest! {
    #[test]
    fn the_same_log_makes_the_same_state_and_effects(
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let (harness, times) = run(&steps);
        let entries = || harness.log.iter().zip(&times);
        let (mut first, mut second) = (Partition::default(), Partition::default());

        let first_effects = apply_all(&mut first, entries());
        let second_effects = apply_all(&mut second, entries());

        prop_assert_eq!(&first, &harness.partition);
        prop_assert_eq!(&second, &first);
        prop_assert_eq!(second_effects, first_effects);
        prop_assert_eq!(second.checkpoint(), first.checkpoint());
    }

    #[test]
    fn a_state_restored_from_rows_half_way_ends_the_same(
        steps in proptest::collection::vec(any_step(), 1..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let (harness, times) = run(&steps);
        let cut = cut.index(harness.log.len() + 1);
        let mut half = Partition::default();
        let mut rows = Rows::default();
        for at in 0..cut {
            apply_all(&mut half, harness.log.iter().zip(&times).skip(at).take(1));
            if at % 3 == 0 {
                rows.update(half.dirty_rows());
            }
        }
        rows.update(half.dirty_rows());

        let mut restored = Partition::restore(rows.iter()).unwrap();
        prop_assert_eq!(&restored, &half);
        apply_all(&mut restored, harness.log.iter().zip(&times).skip(cut));

        prop_assert_eq!(&restored, &harness.partition);
    }

    #[test]
    fn a_replica_rebuilt_from_a_checkpoint_reads_every_retained_record(
        steps in proptest::collection::vec(any_step(), 1..60),
        choice in any::<prop::sample::Index>(),
    ) {
        let (harness, times) = run(&steps);
        if harness.checkpoints.is_empty() {
            return Ok(());
        }
        let (log_index, checkpoint) =
            harness.checkpoints[choice.index(harness.checkpoints.len())].clone();
        let purged = usize::try_from(log_index.0).unwrap();

        let mut replica = harness.clone();
        replica.partition = Partition::restore_checkpoint(&checkpoint).unwrap();
        let held_from = replica.partition.log_end();
        apply_all(&mut replica.partition, harness.log.iter().zip(&times).skip(purged));

        prop_assert_eq!(replica.partition.checkpoint(), harness.partition.checkpoint());
        let from = held_from.max(harness.partition.log_start());
        prop_assert_eq!(
            replica.read(from.0, usize::MAX),
            harness.read(from.0, usize::MAX)
        );
        let position = replica.partition.locate(from).unwrap();
        prop_assert!(position.log_index.0 > log_index.0, "only entries that are kept are read");
    }

    #[test]
    fn entries_at_or_below_the_floor_are_never_read(
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let (harness, _) = run(&steps);
        let log_start = harness.partition.log_start();
        let floor = harness.partition.checkpoint_floor(log_start);

        let position = harness.partition.locate(log_start).unwrap();

        prop_assert!(position.log_index > floor, "{position:?} reads below the floor {floor}");
        if let Some(by_time) = harness.partition.offset_for_time(Offset::ZERO, i64::MIN) {
            prop_assert!(by_time.log_index > floor);
        }
    }
}
