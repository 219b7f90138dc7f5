//! Committed on quorum: what the current leader committed in its own term is on the disks of a
//! majority of every voter set (Vanlightly's `CommittedEntriesReachMajority`), and *flushed* there.
//!
//! Entries of earlier terms were committed under an earlier membership and are not judged, nor
//! those before the membership itself. A voter that is not running is counted as having the entry, and
//! so is one whose disk had it and lost it: this check finds false commits among those that run, and
//! never raises a false alarm.

use std::collections::BTreeSet;

use super::{Found, Invariant, LogPosition, RaftStatus};

pub(super) fn check(replicas: &[&RaftStatus], found: &mut Found) {
    for leader in replicas.iter().filter(|status| status.is_leader) {
        let Some(committed) = leader.committed else {
            continue;
        };
        let is_own = committed.term == leader.vote.term;
        let is_after_membership = leader
            .membership_at
            .is_none_or(|membership| membership.index <= committed.index);
        if !is_own || !is_after_membership {
            continue;
        }
        for voters in &leader.voters {
            let missing = voters
                .iter()
                .filter(|voter| lacks(replicas, **voter, committed));
            let missing: BTreeSet<u32> = missing.copied().collect();
            if (voters.len() - missing.len()) * 2 <= voters.len() {
                found.push((
                    Invariant::CommittedOnQuorum,
                    format!(
                        "broker {} committed {committed:?}, which is not on the disks of {missing:?} \
                         of voters {voters:?}",
                        leader.broker
                    ),
                ));
            }
        }
    }
}

/// Whether `voter` runs and certainly does not have the entry.
fn lacks(replicas: &[&RaftStatus], voter: u32, entry: LogPosition) -> bool {
    let Some(status) = replicas.iter().find(|status| status.broker == voter) else {
        return false;
    };
    let is_purged = status
        .purged
        .is_some_and(|purged| purged.index >= entry.index);
    let is_lost = status.lost_up_to.is_some_and(|lost| lost >= entry);
    if is_purged || is_lost {
        return false;
    }
    status
        .flushed
        .or(status.last_log)
        .is_none_or(|flushed| flushed < entry.index)
        || status
            .term_at(entry.index)
            .is_some_and(|term| term != entry.term)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, follower, kinds, leader};
    use super::*;

    #[test]
    fn an_entry_that_only_the_leader_has_is_found() {
        let mut alone = leader(1, 2, 9);
        alone.committed = at(2, 9);
        let mut found = Found::new();
        check(
            &[&alone, &follower(2, 2, 8), &follower(3, 2, 8)],
            &mut found,
        );

        assert_eq!(kinds(&found), [Invariant::CommittedOnQuorum]);
    }

    #[test]
    fn an_entry_that_is_only_written_but_not_flushed_is_found() {
        let mut replicas = [leader(1, 2, 9), follower(2, 2, 9), follower(3, 2, 9)];
        replicas[0].committed = at(2, 9);
        replicas[1].flushed = Some(7);
        replicas[2].flushed = Some(7);
        let mut found = Found::new();
        check(&replicas.iter().collect::<Vec<_>>(), &mut found);

        assert_eq!(kinds(&found), [Invariant::CommittedOnQuorum]);
    }

    #[test]
    fn an_entry_that_a_damaged_disk_had_counts_and_a_later_one_does_not() {
        let mut replicas = [leader(1, 2, 9), follower(2, 2, 5), follower(3, 2, 8)];
        replicas[0].committed = at(2, 9);
        replicas[1].lost_up_to = at(2, 9);
        let mut found = Found::new();
        check(&replicas.iter().collect::<Vec<_>>(), &mut found);
        assert_eq!(found, []);

        replicas[1].lost_up_to = at(2, 8);
        check(&replicas.iter().collect::<Vec<_>>(), &mut found);
        assert_eq!(kinds(&found), [Invariant::CommittedOnQuorum]);
    }

    #[test]
    fn a_majority_is_enough_and_need_not_include_the_leader() {
        let mut replicas = [leader(1, 2, 9), follower(2, 2, 9), follower(3, 2, 9)];
        replicas[0].committed = at(2, 9);
        replicas[0].flushed = Some(3);
        let mut found = Found::new();
        check(&replicas.iter().collect::<Vec<_>>(), &mut found);

        assert_eq!(found, []);
    }

    #[test]
    fn stopped_voters_and_entries_of_earlier_terms_are_not_judged() {
        let mut found = Found::new();
        check(&[&leader(1, 2, 9), &follower(2, 2, 3)], &mut found);
        let mut inherited = leader(1, 5, 9);
        inherited.committed = at(2, 9);
        check(
            &[&inherited, &follower(2, 2, 3), &follower(3, 2, 3)],
            &mut found,
        );

        assert_eq!(found, []);
    }
}
