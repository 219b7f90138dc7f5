//! `queue-unexpected`: a message that nobody published there, or that its publisher got back.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkers::{Anomaly, Property};
use crate::history::{Outcome, Queue, QueueHistory, Value};

pub(super) fn check(history: &QueueHistory) -> Vec<Anomaly> {
    let mut reached: BTreeMap<Value, BTreeSet<Queue>> = BTreeMap::new();
    for publication in &history.publications {
        if publication.outcome != Outcome::Fail {
            let queues = reached.entry(publication.value).or_default();
            queues.extend(publication.route.queues());
        }
    }
    let is_expected = |value: &Value, queue: Queue| {
        let queues = reached.get(value);
        queues.is_some_and(|queues| queues.contains(&queue))
    };
    let unexpected = history.receipts.iter().filter(|receipt| {
        let comes_as_it_should = match receipt.died_in {
            Some(queue) => receipt.queue == Queue::Dead && queue.has_dead_letters(),
            None => receipt.queue != Queue::Dead,
        };
        !comes_as_it_should || !is_expected(&receipt.value, receipt.origin())
    });
    unexpected
        .map(|receipt| {
            let (queue, value, died_in) = (receipt.queue.name(), receipt.value, receipt.died_in);
            let detail = format!("queue {queue}: value {value}, died in {died_in:?}");
            Anomaly::new(Property::QueueUnexpected, detail)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::history::{Route, Settlement};

    #[test]
    fn a_value_that_nobody_published_is_unexpected() {
        let mut script = Script::new();
        script.receive(1, Queue::Work, 9);
        assert_eq!(check(&script.history).len(), 1);
    }

    #[test]
    fn a_value_in_another_queue_is_unexpected() {
        let mut script = Script::new();
        script.publish_ok(1, Route::To(Queue::Work));
        script.receive(1, Queue::Copies, 1);
        assert_eq!(check(&script.history).len(), 1);
    }

    #[test]
    fn a_returned_message_that_is_delivered_is_unexpected() {
        let mut script = Script::new();
        script.publish(1, Route::To(Queue::Work), Outcome::Fail);
        script.receive(1, Queue::Work, 1);
        assert_eq!(check(&script.history).len(), 1);
    }

    #[test]
    fn a_dead_letter_comes_from_a_queue_that_has_some() {
        let mut script = Script::new();
        script.publish_ok(1, Route::To(Queue::Work));
        script.publish_ok(2, Route::To(Queue::Expiring));
        script.died(1, Queue::Work, 1, Settlement::Acked);
        script.died(1, Queue::Expiring, 2, Settlement::Acked);
        script.receive(2, Queue::Dead, 2);
        assert_eq!(check(&script.history).len(), 2);
    }

    #[test]
    fn what_nobody_confirmed_may_come() {
        let mut script = Script::new();
        script.publish(1, Route::Fanout, Outcome::Info);
        script.receive(1, Queue::Work, 1);
        script.receive(2, Queue::Copies, 1);
        assert_eq!(check(&script.history), Vec::new());
    }
}
