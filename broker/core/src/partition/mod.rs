//! The machine of one partition: what its Raft log means to Kafka's world.
//!
//! Owns next offset, log start, the sparse index, producer states, leader-epoch starts and
//! checkpoint boundaries. The records themselves stay in the Raft log: the machine never holds
//! them. It deliberately does not know Raft roles, replicas (`isr.rs` is a tracker of its own),
//! topics, clients or CRCs. Sources: Kafka's `UnifiedLog` and `ProducerStateManager` (KIP-98,
//! KIP-101, KIP-360); ARCHITECTURE.md, "The Raft log is the partition log".

pub mod append;
pub mod command;
pub mod compaction;
pub mod index;
pub mod isr;
pub mod pending;
pub mod producer;
mod read;
pub mod reader;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

pub use self::append::{Batch, VoidReason, check_append};
pub use self::command::{Append, AppendBuilder, Command, LogStartReason, adds_records};
pub use self::index::Position;
pub use self::pending::{Decision, Pending};
pub use self::producer::{AppendError, Producer, ProducerBatch};
pub use self::read::{OutOfRange, RetentionCut};
pub use self::reader::{LogReader, Progress, RawEntry};

use self::index::BlockIndex;
use crate::codec::{CodecError, RestoreError};
use crate::effect::{Effect, Effects};
use crate::ids::{LogIndex, Offset, ProducerId, Term};
use crate::limits::{
    EPOCHS_COUNT_MAX, PRODUCERS_COUNT_MAX, PRODUCERS_EVICTED_COUNT, SEGMENT_BYTES_DEFAULT,
    SEGMENT_BYTES_MIN,
};
use crate::machine::{EntryMeta, Machine, RowUpdates};
use crate::planted::{self, Bug};
use crate::thinning::thin_out;

/// What the proposer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The records are committed.
    Appended {
        /// Offset of the first one.
        base_offset: Offset,
        /// The next offset after them.
        log_end: Offset,
    },
    /// The entry took no effect on any replica.
    Void(VoidReason),
    /// The log start is now here (it may have been there already).
    LogStart {
        /// The first readable offset.
        log_start: Offset,
    },
    /// So many producers were forgotten.
    ProducersExpired {
        /// How many.
        count: usize,
    },
    /// The open segment was closed, or not.
    SegmentClosed {
        /// Whether this entry is a boundary.
        is_closed: bool,
    },
}

/// A state that was, or can be, checkpointed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary {
    /// The last entry in it.
    pub log_index: LogIndex,
    /// The next offset after that entry.
    pub log_end: Offset,
}

/// Which rows changed since they were last taken.
#[derive(Debug, Clone, Default)]
struct Dirty {
    head: bool,
    epochs: bool,
    producers: BTreeSet<ProducerId>,
}

/// The replicated state of one partition.
#[derive(Debug, Clone, Default)]
pub struct Partition {
    applied: LogIndex,
    log_start: Offset,
    log_end: Offset,
    /// Payload since the partition's birth, bytes.
    bytes_total: u64,
    /// Payload since the last boundary, bytes.
    bytes_since_boundary: u64,
    /// Replicated time of the first append since the last boundary, if there was one.
    segment_began_ms: Option<i64>,
    /// Largest record timestamp ever, with the offset just before its entry.
    max_timestamp_ms: Option<i64>,
    /// Replicated time: the largest `proposed_at_ms` seen, milliseconds since 1970.
    now_ms: i64,
    index: BlockIndex,
    producers: BTreeMap<ProducerId, Producer>,
    /// First offset of each leader epoch that has records, oldest first.
    epochs: BTreeMap<Term, Offset>,
    /// Oldest first; those that no reader needs any more are dropped, but the newest of them.
    boundaries: Vec<Boundary>,
    dirty: Dirty,
}

/// Compares the state, not which rows are waiting to be written.
impl PartialEq for Partition {
    fn eq(&self, other: &Self) -> bool {
        self.applied == other.applied
            && self.log_start == other.log_start
            && self.log_end == other.log_end
            && self.bytes_total == other.bytes_total
            && self.bytes_since_boundary == other.bytes_since_boundary
            && self.segment_began_ms == other.segment_began_ms
            && self.max_timestamp_ms == other.max_timestamp_ms
            && self.now_ms == other.now_ms
            && self.index == other.index
            && self.producers == other.producers
            && self.epochs == other.epochs
            && self.boundaries == other.boundaries
    }
}

