//! `nonmonotonic-send`: a later record of a producer that stands before an earlier one.
//!
//! For a deduplicating producer the order of its calls decides; for others only real time does
//! (the earlier send was answered before the later one began), because their retries may overtake.
//! A value's place is where it was read, else where a durable acknowledgement put it.
//!
//! Source: `jepsen.tests.kafka/nonmonotonic-send-cases`.

use std::collections::BTreeMap;

use super::order::{VersionOrder, is_durable};
use super::{Anomaly, Property};
use crate::history::{History, Operation, Send};

struct Placed<'a> {
    operation: &'a Operation,
    send: &'a Send,
    first: i64,
    last: i64,
}

pub(super) fn check(history: &History, order: &VersionOrder) -> Vec<Anomaly> {
    let mut sessions: BTreeMap<(u64, u32), Vec<Placed<'_>>> = BTreeMap::new();
    for (operation, send) in history.sends() {
        let offsets = order.offsets_of(send);
        if let (Some(first), Some(last)) = (offsets.first(), offsets.last()) {
            let placed = Placed {
                operation,
                send,
                first: *first,
                last: *last,
            };
            sessions
                .entry((send.session, send.partition))
                .or_default()
                .push(placed);
        }
    }
    let mut anomalies = Vec::new();
    for sends in sessions.values() {
        anomalies.extend(call_order(sends));
        anomalies.extend(real_time_order(sends));
    }
    anomalies
}

/// Calls of a deduplicating producer, in order.
fn call_order(sends: &[Placed<'_>]) -> Vec<Anomaly> {
    let mut highest: Option<&Placed<'_>> = None;
    let mut anomalies = Vec::new();
    for placed in sends.iter().filter(|placed| placed.send.idempotent) {
        if let Some(earlier) = highest.filter(|earlier| placed.first < earlier.first) {
            anomalies.push(anomaly(earlier, placed));
        } else {
            highest = Some(placed);
        }
    }
    anomalies
}

/// Durable answers of any other producer: whatever was answered before a send began is before it.
fn real_time_order(sends: &[Placed<'_>]) -> Vec<Anomaly> {
    let durable = |placed: &&Placed<'_>| is_durable(placed.operation, placed.send);
    let mut by_end: Vec<&Placed<'_>> = sends
        .iter()
        .filter(durable)
        .filter(|placed| !placed.send.idempotent)
        .collect();
    by_end.sort_by_key(|placed| placed.operation.completed_at_us);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<&Placed<'_>> = None;
    let mut anomalies = Vec::new();
    for placed in sends
        .iter()
        .filter(durable)
        .filter(|placed| !placed.send.idempotent)
    {
        while let Some(earlier) = ended.next_if(|end| end.operation.precedes(placed.operation)) {
            if highest.is_none_or(|highest| highest.first < earlier.first) {
                highest = Some(earlier);
            }
        }
        if let Some(earlier) = highest.filter(|earlier| placed.last < earlier.first) {
            anomalies.push(anomaly(earlier, placed));
        }
    }
    anomalies
}

fn anomaly(earlier: &Placed<'_>, later: &Placed<'_>) -> Anomaly {
    Anomaly::new(
        Property::NonmonotonicSend,
        format!(
            "session {} partition {}: value {} (operation {}) stands at offset {} before value {} \
             (operation {}) at offset {}, although it was sent later",
            later.send.session,
            later.send.partition,
            later.send.value,
            later.operation.id,
            later.first,
            earlier.send.value,
            earlier.operation.id,
            earlier.first,
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::history::Outcome;

    fn found(script: Script) -> usize {
        let history = script.history();
        check(&history, &VersionOrder::of(&history)).len()
    }

    #[test]
    fn acknowledgements_in_the_wrong_order_are_found() {
        let mut script = Script::new();
        script.send_ok(0, 10, 5);
        script.send_ok(0, 11, 4);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn overlapping_sends_of_a_deduplicating_producer_keep_the_order_of_calls() {
        let mut script = Script::new();
        script.send_ok(0, 10, 5);
        script.send_ok(0, 11, 4);
        script.overlap_last(2);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn unknown_sends_that_were_read_in_the_wrong_order_are_found() {
        let mut script = Script::new();
        script.send_with(Outcome::Info, 0, 10, |_| ());
        script.send_with(Outcome::Info, 0, 11, |_| ());
        script.poll(1, 0, &[(0, 11), (1, 10)]);
        assert_eq!(found(script), 1);
    }

    #[test]
    fn real_time_orders_a_producer_without_idempotence() {
        let mut script = Script::new();
        for (value, offset) in [(10, 5), (11, 4)] {
            script.send(0, value, |send| {
                send.idempotent = false;
                send.offset = Some(offset);
            });
        }
        assert_eq!(found(script), 1);
    }

    #[test]
    fn overlapping_sends_without_idempotence_may_overtake() {
        let mut script = Script::new();
        for (value, offset) in [(10, 5), (11, 4)] {
            script.send(0, value, |send| {
                send.idempotent = false;
                send.offset = Some(offset);
            });
        }
        script.overlap_last(2);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn rising_offsets_are_good() {
        let mut script = Script::new();
        script.send_ok(0, 10, 4);
        script.send_with(Outcome::Info, 0, 11, |_| ());
        script.send_ok(0, 12, 9);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn two_sessions_and_two_partitions_are_independent() {
        let mut script = Script::new();
        script.send_ok(0, 10, 5);
        script.send(0, 11, |send| {
            send.session = 2;
            send.offset = Some(4);
        });
        script.send_ok(1, 12, 3);
        assert_eq!(found(script), 0);
    }
}
