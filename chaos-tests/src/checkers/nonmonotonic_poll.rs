//! `nonmonotonic-poll`: a consumer that goes back, between two polls or inside one.
//!
//! Sessions end with every assign and seek, so inside a session each record of a partition must
//! stand above the one before it. Covers Jepsen's `int-nonmonotonic-poll` too.
//!
//! Source: `jepsen.tests.kafka/poll-skip+nonmonotonic-cases`.

use std::collections::BTreeMap;

use super::{Anomaly, Property};
use crate::history::History;

pub(super) fn check(history: &History) -> Vec<Anomaly> {
    let mut last_offsets: BTreeMap<(u64, u32), i64> = BTreeMap::new();
    let mut anomalies = Vec::new();
    for (operation, poll) in history.polls() {
        for (partition, reads) in &poll.reads {
            for read in reads {
                let last = last_offsets.insert((poll.session, *partition), read.offset);
                if let Some(last) = last.filter(|last| read.offset <= *last) {
                    anomalies.push(Anomaly::new(
                        Property::NonmonotonicPoll,
                        format!(
                            "session {} was given offset {} of partition {partition} after offset \
                             {last} (operation {})",
                            poll.session, read.offset, operation.id
                        ),
                    ));
                }
            }
        }
    }
    anomalies
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;

    fn found(script: Script) -> usize {
        check(&script.history()).len()
    }

    #[test]
    fn a_poll_that_starts_before_the_end_of_the_last_one_goes_back() {
        let mut script = Script::new();
        script.poll(1, 0, &[(0, 10), (1, 11)]);
        script.poll(1, 0, &[(0, 10)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_record_that_is_given_twice_goes_back() {
        let mut script = Script::new();
        script.poll(1, 0, &[(4, 10)]);
        script.poll(1, 0, &[(4, 10)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn going_back_inside_one_poll_is_seen() {
        let mut script = Script::new();
        script.poll(1, 0, &[(5, 10), (3, 11)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn rising_offsets_are_good() {
        let mut script = Script::new();
        script.poll(1, 0, &[(0, 10), (1, 11)]);
        script.poll(1, 0, &[(2, 12), (7, 13)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_new_session_may_start_anywhere() {
        let mut script = Script::new();
        script.poll(1, 0, &[(5, 10)]);
        script.poll(2, 0, &[(0, 9)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn partitions_are_independent() {
        let mut script = Script::new();
        script.poll(1, 0, &[(5, 10)]);
        script.poll(1, 1, &[(0, 9)]);
        assert_eq!(found(script), 0);
    }
}