impl Partition {
    fn apply_append(&mut self, meta: &EntryMeta, append: &Append, effects: &mut Effects) -> Reply {
        let log_index = LogIndex(meta.log_index);
        let batches = match check_append(append, Term(meta.term), self.log_end) {
            Ok(batches) => batches,
            Err(reason) => {
                tracing::trace!(target: "raftmq::mark", name = "entry_void");
                effects.push(Effect::Voided { log_index, reason });
                return Reply::Void(reason);
            }
        };
        let base_offset = append.base_offset;
        let position = Position {
            log_index,
            base_offset,
        };
        let timestamp_ms = batches
            .iter()
            .map(|batch| batch.header.max_timestamp)
            .max()
            .filter(|timestamp_ms| *timestamp_ms >= 0)
            .unwrap_or(self.now_ms);
        self.index.observe(position, self.bytes_total, timestamp_ms);
        self.max_timestamp_ms = self.max_timestamp_ms.max(Some(timestamp_ms));
        self.begin_epoch(Term(meta.term), base_offset);
        for batch in &batches {
            self.apply_batch(batch);
        }
        self.count_payload(append);
        assert!(
            self.log_end > base_offset,
            "an append without records was applied"
        );
        effects.push(Effect::Committed {
            log_end: self.log_end,
        });
        self.close_full_segment(log_index, append.segment_bytes, effects);
        Reply::Appended {
            base_offset,
            log_end: self.log_end,
        }
    }

    fn begin_epoch(&mut self, term: Term, base_offset: Offset) {
        if self
            .epochs
            .last_key_value()
            .is_some_and(|(last, _)| *last >= term)
        {
            return;
        }
        self.epochs.insert(term, base_offset);
        self.dirty.epochs = true;
        while self.epochs.len() > EPOCHS_COUNT_MAX {
            self.epochs.pop_first();
        }
        if planted::is_planted(Bug::DedupLostOnLeaderChange) {
            self.dirty.producers.extend(self.producers.keys().copied());
            self.producers.clear();
        }
    }

    fn apply_batch(&mut self, batch: &Batch) {
        let header = &batch.header;
        let base_offset = Offset(header.base_offset);
        // Never back: batches are checked to come in sequence, unless a bug is planted.
        self.log_end = self.log_end.max(batch.next_offset());
        if header.producer_id < 0 {
            return;
        }
        let now_ms = self.now_ms;
        let producer_id = ProducerId(header.producer_id);
        self.producers
            .entry(producer_id)
            .and_modify(|producer| producer.record(header, base_offset, now_ms))
            .or_insert_with(|| Producer::starting_with(header, base_offset, now_ms));
        self.dirty.producers.insert(producer_id);
        self.evict_producers();
    }

    /// Drops the producers that were idle for longest when there are too many, the same ones on
    /// every replica. They are treated like expired ones from then on.
    fn evict_producers(&mut self) {
        if self.producers.len() <= PRODUCERS_COUNT_MAX {
            return;
        }
        let mut by_age: Vec<(i64, ProducerId)> = self
            .producers
            .iter()
            .map(|(producer_id, producer)| (producer.last_appended_at_ms, *producer_id))
            .collect();
        by_age.sort_unstable();
        for (_, producer_id) in by_age.into_iter().take(PRODUCERS_EVICTED_COUNT) {
            self.producers.remove(&producer_id);
            self.dirty.producers.insert(producer_id);
        }
        tracing::trace!(target: "raftmq::mark", name = "producers_evicted");
    }

    fn count_payload(&mut self, append: &Append) {
        let bytes = append.batches.len() as u64;
        self.bytes_total += bytes;
        self.bytes_since_boundary += bytes;
        self.segment_began_ms.get_or_insert(self.now_ms);
    }

    fn close_full_segment(
        &mut self,
        log_index: LogIndex,
        segment_bytes: u64,
        effects: &mut Effects,
    ) {
        let segment_bytes = match segment_bytes {
            0 => SEGMENT_BYTES_DEFAULT,
            given => given.max(SEGMENT_BYTES_MIN),
        };
        if self.bytes_since_boundary >= segment_bytes {
            self.close_segment(log_index, effects);
        }
    }

