//! `unseen`: after the final drain, an acknowledged value that nobody was ever given.
//!
//! Only judged when the drain finished; an unfinished drain is a liveness failure, not this one.
//!
//! Source: `jepsen.tests.kafka/unseen`.

use super::order::{VersionOrder, is_durable};
use super::{Anomaly, Property};
use crate::history::{Event, History};

pub(super) fn check(history: &History, order: &VersionOrder) -> Vec<Anomaly> {
    if !history.has_event(&Event::Drained) {
        return Vec::new();
    }
    let is_read = |partition: u32, value| {
        order
            .partition(partition)
            .is_some_and(|order| order.read.contains(&value))
    };
    history
        .sends()
        .filter(|(operation, send)| is_durable(operation, send))
        .filter(|(_, send)| !is_read(send.partition, send.value))
        .map(|(operation, send)| {
            Anomaly::new(
                Property::Unseen,
                format!(
                    "partition {} value {} acknowledged at offset {:?} by operation {} was never read",
                    send.partition, send.value, send.offset, operation.id
                ),
            )
        })
        .collect()
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
    fn an_acknowledged_tail_that_the_drain_did_not_return_is_unseen() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.send_ok(0, 11, 1);
        script.poll(1, 0, &[(0, 10)]);
        script.drained();
        assert_eq!(found(script), 1);
    }

    #[test]
    fn a_partition_that_nobody_read_at_all_is_unseen() {
        let mut script = Script::new();
        script.send_ok(3, 10, 0);
        script.drained();
        assert_eq!(found(script), 1);
    }

    #[test]
    fn nothing_is_unseen_before_the_drain() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn a_value_that_was_read_once_is_seen() {
        let mut script = Script::new();
        script.send_ok(0, 10, 0);
        script.poll(1, 0, &[(0, 10)]);
        script.drained();
        assert_eq!(found(script), 0);
    }

    #[test]
    fn sends_without_a_promise_may_stay_unseen() {
        let mut script = Script::new();
        script.send_with(Outcome::Info, 0, 10, |_| ());
        script.send_with(Outcome::Fail, 0, 11, |_| ());
        script.send(0, 12, |send| send.acks = Acks::Leader);
        script.send_with(Outcome::Info, 0, 13, |send| send.acks = Acks::None);
        script.drained();
        assert_eq!(found(script), 0);
    }
}
