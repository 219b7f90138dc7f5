//! The leader's overlay: the applied queue plus the messages that are proposed and still in flight.
//!
//! A leader makes one when its term begins and drops it when leadership is lost. It decides what must
//! be decided before a body is written: messages over a length limit are refused, and a duplicate of
//! a message in flight waits for that. Ids of what was refused were never remembered. Decides, never
//! changes the queue; does not know Raft or publishers.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::queue::Queue;
use crate::queue::message::{Arrival, Message};
use crate::queue::settings::Overflow;

/// Names a message in flight, in the order of proposals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Propose it and tell [`Pending::record`]; confirm it when it is applied.
    Publish,
    /// Propose it as [`Arrival::DeadLetter`], and answer `basic.nack` (`reject-publish-dlx`).
    DeadLetter,
    /// It was published before: confirm it.
    Duplicate,
    /// Its original is in flight: answer what that one is answered.
    DuplicateInFlight {
        /// The original.
        original: Ticket,
    },
    /// The queue is full: `basic.nack` (`reject-publish`).
    Refused,
}

#[derive(Debug, Clone)]
struct InFlight {
    ticket: Ticket,
    size: u32,
    /// Whether it will count against the length limit.
    is_counted: bool,
    dedup_id: Option<Bytes>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Pending {
    next: u64,
    in_flight: VecDeque<InFlight>,
    ids: BTreeMap<Bytes, Ticket>,
    count: u64,
    bytes: u64,
}

impl Pending {
    /// Starts with nothing in flight. Make it when the blank entry of the leader's own term is
    /// applied, not earlier: until then entries of older terms are still to come.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the messages in flight.
    #[must_use]
    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// Takes note of a message that is about to be proposed.
    pub fn record(&mut self, message: &Message) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        let is_enqueued = message.arrival == Arrival::Enqueue;
        let is_counted = is_enqueued && message.delay_ms.unwrap_or(0) == 0;
        if is_counted {
            self.count += 1;
            self.bytes += u64::from(message.size());
        }
        let dedup_id = message.dedup_id.clone().filter(|_| is_enqueued);
        if let Some(id) = &dedup_id {
            self.ids.insert(id.clone(), ticket);
        }
        self.in_flight.push_back(InFlight {
            ticket,
            size: message.size(),
            is_counted,
            dedup_id,
        });
        ticket
    }

    /// Forgets everything up to a ticket: it was applied, or its proposal was refused. Either way
    /// the queue now says what is true.
    pub fn settle(&mut self, up_to: Ticket) {
        while self
            .in_flight
            .front()
            .is_some_and(|first| first.ticket <= up_to)
        {
            let Some(gone) = self.in_flight.pop_front() else {
                return;
            };
            if gone.is_counted {
                self.count -= 1;
                self.bytes -= u64::from(gone.size);
            }
            if let Some(id) = &gone.dedup_id
                && self.ids.get(id) == Some(&gone.ticket)
            {
                self.ids.remove(id);
            }
        }
    }
}

impl Queue {
    /// Decides what becomes of a message, against everything applied and in flight.
    ///
    /// `now_ms` is the leader's wall clock, with which the entry will be proposed: apply decides
    /// about duplicates again and has the last word.
    #[must_use]
    pub fn decide(&self, pending: &Pending, message: &Message, now_ms: i64) -> Decision {
        if let (Some(id), Some(dedup)) = (&message.dedup_id, self.settings.dedup) {
            if let Some(original) = pending.ids.get(id) {
                tracing::trace!(target: "raftmq::mark", name = "duplicate_of_message_in_flight");
                return Decision::DuplicateInFlight {
                    original: *original,
                };
            }
            if self.window.contains(id, dedup, now_ms.max(self.now_ms)) {
                return Decision::Duplicate;
            }
        }
        let is_delayed = message.delay_ms.unwrap_or(0) > 0;
        if is_delayed || !self.would_be_too_long(pending, message.size()) {
            return Decision::Publish;
        }
        match self.settings.overflow {
            Overflow::DropHead => Decision::Publish,
            Overflow::RejectPublish => Decision::Refused,
            Overflow::RejectPublishDlx => Decision::DeadLetter,
        }
    }

    fn would_be_too_long(&self, pending: &Pending, size: u32) -> bool {
        let count = self.ready.count() + pending.count + 1;
        let bytes = self.ready.bytes() + pending.bytes + u64::from(size);
        self.settings.is_over(count, bytes)
    }
}