    fn close_old_segment(
        &mut self,
        log_index: LogIndex,
        age_ms_min: i64,
        effects: &mut Effects,
    ) -> Reply {
        let is_closed = self
            .segment_age_ms(self.now_ms)
            .is_some_and(|age_ms| age_ms >= age_ms_min);
        if is_closed {
            tracing::trace!(target: "raftmq::mark", name = "segment_closed_by_age");
            self.close_segment(log_index, effects);
        }
        Reply::SegmentClosed { is_closed }
    }

    fn close_segment(&mut self, log_index: LogIndex, effects: &mut Effects) {
        let log_end = self.log_end;
        self.bytes_since_boundary = 0;
        self.segment_began_ms = None;
        self.boundaries.push(Boundary { log_index, log_end });
        thin_out(&mut self.boundaries);
        self.index.begin_next();
        tracing::trace!(target: "raftmq::mark", name = "segment_boundary");
        effects.push(Effect::Checkpoint { log_index, log_end });
    }

    fn advance_log_start(&mut self, asked: Offset, effects: &mut Effects) -> Reply {
        let log_start = asked.min(self.log_end);
        if log_start <= self.log_start {
            return Reply::LogStart {
                log_start: self.log_start,
            };
        }
        self.log_start = log_start;
        self.index.trim(log_start);
        self.trim_epochs();
        let below = self
            .boundaries
            .partition_point(|boundary| boundary.log_end <= log_start);
        self.boundaries.drain(..below.saturating_sub(1));
        assert!(
            self.log_start <= self.log_end,
            "log start {log_start} lies after the log end"
        );
        let floor = self.checkpoint_floor(log_start);
        tracing::trace!(target: "raftmq::mark", name = "log_start_advanced");
        effects.push(Effect::LogStartAdvanced { log_start, floor });
        Reply::LogStart { log_start }
    }

    /// Drops epochs that end at or below the log start; the newest one stays.
    fn trim_epochs(&mut self) {
        let log_start = self.log_start;
        let holds_start = self
            .epochs
            .iter()
            .rev()
            .find(|(_, start)| **start <= log_start)
            .map(|(term, _)| *term);
        let Some(holds_start) = holds_start else {
            return;
        };
        let kept = self.epochs.split_off(&holds_start);
        self.dirty.epochs |= !self.epochs.is_empty();
        self.epochs = kept;
    }

    /// Drops from memory what finds records below `offset` in the log: they were compacted away,
    /// or are found among the survivors. Local to this replica, like the purge that follows it.
    pub fn forget_index_below(&mut self, offset: Offset) {
        self.index.trim(offset);
    }

    fn expire_producers(&mut self, idle_before_ms: i64) -> Reply {
        let count_before = self.producers.len();
        let dirty = &mut self.dirty.producers;
        self.producers.retain(|producer_id, producer| {
            let stays = producer.last_appended_at_ms >= idle_before_ms;
            if !stays {
                dirty.insert(*producer_id);
            }
            stays
        });
        Reply::ProducersExpired {
            count: count_before - self.producers.len(),
        }
    }
}

impl Machine for Partition {
    type Command = Command;
    type Reply = Reply;

    fn decode(bytes: &Bytes) -> Result<Command, CodecError> {
        Command::decode(bytes)
    }

    fn apply(&mut self, meta: &EntryMeta, command: Command, effects: &mut Effects) -> Reply {
        let log_end_before = self.log_end;
        self.applied = LogIndex(meta.log_index);
        self.now_ms = self.now_ms.max(meta.proposed_at_ms);
        self.dirty.head = true;
        let reply = match command {
            Command::Append(append) => self.apply_append(meta, &append, effects),
            Command::AdvanceLogStart {
                log_start,
                reason: _,
            } => self.advance_log_start(log_start, effects),
            Command::ExpireProducers { idle_before_ms } => self.expire_producers(idle_before_ms),
            Command::CloseSegment { age_ms_min } => {
                self.close_old_segment(self.applied, age_ms_min, effects)
            }
        };
        assert!(self.log_end >= log_end_before, "the next offset went back");
        reply
    }

    fn dirty_rows(&mut self) -> RowUpdates {
        rows::take_dirty(self)
    }

    fn restore(rows: impl Iterator<Item = (Bytes, Bytes)>) -> Result<Self, RestoreError> {
        rows::restore(rows)
    }

    fn checkpoint(&self) -> Bytes {
        rows::checkpoint(self)
    }

    fn restore_checkpoint(bytes: &Bytes) -> Result<Self, RestoreError> {
        rows::restore_checkpoint(bytes)
    }
}
