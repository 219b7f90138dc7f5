//! Hand-made histories of queues for the truth tests. Every step takes one simulated millisecond.

use crate::checkers::{Anomaly, Property};
use crate::history::{
    Outcome, Publication, Purge, Queue, QueueHistory, Receipt, Route, Settlement, Value, Wishes,
};

pub(super) fn properties(anomalies: &[Anomaly]) -> Vec<Property> {
    anomalies.iter().map(|anomaly| anomaly.property).collect()
}

/// Writes a history step by step. Sessions open just before their first receipt.
pub(super) struct Script {
    pub(super) history: QueueHistory,
    now_us: u64,
}

impl Script {
    pub(super) fn new() -> Self {
        Self {
            history: QueueHistory::default(),
            now_us: 0,
        }
    }

    /// The history, with everything drained.
    pub(super) fn drained(mut self) -> QueueHistory {
        self.history.is_drained = true;
        self.history
    }

    pub(super) fn publish_ok(&mut self, value: Value, route: Route) {
        self.publish(value, route, Outcome::Ok);
    }

    /// A publish of session 1.
    pub(super) fn publish(&mut self, value: Value, route: Route, outcome: Outcome) {
        self.publish_wishing(value, route, Wishes::default());
        if let Some(publication) = self.history.publications.last_mut() {
            publication.outcome = outcome;
            publication.confirmed_at_us = publication
                .confirmed_at_us
                .filter(|_| outcome == Outcome::Ok);
        }
    }

    /// A confirmed publish that asks for something.
    pub(super) fn publish_wishing(&mut self, value: Value, route: Route, wishes: Wishes) {
        self.now_us += 1_000;
        self.history.publications.push(Publication {
            value,
            route,
            session: 1,
            wishes,
            sent_at_us: self.now_us - 600,
            confirmed_at_us: Some(self.now_us - 400),
            outcome: Outcome::Ok,
        });
    }

    /// A purge that is answered.
    pub(super) fn purge(&mut self, queue: Queue) {
        self.now_us += 1_000;
        self.history.purges.push(Purge {
            queue,
            began_at_us: self.now_us - 600,
            ended_at_us: Some(self.now_us - 400),
        });
    }

    /// A delivery that does not say that it comes again, and nothing said of it.
    pub(super) fn receive(&mut self, session: u64, queue: Queue, value: Value) -> &mut Receipt {
        self.now_us += 1_000;
        let mut earlier = self.history.receipts.iter();
        let opened = earlier.find(|receipt| receipt.session == session);
        let opened_at_us = opened.map_or(self.now_us - 100, |receipt| receipt.opened_at_us);
        self.history.receipts.push(Receipt {
            queue,
            value,
            id: format!("{queue:?}-{value}"),
            session,
            opened_at_us,
            at_us: self.now_us,
            asked_at_us: None,
            is_redelivered: false,
            died_in: None,
            settled: None,
            certain_at_us: None,
        });
        self.history.receipts.last_mut().unwrap()
    }

    /// A delivery, and what is said of it; not known to be carried out.
    pub(super) fn settled(
        &mut self,
        session: u64,
        queue: Queue,
        value: Value,
        settlement: Settlement,
    ) -> &mut Receipt {
        let receipt = self.receive(session, queue, value);
        receipt.settled = Some(settlement);
        receipt
    }

    /// The same of a delivery that says that it comes again.
    pub(super) fn again(
        &mut self,
        session: u64,
        queue: Queue,
        value: Value,
        settlement: Settlement,
    ) -> &mut Receipt {
        let receipt = self.settled(session, queue, value, settlement);
        receipt.is_redelivered = true;
        receipt
    }

    /// A dead letter of a queue, and what is said of it.
    pub(super) fn died(&mut self, session: u64, from: Queue, value: Value, settlement: Settlement) {
        let receipt = self.settled(session, Queue::Dead, value, settlement);
        receipt.died_in = Some(from);
        receipt.id = format!("{from:?}-{value}");
    }
}
