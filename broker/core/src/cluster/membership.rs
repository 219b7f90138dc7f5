//! How a group's Raft membership gets from where it is to a target: one step at a time.
//!
//! Pure: the leader's view of its membership and followers comes in, the next step comes out, so
//! that a move goes on from any state after any crash or change of target. Learners first, until
//! they are caught up; then the voters through a joint membership (Raft section 4.3); then whoever is
//! left over goes. Does not know openraft, the image or the wire.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::BrokerId;
use crate::planted::{Bug, is_planted};

/// Entries by which a learner may lag and still become a voter: commits wait for it from then on.
pub const CAUGHT_UP_LAG_ENTRIES_MAX: u64 = 64;

/// What the leader of a group knows of its members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// The voters; two sets while a joint membership is in force, the older one first.
    pub voters: Vec<BTreeSet<BrokerId>>,
    /// Members that do not vote.
    pub learners: BTreeSet<BrokerId>,
    /// The newest membership in the log is committed.
    pub is_committed: bool,
    /// The last log index of the leader.
    pub last_index: u64,
    /// The last log index that each other member has flushed, as far as the leader knows.
    pub matched: BTreeMap<BrokerId, u64>,
    /// Who the leader is.
    pub leader: BrokerId,
}

/// Where a membership is to get.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Goal {
    /// Who is to vote; not empty.
    pub voters: BTreeSet<BrokerId>,
    /// Who is to be a member without a vote.
    pub learners: BTreeSet<BrokerId>,
}

/// How much of the log the members of a goal still lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CatchUp {
    /// Entries that the one which is furthest behind lacks.
    pub entries_left: u64,
    /// Entries that the leader keeps: what a new member is sent.
    pub entries_count: u64,
}

/// What the leader is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The last change is not committed yet.
    AwaitCommit,
    /// Let these learn.
    AddLearner(BrokerId),
    /// These learners are not caught up yet.
    AwaitLearners(BTreeSet<BrokerId>),
    /// Let exactly these vote; through a joint membership where one is needed.
    ChangeVoters(BTreeSet<BrokerId>),
    /// These members neither vote nor are wanted.
    RemoveLearners(BTreeSet<BrokerId>),
    /// The committed membership is the target and nothing else.
    Done,
}

impl Membership {
    /// Finds the next step towards the voters `target` and nobody else; it must not be empty.
    #[must_use]
    pub fn next_step(&self, target: &BTreeSet<BrokerId>) -> Step {
        self.next_step_to(&Goal {
            voters: target.clone(),
            learners: BTreeSet::new(),
        })
    }

    /// Finds the next step towards `goal`.
    #[must_use]
    pub fn next_step_to(&self, goal: &Goal) -> Step {
        let target = &goal.voters;
        let is_early = is_planted(Bug::MoveDoneTooEarly) && goal.learners.is_empty();
        if is_early && self.voters.contains(target) {
            return Step::Done;
        }
        if !self.is_committed {
            return Step::AwaitCommit;
        }
        match self.voters.as_slice() {
            [older, newer] => {
                // A joint membership leads on to either of its halves at once. Any other target
                // begins from the older one, whose members have always held the log.
                let next = if newer == target { newer } else { older };
                Step::ChangeVoters(next.clone())
            }
            [voters] if voters == target => self.settle_learners(goal),
            _ => self.prepare(target),
        }
    }

    /// Tells how far the members of `goal` are; `first_index` is the first entry that the leader keeps.
    #[must_use]
    pub fn catch_up(&self, goal: &Goal, first_index: u64) -> CatchUp {
        let entries_count = (self.last_index + 1).saturating_sub(first_index);
        let left = |id: &BrokerId| match self.matched.get(id) {
            _ if *id == self.leader => 0,
            Some(matched) => self.last_index.saturating_sub(*matched).min(entries_count),
            None => entries_count,
        };
        let members = goal.voters.union(&goal.learners);
        CatchUp {
            entries_left: members.map(left).max().unwrap_or(0),
            entries_count,
        }
    }

    /// Members that have the leader's log, but for a little.
    #[must_use]
    pub fn caught_up(&self) -> BTreeSet<BrokerId> {
        let voters = self.voters.iter().flatten();
        let members = voters.chain(&self.learners).copied();
        members.filter(|id| self.is_caught_up(*id)).collect()
    }

    fn settle_learners(&self, goal: &Goal) -> Step {
        if let Some(missing) = goal.learners.difference(&self.learners).next() {
            return Step::AddLearner(*missing);
        }
        let left: BTreeSet<BrokerId> = self.learners.difference(&goal.learners).copied().collect();
        if left.is_empty() {
            Step::Done
        } else {
            Step::RemoveLearners(left)
        }
    }

    fn prepare(&self, target: &BTreeSet<BrokerId>) -> Step {
        let is_voter = |id: &BrokerId| self.voters.iter().any(|set| set.contains(id));
        let mut added = target.iter().filter(|id| !is_voter(id));
        if let Some(missing) = added.clone().find(|id| !self.learners.contains(id)) {
            return Step::AddLearner(*missing);
        }
        let lagging: BTreeSet<BrokerId> = added
            .by_ref()
            .filter(|id| !self.is_caught_up(**id))
            .copied()
            .collect();
        if lagging.is_empty() {
            Step::ChangeVoters(target.clone())
        } else {
            Step::AwaitLearners(lagging)
        }
    }

    fn is_caught_up(&self, id: BrokerId) -> bool {
        let matched = self.matched.get(&id);
        id == self.leader
            || is_planted(Bug::LearnerVotesTooEarly)
            || matched.is_some_and(|matched| {
                self.last_index.saturating_sub(*matched) <= CAUGHT_UP_LAG_ENTRIES_MAX
            })
    }
}
