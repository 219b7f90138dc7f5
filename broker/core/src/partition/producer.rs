//! What a partition remembers of one idempotent producer (KIP-98), and the sequence rules.
//!
//! The rules are those of Kafka's `ProducerAppendInfo` and `ProducerStateEntry` (Kafka 4): see
//! [`Producer::check`]. Does not know whether a batch is committed or in flight.

use std::collections::VecDeque;

use raftmq_records::{BatchHeader, TimestampType};
use thiserror::Error;

use crate::ids::{Offset, ProducerId};
use crate::limits::PRODUCER_BATCHES_COUNT;
use crate::planted::{self, Bug};

/// Half of the sequence space: a sequence this far behind or less counts as behind.
const SEQUENCE_WINDOW: u32 = 1 << 30;

/// One batch that a producer has appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Sequence of its first record.
    pub first_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The append time, milliseconds since 1970, when the topic uses `LogAppendTime`.
    pub log_append_time_ms: Option<i64>,
}

impl ProducerBatch {
    /// Describes a batch that stands, or will stand, at `base_offset`.
    #[must_use]
    pub fn of(header: &BatchHeader, base_offset: Offset) -> Self {
        let log_append_time_ms = match header.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(header.max_timestamp),
        };
        Self {
            first_sequence: header.base_sequence,
            last_sequence: last_sequence(header),
            base_offset,
            log_append_time_ms,
        }
    }
}

/// Why a batch may not be appended. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The sequence leaves a gap, or lies across what is there.
    #[error("producer {producer_id}: sequence {expected} expected, {actual} came")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The next sequence.
        expected: i32,
        /// What came.
        actual: i32,
    },
    /// A newer incarnation of the producer has written here: this one is fenced.
    #[error("producer {producer_id}: epoch {current} is current, {actual} came")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The newest epoch seen.
        current: i16,
        /// What came.
        actual: i16,
    },
    /// The batch was appended before, so long ago that its offset is forgotten.
    #[error("producer {producer_id}: sequence {actual} was appended before, {expected} is next")]
    DuplicateSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The next sequence.
        expected: i32,
        /// What came.
        actual: i32,
    },
    /// Producer id, epoch and sequence do not fit together.
    #[error("producer {producer_id}: epoch {producer_epoch} with sequence {sequence} is invalid")]
    InvalidProducerFields {
        /// The producer.
        producer_id: ProducerId,
        /// The epoch that came.
        producer_epoch: i16,
        /// The sequence that came.
        sequence: i32,
    },
    /// The partition's offsets are used up.
    #[error("no offset is left after {log_end}")]
    OffsetsExhausted {
        /// The next offset.
        log_end: Offset,
    },
}

/// What a batch is to a producer's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceCheck {
    /// It comes next.
    Next,
    /// It is there already.
    Duplicate(ProducerBatch),
}

/// The last batches of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    pub(crate) producer_epoch: i16,
    /// Oldest first, all of `producer_epoch`, at most [`PRODUCER_BATCHES_COUNT`], never empty.
    pub(crate) batches: VecDeque<ProducerBatch>,
    /// Records appended without a gap up to the last one, in this epoch: how far back a sequence
    /// is surely a duplicate.
    pub(crate) contiguous_records: u64,
    /// Replicated time of the last append, milliseconds since 1970.
    pub(crate) last_appended_at_ms: i64,
}

impl Producer {
    /// Starts the history of a producer, or of a new epoch of it, with its first batch.
    #[must_use]
    pub fn starting_with(header: &BatchHeader, base_offset: Offset, now_ms: i64) -> Self {
        Self {
            producer_epoch: header.producer_epoch,
            batches: VecDeque::from([ProducerBatch::of(header, base_offset)]),
            contiguous_records: records_count(header),
            last_appended_at_ms: now_ms,
        }
    }

    /// Returns the newest epoch seen.
    #[must_use]
    pub const fn producer_epoch(&self) -> i16 {
        self.producer_epoch
    }

    /// Returns the replicated time of the last append, milliseconds since 1970.
    #[must_use]
    pub const fn last_appended_at_ms(&self) -> i64 {
        self.last_appended_at_ms
    }

    /// Shows the batches that are remembered, oldest first.
    pub fn batches(&self) -> impl Iterator<Item = &ProducerBatch> {
        self.batches.iter()
    }

    /// Returns the sequence that comes next in this epoch.
    #[must_use]
    pub fn next_sequence(&self) -> i32 {
        self.batches
            .back()
            .map_or(0, |batch| sequence_after(batch.last_sequence, 1))
    }

