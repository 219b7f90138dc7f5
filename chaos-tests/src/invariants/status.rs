//! What one replica of one Raft group shows of itself, in plain numbers.
//!
//! Owns the shape that invariants read. It knows no openraft type: the harness translates.

use std::collections::BTreeSet;

/// Term and index of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Term of the leader that wrote it.
    pub term: u64,
    /// Log index.
    pub index: u64,
}

impl LogPosition {
    /// Behind every entry.
    pub const MAX: Self = Self {
        term: u64::MAX,
        index: u64::MAX,
    };
}

/// A vote; the order is Raft's: term, then granted before committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct VoteStatus {
    /// Term.
    pub term: u64,
    /// Whether a quorum granted it.
    pub is_committed: bool,
    /// For whom.
    pub candidate: u32,
}

/// A run of log entries of one term: from this index to the next run or the log's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermRun {
    /// First index.
    pub first_index: u64,
    /// Term of all of them.
    pub term: u64,
}

/// A state machine, read under one lock; it may be ahead of what its replica reports as applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateStatus {
    /// Index of the last command that changed it.
    pub applied_index: u64,
    /// First offset.
    pub log_start: i64,
    /// Next offset.
    pub log_end: i64,
    /// Hash of what replicas must agree on.
    pub hash: u64,
}

/// A replica at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RaftStatus {
    /// The broker.
    pub broker: u32,
    /// Grows with each start of the broker.
    pub incarnation: u64,
    /// The Raft group.
    pub group: u64,
    /// Whether it believes that it leads.
    pub is_leader: bool,
    /// Its vote, as it stands on disk or is about to.
    pub vote: VoteStatus,
    /// Index of the last entry of its log, flushed or not.
    pub last_log: Option<u64>,
    /// Index of the last entry that is on its disk; `None` where the harness cannot tell.
    pub flushed: Option<u64>,
    /// Up to where its disk had the log before some of it was damaged; the rest is on its way again.
    /// `None` where nothing is missing.
    pub lost_up_to: Option<LogPosition>,
    /// Last entry that it knows to be committed.
    pub committed: Option<LogPosition>,
    /// Last entry that its state machine has.
    pub applied: Option<LogPosition>,
    /// Where its snapshot ends.
    pub snapshot: Option<LogPosition>,
    /// Last entry that is gone from the log.
    pub purged: Option<LogPosition>,
    /// Terms of the entries above the purge point, in order; may be empty where unknown.
    pub terms: Vec<TermRun>,
    /// Voters: one set, or two during a joint change.
    pub voters: Vec<BTreeSet<u32>>,
    /// Where that membership stands in the log.
    pub membership_at: Option<LogPosition>,
    /// The state machine, of kinds that show it.
    pub state: Option<StateStatus>,
}

impl RaftStatus {
    /// The term of the entry at `index`, as far as this replica knows it.
    #[must_use]
    pub fn term_at(&self, index: u64) -> Option<u64> {
        let known = [self.committed, self.applied, self.snapshot, self.purged];
        if let Some(position) = known.into_iter().flatten().find(|at| at.index == index) {
            return Some(position.term);
        }
        if self.last_log.is_none_or(|last| index > last)
            || self.purged.is_some_and(|purged| index <= purged.index)
        {
            return None;
        }
        self.terms
            .iter()
            .rev()
            .find(|run| run.first_index <= index)
            .map(|run| run.term)
    }

    /// First index that may still be in the log.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    /// Indexes at which this replica's log changes its term, and its well-known positions, up to
    /// and including `last`: if two logs agree there, they agree everywhere between.
    pub fn landmarks(&self, last: u64) -> impl Iterator<Item = u64> {
        let known = [self.committed, self.applied, self.snapshot, self.purged];
        let known = known.into_iter().flatten().map(|position| position.index);
        let runs = self.terms.iter().map(|run| run.first_index);
        let mut indexes: Vec<u64> = known.chain(runs).filter(|index| *index <= last).collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes.into_iter()
    }
}
