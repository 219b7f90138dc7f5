//! `inconsistent-offsets`: one offset of a partition was seen with two or more values.
//!
//! Source: `jepsen.tests.kafka/inconsistent-offset-cases`. Never allowed.

use super::order::VersionOrder;
use super::{Anomaly, Property};

pub(super) fn check(order: &VersionOrder) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for (partition, order) in &order.partitions {
        for (offset, values) in order.offsets.iter().filter(|(_, values)| values.len() > 1) {
            anomalies.push(Anomaly::new(
                Property::InconsistentOffsets,
                format!("partition {partition} offset {offset} holds values {values:?}"),
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
        check(&VersionOrder::of(&script.history())).len()
    }

    #[test]
    fn two_readers_that_see_different_values_are_inconsistent() {
        let mut script = Script::new();
        script.poll(1, 0, &[(0, 10)]);
        script.poll(2, 0, &[(0, 11)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn an_acknowledgement_that_contradicts_a_read_is_inconsistent() {
        let mut script = Script::new();
        script.send_ok(0, 10, 4);
        script.poll_with(Outcome::Info, 1, 0, &[(4, 11)], |_| ());
        assert_eq!(found(script), 1);
    }

    #[test]
    fn two_acknowledgements_of_one_offset_are_inconsistent() {
        let mut script = Script::new();
        script.send_ok(0, 10, 4);
        script.send_ok(0, 11, 4);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn the_same_value_seen_twice_is_consistent() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.poll(1, 0, &[(0, 10)]);
        script.poll(2, 0, &[(0, 10)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn the_same_offset_of_two_partitions_is_consistent() {
        let mut script = Script::new();
        script.poll(1, 0, &[(0, 10)]);
        script.poll(1, 1, &[(0, 11)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn an_offset_that_only_a_deposed_leader_promised_may_be_used_again() {
        let mut script = Script::new();
        script.send(0, 10, |send| {
            send.acks = Acks::Leader;
            send.offset = Some(4);
        });
        script.send_ok(0, 11, 4);
        assert_eq!(found(script), 0);
    }
}
