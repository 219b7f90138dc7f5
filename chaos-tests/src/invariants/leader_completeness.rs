//! Leader completeness: an entry committed in an earlier term is in the log of every later leader
//! (Raft section 5.4). Entries at or below a leader's purge point are trusted to its snapshot.

use super::committed_immutable::Witness;
use super::{Found, Invariant, RaftStatus};

pub(super) fn check(replicas: &[&RaftStatus], committed: &Witness, found: &mut Found) {
    for leader in replicas.iter().filter(|status| status.is_leader) {
        let term = leader.vote.term;
        let earlier = replicas
            .iter()
            .filter_map(|status| status.committed)
            .chain(committed.highest_before(term))
            .filter(|position| position.term < term);
        for position in earlier {
            let is_purged = leader
                .purged
                .is_some_and(|purged| position.index <= purged.index);
            let is_missing = match leader.term_at(position.index) {
                Some(own) => own != position.term,
                // Unknown terms inside the log are no evidence; an end below the entry is.
                None => leader.last_log.is_none_or(|last| last < position.index),
            };
            if is_missing && !is_purged {
                found.push((
                    Invariant::LeaderCompleteness,
                    format!(
                        "broker {} leads term {term} without index {} of term {}, which is committed",
                        leader.broker, position.index, position.term
                    ),
                ));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, follower, kinds, leader};
    use super::super::{LogPosition, TermRun};
    use super::*;

    #[test]
    fn a_leader_with_a_shorter_log_than_a_committed_one_is_found() {
        let mut new = leader(1, 3, 6);
        new.terms = vec![
            TermRun {
                first_index: 0,
                term: 2,
            },
            TermRun {
                first_index: 6,
                term: 3,
            },
        ];
        let mut found = Found::new();
        check(&[&new, &follower(2, 2, 9)], &Witness::default(), &mut found);

        assert_eq!(kinds(&found), [Invariant::LeaderCompleteness]);
    }

    #[test]
    fn an_entry_that_only_a_stopped_replica_had_committed_is_remembered() {
        let mut witness = Witness::default();
        witness.check(&[&follower(2, 2, 9)], &mut Found::new());
        let mut new = leader(1, 3, 6);
        new.terms = vec![
            TermRun {
                first_index: 0,
                term: 2,
            },
            TermRun {
                first_index: 6,
                term: 3,
            },
        ];
        let mut found = Found::new();
        check(&[&new], &witness, &mut found);

        assert_eq!(kinds(&found), [Invariant::LeaderCompleteness]);
    }

    #[test]
    fn a_leader_that_has_it_is_good() {
        let mut new = leader(1, 3, 12);
        new.terms = vec![
            TermRun {
                first_index: 0,
                term: 2,
            },
            TermRun {
                first_index: 10,
                term: 3,
            },
        ];
        let mut found = Found::new();
        check(&[&new, &follower(2, 2, 9)], &Witness::default(), &mut found);

        assert_eq!(found, []);
    }

    #[test]
    fn a_leader_whose_snapshot_covers_it_is_good() {
        let mut new = leader(1, 3, 12);
        new.purged = at(2, 10);
        new.terms = vec![TermRun {
            first_index: 11,
            term: 3,
        }];
        let mut found = Found::new();
        check(&[&new, &follower(2, 2, 9)], &Witness::default(), &mut found);

        assert_eq!(found, []);
    }

    #[test]
    fn an_old_leader_need_not_have_what_came_later() {
        let mut found = Found::new();
        check(
            &[&leader(1, 2, 6), &follower(2, 3, 9)],
            &Witness::default(),
            &mut found,
        );

        assert_eq!(found, []);
        assert_eq!(at(1, 1), Some(LogPosition { term: 1, index: 1 }));
    }
}
