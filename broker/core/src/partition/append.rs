//! Whether an `Append` counts: one rule, used by apply on every replica and by every reader.
//!
//! Looks at batch headers only. CRCs were checked by the front end before proposing, and the
//! entry's own checksum covers the bytes since. Does not know the producer states.

use bytes::Bytes;
use raftmq_records::BatchHeader;

use crate::ids::{Offset, Term};
use crate::limits::APPEND_BATCHES_COUNT_MAX;
use crate::partition::command::{Append, batch_leader_epoch};
use crate::planted::{self, Bug};

/// Why an entry takes no effect. It is not asserted: a committed entry that fails an assert would
/// stop every replica at every restart (ARCHITECTURE.md, "Decide before proposing").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoidReason {
    /// It was decided in one term and proposed in another.
    WrongTerm {
        /// The term it was decided in.
        stamped: Term,
        /// The term of the entry.
        actual: Term,
    },
    /// It was decided against another log end.
    WrongBaseOffset {
        /// The offset it was decided for.
        stamped: Offset,
        /// The next offset of the partition.
        expected: Offset,
    },
    /// Its batches do not parse, or are not stamped in sequence.
    Malformed,
}

/// One stamped batch of an `Append`, sharing its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The parsed header.
    pub header: BatchHeader,
    /// The whole batch, header included.
    pub bytes: Bytes,
}

impl Batch {
    /// Returns the offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.header.next_offset())
    }
}

/// Checks an `Append` against its entry's term and the next offset, and parses its headers.
///
/// # Errors
/// The reason why the entry is void. An append without any batch is malformed.
pub fn check_append(
    append: &Append,
    entry_term: Term,
    expected: Offset,
) -> Result<Vec<Batch>, VoidReason> {
    if planted::is_planted(Bug::VoidAccepted) {
        return parse_batches(append, append.base_offset, append.leader_epoch);
    }
    if append.leader_epoch != entry_term {
        return Err(VoidReason::WrongTerm {
            stamped: append.leader_epoch,
            actual: entry_term,
        });
    }
    if append.base_offset != expected {
        return Err(VoidReason::WrongBaseOffset {
            stamped: append.base_offset,
            expected,
        });
    }
    parse_batches(append, expected, entry_term)
}

fn parse_batches(append: &Append, base: Offset, term: Term) -> Result<Vec<Batch>, VoidReason> {
    let mut rest = append.batches.clone();
    let mut next = base;
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let header = BatchHeader::parse(&rest).map_err(|_| VoidReason::Malformed)?;
        let size_bytes = header.total_size_bytes();
        let is_sound = size_bytes <= rest.len()
            && header.base_offset == next.0
            && header.partition_leader_epoch == batch_leader_epoch(term)
            && header.last_offset_delta >= 0
            && header.next_offset() < i64::MAX
            && batches.len() < APPEND_BATCHES_COUNT_MAX;
        if !is_sound {
            return Err(VoidReason::Malformed);
        }
        next = Offset(header.next_offset());
        batches.push(Batch {
            header,
            bytes: rest.split_to(size_bytes),
        });
    }
    if batches.is_empty() {
        return Err(VoidReason::Malformed);
    }
    Ok(batches)
}
