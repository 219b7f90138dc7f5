//! `queue-redelivered`: a message that came twice without saying so.
//!
//! Only one delivery of a message may be without the flag; one with it may well be the first that a client
//! sees. Not judged in the queue of dead letters, into which a message may come twice.

use std::collections::BTreeMap;

use crate::checkers::{Anomaly, Property};
use crate::history::{Queue, QueueHistory, Receipt};

pub(super) fn check(history: &QueueHistory) -> Vec<Anomaly> {
    let mut first: BTreeMap<(Queue, &str), &Receipt> = BTreeMap::new();
    let mut anomalies = Vec::new();
    let judged = history.receipts.iter();
    for receipt in judged.filter(|one| !one.is_redelivered && one.queue != Queue::Dead) {
        let before = first.insert((receipt.queue, receipt.id.as_str()), receipt);
        if let Some(before) = before {
            let detail = format!(
                "queue {}: value {} came at {} us in session {}, and at {} us in session {}",
                receipt.queue.name(),
                receipt.value,
                before.at_us,
                before.session,
                receipt.at_us,
                receipt.session
            );
            anomalies.push(Anomaly::new(Property::QueueRedelivered, detail));
        }
    }
    anomalies
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::history::Settlement;

    #[test]
    fn a_second_delivery_without_the_flag_is_found_in_the_same_session_and_in_another() {
        for session in [1, 2] {
            let mut script = Script::new();
            script.receive(1, Queue::Work, 1);
            script.receive(session, Queue::Work, 1);
            assert_eq!(check(&script.history).len(), 1, "{session}");
        }
    }

    #[test]
    fn deliveries_that_say_so_are_good_even_before_the_first_one() {
        let mut script = Script::new();
        script.again(2, Queue::Work, 1, Settlement::Acked);
        script.receive(1, Queue::Work, 1);
        script.again(3, Queue::Work, 1, Settlement::Acked);
        assert_eq!(check(&script.history), Vec::new());
    }

    #[test]
    fn dead_letters_are_published_at_least_once() {
        let mut script = Script::new();
        script.died(1, Queue::Limited, 1, Settlement::Acked);
        script.died(1, Queue::Limited, 1, Settlement::Acked);
        assert_eq!(check(&script.history), Vec::new());
    }
}
