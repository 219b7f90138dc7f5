//! One partition as its leader and its log see it.

use bytes::Bytes;
use raftmq_core::partition::{
    AppendBuilder, AppendError, Batch, Command, Decision, LogReader, LogStartReason, Partition,
    Pending, RawEntry, Reply,
};
use raftmq_core::{Effect, Effects, LogIndex, Machine, Offset, Term};

use super::batch::BatchSpec;
use super::{Rows, meta};

/// A partition with its log, in which every entry is committed as soon as it is proposed.
#[derive(Debug, Clone)]
pub(crate) struct Harness {
    pub(crate) partition: Partition,
    pub(crate) log: Vec<RawEntry>,
    pub(crate) rows: Rows,
    pub(crate) term: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) now_ms: i64,
    /// The checkpoints that effects asked for, newest last.
    pub(crate) checkpoints: Vec<(LogIndex, Bytes)>,
}

/// What one entry did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Applied {
    pub(crate) reply: Reply,
    pub(crate) effects: Vec<Effect>,
}

impl Default for Harness {
    fn default() -> Self {
        Self {
            partition: Partition::default(),
            log: Vec::new(),
            rows: Rows::default(),
            term: 1,
            segment_bytes: 0,
            now_ms: super::NOW_MS,
            checkpoints: Vec::new(),
        }
    }
}

impl Harness {
    pub(crate) fn next_log_index(&self) -> u64 {
        self.log.len() as u64 + 1
    }

    /// Commits raw bytes of a command, as an entry of the present term.
    pub(crate) fn commit(&mut self, command: Bytes) -> Applied {
        let entry = RawEntry {
            log_index: LogIndex(self.next_log_index()),
            term: Term(self.term),
            command,
        };
        self.log.push(entry.clone());
        let mut effects = Effects::new();
        let mut meta = meta(entry.log_index.0, self.term);
        meta.proposed_at_ms = self.now_ms;
        let command = Partition::decode(&entry.command).unwrap();
        let reply = self.partition.apply(&meta, command, &mut effects);
        let effects: Vec<Effect> = effects.drain().collect();
        for effect in &effects {
            if let Effect::Checkpoint { log_index, .. } = effect {
                self.checkpoints
                    .push((*log_index, self.partition.checkpoint()));
            }
        }
        Applied { reply, effects }
    }

    /// Adds an entry of Raft's own: it takes no offset and the machine never sees it.
    pub(crate) fn commit_blank(&mut self) {
        let log_index = LogIndex(self.next_log_index());
        self.log.push(RawEntry {
            log_index,
            term: Term(self.term),
            command: Bytes::new(),
        });
    }

    /// Builds the entry of some batches, from `base_offset` on, stamped by the present leader.
    pub(crate) fn entry(&self, base_offset: Offset, batches: &[BatchSpec]) -> Bytes {
        entry_of(self.term, base_offset, self.segment_bytes, batches)
    }

    /// Appends batches without deciding.
    pub(crate) fn append(&mut self, batches: &[BatchSpec]) -> Applied {
        let entry = self.entry(self.partition.log_end(), batches);
        self.commit(entry)
    }

    /// Decides on one batch with nothing in flight, and appends it if that is the decision.
    pub(crate) fn produce(&mut self, batch: BatchSpec) -> Result<Decision, AppendError> {
        let pending = Pending::new(&self.partition);
        let decision = self.partition.decide(&pending, &batch.header())?;
        if let Decision::Append { base_offset } = decision {
            let entry = self.entry(base_offset, &[batch]);
            let applied = self.commit(entry);
            assert!(
                matches!(applied.reply, Reply::Appended { .. }),
                "{applied:?}"
            );
        }
        Ok(decision)
    }

    pub(crate) fn advance_log_start(&mut self, log_start: i64) -> Applied {
        let command = Command::AdvanceLogStart {
            log_start: Offset(log_start),
            reason: LogStartReason::DeleteRecords,
        };
        self.commit(command.encode())
    }

    /// Persists what changed, as the host does now and then.
    pub(crate) fn persist(&mut self) {
        self.rows.update(self.partition.dirty_rows());
    }

    /// Reads from an offset as a fetch does.
    pub(crate) fn read(&self, from: i64, bytes_max: usize) -> Vec<Batch> {
        let from = Offset(from);
        let position = self.partition.locate(from).unwrap();
        let mut reader = LogReader::new(position, from, self.partition.log_end(), bytes_max);
        let first = usize::try_from(position.log_index.0 - 1).unwrap();
        for entry in self.log.iter().skip(first) {
            if reader.feed(entry).unwrap() == raftmq_core::partition::reader::Progress::Full {
                break;
            }
        }
        reader.finish()
    }
}

/// Builds the entry of some batches, stamped by the leader of `term`.
pub(crate) fn entry_of(
    term: u64,
    base_offset: Offset,
    segment_bytes: u64,
    batches: &[BatchSpec],
) -> Bytes {
    let mut builder = AppendBuilder::new(Term(term), base_offset, segment_bytes, 0);
    let mut next = base_offset;
    for batch in batches {
        builder.push(&batch.bytes(), next, None);
        next = next.advance(i64::from(batch.records_count));
    }
    builder.finish()
}
