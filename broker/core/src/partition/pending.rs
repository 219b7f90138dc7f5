//! The leader's overlay: the applied state plus what is decided and still in flight.
//!
//! A leader makes one when its term begins and drops it when leadership is lost. Decides, never
//! changes the partition; does not know Raft, acks or clients.

use std::collections::{BTreeMap, VecDeque};

use raftmq_records::BatchHeader;

use crate::ids::{Offset, ProducerId};
use crate::partition::Partition;
use crate::partition::producer::{self, AppendError, Producer, SequenceCheck};
use crate::planted::{self, Bug};

/// What to do with a batch that may be appended, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Append it at this offset; tell [`Pending::record`].
    Append {
        /// Offset of its first record.
        base_offset: Offset,
    },
    /// It is committed already: answer as the first time.
    Duplicate {
        /// Offset of its first record.
        base_offset: Offset,
        /// The append time of the original, milliseconds since 1970, under `LogAppendTime`.
        log_append_time_ms: Option<i64>,
    },
    /// Its original is in flight: wait until that is applied, then answer the same.
    DuplicateInFlight {
        /// Offset of its first record.
        base_offset: Offset,
    },
}

/// Decided batches that are not applied yet, on top of the applied state.
#[derive(Debug, Clone)]
pub struct Pending {
    log_end: Offset,
    /// Producers with a batch in flight, as they will be when all of it is applied.
    producers: BTreeMap<ProducerId, Producer>,
    /// Base offset and producer of each idempotent batch in flight, oldest first.
    in_flight: VecDeque<(Offset, ProducerId)>,
    forgets_applied_producers: bool,
}

impl Pending {
    /// Starts with nothing in flight. Make it when the blank entry of the leader's own term is
    /// applied, not earlier: until then entries of older terms are still to come.
    #[must_use]
    pub fn new(partition: &Partition) -> Self {
        Self {
            log_end: partition.log_end(),
            producers: BTreeMap::new(),
            in_flight: VecDeque::new(),
            forgets_applied_producers: planted::is_planted(Bug::DedupLostOnLeaderChange),
        }
    }

    /// Returns the offset that the next batch gets.
    #[must_use]
    pub const fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Counts the idempotent batches in flight.
    #[must_use]
    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// Takes note of a batch that is about to be proposed at [`Decision::Append`]'s offset.
    pub fn record(&mut self, partition: &Partition, header: &BatchHeader, base_offset: Offset) {
        assert_eq!(
            base_offset, self.log_end,
            "a batch is recorded in the order of decisions"
        );
        self.log_end = base_offset.advance(i64::from(header.last_offset_delta) + 1);
        if !header.has_producer() {
            return;
        }
        let producer_id = ProducerId(header.producer_id);
        let known = self.producers.remove(&producer_id);
        let applied = self.applied_producer(partition, producer_id).cloned();
        let producer = match known.or(applied) {
            Some(mut producer) => {
                let appended_at_ms = producer.last_appended_at_ms;
                producer.record(header, base_offset, appended_at_ms);
                producer
            }
            None => Producer::starting_with(header, base_offset, 0),
        };
        self.producers.insert(producer_id, producer);
        self.in_flight.push_back((base_offset, producer_id));
    }

    /// Forgets what the partition has applied in the meantime. Call it after each apply.
    pub fn settle(&mut self, partition: &Partition) {
        let applied_end = partition.log_end();
        while let Some((base_offset, producer_id)) = self.in_flight.front().copied() {
            if base_offset >= applied_end {
                break;
            }
            self.in_flight.pop_front();
            let is_applied = self.producers.get(&producer_id).is_some_and(|producer| {
                producer
                    .batches
                    .back()
                    .is_none_or(|last| last.base_offset < applied_end)
            });
            // The planted bug forgets what older leaders applied, not what this one did.
            if is_applied && !self.forgets_applied_producers {
                self.producers.remove(&producer_id);
            }
        }
    }

    fn applied_producer<'a>(
        &self,
        partition: &'a Partition,
        producer_id: ProducerId,
    ) -> Option<&'a Producer> {
        if self.forgets_applied_producers {
            return None;
        }
        partition.producer(producer_id)
    }
}

impl Partition {
    /// Decides what becomes of one validated batch, against everything applied and in flight.
    ///
    /// A batch of an unknown producer is accepted with any sequence, as Kafka does since 2.5
    /// (KIP-360; `ProducerAppendInfo.checkSequence` with `NO_PRODUCER_EPOCH`): its state may have
    /// expired or gone with retention. `UNKNOWN_PRODUCER_ID` is therefore never the answer.
    ///
    /// # Errors
    /// Every [`AppendError`]; nothing is changed then.
    pub fn decide(&self, pending: &Pending, header: &BatchHeader) -> Result<Decision, AppendError> {
        producer::check_fields(header)?;
        let records_count = i64::from(header.last_offset_delta) + 1;
        let log_end = pending.log_end;
        if log_end.0 >= i64::MAX - records_count {
            return Err(AppendError::OffsetsExhausted { log_end });
        }
        let append = Decision::Append {
            base_offset: log_end,
        };
        if !header.has_producer() {
            return Ok(append);
        }
        let producer_id = ProducerId(header.producer_id);
        let known = pending
            .producers
            .get(&producer_id)
            .or_else(|| pending.applied_producer(self, producer_id));
        let Some(producer) = known else {
            return Ok(append);
        };
        match producer.check(header)? {
            SequenceCheck::Next => Ok(append),
            SequenceCheck::Duplicate(original) => Ok(self.answer_duplicate(original)),
        }
    }

    fn answer_duplicate(&self, original: producer::ProducerBatch) -> Decision {
        let base_offset = original.base_offset;
        if base_offset >= self.log_end() {
            tracing::trace!(target: "raftmq::mark", name = "duplicate_of_batch_in_flight");
            return Decision::DuplicateInFlight { base_offset };
        }
        tracing::trace!(target: "raftmq::mark", name = "duplicate_of_committed_batch");
        Decision::Duplicate {
            base_offset,
            log_append_time_ms: original.log_append_time_ms,
        }
    }
}
