//! The partition with its overlay against a naive model: a list of records, searched from the
//! front.
//!
//! Clients send, repeat and skip; entries of several batches are in flight; leaders change and
//! lose what was in flight. Whatever happens, the log holds each accepted batch once, in order,
//! and a reader sees exactly the model's records.

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use raftmq_core::Offset;
use raftmq_core::partition::{AppendError, Decision, Pending};

use crate::support::batch::{BatchSpec, from_producer, plain};
use crate::support::partition::Harness;

const PRODUCERS: i64 = 3;

#[derive(Debug, Clone)]
enum Step {
    /// A producer sends its next batch, or one so many batches back, or ahead.
    Send {
        producer: i64,
        shift: i32,
        count: i32,
    },
    SendPlain {
        count: i32,
    },
    /// So many proposed entries are committed.
    Commit {
        entries: usize,
    },
    /// A new leader: what was not committed is lost.
    NewLeader,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..PRODUCERS, 1..4_i32)
            .prop_map(|(producer, count)| Step::Send { producer, shift: 0, count }),
        3 => (0..PRODUCERS, -7..3_i32, 1..4_i32)
            .prop_map(|(producer, shift, count)| Step::Send { producer, shift, count }),
        1 => (1..4_i32).prop_map(|count| Step::SendPlain { count }),
        3 => (1..4_usize).prop_map(|entries| Step::Commit { entries }),
        1 => any::<u8>().prop_map(|_| Step::NewLeader),
    ]
}

/// A batch of the model: its offset, producer and first sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stored {
    base_offset: i64,
    batch: BatchSpec,
}

#[derive(Debug, Default)]
struct Model {
    committed: Vec<Stored>,
    in_flight: Vec<Stored>,
}

impl Model {
    fn all(&self) -> impl DoubleEndedIterator<Item = &Stored> {
        self.committed.iter().chain(&self.in_flight)
    }

    fn log_end(&self) -> i64 {
        self.all().next_back().map_or(0, |last| {
            last.base_offset + i64::from(last.batch.records_count)
        })
    }

    fn batches_of(&self, producer: i64) -> Vec<Stored> {
        self.all()
            .filter(|stored| stored.batch.producer_id == producer)
            .copied()
            .collect()
    }

    fn next_sequence(&self, producer: i64) -> i32 {
        self.batches_of(producer).last().map_or(0, |last| {
            last.batch.base_sequence + last.batch.records_count
        })
    }

    /// What the rules say, found by searching everything.
    fn judge(&self, batch: BatchSpec) -> Result<Decision, &'static str> {
        let append = Decision::Append {
            base_offset: Offset(self.log_end()),
        };
        let sent = self.batches_of(batch.producer_id);
        if batch.producer_id < 0 || sent.is_empty() {
            return Ok(append);
        }
        let remembered = &sent[sent.len().saturating_sub(5)..];
        let same = remembered.iter().find(|stored| {
            stored.batch.base_sequence == batch.base_sequence
                && stored.batch.records_count == batch.records_count
        });
        if let Some(original) = same {
            let base_offset = Offset(original.base_offset);
            return Ok(if self.committed.contains(original) {
                Decision::Duplicate {
                    base_offset,
                    log_append_time_ms: None,
                }
            } else {
                Decision::DuplicateInFlight { base_offset }
            });
        }
        let next = self.next_sequence(batch.producer_id);
        let first = sent[0].batch.base_sequence;
        if batch.base_sequence == next {
            Ok(append)
        } else if batch.base_sequence >= first && batch.base_sequence + batch.records_count <= next
        {
            Err("duplicate")
        } else {
            Err("out of order")
        }
    }
}

fn name_of(refused: AppendError) -> &'static str {
    match refused {
        AppendError::OutOfOrderSequence { .. } => "out of order",
        AppendError::DuplicateSequence { .. } => "duplicate",
        AppendError::InvalidProducerEpoch { .. } => "epoch",
        AppendError::InvalidProducerFields { .. } => "fields",
        AppendError::OffsetsExhausted { .. } => "exhausted",
    }
}

struct Run {
    harness: Harness,
    pending: Pending,
    model: Model,
    mark: u8,
}

impl Run {
    fn new() -> Self {
        let harness = Harness::default();
        let pending = Pending::new(&harness.partition);
        Self {
            harness,
            pending,
            model: Model::default(),
            mark: 0,
        }
    }

    fn send(&mut self, batch: BatchSpec) {
        self.mark = self.mark.wrapping_add(1);
        let batch = batch.marked(self.mark);
        let decided = self
            .harness
            .partition
            .decide(&self.pending, &batch.header());
        assert_eq!(
            decided.map_err(name_of),
            self.model.judge(batch),
            "{batch:?}"
        );
        if let Ok(Decision::Append { base_offset }) = decided {
            self.pending
                .record(&self.harness.partition, &batch.header(), base_offset);
            self.model.in_flight.push(Stored {
                base_offset: base_offset.0,
                batch,
            });
        }
    }

    fn commit(&mut self, entries: usize) {
        for _ in 0..entries {
            if self.model.in_flight.is_empty() {
                return;
            }
            let stored = self.model.in_flight.remove(0);
            self.harness.append(&[stored.batch]);
            self.pending.settle(&self.harness.partition);
            self.model.committed.push(stored);
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Send {
                producer,
                shift,
                count,
            } => {
                let sequence = (self.model.next_sequence(*producer) + shift).max(0);
                self.send(from_producer(*producer, sequence, *count));
            }
            Step::SendPlain { count } => self.send(plain(*count)),
            Step::Commit { entries } => self.commit(*entries),
            Step::NewLeader => {
                self.model.in_flight.clear();
                self.harness.term += 1;
                self.harness.commit_blank();
                self.pending = Pending::new(&self.harness.partition);
            }
        }
    }
}

proptest! {
    #[test]
    fn decisions_and_records_are_those_of_the_model(
        steps in proptest::collection::vec(any_step(), 1..120),
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
            prop_assert_eq!(run.pending.log_end(), Offset(run.model.log_end()));
        }
        run.commit(usize::MAX);

        prop_assert_eq!(run.pending.in_flight_count(), 0);
        prop_assert_eq!(run.harness.partition.log_end(), Offset(run.model.log_end()));
        let read = run.harness.read(0, usize::MAX);
        prop_assert_eq!(read.len(), run.model.committed.len());
        for (batch, stored) in read.iter().zip(&run.model.committed) {
            prop_assert_eq!(batch.header.base_offset, stored.base_offset);
            prop_assert!(batch.bytes.ends_with(&[stored.batch.mark; 100]));
        }
    }

    #[test]
    fn every_offset_is_found_by_a_reader(
        steps in proptest::collection::vec(any_step(), 1..60),
        bytes_max in 1..2_000_usize,
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
        }
        run.commit(usize::MAX);

        let mut from = 0;
        let log_end = run.harness.partition.log_end().0;
        let mut batches_count = 0;
        while from < log_end {
            let read = run.harness.read(from, bytes_max);
            prop_assert!(!read.is_empty(), "a reader stands still at {from}");
            batches_count += read.len();
            from = read[read.len() - 1].next_offset().0;
        }
        prop_assert_eq!(batches_count, run.model.committed.len());
    }
}