    /// Judges a batch against this history, as Kafka 4 does:
    ///
    /// - an older epoch is fenced (`checkProducerEpoch`);
    /// - a new epoch starts with sequence 0 (`checkSequence`);
    /// - in the same epoch, exactly one of the last five batches is a duplicate
    ///   (`ProducerStateEntry.findDuplicateBatch`), the next sequence is accepted, anything else
    ///   is out of order.
    ///
    /// Deviation: a batch that lies wholly behind the remembered ones and was surely appended is
    /// `DuplicateSequence`, which Kafka's clients take for success without an offset; Kafka
    /// answers `OutOfOrderSequence`, which makes a producer give up although nothing is lost.
    ///
    /// # Errors
    /// `InvalidProducerEpoch`, `OutOfOrderSequence`, `DuplicateSequence`.
    pub fn check(&self, header: &BatchHeader) -> Result<SequenceCheck, AppendError> {
        let producer_id = ProducerId(header.producer_id);
        let actual = header.base_sequence;
        if header.producer_epoch < self.producer_epoch {
            tracing::trace!(target: "raftmq::mark", name = "producer_fenced");
            return Err(AppendError::InvalidProducerEpoch {
                producer_id,
                current: self.producer_epoch,
                actual: header.producer_epoch,
            });
        }
        if header.producer_epoch > self.producer_epoch {
            if actual == 0 || planted::is_planted(Bug::SequenceGapAccepted) {
                return Ok(SequenceCheck::Next);
            }
            return Err(AppendError::OutOfOrderSequence {
                producer_id,
                expected: 0,
                actual,
            });
        }
        if let Some(duplicate) = self.find_duplicate(header) {
            return Ok(SequenceCheck::Duplicate(duplicate));
        }
        let expected = self.next_sequence();
        if actual == expected || planted::is_planted(Bug::SequenceGapAccepted) {
            return Ok(SequenceCheck::Next);
        }
        if self.was_appended(header) {
            tracing::trace!(target: "raftmq::mark", name = "duplicate_beyond_memory");
            return Err(AppendError::DuplicateSequence {
                producer_id,
                expected,
                actual,
            });
        }
        tracing::trace!(target: "raftmq::mark", name = "sequence_gap_refused");
        Err(AppendError::OutOfOrderSequence {
            producer_id,
            expected,
            actual,
        })
    }

    /// Adds a batch that was decided on. Does not judge: apply cannot refuse.
    pub fn record(&mut self, header: &BatchHeader, base_offset: Offset, now_ms: i64) {
        let is_next = header.producer_epoch == self.producer_epoch
            && header.base_sequence == self.next_sequence();
        if !is_next {
            *self = Self::starting_with(header, base_offset, now_ms);
            return;
        }
        if self.batches.len() == PRODUCER_BATCHES_COUNT {
            self.batches.pop_front();
        }
        self.batches
            .push_back(ProducerBatch::of(header, base_offset));
        self.contiguous_records = self
            .contiguous_records
            .saturating_add(records_count(header));
        self.last_appended_at_ms = now_ms;
        assert!(
            self.batches.len() <= PRODUCER_BATCHES_COUNT,
            "a producer remembers {} batches",
            self.batches.len()
        );
    }

    fn find_duplicate(&self, header: &BatchHeader) -> Option<ProducerBatch> {
        let last = last_sequence(header);
        let is_same = |batch: &&ProducerBatch| {
            batch.first_sequence == header.base_sequence && batch.last_sequence == last
        };
        self.batches.iter().find(is_same).copied()
    }

    /// Tells whether every record of the batch lies within what was appended without a gap.
    fn was_appended(&self, header: &BatchHeader) -> bool {
        let next = self.next_sequence();
        let first_behind = sequence_distance(header.base_sequence, next);
        let last_behind = sequence_distance(last_sequence(header), next);
        (1..=SEQUENCE_WINDOW).contains(&last_behind)
            && first_behind >= last_behind
            && first_behind <= SEQUENCE_WINDOW
            && u64::from(first_behind) <= self.contiguous_records
    }
}

/// Checks the producer fields of a batch for themselves.
///
/// # Errors
/// `InvalidProducerFields` when a batch with a producer lacks an epoch or a sequence.
pub fn check_fields(header: &BatchHeader) -> Result<(), AppendError> {
    let is_valid = !header.has_producer()
        || (header.producer_id >= 0 && header.producer_epoch >= 0 && header.base_sequence >= 0);
    if is_valid {
        return Ok(());
    }
    Err(AppendError::InvalidProducerFields {
        producer_id: ProducerId(header.producer_id),
        producer_epoch: header.producer_epoch,
        sequence: header.base_sequence,
    })
}

/// Sequence that follows `records_count` records starting at `sequence`.
///
/// Kafka's sequences are non-negative `i32`s: after `i32::MAX` comes 0, not a negative number
/// (`DefaultRecordBatch.incrementSequence`).
#[must_use]
pub const fn sequence_after(sequence: i32, records_count: i32) -> i32 {
    sequence.wrapping_add(records_count) & i32::MAX
}

/// How many steps lead from `from` to `to`, going up and around.
const fn sequence_distance(from: i32, to: i32) -> u32 {
    (to.wrapping_sub(from) & i32::MAX).cast_unsigned()
}

fn last_sequence(header: &BatchHeader) -> i32 {
    sequence_after(header.base_sequence, header.last_offset_delta)
}

fn records_count(header: &BatchHeader) -> u64 {
    u64::from(header.last_offset_delta.max(0).cast_unsigned()) + 1
}
