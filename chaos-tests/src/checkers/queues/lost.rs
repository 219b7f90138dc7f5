//! `queue-lost`: a confirmed message that no consumer was done with, although its queue is empty.
//!
//! Whoever sends an ack is done with the message, whether it arrives or not. Returned, or held by a
//! consumer that died, it must come again; rejected or expired, it must come as a dead letter. What a queue
//! may let go of stands in `gone`.

use std::collections::BTreeSet;

use super::gone::may_be_gone;
use crate::checkers::{Anomaly, Property};
use crate::history::{Outcome, Queue, QueueHistory, Receipt, Settlement, Value};

/// Confirmed messages that nobody is done with, and where.
pub(crate) fn unaccounted(history: &QueueHistory) -> BTreeSet<(Value, Queue)> {
    let done: BTreeSet<(Value, Queue)> = history
        .receipts
        .iter()
        .filter(|receipt| is_done(receipt))
        .map(|receipt| (receipt.value, receipt.origin()))
        .collect();
    let confirmed = history
        .publications
        .iter()
        .filter(|publication| publication.outcome == Outcome::Ok);
    confirmed
        .flat_map(|publication| {
            let queues = publication.route.queues().into_iter();
            let missing = queues.filter(|queue| {
                !done.contains(&(publication.value, *queue))
                    && !may_be_gone(history, publication, *queue)
            });
            missing.map(|queue| (publication.value, queue))
        })
        .collect()
}

fn is_done(receipt: &Receipt) -> bool {
    match receipt.settled {
        Some(Settlement::Acked) => true,
        Some(Settlement::Rejected) => !receipt.queue.has_dead_letters(),
        Some(Settlement::Returned) | None => false,
    }
}

pub(super) fn check(history: &QueueHistory) -> Vec<Anomaly> {
    if !history.is_drained {
        return Vec::new();
    }
    let lost = unaccounted(history).into_iter().map(|(value, queue)| {
        let mut receipts = history.receipts.iter();
        let last = receipts.rfind(|one| one.value == value && one.origin() == queue);
        let fate = last.map_or_else(
            || "was never delivered".to_owned(),
            |last| {
                format!(
                    "was delivered last at {} us in session {} and {:?}",
                    last.at_us, last.session, last.settled
                )
            },
        );
        let detail = format!("queue {}: value {value} {fate}", queue.name());
        Anomaly::new(Property::QueueLost, detail)
    });
    lost.collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::history::Route;

    fn found(script: Script) -> usize {
        check(&script.drained()).len()
    }

    #[test]
    fn a_confirmed_message_that_never_came_is_lost_from_each_of_its_queues() {
        let mut script = Script::new();
        script.publish_ok(1, Route::Fanout);
        assert_eq!(found(script), 2);
    }

    #[test]
    fn a_message_that_only_dead_consumers_saw_is_lost() {
        for settlement in [None, Some(Settlement::Returned)] {
            let mut script = Script::new();
            script.publish_ok(1, Route::To(Queue::Work));
            script.receive(1, Queue::Work, 1).settled = settlement;
            assert_eq!(found(script), 1, "{settlement:?}");
        }
    }

    #[test]
    fn a_message_that_was_acked_or_rejected_for_good_is_not_lost() {
        for settlement in [Settlement::Acked, Settlement::Rejected] {
            let mut script = Script::new();
            script.publish_ok(1, Route::To(Queue::Work));
            script.settled(1, Queue::Work, 1, settlement);
            assert_eq!(found(script), 0, "{settlement:?}");
        }
    }

    #[test]
    fn a_rejected_message_must_come_as_a_dead_letter() {
        let script = || {
            let mut script = Script::new();
            script.publish_ok(1, Route::To(Queue::Limited));
            script.settled(1, Queue::Limited, 1, Settlement::Rejected);
            script
        };
        assert_eq!(found(script()), 1);
        let mut buried = script();
        buried.died(2, Queue::Limited, 1, Settlement::Acked);
        assert_eq!(found(buried), 0);
        let mut of_another = script();
        of_another.died(2, Queue::Expiring, 1, Settlement::Acked);
        assert_eq!(found(of_another), 1);
    }

    #[test]
    fn what_nobody_confirmed_may_be_gone() {
        let mut script = Script::new();
        script.publish(1, Route::To(Queue::Work), Outcome::Info);
        script.publish(2, Route::Nowhere, Outcome::Fail);
        assert_eq!(found(script), 0);
    }

    #[test]
    fn queues_that_were_not_drained_prove_no_loss() {
        let mut script = Script::new();
        script.publish_ok(1, Route::To(Queue::Work));
        assert_eq!(check(&script.history), Vec::new());
        assert_eq!(unaccounted(&script.history), [(1, Queue::Work)].into());
    }
}
