//! Hand-made histories for the truth tests of the checkers.
//!
//! Every step takes one simulated millisecond, so each operation precedes the next one.

use crate::history::{
    Acks, Action, Event, History, Operation, Outcome, Poll, PollMode, Read, Send, TimedEvent, Value,
};

/// Writes a history step by step.
pub(crate) struct Script {
    history: History,
    now_us: u64,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self {
            history: History::default(),
            now_us: 0,
        }
    }

    pub(crate) fn history(self) -> History {
        self.history
    }

    fn push(&mut self, process: u32, outcome: Outcome, action: Action) {
        self.now_us += 1_000;
        self.history.operations.push(Operation {
            id: self.history.operations.len() as u64,
            process,
            invoked_at_us: self.now_us,
            completed_at_us: Some(self.now_us + 500),
            outcome,
            action,
        });
    }

    /// A send by session 1: `acks=-1`, idempotent, with retries, answered with its offset.
    pub(crate) fn send_ok(&mut self, partition: u32, value: Value, offset: i64) {
        self.send(partition, value, |send| send.offset = Some(offset));
    }

    /// An `ok` send with changes.
    pub(crate) fn send(&mut self, partition: u32, value: Value, change: impl FnOnce(&mut Send)) {
        self.send_with(Outcome::Ok, partition, value, change);
    }

    /// A send with any outcome and changes.
    pub(crate) fn send_with(
        &mut self,
        outcome: Outcome,
        partition: u32,
        value: Value,
        change: impl FnOnce(&mut Send),
    ) {
        let mut send = Send {
            partition,
            value,
            session: 1,
            acks: Acks::All,
            idempotent: true,
            retries: true,
            offset: None,
        };
        change(&mut send);
        self.push(0, outcome, Action::Send(send));
    }

    /// Makes the last `count` operations overlap: all begin with the first of them.
    pub(crate) fn overlap_last(&mut self, count: usize) {
        let first = self.history.operations.len() - count;
        let invoked_at_us = self.history.operations[first].invoked_at_us;
        for operation in &mut self.history.operations[first..] {
            operation.invoked_at_us = invoked_at_us;
        }
    }

    /// A poll of a session that returned these (offset, value) pairs.
    pub(crate) fn poll(&mut self, session: u64, partition: u32, reads: &[(i64, Value)]) {
        self.poll_with(Outcome::Ok, session, partition, reads, |_| ());
    }

    /// A poll with any outcome and changes.
    pub(crate) fn poll_with(
        &mut self,
        outcome: Outcome,
        session: u64,
        partition: u32,
        reads: &[(i64, Value)],
        change: impl FnOnce(&mut Poll),
    ) {
        let reads = reads.iter().map(|(offset, value)| Read {
            offset: *offset,
            value: *value,
        });
        let mut poll = Poll {
            session,
            mode: PollMode::Follow,
            reads: [(partition, reads.collect())].into(),
            high_watermarks: [].into(),
        };
        change(&mut poll);
        self.push(1, outcome, Action::Poll(poll));
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.now_us += 1_000;
        self.history.events.push(TimedEvent {
            at_us: self.now_us,
            event,
        });
    }

    pub(crate) fn drained(&mut self) {
        self.event(Event::Drained);
    }
}
