//! `queue-priority`: a message that was given to a consumer although one of a higher priority was ready.
//!
//! Judged where a consumer may hold one message, between what one channel got: whatever was confirmed before
//! the consumer asked was ready when it was given something, if it came later on the same channel and for the
//! first time.

use std::collections::BTreeMap;

use crate::checkers::{Anomaly, Property};
use crate::history::{PRIORITY_MAX, Publication, Queue, QueueHistory, Receipt, Value};

pub(super) fn check(history: &QueueHistory) -> Vec<Anomaly> {
    let publications = history.publications.iter();
    let publications: BTreeMap<Value, &Publication> =
        publications.map(|one| (one.value, one)).collect();
    let mut sessions: BTreeMap<u64, Vec<(&Receipt, &Publication)>> = BTreeMap::new();
    let receipts = history.receipts.iter();
    for receipt in receipts.filter(|receipt| receipt.queue == Queue::Prioritized) {
        if let Some(publication) = publications.get(&receipt.value) {
            let session = sessions.entry(receipt.session).or_default();
            session.push((receipt, publication));
        }
    }
    let mut anomalies = Vec::new();
    for receipts in sessions.values() {
        for (at, (given, low)) in receipts.iter().enumerate() {
            let Some(asked_at_us) = given.asked_at_us else {
                continue;
            };
            let passed_over = receipts[at + 1..].iter().find(|(later, high)| {
                let was_ready = high
                    .confirmed_at_us
                    .is_some_and(|at_us| at_us < asked_at_us);
                !later.is_redelivered && was_ready && rank(high) > rank(low)
            });
            if let Some((later, high)) = passed_over {
                let detail = format!(
                    "queue {}: session {} asked at {asked_at_us} us and got value {} of priority {}, \
                     while value {} of priority {} waited, which came at {} us",
                    given.queue.name(),
                    given.session,
                    given.value,
                    low.wishes.priority,
                    later.value,
                    high.wishes.priority,
                    later.at_us
                );
                anomalies.push(Anomaly::new(Property::QueuePriority, detail));
            }
        }
    }
    anomalies
}

/// What a message's priority counts for.
fn rank(publication: &Publication) -> u8 {
    publication.wishes.priority.min(PRIORITY_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, properties};
    use super::*;
    use crate::history::{Route, Settlement, Wishes};

    /// Two messages are confirmed; the one of the low priority comes first.
    fn history(low: u8, high: u8) -> QueueHistory {
        let mut script = Script::new();
        for (value, priority) in [(1, low), (2, high)] {
            let wishes = Wishes {
                priority,
                ..Wishes::default()
            };
            script.publish_wishing(value, Route::To(Queue::Prioritized), wishes);
        }
        for value in [1, 2] {
            let receipt = script.settled(1, Queue::Prioritized, value, Settlement::Acked);
            receipt.asked_at_us = Some(receipt.at_us - 500);
        }
        script.drained()
    }

    #[test]
    fn a_higher_priority_that_comes_later_is_found() {
        assert_eq!(
            properties(&check(&history(1, 3))),
            [Property::QueuePriority]
        );
        assert_eq!(check(&history(3, 3)), []);
        assert_eq!(check(&history(3, 1)), []);
        assert_eq!(check(&history(PRIORITY_MAX, PRIORITY_MAX + 1)), []);
    }

    #[test]
    fn what_may_not_have_been_ready_is_not_judged() {
        let mut unknown = history(1, 3);
        unknown.publications[1].confirmed_at_us = None;
        assert_eq!(check(&unknown), []);
        let mut held_by_another = history(1, 3);
        held_by_another.receipts[1].is_redelivered = true;
        assert_eq!(check(&held_by_another), []);
        let mut with_several = history(1, 3);
        with_several.receipts[0].asked_at_us = None;
        assert_eq!(check(&with_several), []);
    }
}
