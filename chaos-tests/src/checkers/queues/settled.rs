//! `queue-settled`: a message that was delivered again after it was certainly settled for good.
//!
//! Certain is what a later answer on the same channel has shown. A delivery counts as later only where it
//! cannot have been on its way before: on the same channel, or on one that was opened afterwards.

use std::collections::BTreeMap;

use crate::checkers::{Anomaly, Property};
use crate::history::{Queue, QueueHistory, Receipt, Settlement};

pub(super) fn check(history: &QueueHistory) -> Vec<Anomaly> {
    let mut messages: BTreeMap<(Queue, &str), Vec<&Receipt>> = BTreeMap::new();
    // A dead letter may be published again, as another message under the same id.
    let judged = history.receipts.iter();
    for receipt in judged.filter(|receipt| receipt.queue != Queue::Dead) {
        let key = (receipt.queue, receipt.id.as_str());
        messages.entry(key).or_default().push(receipt);
    }
    let mut anomalies = Vec::new();
    for receipts in messages.values() {
        for (settled, certain_at_us) in receipts.iter().filter_map(|one| certain(one)) {
            let late = receipts.iter().find(|receipt| {
                let is_on_its_channel =
                    receipt.session == settled.session && receipt.at_us > certain_at_us;
                is_on_its_channel || receipt.opened_at_us > certain_at_us
            });
            if let Some(late) = late {
                let detail = format!(
                    "queue {}: value {} was settled for certain at {certain_at_us} us in session {}, \
                     and came again at {} us in session {}",
                    late.queue.name(),
                    late.value,
                    settled.session,
                    late.at_us,
                    late.session
                );
                anomalies.push(Anomaly::new(Property::QueueSettled, detail));
            }
        }
    }
    anomalies
}

/// A receipt that was settled for good, and since when that is certain.
fn certain(receipt: &Receipt) -> Option<(&Receipt, u64)> {
    match receipt.settled? {
        Settlement::Acked | Settlement::Rejected => Some((receipt, receipt.certain_at_us?)),
        Settlement::Returned => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;

    /// A message that was acked in session 1; then one more delivery of it in another session.
    fn again(certain_at_us: Option<u64>, session: u64) -> usize {
        let mut script = Script::new();
        script.receive(2, Queue::Work, 7);
        let acked = script.settled(1, Queue::Work, 1, Settlement::Acked);
        acked.certain_at_us = certain_at_us;
        script.again(session, Queue::Work, 1, Settlement::Acked);
        check(&script.history).len()
    }

    #[test]
    fn a_delivery_after_a_certain_ack_is_found() {
        assert_eq!(again(Some(2_500), 1), 1, "on the same channel");
        assert_eq!(again(Some(2_500), 3), 1, "on a channel opened later");
    }

    #[test]
    fn a_delivery_that_may_have_been_under_way_is_good() {
        assert_eq!(again(Some(2_500), 2), 0);
    }

    #[test]
    fn an_ack_that_nobody_has_seen_to_arrive_promises_nothing() {
        assert_eq!(again(None, 1), 0);
        assert_eq!(again(None, 3), 0);
    }

    #[test]
    fn a_message_that_was_returned_may_come() {
        let mut script = Script::new();
        let returned = script.settled(1, Queue::Work, 1, Settlement::Returned);
        returned.certain_at_us = Some(1_500);
        script.again(1, Queue::Work, 1, Settlement::Acked);
        assert_eq!(check(&script.history), Vec::new());
    }
}
