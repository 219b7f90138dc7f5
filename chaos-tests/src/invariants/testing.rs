//! Hand-made replicas for the truth tests of the invariants.

use super::{Found, Invariant, LogPosition, RaftStatus, TermRun, VoteStatus};

pub(super) fn at(term: u64, index: u64) -> Option<LogPosition> {
    Some(LogPosition { term, index })
}

/// A follower of group 7 that has applied everything up to `last`, all of one term.
pub(super) fn follower(broker: u32, term: u64, last: u64) -> RaftStatus {
    RaftStatus {
        broker,
        incarnation: 1,
        group: 7,
        is_leader: false,
        vote: VoteStatus {
            term,
            is_committed: true,
            candidate: 1,
        },
        last_log: Some(last),
        flushed: Some(last),
        lost_up_to: None,
        committed: at(term, last),
        applied: at(term, last),
        snapshot: None,
        purged: None,
        terms: vec![TermRun {
            first_index: 0,
            term,
        }],
        voters: vec![[1, 2, 3].into()],
        membership_at: at(term, 0),
        state: None,
    }
}

/// As [`follower`], but leading; committed stays one behind so that a follower need not have all.
pub(super) fn leader(broker: u32, term: u64, last: u64) -> RaftStatus {
    RaftStatus {
        is_leader: true,
        vote: VoteStatus {
            term,
            is_committed: true,
            candidate: broker,
        },
        committed: at(term, last - 1),
        applied: at(term, last - 1),
        ..follower(broker, term, last)
    }
}

pub(super) fn kinds(found: &Found) -> Vec<Invariant> {
    found.iter().map(|(invariant, _)| *invariant).collect()
}
