//! How much of what queues can do a run has shown.

use serde::{Deserialize, Serialize};

use crate::history::{Outcome, Queue, QueueHistory, Receipt};

/// Counts over the history of the queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCoverage {
    /// Confirmed publishes.
    pub confirmed: u64,
    /// Publishes that were returned.
    pub returned: u64,
    /// Publishes of which nobody knows, those with a nack included.
    pub unknown: u64,
    /// Messages that came.
    pub received: u64,
    /// Of them: again.
    pub redelivered: u64,
    /// Of them: dead letters.
    pub dead: u64,
    /// Of them: settled for certain.
    pub settled: u64,
}

impl QueueCoverage {
    /// Measures a history.
    #[must_use]
    pub fn of(history: &QueueHistory) -> Self {
        let ended = |outcome: Outcome| {
            let publications = history.publications.iter();
            publications.filter(|one| one.outcome == outcome).count() as u64
        };
        let came = |is_counted: fn(&&Receipt) -> bool| {
            history.receipts.iter().filter(is_counted).count() as u64
        };
        Self {
            confirmed: ended(Outcome::Ok),
            returned: ended(Outcome::Fail),
            unknown: ended(Outcome::Info),
            received: came(|_| true),
            redelivered: came(|receipt| receipt.is_redelivered),
            dead: came(|receipt| receipt.queue == Queue::Dead),
            settled: came(|receipt| receipt.certain_at_us.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::history::{Route, Settlement};

    #[test]
    fn everything_is_counted_where_it_belongs() {
        let mut script = Script::new();
        script.publish_ok(1, Route::To(Queue::Limited));
        script.publish(2, Route::Nowhere, Outcome::Fail);
        script.publish(3, Route::Fanout, Outcome::Info);
        script.settled(1, Queue::Limited, 1, Settlement::Returned);
        let again = script.again(1, Queue::Limited, 1, Settlement::Rejected);
        again.certain_at_us = Some(9_000);
        script.died(2, Queue::Limited, 1, Settlement::Acked);

        let expected = QueueCoverage {
            confirmed: 1,
            returned: 1,
            unknown: 1,
            received: 3,
            redelivered: 1,
            dead: 1,
            settled: 1,
        };
        assert_eq!(QueueCoverage::of(&script.history), expected);
    }
}
