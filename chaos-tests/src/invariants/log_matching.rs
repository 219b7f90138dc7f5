//! Log matching: where two replicas both hold an index to be committed, it has one term
//! (Raft section 5.3). Uncommitted tails may differ and are not compared.

use super::{Found, Invariant, RaftStatus};

pub(super) fn check(replicas: &[&RaftStatus], found: &mut Found) {
    for (position, a) in replicas.iter().enumerate() {
        for b in &replicas[position + 1..] {
            compare(a, b, found);
        }
    }
}

fn compare(a: &RaftStatus, b: &RaftStatus, found: &mut Found) {
    let (Some(committed_a), Some(committed_b)) = (a.committed, b.committed) else {
        return;
    };
    let last = committed_a.index.min(committed_b.index);
    for index in a.landmarks(last).chain(b.landmarks(last)) {
        if let (Some(term_a), Some(term_b)) = (a.term_at(index), b.term_at(index))
            && term_a != term_b
        {
            found.push((
                Invariant::LogMatching,
                format!(
                    "committed index {index} is of term {term_a} on broker {} and of term {term_b} \
                     on broker {}",
                    a.broker, b.broker
                ),
            ));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TermRun;
    use super::super::testing::{at, follower, kinds};
    use super::*;

    #[test]
    fn a_committed_index_with_two_terms_is_found() {
        let mut other = follower(2, 2, 9);
        other.terms = vec![
            TermRun {
                first_index: 0,
                term: 2,
            },
            TermRun {
                first_index: 5,
                term: 1,
            },
            TermRun {
                first_index: 6,
                term: 2,
            },
        ];
        let mut found = Found::new();
        check(&[&follower(1, 2, 9), &other], &mut found);

        assert_eq!(kinds(&found), [Invariant::LogMatching]);
    }

    #[test]
    fn known_positions_are_compared_even_without_the_terms_between() {
        let (mut a, mut b) = (follower(1, 2, 9), follower(2, 3, 9));
        a.terms.clear();
        b.terms.clear();
        let mut found = Found::new();
        check(&[&a, &b], &mut found);

        assert_eq!(kinds(&found), [Invariant::LogMatching]);
    }

    #[test]
    fn uncommitted_tails_may_differ() {
        let (mut a, mut b) = (follower(1, 2, 9), follower(2, 2, 9));
        a.committed = at(2, 4);
        a.applied = at(2, 4);
        b.committed = at(2, 4);
        b.applied = at(2, 4);
        b.last_log = Some(9);
        b.terms.push(TermRun {
            first_index: 5,
            term: 3,
        });
        let mut found = Found::new();
        check(&[&a, &b], &mut found);

        assert_eq!(found, []);
    }
}
