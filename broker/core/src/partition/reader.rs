//! Turns raw entries of a partition's log into the record batches that consumers see.
//!
//! Skips void entries by the very rule by which apply voided them, and slices batches out
//! without copying. Does no I/O: the host reads entries from where `Partition::locate` says and
//! feeds them in. Does not know consumers or codecs.

use bytes::Bytes;

use crate::codec::CodecError;
use crate::ids::{LogIndex, Offset, Term};
use crate::partition::append::{Batch, check_append};
use crate::partition::command::Command;
use crate::partition::index::Position;

/// One committed entry as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// Where it stands.
    pub log_index: LogIndex,
    /// The term it was proposed in.
    pub term: Term,
    /// The encoded command; empty for Raft's own entries (blank, membership).
    pub command: Bytes,
}

/// Whether to feed more entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Feed the next entry.
    More,
    /// The byte budget is spent or the end offset is reached.
    Full,
}

/// Collects committed batches from an offset on.
#[derive(Debug, Clone)]
pub struct LogReader {
    next_log_index: LogIndex,
    expected: Offset,
    from: Offset,
    until: Offset,
    bytes_max: usize,
    bytes: usize,
    batches: Vec<Batch>,
}

impl LogReader {
    /// Starts at a position that [`locate`](super::Partition::locate) gave, for records from
    /// `from` (a batch that holds it is taken whole) up to, not including, `until` (the log end
    /// when the position was taken). Takes at most `bytes_max` bytes, but at least one batch, so
    /// that a consumer with a small limit gets on (KIP-74).
    #[must_use]
    pub const fn new(position: Position, from: Offset, until: Offset, bytes_max: usize) -> Self {
        Self {
            next_log_index: position.log_index,
            expected: position.base_offset,
            from,
            until,
            bytes_max,
            bytes: 0,
            batches: Vec::new(),
        }
    }

    /// Returns the entry to feed next.
    #[must_use]
    pub const fn next_log_index(&self) -> LogIndex {
        self.next_log_index
    }

    /// Counts the bytes collected so far.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the position after everything fed: where a later reader may go on without a new
    /// `locate`. Only valid when the last [`LogReader::feed`] said [`Progress::More`].
    #[must_use]
    pub const fn position(&self) -> Position {
        Position {
            log_index: self.next_log_index,
            base_offset: self.expected,
        }
    }

    /// Takes one entry; entries must come in log order without gaps.
    ///
    /// # Errors
    /// The entry's command does not decode.
    pub fn feed(&mut self, entry: &RawEntry) -> Result<Progress, CodecError> {
        assert_eq!(
            entry.log_index, self.next_log_index,
            "entries are fed in log order"
        );
        if self.expected >= self.until {
            return Ok(Progress::Full);
        }
        self.next_log_index = LogIndex(entry.log_index.0 + 1);
        if entry.command.is_empty() {
            return Ok(Progress::More);
        }
        let append = match Command::decode(&entry.command)? {
            Command::Append(append) => append,
            Command::AdvanceLogStart { .. }
            | Command::ExpireProducers { .. }
            | Command::CloseSegment { .. } => {
                return Ok(Progress::More);
            }
        };
        let Ok(batches) = check_append(&append, entry.term, self.expected) else {
            return Ok(Progress::More);
        };
        for batch in batches {
            if self.take(batch) == Progress::Full {
                return Ok(Progress::Full);
            }
        }
        Ok(if self.expected >= self.until {
            Progress::Full
        } else {
            Progress::More
        })
    }

    /// Ends the reading: the batches in order of offsets, sharing the entries' bytes.
    #[must_use]
    pub fn finish(self) -> Vec<Batch> {
        self.batches
    }

    fn take(&mut self, batch: Batch) -> Progress {
        let next_offset = batch.next_offset();
        if next_offset > self.from {
            let bytes = self.bytes.saturating_add(batch.bytes.len());
            if bytes > self.bytes_max && !self.batches.is_empty() {
                return Progress::Full;
            }
            self.bytes = bytes;
            self.batches.push(batch);
        }
        self.expected = self.expected.max(next_offset);
        Progress::More
    }
}
