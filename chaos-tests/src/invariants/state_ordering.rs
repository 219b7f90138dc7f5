//! State ordering: purged ≤ snapshot ≤ applied ≤ committed ≤ last log, on every replica.

use super::{Found, Invariant, LogPosition, RaftStatus};

pub(super) fn check(replicas: &[&RaftStatus], found: &mut Found) {
    for status in replicas {
        let index = |position: Option<LogPosition>| position.map(|position| position.index);
        let chain = [
            ("purged", index(status.purged)),
            ("snapshot", index(status.snapshot)),
            ("applied", index(status.applied)),
            ("committed", index(status.committed)),
            ("last log", status.last_log),
        ];
        for pair in chain.windows(2) {
            let ((lower_name, lower), (higher_name, higher)) = (pair[0], pair[1]);
            if lower > higher {
                found.push((
                    Invariant::StateOrdering,
                    format!(
                        "broker {}: {lower_name} {lower:?} is above {higher_name} {higher:?}",
                        status.broker
                    ),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, follower, kinds};
    use super::*;

    #[test]
    fn applied_above_committed_is_found() {
        let mut status = follower(1, 2, 9);
        status.committed = at(2, 4);
        let mut found = Found::new();
        check(&[&status], &mut found);

        assert_eq!(kinds(&found), [Invariant::StateOrdering]);
    }

    #[test]
    fn a_purge_without_a_snapshot_is_found() {
        let mut status = follower(1, 2, 9);
        status.purged = at(2, 4);
        let mut found = Found::new();
        check(&[&status], &mut found);

        assert_eq!(kinds(&found), [Invariant::StateOrdering]);
    }

    #[test]
    fn an_empty_and_an_ordered_replica_are_good() {
        let mut ordered = follower(1, 2, 9);
        ordered.purged = at(2, 3);
        ordered.snapshot = at(2, 3);
        let mut found = Found::new();
        check(&[&ordered, &RaftStatus::default()], &mut found);

        assert_eq!(found, []);
    }
}
