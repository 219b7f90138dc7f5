//! Election safety: a term has at most one leader, ever (Raft section 5.2).
//!
//! Remembers the leader of every term, so two leaders that never overlap are found too.

use std::collections::BTreeMap;

use super::{Found, Invariant, RaftStatus};

#[derive(Debug, Default)]
pub(super) struct Leaders {
    by_term: BTreeMap<u64, u32>,
}

impl Leaders {
    pub(super) fn check(&mut self, replicas: &[&RaftStatus], found: &mut Found) {
        for status in replicas.iter().filter(|status| status.is_leader) {
            let term = status.vote.term;
            let first = *self.by_term.entry(term).or_insert(status.broker);
            if first != status.broker {
                found.push((
                    Invariant::ElectionSafety,
                    format!(
                        "term {term} is led by broker {} after broker {first}",
                        status.broker
                    ),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{kinds, leader};
    use super::*;

    #[test]
    fn two_leaders_of_one_term_are_found_also_one_after_the_other() {
        let mut leaders = Leaders::default();
        let mut found = Found::new();
        leaders.check(&[&leader(1, 2, 9)], &mut found);
        leaders.check(&[&leader(3, 2, 9)], &mut found);

        assert_eq!(kinds(&found), [Invariant::ElectionSafety]);
    }

    #[test]
    fn an_old_leader_beside_a_new_one_is_legal() {
        let mut found = Found::new();
        Leaders::default().check(&[&leader(1, 2, 9), &leader(2, 3, 9)], &mut found);

        assert_eq!(found, []);
    }
}
