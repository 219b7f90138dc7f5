//! The sparse index: offset → log index, time → offset, and log sizes, in one list of blocks.
//!
//! A block begins at an `Append` once 64 KiB of payload lie since the last beginning, and always
//! right after a checkpoint, so that purging up to a checkpoint never cuts a block in two.
//! Blocks are numbered for ever; 512 of them make a persisted row, of which only the last
//! changes. Does not know records, producers or the log itself.

use std::collections::VecDeque;

use crate::ids::{LogIndex, Offset};
use crate::limits::{INDEX_CHUNK_ENTRIES_COUNT, INDEX_INTERVAL_BYTES};

/// Blocks in one persisted row.
const CHUNK: u64 = INDEX_CHUNK_ENTRIES_COUNT as u64;

/// Where to start reading: the entry at `log_index` begins with the record at `base_offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The first entry to read.
    pub log_index: LogIndex,
    /// The next offset just before that entry.
    pub base_offset: Offset,
}

/// One block of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its first entry.
    pub log_index: LogIndex,
    /// Its first record.
    pub base_offset: Offset,
    /// Payload of the partition before it, bytes, counted from the partition's birth.
    pub bytes_before: u64,
    /// Largest record timestamp in it, milliseconds since 1970.
    pub max_timestamp_ms: i64,
}

impl Block {
    /// Returns where it begins.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position {
            log_index: self.log_index,
            base_offset: self.base_offset,
        }
    }
}

/// The blocks of one partition that are still held.
#[derive(Debug, Clone, Default)]
pub struct BlockIndex {
    blocks: VecDeque<Block>,
    /// Number of the first block held.
    first_number: u64,
    /// The next append begins a block, whatever its size.
    must_begin: bool,
    /// Lowest block number changed since rows were last taken.
    dirty_from: Option<u64>,
    /// Chunks below this one have no row, or were reported as deleted.
    rows_from_chunk: u64,
}

impl PartialEq for BlockIndex {
    fn eq(&self, other: &Self) -> bool {
        self.blocks == other.blocks
            && self.first_number == other.first_number
            && self.must_begin == other.must_begin
    }
}

impl BlockIndex {
    /// Starts empty, with the number of the next block: after a checkpoint is installed.
    pub(crate) fn empty_from(next_number: u64) -> Self {
        Self {
            first_number: next_number,
            must_begin: true,
            rows_from_chunk: next_number / CHUNK,
            ..Self::default()
        }
    }

    /// Takes blocks back from their rows.
    pub(crate) fn restored(first_number: u64, blocks: VecDeque<Block>, must_begin: bool) -> Self {
        Self {
            blocks,
            first_number,
            must_begin,
            dirty_from: None,
            rows_from_chunk: first_number / CHUNK,
        }
    }

    /// Returns the number that the next block gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.first_number + self.blocks.len() as u64
    }

    pub(crate) const fn must_begin(&self) -> bool {
        self.must_begin
    }

    /// Takes note of an applied append that begins at `position`, before its bytes count.
    pub(crate) fn observe(&mut self, position: Position, bytes_before: u64, timestamp_ms: i64) {
        let is_due = |last: &Block| bytes_before - last.bytes_before >= INDEX_INTERVAL_BYTES;
        if self.must_begin || self.blocks.back().is_none_or(is_due) {
            self.must_begin = false;
            self.blocks.push_back(Block {
                log_index: position.log_index,
                base_offset: position.base_offset,
                bytes_before,
                max_timestamp_ms: timestamp_ms,
            });
        } else if let Some(last) = self.blocks.back_mut() {
            if last.max_timestamp_ms >= timestamp_ms {
                return;
            }
            last.max_timestamp_ms = timestamp_ms;
        }
        let last_number = self.next_number() - 1;
        self.dirty_from = Some(
            self.dirty_from
                .map_or(last_number, |from| from.min(last_number)),
        );
    }

    /// Makes the next append begin a block.
    pub(crate) fn begin_next(&mut self) {
        self.must_begin = true;
    }

    /// Drops whole chunks that lie below `log_start`.
    pub(crate) fn trim(&mut self, log_start: Offset) {
        loop {
            let next_chunk_number = (self.first_number / CHUNK + 1) * CHUNK;
            let in_chunk = next_chunk_number - self.first_number;
            let Ok(in_chunk) = usize::try_from(in_chunk) else {
                return;
            };
            let is_below = self
                .blocks
                .get(in_chunk)
                .is_some_and(|block| block.base_offset <= log_start);
            if !is_below {
                return;
            }
            self.blocks.drain(..in_chunk);
            self.first_number = next_chunk_number;
        }
    }

    /// Finds the block that holds an offset: the last one that begins at or before it.
    #[must_use]
    pub fn find(&self, offset: Offset) -> Option<&Block> {
        let after = self
            .blocks
            .partition_point(|block| block.base_offset <= offset);
        after.checked_sub(1).and_then(|at| self.blocks.get(at))
    }

    /// Shows the blocks from the one that holds `offset` on; all of them when none does.
    pub fn iter_from(&self, offset: Offset) -> impl Iterator<Item = &Block> {
        let after = self
            .blocks
            .partition_point(|block| block.base_offset <= offset);
        self.blocks.range(after.saturating_sub(1)..)
    }

    /// Counts the blocks held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Tells whether no block is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Shows the blocks of one chunk with the number of the first.
    pub(crate) fn chunk(&self, chunk: u64) -> (u64, impl Iterator<Item = &Block>) {
        let first = (chunk * CHUNK).max(self.first_number);
        let end = ((chunk + 1) * CHUNK).min(self.next_number()).max(first);
        let at = |number: u64| usize::try_from(number - self.first_number).unwrap_or(usize::MAX);
        (first, self.blocks.range(at(first)..at(end)))
    }

    /// Takes the chunks to write and those to delete since the last call.
    pub(crate) fn take_dirty(&mut self) -> (Vec<u64>, Vec<u64>) {
        let first_chunk = self.first_number / CHUNK;
        let deletes = (self.rows_from_chunk..first_chunk).collect();
        self.rows_from_chunk = first_chunk;
        let puts = match self.dirty_from.take() {
            None => Vec::new(),
            Some(_) if self.blocks.is_empty() => Vec::new(),
            Some(from) => {
                let from = from.max(self.first_number) / CHUNK;
                (from..=(self.next_number() - 1) / CHUNK).collect()
            }
        };
        (puts, deletes)
    }
}
