//! Committed immutable: an index that any replica ever reported committed keeps its term.
//!
//! Compares over time, so an entry that is replaced between two ticks is found where log matching
//! sees two equal logs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{Found, Invariant, LogPosition, RaftStatus};

/// Indexes that are remembered per group; the oldest are forgotten.
const INDEXES_MAX: usize = 8_192;

#[derive(Debug, Default)]
pub(super) struct Witness {
    terms: BTreeMap<u64, (u64, u32)>,
    /// The highest of these indexes of each term.
    highest: BTreeMap<u64, u64>,
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
                let first = self.remember(index, term, status.broker);
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
            self.forget_first();
        }
    }

    /// What was seen first at an index: this, unless something is known.
    fn remember(&mut self, index: u64, term: u64, broker: u32) -> (u64, u32) {
        match self.terms.entry(index) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                let highest = self.highest.entry(term).or_insert(index);
                *highest = index.max(*highest);
                *free.insert((term, broker))
            }
        }
    }

    fn forget_first(&mut self) {
        if let Some((index, (term, _))) = self.terms.pop_first() {
            // If that was the highest of its term, it was the only one.
            self.highest
                .retain(|of_term, highest| *of_term != term || *highest != index);
        }
    }

    /// The highest committed position of a term below `term`, if one was seen.
    pub(super) fn highest_before(&self, term: u64) -> Option<LogPosition> {
        let earlier = self.highest.range(..term);
        earlier
            .max_by_key(|(_, index)| **index)
            .map(|(term, index)| LogPosition {
                term: *term,
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

    #[test]
    fn a_term_is_forgotten_with_its_last_index() {
        let mut witness = Witness::default();
        witness.remember(3, 1, 1);
        witness.remember(5, 1, 1);
        witness.remember(7, 2, 1);

        witness.forget_first();
        assert_eq!(witness.highest_before(2), at(1, 5));
        witness.forget_first();
        assert_eq!(witness.highest_before(2), None);
        assert_eq!(witness.highest_before(3), at(2, 7));
    }
}
