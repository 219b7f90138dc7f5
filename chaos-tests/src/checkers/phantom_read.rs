//! Phantom read: a consumer was given a value that nobody sent, or in the wrong partition.
//!
//! Jepsen's queue model calls it `unexpected`. Never allowed.

use std::collections::BTreeMap;

use super::{Anomaly, Property};
use crate::history::History;

pub(super) fn check(history: &History) -> Vec<Anomaly> {
    let sent: BTreeMap<u64, u32> = history
        .sends()
        .map(|(_, send)| (send.value, send.partition))
        .collect();
    let mut anomalies = Vec::new();
    for (operation, poll) in history.polls() {
        for (partition, reads) in &poll.reads {
            for read in reads {
                let expected = sent.get(&read.value);
                if expected != Some(partition) {
                    anomalies.push(Anomaly::new(
                        Property::PhantomRead,
                        format!(
                            "operation {} read value {} at offset {} of partition {partition}; \
                             it was sent to {expected:?}",
                            operation.id, read.value, read.offset
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
    use crate::history::Outcome;

    fn found(script: Script) -> usize {
        check(&script.history()).len()
    }

    #[test]
    fn a_value_that_nobody_sent_is_found() {
        let mut script = Script::new();
        script.poll(1, 0, &[(0, 10)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_value_in_the_wrong_partition_is_found() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.poll(1, 1, &[(0, 10)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_sent_value_is_expected() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.poll(1, 0, &[(0, 10)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_value_of_unknown_outcome_is_expected() {
        let mut script = Script::new();
        script.send_with(Outcome::Info, 0, 10, |_| ());
        script.poll(1, 0, &[(0, 10)]);
        assert_eq!(found(script), 0);
    }
}
