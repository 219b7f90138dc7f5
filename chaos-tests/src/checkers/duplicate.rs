//! `duplicate`: one value of a deduplicating producer at two or more offsets of a partition.
//!
//! A producer without idempotence that retries may repeat a record; that is at least once. One
//! without retries may not; `at_most_once` judges it.
//!
//! Source: `jepsen.tests.kafka/duplicate-cases`.

use super::order::VersionOrder;
use super::{Anomaly, Property};
use crate::history::History;

pub(super) fn check(history: &History, order: &VersionOrder) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for (operation, send) in history.sends().filter(|(_, send)| send.idempotent) {
        let offsets = order.offsets_of(send);
        if offsets.len() > 1 {
            anomalies.push(Anomaly::new(
                Property::Duplicate,
                format!(
                    "partition {} value {} of operation {} stands at offsets {offsets:?}",
                    send.partition, send.value, operation.id
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
    use crate::history::{Acks, Outcome};

    fn found(script: Script) -> usize {
        let history = script.history();
        check(&history, &VersionOrder::of(&history)).len()
    }

    #[test]
    fn a_value_read_at_two_offsets_is_a_duplicate() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.poll(1, 0, &[(0, 10), (1, 10)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn an_acknowledgement_at_another_offset_than_the_read_is_a_duplicate() {
        let mut script = Script::new();
        script.send_ok(0, 10, 5);
        script.poll(1, 0, &[(3, 10)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn an_unknown_send_that_was_read_twice_is_a_duplicate() {
        let mut script = Script::new();
        script.send_with(Outcome::Info, 0, 10, |send| send.acks = Acks::Leader);
        script.poll_with(Outcome::Info, 1, 0, &[(0, 10)], |_| ());
        script.poll(2, 0, &[(4, 10)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn one_offset_read_by_many_sessions_is_no_duplicate() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.poll(1, 0, &[(0, 10)]);
        script.poll(2, 0, &[(0, 10)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_producer_that_retries_without_idempotence_may_repeat() {
        let mut script = Script::new();
        script.send(0, 10, |send| {
            send.idempotent = false;
            send.offset = Some(1);
        });
        script.poll(1, 0, &[(0, 10), (1, 10)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn the_offset_of_a_leader_only_acknowledgement_does_not_count() {
        let mut script = Script::new();
        script.send(0, 10, |send| {
            send.acks = Acks::Leader;
            send.offset = Some(9);
        });
        script.poll(1, 0, &[(2, 10)]);
        assert_eq!(found(script), 0);
    }
}
