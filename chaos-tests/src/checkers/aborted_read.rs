//! `G1a`, aborted read: a consumer was given a value whose send certainly failed.
//!
//! A read of a failed write is only legal if the completion was `info`, so a client library that
//! reports a definite failure for what may be in the log is found here as well.
//!
//! Source: Adya's G1a; `jepsen.tests.kafka/g1a-cases`. Never allowed.

use std::collections::BTreeMap;

use super::{Anomaly, Property};
use crate::history::{History, Outcome};

pub(super) fn check(history: &History) -> Vec<Anomaly> {
    let failed: BTreeMap<u64, u64> = history
        .sends()
        .filter(|(operation, _)| operation.outcome == Outcome::Fail)
        .map(|(operation, send)| (send.value, operation.id))
        .collect();
    let mut anomalies = Vec::new();
    for (operation, poll) in history.polls() {
        for (partition, reads) in &poll.reads {
            for read in reads {
                if let Some(send) = failed.get(&read.value) {
                    anomalies.push(Anomaly::new(
                        Property::AbortedRead,
                        format!(
                            "operation {} read value {} at offset {} of partition {partition}, \
                             whose send (operation {send}) failed",
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

    fn found(script: Script) -> usize {
        check(&script.history()).len()
    }

    #[test]
    fn a_failed_send_that_was_read_is_found() {
        let mut script = Script::new();
        script.send_with(Outcome::Fail, 0, 10, |_| ());
        script.poll(1, 0, &[(0, 10)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_poll_of_unknown_outcome_is_evidence_too() {
        let mut script = Script::new();
        script.send_with(Outcome::Fail, 0, 10, |_| ());
        script.poll_with(Outcome::Info, 1, 0, &[(0, 10)], |_| ());
        assert_eq!(found(script), 1);
    }

    #[test]
    fn an_unknown_send_may_be_read() {
        let mut script = Script::new();
        script.send_with(Outcome::Info, 0, 10, |_| ());
        script.poll(1, 0, &[(0, 10)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_failed_send_that_nobody_read_is_good() {
        let mut script = Script::new();
        script.send_with(Outcome::Fail, 0, 10, |_| ());
        script.send_ok(0, 11, 0);
        script.poll(1, 0, &[(0, 11)]);
        assert_eq!(found(script), 0);
    }
}
