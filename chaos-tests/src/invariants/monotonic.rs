//! What a replica may never take back: term and vote for ever; committed and applied positions and
//! the bounds of its log while it runs.
//!
//! Term and vote are compared over restarts, because a vote that a restart forgets may be given
//! twice. The others start again with the broker: they are rebuilt from disk. A replica that was
//! removed may come back with nothing.

use std::collections::BTreeMap;

use super::{Found, Invariant, RaftStatus};

#[derive(Debug, Default)]
pub(super) struct LastSeen {
    by_broker: BTreeMap<u32, RaftStatus>,
}

impl LastSeen {
    pub(super) fn check(&mut self, replicas: &[&RaftStatus], found: &mut Found) {
        self.forget_removed(replicas);
        for status in replicas {
            let before = self.by_broker.insert(status.broker, (*status).clone());
            if let Some(before) = before.filter(|before| !is_replaced(before, status)) {
                compare(&before, status, found);
            }
        }
    }
}

impl LastSeen {
    /// Forgets replicas that do not run and that the newest committed membership leaves out.
    fn forget_removed(&mut self, replicas: &[&RaftStatus]) {
        let has_committed = |status: &&&RaftStatus| {
            status.membership_at.is_some() && status.membership_at <= status.committed
        };
        let known = replicas.iter().filter(has_committed);
        let Some(newest) = known.max_by_key(|status| status.membership_at) else {
            return;
        };
        let [voters] = newest.voters.as_slice() else {
            return;
        };
        let runs = |broker: &u32| replicas.iter().any(|status| status.broker == *broker);
        self.by_broker
            .retain(|broker, _| voters.contains(broker) || runs(broker));
    }
}

/// Whether the replica was removed and made anew between two looks: a process that goes on does not
/// lose its vote and its whole log otherwise.
fn is_replaced(before: &RaftStatus, now: &RaftStatus) -> bool {
    before.incarnation == now.incarnation && now.vote.term == 0 && now.last_log.is_none()
}

