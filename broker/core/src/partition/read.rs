//! Questions to a partition: where to read, what has expired, which entries are still needed.
//!
//! Changes nothing. Does not read the log: it only says where to.

use thiserror::Error;

use crate::ids::{LogIndex, Offset, ProducerId, Term};
use crate::partition::command::{Command, LogStartReason};
use crate::partition::index::Position;
use crate::partition::producer::Producer;
use crate::partition::{Boundary, Partition};

/// An offset that is not, or no longer, or not here, in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("offset {offset} is out of range: {log_start} up to and including {log_end}")]
pub struct OutOfRange {
    /// The offset asked for.
    pub offset: Offset,
    /// The first offset that can be read here.
    pub log_start: Offset,
    /// The next offset.
    pub log_end: Offset,
}

/// A log start that retention asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionCut {
    /// The new log start.
    pub log_start: Offset,
    /// Which setting asks for it.
    pub reason: LogStartReason,
}

impl Partition {
    /// Returns the next offset; everything below it is committed (the high watermark).
    #[must_use]
    pub const fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Returns the first readable offset.
    #[must_use]
    pub const fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Returns the last entry applied.
    #[must_use]
    pub const fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Returns the largest record timestamp ever appended, milliseconds since 1970.
    #[must_use]
    pub const fn max_timestamp_ms(&self) -> Option<i64> {
        self.max_timestamp_ms
    }

    /// Returns the replicated time, milliseconds since 1970.
    #[must_use]
    pub const fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Shows what is remembered of a producer.
    #[must_use]
    pub fn producer(&self, producer_id: ProducerId) -> Option<&Producer> {
        self.producers.get(&producer_id)
    }

    /// Shows every producer that is remembered.
    pub fn producers(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.producers.iter().map(|(id, producer)| (*id, producer))
    }

    /// Counts the producers that are remembered.
    #[must_use]
    pub fn producers_count(&self) -> usize {
        self.producers.len()
    }

    /// Shows the boundaries at which this state was checkpointed and that readers may need.
    #[must_use]
    pub fn boundaries(&self) -> &[Boundary] {
        &self.boundaries
    }

    /// Counts the payload that was ever written, bytes: what is gone, too.
    #[must_use]
    pub const fn written_bytes(&self) -> u64 {
        self.bytes_total
    }

