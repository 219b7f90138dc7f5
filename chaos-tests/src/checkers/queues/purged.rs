//! `queue-purged`: a message that was ready when its queue was purged, and was delivered afterwards.
//!
//! Ready for certain: confirmed before the purge was sent, and delivered to nobody before, which is what a
//! delivery without the flag says. On a channel that was opened after the answer nothing can have been on its
//! way.

use std::collections::BTreeMap;

use crate::checkers::{Anomaly, Property};
use crate::history::{Queue, QueueHistory, Value};

pub(super) fn check(history: &QueueHistory) -> Vec<Anomaly> {
    let confirmed = history.publications.iter();
    let confirmed: BTreeMap<Value, u64> = confirmed
        .filter_map(|one| Some((one.value, one.confirmed_at_us?)))
        .collect();
    let receipts = history.receipts.iter();
    let first = receipts.filter(|one| one.queue == Queue::Purged && !one.is_redelivered);
    let survivors = first.filter_map(|receipt| {
        let confirmed_at_us = confirmed.get(&receipt.value)?;
        let purge = history.purges.iter().find(|purge| {
            let was_ready = *confirmed_at_us < purge.began_at_us;
            let has_ended = purge
                .ended_at_us
                .is_some_and(|at_us| at_us < receipt.opened_at_us);
            purge.queue == receipt.queue && was_ready && has_ended
        })?;
        let detail = format!(
            "queue {}: value {} was confirmed at {confirmed_at_us} us, and came at {} us in session {}, \
             although all was purged from {} us on",
            receipt.queue.name(),
            receipt.value,
            receipt.at_us,
            receipt.session,
            purge.began_at_us
        );
        Some(Anomaly::new(Property::QueuePurged, detail))
    });
    survivors.collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, properties};
    use super::*;
    use crate::history::{Route, Settlement};

    fn history() -> QueueHistory {
        let mut script = Script::new();
        script.publish_ok(1, Route::To(Queue::Purged));
        script.purge(Queue::Purged);
        script.settled(1, Queue::Purged, 1, Settlement::Acked);
        script.drained()
    }

    #[test]
    fn a_message_that_outlives_a_purge_is_found() {
        assert_eq!(properties(&check(&history())), [Property::QueuePurged]);
    }

    #[test]
    fn what_may_have_been_held_or_on_its_way_or_published_behind_it_is_good() {
        let mut held = history();
        held.receipts[0].is_redelivered = true;
        assert_eq!(check(&held), []);
        let mut on_its_way = history();
        on_its_way.receipts[0].opened_at_us = 0;
        assert_eq!(check(&on_its_way), []);
        let mut behind = history();
        behind.publications[0].confirmed_at_us = Some(u64::MAX);
        assert_eq!(check(&behind), []);
        let mut unanswered = history();
        unanswered.purges[0].ended_at_us = None;
        assert_eq!(check(&unanswered), []);
    }
}
