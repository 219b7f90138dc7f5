//! Committed immutable: an index that any replica ever reported committed keeps its term.
//!
//! Compares over time, so an entry that is replaced between two ticks is found where log matching
//! sees two equal logs.

use std::collections::BTreeMap;

use super::{Found, Invariant, LogPosition, RaftStatus};

/// Indexes that are remembered per group; the oldest are forgotten.
const INDEXES_MAX: usize = 8_192;

#[derive(Debug, Default)]
pub(super) struct Witness {
    terms: BTreeMap<u64, (u64, u32)>,
}

impl Witness {
    pub(super) fn check(&mut self, replicas: &[&RaftStatus], found: &mut Found) {
        for status in replicas {
            let Some(committed) = status.committed else {
                continue;
            };
            for index in status.landmarks(committed.index) {
                let Some(term) = status.term_at(index) else {
                    continue;
                };
                let first = *self.terms.entry(index).or_insert((term, status.broker));
                if first.0 != term {
                    found.push((
                        Invariant::CommittedImmutable,
                        format!(
                            "committed index {index} was of term {} on broker {} and is of term \
                             {term} on broker {}",
                            first.0, first.1, status.broker
                        ),
                    ));
                }
            }
        }
        while self.terms.len() > INDEXES_MAX {
            self.terms.pop_first();
        }
    }

    /// The highest committed position of a term below `term`, if one was seen.
    pub(super) fn highest_before(&self, term: u64) -> Option<LogPosition> {
        let mut entries = self.terms.iter().rev();
        entries
            .find(|(_, (own, _))| *own < term)
            .map(|(index, (own, _))| LogPosition {
                term: *own,
                index: *index,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, follower, kinds};
    use super::*;

    #[test]
    fn an_entry_that_is_replaced_between_two_ticks_is_found() {
        let mut witness = Witness::default();
        let mut found = Found::new();
        witness.check(&[&follower(1, 2, 9)], &mut found);
        witness.check(&[&follower(1, 3, 9)], &mut found);

        assert_eq!(kinds(&found).first(), Some(&Invariant::CommittedImmutable));
    }

    #[test]
    fn a_growing_log_is_good() {
        let mut witness = Witness::default();
        let mut found = Found::new();
        witness.check(&[&follower(1, 2, 9)], &mut found);
        witness.check(&[&follower(1, 2, 12), &follower(2, 2, 9)], &mut found);

        assert_eq!(found, []);
    }

    #[test]
    fn an_uncommitted_entry_may_be_replaced() {
        let mut witness = Witness::default();
        let mut found = Found::new();
        let mut before = follower(1, 2, 9);
        before.committed = at(2, 4);
        before.applied = at(2, 4);
        let mut after = before.clone();
        after.last_log = Some(9);
        witness.check(&[&before], &mut found);
        witness.check(&[&after], &mut found);

        assert_eq!(found, []);
    }

    #[test]
    fn the_highest_committed_position_of_earlier_terms_is_remembered() {
        let mut witness = Witness::default();
        witness.check(&[&follower(1, 2, 9)], &mut Found::new());

        assert_eq!(witness.highest_before(3), at(2, 9));
        assert_eq!(witness.highest_before(2), None);
    }
}
