//! `queue-order`: a single active consumer that got a publisher's message after a later one of his.
//!
//! Judged within each consumer, for each publisher's channel, on which values rise. A message may come
//! behind later ones only to the consumer that has had it before: whoever returns one of several gets it back
//! behind the others. Nobody else may be given anything while somebody still holds messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkers::{Anomaly, Property};
use crate::history::{Queue, QueueHistory, Value};

pub(super) fn check(history: &QueueHistory) -> Vec<Anomaly> {
    let publications = history.publications.iter();
    let publishers: BTreeMap<Value, u64> =
        publications.map(|one| (one.value, one.session)).collect();
    let mut newest: BTreeMap<(u64, u64), Value> = BTreeMap::new();
    let mut seen: BTreeSet<(u64, Value)> = BTreeSet::new();
    let mut anomalies = Vec::new();
    let receipts = history.receipts.iter();
    for receipt in receipts.filter(|receipt| receipt.queue == Queue::Single) {
        let (session, value) = (receipt.session, receipt.value);
        let Some(publisher) = publishers.get(&value) else {
            continue;
        };
        let newest = newest.entry((session, *publisher)).or_insert(value);
        let is_first = seen.insert((session, value));
        if is_first && value < *newest {
            let detail = format!(
                "queue {}: session {session} got value {value} of publisher {publisher} at {} us, behind \
                 {newest}",
                receipt.queue.name(),
                receipt.at_us
            );
            anomalies.push(Anomaly::new(Property::QueueOrder, detail));
        }
        *newest = value.max(*newest);
    }
    anomalies
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::history::{Route, Settlement};

    fn published() -> Script {
        let mut script = Script::new();
        for value in 1..=3 {
            script.publish_ok(value, Route::To(Queue::Single));
        }
        script
    }

    #[test]
    fn a_message_behind_a_later_one_is_found_whatever_its_flag_says() {
        for is_redelivered in [false, true] {
            let mut script = published();
            script.receive(1, Queue::Single, 2);
            script.receive(1, Queue::Single, 1).is_redelivered = is_redelivered;
            assert_eq!(check(&script.history).len(), 1, "{is_redelivered}");
        }
    }

    #[test]
    fn a_message_that_its_consumer_returned_may_come_behind() {
        let mut script = published();
        script.settled(1, Queue::Single, 1, Settlement::Returned);
        script.receive(1, Queue::Single, 2);
        script.again(1, Queue::Single, 1, Settlement::Acked);
        script.receive(1, Queue::Single, 3);
        assert_eq!(check(&script.history), Vec::new());
    }

    #[test]
    fn the_next_consumer_begins_where_the_last_one_held_something() {
        let mut script = published();
        script.receive(1, Queue::Single, 1);
        script.receive(1, Queue::Single, 2);
        script.again(2, Queue::Single, 1, Settlement::Acked);
        script.again(2, Queue::Single, 2, Settlement::Acked);
        assert_eq!(check(&script.history), Vec::new());
    }

    #[test]
    fn publishers_and_other_queues_have_no_common_order() {
        let mut script = published();
        script.history.publications[0].session = 2;
        script.receive(1, Queue::Single, 2);
        script.receive(1, Queue::Single, 1);
        script.receive(2, Queue::Work, 3);
        script.receive(2, Queue::Work, 2);
        assert_eq!(check(&script.history), Vec::new());
    }
}
