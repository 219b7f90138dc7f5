//! What a group knows in memory: its log's bounds, vote, marks and newest entries.
//!
//! Owns the arithmetic on them. Does no input or output, and is changed only under its lock.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::config::Durability;
use crate::survivors::SurvivorCache;
use crate::tail_cache::ENTRY_OVERHEAD_BYTES;
use crate::types::{Entry, GroupId, LogId, Vote};

/// An entry in the cache.
#[derive(Debug, Clone)]
pub(crate) struct CachedEntry {
    pub(crate) entry: Entry,
    pub(crate) bytes_before: u64,
    pub(crate) payload_bytes: usize,
    /// Number of the append that brought it, in submission order over all groups.
    pub(crate) submission: u64,
}

impl CachedEntry {
    pub(crate) const fn cost(&self) -> usize {
        self.payload_bytes + ENTRY_OVERHEAD_BYTES
    }
}

/// What a group knows in memory.
#[derive(Debug, Default)]
pub(crate) struct GroupInner {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    /// Log index of the first entry, when there is one.
    pub(crate) first_index: Option<u64>,
    /// Payload bytes ever appended before the first entry, and up to the last one.
    pub(crate) bytes_first: u64,
    pub(crate) bytes_end: u64,
    /// Highest log index that is written as durably as the group's mode asks.
    pub(crate) durable_index: Option<u64>,
    /// Highest log id that this replica acknowledged.
    pub(crate) acknowledged: Option<LogId>,
    /// Entries from here on are on the disk but hidden, because this one is damaged.
    pub(crate) hidden_from: Option<u64>,
    pub(crate) damaged: Option<&'static str>,
    pub(crate) is_removed: bool,
    pub(crate) durability: Option<Durability>,
    /// Newest entries, contiguous up to the last one.
    pub(crate) tail: VecDeque<CachedEntry>,
    /// Where the cache's order of eviction has this group; `None` while it is not in it.
    pub(crate) queued_at: Option<u64>,
}

impl GroupInner {
    pub(crate) fn next_index(&self) -> Option<u64> {
        self.last.map(|last| last.index + 1)
    }

    /// Drops cached entries from `from` on and gives back their cost.
    pub(crate) fn cut_tail_from(&mut self, from: u64) -> usize {
        let mut freed = 0;
        while self
            .tail
            .back()
            .is_some_and(|cached| cached.entry.log_id.index >= from)
        {
            freed += self.tail.pop_back().map_or(0, |cached| cached.cost());
        }
        freed
    }

    /// Drops cached entries up to `upto`, inclusive, and gives back their cost.
    pub(crate) fn cut_tail_to(&mut self, upto: u64) -> usize {
        let mut freed = 0;
        while self
            .tail
            .front()
            .is_some_and(|cached| cached.entry.log_id.index <= upto)
        {
            freed += self.tail.pop_front().map_or(0, |cached| cached.cost());
        }
        if self.tail.is_empty() {
            self.tail = VecDeque::new();
        }
        freed
    }

    /// Drops the durable cached entries of one append at the front, and gives back their cost.
    pub(crate) fn cut_durable(&mut self, submission: u64) -> usize {
        let of_append = self
            .tail
            .iter()
            .take_while(|cached| cached.submission == submission);
        let last = of_append.last().map(|cached| cached.entry.log_id.index);
        match last.min(self.durable_index) {
            Some(upto) => self.cut_tail_to(upto),
            None => 0,
        }
    }

    /// Drops every cached entry and gives back their cost.
    pub(crate) fn clear_tail(&mut self) -> usize {
        self.cut_tail_to(u64::MAX)
    }

    /// Copies cached entries, by reference count, until `bytes_max` is passed.
    pub(crate) fn copy_cached(&self, from: u64, end: u64, bytes_max: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let front = self
            .tail
            .front()
            .map_or(from, |front| front.entry.log_id.index);
        let skip = usize::try_from(from - front).unwrap_or(usize::MAX);
        for cached in self.tail.iter().skip(skip) {
            if cached.entry.log_id.index >= end || (!entries.is_empty() && bytes >= bytes_max) {
                break;
            }
            bytes += cached.payload_bytes;
            entries.push(cached.entry.clone());
        }
        entries
    }

    pub(crate) fn cached(&self, index: u64) -> Option<&CachedEntry> {
        let front = self.tail.front()?.entry.log_id.index;
        let place = usize::try_from(index.checked_sub(front)?).ok()?;
        self.tail.get(place)
    }
}

/// A group as all its handles share it.
#[derive(Debug)]
pub(crate) struct GroupShared {
    pub(crate) id: GroupId,
    pub(crate) inner: Mutex<GroupInner>,
    pub(crate) survivors: SurvivorCache,
}
