//! Election safety as clients of the events see it: a term of a group has one leader.
//!
//! Source: Raft section 5.2. The invariant of the same name looks at the replicas themselves.

use std::collections::BTreeMap;

use super::{Anomaly, Property};
use crate::history::{Event, History};

pub(super) fn check(history: &History) -> Vec<Anomaly> {
    let mut leaders: BTreeMap<(u64, u64), u32> = BTreeMap::new();
    let mut anomalies = Vec::new();
    for timed in &history.events {
        let Event::Leader {
            group,
            term,
            broker,
        } = &timed.event
        else {
            continue;
        };
        let first = leaders.entry((*group, *term)).or_insert(*broker);
        if first != broker {
            anomalies.push(Anomaly::new(
                Property::OneLeader,
                format!(
                    "group {group} term {term}: broker {broker} leads at {} us, broker {first} did",
                    timed.at_us
                ),
            ));
        }
    }
    anomalies
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;

    fn found(leaders: &[(u64, u64, u32)]) -> usize {
        let mut script = Script::new();
        for (group, term, broker) in leaders {
            script.event(Event::Leader {
                group: *group,
                term: *term,
                broker: *broker,
            });
        }
        check(&script.history()).len()
    }

    #[test]
    fn two_leaders_of_one_term_are_found() {
        assert_eq!(found(&[(1, 4, 1), (1, 4, 2)]), 1);
    }

    #[test]
    fn two_leaders_of_one_term_far_apart_are_found() {
        assert_eq!(found(&[(1, 4, 1), (1, 5, 2), (2, 5, 1), (1, 4, 3)]), 1);
    }

    #[test]
    fn a_new_term_may_have_a_new_leader() {
        assert_eq!(found(&[(1, 4, 1), (1, 5, 2)]), 0);
    }

    #[test]
    fn groups_are_independent() {
        assert_eq!(found(&[(1, 4, 1), (2, 4, 2)]), 0);
    }

    #[test]
    fn the_same_leader_may_be_seen_again() {
        assert_eq!(found(&[(1, 4, 1), (1, 4, 1)]), 0);
    }
}