fn compare(before: &RaftStatus, now: &RaftStatus, found: &mut Found) {
    let mut report = |invariant, what: &str, old: String, new: String| {
        found.push((
            invariant,
            format!(
                "broker {} (start {} to {}): {what} went from {old} to {new}",
                now.broker, before.incarnation, now.incarnation
            ),
        ));
    };
    if now.vote.term < before.vote.term {
        let (old, new) = (before.vote.term.to_string(), now.vote.term.to_string());
        report(Invariant::MonotonicTerm, "term", old, new);
    }
    // Candidate 0 is a term that was heard of before anybody was voted for. A quorum's choice
    // replaces a vote that a loser gave to itself.
    let changed_candidate = now.vote.term == before.vote.term
        && before.vote.candidate != 0
        && now.vote.is_committed == before.vote.is_committed
        && now.vote.candidate != before.vote.candidate;
    if now.vote < before.vote || changed_candidate {
        let (old, new) = (format!("{:?}", before.vote), format!("{:?}", now.vote));
        report(Invariant::MonotonicVote, "vote", old, new);
    }
    if now.incarnation != before.incarnation {
        return;
    }
    let index = |position: Option<super::LogPosition>| position.map(|position| position.index);
    if index(now.committed) < index(before.committed) {
        let (old, new) = (
            format!("{:?}", before.committed),
            format!("{:?}", now.committed),
        );
        report(Invariant::MonotonicCommitted, "committed", old, new);
    }
    if index(now.applied) < index(before.applied) {
        let (old, new) = (
            format!("{:?}", before.applied),
            format!("{:?}", now.applied),
        );
        report(Invariant::MonotonicApplied, "applied", old, new);
    }
    if let (Some(old), Some(new)) = (before.state, now.state)
        && (new.log_start < old.log_start || new.log_end < old.log_end)
    {
        report(
            Invariant::MonotonicState,
            "log bounds",
            format!("{old:?}"),
            format!("{new:?}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::StateStatus;
    use super::super::testing::{at, follower, kinds, leader};
    use super::*;

    fn found(before: &RaftStatus, now: &RaftStatus) -> Vec<Invariant> {
        let mut last_seen = LastSeen::default();
        let mut found = Found::new();
        last_seen.check(&[before], &mut found);
        last_seen.check(&[now], &mut found);
        kinds(&found)
    }

    #[test]
    fn a_term_that_falls_over_a_restart_is_found() {
        let mut restarted = follower(1, 2, 9);
        restarted.incarnation = 2;

        let expected = [Invariant::MonotonicTerm, Invariant::MonotonicVote];
        assert_eq!(found(&follower(1, 3, 9), &restarted), expected);
    }

    #[test]
    fn a_replica_that_was_removed_may_come_back_with_nothing() {
        let mut last_seen = LastSeen::default();
        let mut found = Found::new();
        let mut leader = leader(1, 3, 9);
        last_seen.check(&[&leader, &follower(4, 3, 9)], &mut found);
        leader.voters = vec![[1, 2, 3].into()];
        leader.membership_at = at(3, 8);

        last_seen.check(&[&leader], &mut found);
        last_seen.check(&[&leader, &follower(4, 1, 0)], &mut found);
        assert_eq!(kinds(&found), []);

        // A voter that is only down has nothing to forget.
        last_seen.check(&[&leader, &follower(2, 3, 9)], &mut found);
        last_seen.check(&[&leader], &mut found);
        last_seen.check(&[&leader, &follower(2, 1, 9)], &mut found);
        assert!(kinds(&found).contains(&Invariant::MonotonicTerm));
    }

    #[test]
    fn a_replica_that_is_made_anew_at_once_is_another_one() {
        let mut empty = follower(1, 0, 0);
        empty.last_log = None;
        empty.committed = None;
        empty.applied = None;
        assert_eq!(found(&follower(1, 3, 9), &empty), []);

        empty.incarnation = 2;
        assert!(found(&follower(1, 3, 9), &empty).contains(&Invariant::MonotonicTerm));
    }

    #[test]
    fn a_second_candidate_in_one_term_is_found() {
        let mut now = follower(1, 2, 9);
        now.incarnation = 2;
        now.vote.candidate = 3;

        assert_eq!(found(&follower(1, 2, 9), &now), [Invariant::MonotonicVote]);
    }

    #[test]
    fn the_loser_of_an_election_may_follow_the_winner_of_the_same_term() {
        let mut before = follower(1, 2, 9);
        before.vote.is_committed = false;
        before.vote.candidate = 3;

        assert_eq!(found(&before, &follower(1, 2, 9)), []);
    }

    #[test]
    fn committed_and_applied_that_fall_while_it_runs_are_found() {
        let expected = [Invariant::MonotonicCommitted, Invariant::MonotonicApplied];
        assert_eq!(found(&follower(1, 2, 9), &follower(1, 2, 8)), expected);
    }

    #[test]
    fn log_bounds_that_fall_are_found() {
        let bounds = |log_start, log_end| RaftStatus {
            state: Some(StateStatus {
                applied_index: 9,
                log_start,
                log_end,
                hash: 0,
            }),
            ..follower(1, 2, 9)
        };

        assert_eq!(
            found(&bounds(3, 9), &bounds(2, 9)),
            [Invariant::MonotonicState]
        );
        assert_eq!(
            found(&bounds(3, 9), &bounds(3, 8)),
            [Invariant::MonotonicState]
        );
        assert_eq!(found(&bounds(3, 9), &bounds(4, 9)), []);
    }

    #[test]
    fn a_restart_may_start_behind_and_a_vote_may_rise() {
        let mut before = follower(1, 2, 9);
        before.vote.is_committed = false;
        let mut now = follower(1, 2, 9);
        now.incarnation = 2;
        now.committed = at(2, 5);
        now.applied = at(2, 5);

        assert_eq!(found(&before, &now), []);
    }
}
