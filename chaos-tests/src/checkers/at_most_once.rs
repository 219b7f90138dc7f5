//! At most once: a send without retries is never stored twice, and a consumer that saves its
//! position before it processes never processes a record twice.
//!
//! Loss is legal here. That it does happen under the right fault is the negative control of
//! [`AtMostOnceLosses`]: a run in which nothing could get lost proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::order::VersionOrder;
use super::{Anomaly, Property};
use crate::history::{Acks, Event, History, Outcome, PollMode};

pub(super) fn check(history: &History, order: &VersionOrder) -> Vec<Anomaly> {
    let mut anomalies = sent_twice(history, order);
    anomalies.extend(processed_twice(history));
    anomalies
}

fn sent_twice(history: &History, order: &VersionOrder) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for (operation, send) in history.sends().filter(|(_, send)| !send.retries) {
        let offsets = order.offsets_of(send);
        if offsets.len() > 1 {
            anomalies.push(Anomaly::new(
                Property::AtMostOnce,
                format!(
                    "partition {} value {} of operation {} was sent once and stands at offsets \
                     {offsets:?}",
                    send.partition, send.value, operation.id
                ),
            ));
        }
    }
    anomalies
}

/// By place and not by value: a producer that retries without idempotence may store a value twice,
/// and each of the two records may be processed.
fn processed_twice(history: &History) -> Vec<Anomaly> {
    let mut processed: BTreeMap<(u32, u32, i64), u64> = BTreeMap::new();
    let mut anomalies = Vec::new();
    for (operation, poll) in history.polls().filter(|(op, _)| op.outcome == Outcome::Ok) {
        let PollMode::CommitFirst { consumer } = poll.mode else {
            continue;
        };
        for (partition, reads) in &poll.reads {
            for read in reads {
                let place = (consumer, *partition, read.offset);
                if let Some(first) = processed.insert(place, operation.id) {
                    anomalies.push(Anomaly::new(
                        Property::AtMostOnce,
                        format!(
                            "consumer {consumer} processed offset {} of partition {partition} in \
                             operations {first} and {}",
                            read.offset, operation.id
                        ),
                    ));
                }
            }
        }
    }
    anomalies
}

/// What at-most-once clients lost in a drained run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtMostOnceLosses {
    /// `acks=0` sends that never reached the log.
    pub sends: u64,
    /// Records that a commit-first consumer was given and did not process.
    pub records: u64,
    /// `acks=1` acknowledgements that a later leader did not have.
    pub leader_only: u64,
}

impl AtMostOnceLosses {
    /// Counts them; all zero when the run was not drained.
    #[must_use]
    pub fn of(history: &History, order: &VersionOrder) -> Self {
        if !history.has_event(&Event::Drained) {
            return Self::default();
        }
        let mut losses = Self::default();
        for (operation, send) in history.sends() {
            let is_stored = !order.offsets_of(send).is_empty();
            match (send.acks, operation.outcome) {
                (Acks::None, Outcome::Ok | Outcome::Info) if !is_stored => losses.sends += 1,
                (Acks::Leader, Outcome::Ok) if !is_stored => losses.leader_only += 1,
                (Acks::None | Acks::Leader | Acks::All, _) => (),
            }
        }
        let mut processed: BTreeSet<(u32, u64)> = BTreeSet::new();
        let mut given: BTreeSet<(u32, u64)> = BTreeSet::new();
        for (operation, poll) in history.polls() {
            let PollMode::CommitFirst { consumer } = poll.mode else {
                continue;
            };
            for read in poll.reads.values().flatten() {
                given.insert((consumer, read.value));
                if operation.outcome == Outcome::Ok {
                    processed.insert((consumer, read.value));
                }
            }
        }
        losses.records = given.difference(&processed).count() as u64;
        losses
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;

    fn found(script: Script) -> usize {
        let history = script.history();
        check(&history, &VersionOrder::of(&history)).len()
    }

    fn losses(script: Script) -> AtMostOnceLosses {
        let history = script.history();
        AtMostOnceLosses::of(&history, &VersionOrder::of(&history))
    }

    fn fire_and_forget(script: &mut Script, value: u64) {
        script.send_with(Outcome::Info, 0, value, |send| {
            send.acks = Acks::None;
            send.idempotent = false;
            send.retries = false;
        });
    }

    fn commit_first(script: &mut Script, outcome: Outcome, session: u64, reads: &[(i64, u64)]) {
        script.poll_with(outcome, session, 0, reads, |poll| {
            poll.mode = PollMode::CommitFirst { consumer: 1 };
        });
    }

    #[test]
    fn a_record_sent_once_and_stored_twice_is_found() {
        let mut script = Script::new();
        fire_and_forget(&mut script, 10);
        script.poll(1, 0, &[(0, 10), (1, 10)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_record_processed_by_two_sessions_of_one_consumer_is_found() {
        let mut script = Script::new();
        commit_first(&mut script, Outcome::Ok, 1, &[(0, 10)]);
        commit_first(&mut script, Outcome::Ok, 2, &[(0, 10)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_record_that_got_lost_is_good() {
        let mut script = Script::new();
        fire_and_forget(&mut script, 10);
        script.drained();
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_consumer_that_died_before_processing_processed_nothing() {
        let mut script = Script::new();
        commit_first(&mut script, Outcome::Info, 1, &[(0, 10)]);
        commit_first(&mut script, Outcome::Ok, 2, &[(1, 11)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_value_that_a_retry_stored_twice_may_be_processed_twice() {
        let mut script = Script::new();
        commit_first(&mut script, Outcome::Ok, 1, &[(0, 10), (1, 10)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn two_consumers_may_process_the_same_record() {
        let mut script = Script::new();
        commit_first(&mut script, Outcome::Ok, 1, &[(0, 10)]);
        script.poll_with(Outcome::Ok, 2, 0, &[(0, 10)], |poll| {
            poll.mode = PollMode::CommitFirst { consumer: 2 };
        });
        assert_eq!(found(script), 0);
    }

    #[test]
    fn losses_are_counted_after_the_drain() {
        let mut script = Script::new();
        fire_and_forget(&mut script, 10);
        fire_and_forget(&mut script, 11);
        script.send(0, 12, |send| {
            send.acks = Acks::Leader;
            send.offset = Some(7);
        });
        commit_first(&mut script, Outcome::Info, 1, &[(0, 10)]);
        script.drained();
        assert_eq!(
            losses(script),
            AtMostOnceLosses {
                sends: 1,
                records: 1,
                leader_only: 1
            }
        );
    }

    #[test]
    fn losses_are_unknown_before_the_drain() {
        let mut script = Script::new();
        fire_and_forget(&mut script, 10);
        assert_eq!(losses(script), AtMostOnceLosses::default());
    }
}
