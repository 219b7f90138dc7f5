//! `lost-write`: a committed write that a reader has passed without anybody ever reading it.
//!
//! Take the highest index that any `ok` poll reached (a value with several offsets counts at its
//! earliest). Every send that must have committed, and whose *last* offset is at or below that
//! index, must have been read by someone.
//!
//! Source: `jepsen.tests.kafka/lost-write-cases`.

use std::collections::BTreeMap;

use super::order::{VersionOrder, is_durable};
use super::{Anomaly, Property};
use crate::history::{History, Outcome};

pub(super) fn check(history: &History, order: &VersionOrder) -> Vec<Anomaly> {
    let reached = highest_read_index(history, order);
    let mut anomalies = Vec::new();
    for (operation, send) in history.sends().filter(|(op, send)| is_durable(op, send)) {
        let Some(partition) = order.partition(send.partition) else {
            continue;
        };
        let Some(last) = order.offsets_of(send).last().copied() else {
            continue;
        };
        let (Some(index), Some(reached)) = (partition.index_of(last), reached.get(&send.partition))
        else {
            continue;
        };
        if index <= *reached && !partition.read.contains(&send.value) {
            anomalies.push(Anomaly::new(
                Property::LostWrite,
                format!(
                    "partition {} value {} acknowledged at offset {last} by operation {} \
                     was never read, although a reader has passed it",
                    send.partition, send.value, operation.id
                ),
            ));
        }
    }
    anomalies
}

fn highest_read_index(history: &History, order: &VersionOrder) -> BTreeMap<u32, usize> {
    let mut reached: BTreeMap<u32, usize> = BTreeMap::new();
    for (_, poll) in history.polls().filter(|(op, _)| op.outcome == Outcome::Ok) {
        for (number, reads) in &poll.reads {
            let Some(partition) = order.partition(*number) else {
                continue;
            };
            for read in reads {
                let earliest = partition
                    .values
                    .get(&read.value)
                    .and_then(|set| set.first());
                if let Some(index) = earliest.and_then(|offset| partition.index_of(*offset)) {
                    let highest = reached.entry(*number).or_default();
                    *highest = (*highest).max(index);
                }
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::history::Acks;

    fn found(script: Script) -> usize {
        let history = script.history();
        check(&history, &VersionOrder::of(&history)).len()
    }

    #[test]
    fn a_write_between_two_read_records_that_nobody_read_is_lost() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.send_ok(0, 11, 1);
        script.send_ok(0, 12, 2);
        script.poll(1, 0, &[(0, 10), (2, 12)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn an_offset_that_shows_another_value_lost_the_first_one() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.poll(1, 0, &[(0, 99)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn every_lost_value_is_named() {
        let mut script = Script::new();
        for value in 0..4 {
            script.send_ok(0, value, i64::try_from(value).unwrap());
        }
        script.poll(1, 0, &[(3, 3)]);
        assert_eq!(found(script), 3);
    }

    #[test]
    fn a_write_that_another_session_read_is_not_lost() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.send_ok(0, 11, 1);
        script.poll(1, 0, &[(1, 11)]);
        script.poll(2, 0, &[(0, 10)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_write_above_every_reader_is_not_lost() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.send_ok(0, 11, 1);
        script.poll(1, 0, &[(0, 10)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_write_that_only_the_leader_acknowledged_may_go() {
        let mut script = Script::new();
        script.send(0, 10, |send| {
            send.acks = Acks::Leader;
            send.offset = Some(0);
        });
        script.poll(1, 0, &[(0, 11)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_write_of_unknown_outcome_may_go() {
        let mut script = Script::new();
        script.send_with(Outcome::Info, 0, 10, |_| ());
        script.poll(1, 0, &[(0, 11)]);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_reader_of_another_partition_has_not_passed_it() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.poll(1, 1, &[(5, 11)]);
        assert_eq!(found(script), 0);
    }
}
