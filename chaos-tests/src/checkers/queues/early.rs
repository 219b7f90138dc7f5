//! `queue-early`: a message that was delivered before it had waited for as long as its publisher said.
//!
//! Not judged where clocks jump: a message waits by the time of the brokers.

use std::collections::BTreeMap;

use crate::checkers::{Anomaly, Property};
use crate::history::{Queue, QueueHistory, Value};

/// How far the clocks of two hosts of a simulation may be apart, microseconds: two of its ticks.
const SLACK_US: u64 = 10_000;

pub(super) fn check(history: &QueueHistory) -> Vec<Anomaly> {
    if history.has_clock_jumps {
        return Vec::new();
    }
    let delayed = history.publications.iter().filter_map(|publication| {
        let delay_us = u64::from(publication.wishes.delay_ms?) * 1_000;
        Some((publication.value, publication.sent_at_us + delay_us))
    });
    let due_at_us: BTreeMap<Value, u64> = delayed.collect();
    let receipts = history.receipts.iter();
    let early = receipts.filter_map(|receipt| {
        let due_at_us = due_at_us.get(&receipt.value)?;
        let is_early = receipt.queue == Queue::Delayed && receipt.at_us + SLACK_US < *due_at_us;
        is_early.then(|| {
            let detail = format!(
                "queue {}: value {} came at {} us and is due at {due_at_us} us",
                receipt.queue.name(),
                receipt.value,
                receipt.at_us
            );
            Anomaly::new(Property::QueueEarly, detail)
        })
    });
    early.collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, properties};
    use super::*;
    use crate::history::{Route, Settlement, Wishes};

    fn history(delay_ms: u32) -> QueueHistory {
        let mut script = Script::new();
        script.publish_wishing(
            1,
            Route::To(Queue::Delayed),
            Wishes {
                delay_ms: Some(delay_ms),
                ..Wishes::default()
            },
        );
        for _ in 0..20 {
            script.settled(1, Queue::Single, 9, Settlement::Acked);
        }
        script.settled(1, Queue::Delayed, 1, Settlement::Acked);
        script.drained()
    }

    #[test]
    fn a_message_that_comes_before_its_time_is_found() {
        assert_eq!(properties(&check(&history(40))), [Property::QueueEarly]);
    }

    #[test]
    fn a_message_that_has_waited_is_good_and_clocks_that_jump_excuse_any() {
        assert_eq!(check(&history(15)), []);
        let mut jumping = history(40);
        jumping.has_clock_jumps = true;
        assert_eq!(check(&jumping), []);
    }
}
