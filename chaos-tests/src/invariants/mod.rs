//! Raft's safety properties, checked after every tick of the simulation: one property a file.
//!
//! The twelve of openraft's own fuzzer: election safety, log matching, leader completeness, state
//! machine safety, committed on quorum, committed immutable, state ordering, and that term, vote,
//! committed, applied and the state machine's bounds never go back.
//! They read [`RaftStatus`], a plain struct, and know neither openraft nor the simulator.
//!
//! Sources: Raft (ATC 2014) figure 3; Vanlightly's `Raft.tla`; openraft `tests-turmoil`.

mod committed_immutable;
mod committed_on_quorum;
mod election_safety;
mod leader_completeness;
mod log_matching;
mod monotonic;
mod state_machine_safety;
mod state_ordering;
mod status;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

pub use status::{LogPosition, RaftStatus, StateStatus, TermRun, VoteStatus};

/// Names of the invariants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invariant {
    /// One leader per term.
    ElectionSafety,
    /// Committed parts of two logs are equal.
    LogMatching,
    /// A later leader has every committed entry.
    LeaderCompleteness,
    /// Equal applied positions mean equal states.
    StateMachineSafety,
    /// What a leader committed is on the disks of a quorum.
    CommittedOnQuorum,
    /// A committed entry keeps its term for ever.
    CommittedImmutable,
    /// purged ≤ snapshot ≤ applied ≤ committed ≤ last.
    StateOrdering,
    /// A replica's term never falls, not even over a restart.
    MonotonicTerm,
    /// A replica's vote never falls, not even over a restart.
    MonotonicVote,
    /// A running replica's committed position never falls.
    MonotonicCommitted,
    /// A running replica's applied position never falls.
    MonotonicApplied,
    /// A running replica's log bounds (first and next offset) never fall.
    MonotonicState,
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Of what.
    pub invariant: Invariant,
    /// Of which group.
    pub group: u64,
    /// Who, where and how.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}: group {}: {}",
            self.invariant, self.group, self.detail
        )
    }
}

/// Checks every invariant and remembers what the next tick is compared with.
#[derive(Debug, Default)]
pub struct Invariants {
    groups: BTreeMap<u64, Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    last_seen: Vec<Rc<RaftStatus>>,
    elections: election_safety::Leaders,
    committed: committed_immutable::Witness,
    states: state_machine_safety::Witness,
    monotonic: monotonic::LastSeen,
}

impl Invariants {
    /// Checks the replicas of all groups at one instant; a stopped replica is left out. Only groups that
    /// show something new are checked again.
    #[must_use]
    pub fn check(&mut self, statuses: &[Rc<RaftStatus>]) -> Vec<Violation> {
        let mut by_group: Vec<&Rc<RaftStatus>> = statuses.iter().collect();
        by_group.sort_by_key(|status| status.group);
        let mut violations = Vec::new();
        for replicas in by_group.chunk_by(|a, b| a.group == b.group) {
            let group = replicas[0].group;
            let memory = self.groups.entry(group).or_default();
            if !memory.last_seen.iter().eq(replicas.iter().copied()) {
                memory.last_seen = replicas.iter().map(|status| Rc::clone(status)).collect();
                violations.extend(memory.check(group));
            }
        }
        violations
    }
}

impl Memory {
    /// Checks what was seen last.
    fn check(&mut self, group: u64) -> Vec<Violation> {
        let mut found = Vec::new();
        let replicas: Vec<&RaftStatus> = self.last_seen.iter().map(|status| &**status).collect();
        let replicas = replicas.as_slice();
        self.elections.check(replicas, &mut found);
        log_matching::check(replicas, &mut found);
        leader_completeness::check(replicas, &self.committed, &mut found);
        self.states.check(replicas, &mut found);
        committed_on_quorum::check(replicas, &mut found);
        self.committed.check(replicas, &mut found);
        state_ordering::check(replicas, &mut found);
        self.monotonic.check(replicas, &mut found);
        found
            .into_iter()
            .map(|(invariant, detail)| Violation {
                invariant,
                group,
                detail,
            })
            .collect()
    }
}

/// What a check found so far.
type Found = Vec<(Invariant, String)>;

#[cfg(test)]
mod tests {
    use super::testing::{follower, leader};
    use super::*;

    fn check(invariants: &mut Invariants, statuses: &[RaftStatus]) -> Vec<Violation> {
        let shared: Vec<Rc<RaftStatus>> = statuses.iter().cloned().map(Rc::new).collect();
        invariants.check(&shared)
    }

    #[test]
    fn a_healthy_group_violates_nothing() {
        let mut invariants = Invariants::default();

        assert_eq!(
            check(
                &mut invariants,
                &[leader(1, 2, 9), follower(2, 2, 9), follower(3, 2, 8)]
            ),
            []
        );
        assert_eq!(
            check(
                &mut invariants,
                &[leader(1, 2, 10), follower(2, 2, 9), follower(3, 2, 9)]
            ),
            []
        );
    }

    #[test]
    fn groups_are_judged_apart() {
        let mut invariants = Invariants::default();
        let mut other = leader(2, 2, 9);
        other.group = 8;

        assert_eq!(check(&mut invariants, &[leader(1, 2, 9), other]), []);
    }

    #[test]
    fn a_violation_names_its_group() {
        let mut invariants = Invariants::default();

        let violations = check(&mut invariants, &[leader(1, 2, 9), leader(2, 2, 9)]);

        assert_eq!(violations[0].invariant, Invariant::ElectionSafety);
        assert_eq!(violations[0].group, 7);
    }
}