    /// Estimates the readable payload, bytes, rounded up to a block.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let before = self
            .index
            .iter_from(self.log_start)
            .next()
            .map_or(self.bytes_total, |block| block.bytes_before);
        self.bytes_total - before
    }

    /// Finds the entry from which to scan for a record. The log end itself is in range: its
    /// position is that of the next entry.
    ///
    /// # Errors
    /// The offset is below the log start or above the log end; or this replica was rebuilt from
    /// a checkpoint and has not replayed the log start that made the older records unreadable.
    pub fn locate(&self, offset: Offset) -> Result<Position, OutOfRange> {
        let out_of_range = |log_start| OutOfRange {
            offset,
            log_start,
            log_end: self.log_end,
        };
        if offset < self.log_start || offset > self.log_end {
            return Err(out_of_range(self.log_start));
        }
        if offset == self.log_end {
            return Ok(self.tail());
        }
        match self.index.find(offset) {
            Some(block) => Ok(block.position()),
            None => Err(out_of_range(self.first_held())),
        }
    }

    /// Finds where to start to scan for the first record from `from` on, where a block begins, whose
    /// timestamp is at or after `timestamp_ms`. The scan may find none: block timestamps are upper
    /// bounds.
    #[must_use]
    pub fn offset_for_time(&self, from: Offset, timestamp_ms: i64) -> Option<Position> {
        self.index
            .iter_from(from.max(self.log_start))
            .find(|block| block.base_offset >= from && block.max_timestamp_ms >= timestamp_ms)
            .filter(|_| self.log_start < self.log_end)
            .map(|block| block.position())
    }

    /// Returns the largest timestamp of a block that is still readable, from `from` on, where a
    /// block begins (KIP-734).
    #[must_use]
    pub fn max_timestamp_from(&self, from: Offset) -> Option<i64> {
        self.index
            .iter_from(from.max(self.log_start))
            .filter(|block| block.base_offset >= from)
            .map(|block| block.max_timestamp_ms)
            .max()
            .filter(|_| self.log_start < self.log_end)
    }

    /// Returns the leader epoch of an offset below the log end (KIP-101).
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<Term> {
        if offset >= self.log_end {
            return None;
        }
        self.epochs
            .iter()
            .rev()
            .find(|(_, start)| **start <= offset)
            .map(|(term, _)| *term)
    }

    /// Returns the newest leader epoch that has records.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<Term> {
        self.epochs.last_key_value().map(|(term, _)| *term)
    }

    /// Returns the largest epoch at or below `epoch` that has records, and the offset after its
    /// last one (Kafka: `OffsetForLeaderEpoch`, KIP-101 and KIP-279).
    #[must_use]
    pub fn end_offset_for_epoch(&self, epoch: Term) -> Option<(Term, Offset)> {
        let (found, _) = self.epochs.range(..=epoch).next_back()?;
        let next_start = self
            .epochs
            .iter()
            .find(|(term, _)| *term > found)
            .map(|(_, start)| *start);
        Some((*found, next_start.unwrap_or(self.log_end)))
    }

    /// As [`Partition::end_offset_for_epoch`]; an epoch from before all that are remembered ends where
    /// they begin (Kafka: `LeaderEpochFileCache.endOffsetFor`). `None` while there are no records.
    #[must_use]
    pub fn epoch_end(&self, epoch: Term) -> Option<(Term, Offset)> {
        let (_, first) = self.epochs.first_key_value()?;
        Some(self.end_offset_for_epoch(epoch).unwrap_or((epoch, *first)))
    }

    /// Says where the log start should move to, if anywhere. -1 switches a limit off, as Kafka's
    /// `retention.ms` and `retention.bytes` do.
    ///
    /// Like Kafka, time drops whole blocks whose newest record is older than `retention_ms`
    /// (from the front, up to the first that is not), and size keeps at least `retention_bytes`.
    #[must_use]
    pub fn retention(
        &self,
        now_ms: i64,
        retention_ms: i64,
        retention_bytes: i64,
    ) -> Option<RetentionCut> {
        self.retention_from(Offset::ZERO, now_ms, retention_ms, retention_bytes)
    }

    /// As [`Partition::retention`], as if the log began no earlier than at `from`.
    pub(crate) fn retention_from(
        &self,
        from: Offset,
        now_ms: i64,
        retention_ms: i64,
        retention_bytes: i64,
    ) -> Option<RetentionCut> {
        let from = from.max(self.log_start);
        let by_time = (retention_ms >= 0)
            .then(|| self.cut_by_time(from, now_ms.saturating_sub(retention_ms)))
            .map(|log_start| RetentionCut {
                log_start,
                reason: LogStartReason::RetentionTime,
            });
        let by_bytes = u64::try_from(retention_bytes)
            .ok()
            .map(|kept_bytes| self.cut_by_bytes(from, kept_bytes))
            .map(|log_start| RetentionCut {
                log_start,
                reason: LogStartReason::RetentionBytes,
            });
        [by_time, by_bytes]
            .into_iter()
            .flatten()
            .filter(|cut| cut.log_start > from)
            .max_by_key(|cut| cut.log_start)
    }

    /// Makes the command that forgets producers silent for longer than
    /// `producer.id.expiration.ms` at the leader's time `now_ms`; `None` when there is none. The
    /// command carries the time that was found, so all replicas forget the same producers.
    #[must_use]
    pub fn expire_producers_command(&self, now_ms: i64, expiration_ms: i64) -> Option<Command> {
        let idle_before_ms = now_ms.saturating_sub(expiration_ms);
        self.producers
            .values()
            .any(|producer| producer.last_appended_at_ms < idle_before_ms)
            .then_some(Command::ExpireProducers { idle_before_ms })
    }

    /// Returns how long ago the first record of the open segment was appended, milliseconds;
    /// `None` when the segment has no records.
    #[must_use]
    pub fn segment_age_ms(&self, now_ms: i64) -> Option<i64> {
        self.segment_began_ms
            .map(|began_ms| now_ms.saturating_sub(began_ms))
    }

    /// Returns the log index up to which entries are needed by nobody once the log starts at
    /// `log_start`: the newest checkpoint at or below it. 0 when there is none.
    #[must_use]
    pub fn checkpoint_floor(&self, log_start: Offset) -> LogIndex {
        let below = self
            .boundaries
            .partition_point(|boundary| boundary.log_end <= log_start);
        below
            .checked_sub(1)
            .map_or(LogIndex(0), |at| self.boundaries[at].log_index)
    }

    /// Counts the payload between two offsets at which blocks begin, bytes. What is not held any
    /// more counts as nothing.
    pub(crate) fn payload_between(&self, from: Offset, to: Offset) -> u64 {
        let before = |offset| {
            self.index
                .iter_from(offset)
                .find(|block| block.base_offset >= offset)
                .map_or(self.bytes_total, |block| block.bytes_before)
        };
        before(to).saturating_sub(before(from))
    }

    /// Finds the first block from `from` on with a record newer than `newest_ms`; the log end when
    /// there is none.
    pub(crate) fn young_from(&self, from: Offset, newest_ms: i64) -> Offset {
        self.index
            .iter_from(from)
            .find(|block| block.base_offset >= from && block.max_timestamp_ms > newest_ms)
            .map_or(self.log_end, |block| block.base_offset)
    }

    fn tail(&self) -> Position {
        Position {
            log_index: LogIndex(self.applied.0 + 1),
            base_offset: self.log_end,
        }
    }

    fn first_held(&self) -> Offset {
        let first = self.index.iter_from(Offset::ZERO).next();
        first
            .map_or(self.log_end, |block| block.base_offset)
            .max(self.log_start)
    }

    fn cut_by_time(&self, from: Offset, expired_before_ms: i64) -> Offset {
        self.index
            .iter_from(from)
            .find(|block| block.max_timestamp_ms >= expired_before_ms)
            .map_or(self.log_end, |block| block.base_offset)
    }

    fn cut_by_bytes(&self, from: Offset, kept_bytes: u64) -> Offset {
        self.index
            .iter_from(from)
            .take_while(|block| self.bytes_total - block.bytes_before >= kept_bytes)
            .last()
            .map_or(Offset::ZERO, |block| block.base_offset)
    }
}
