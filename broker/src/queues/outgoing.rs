//! What the machine's events leave to do for the replica that leads: what is to be pushed, to which
//! broker, and whether dead letters or the queue's end wait; and which bodies are still to be read for
//! that although their messages are settled.
//!
//! Followers keep nothing. A leader that loses its term forgets all; whoever follows finds what counts in
//! the state. Bounded by what consumers were granted and clients asked for.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use raftmq_core::ids::{BrokerId, ConsumerId, DeliveryId};
use raftmq_core::queue::{ChannelId, Delivery, MessageRef, Queue, QueueEvent, Reply};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::lines::{Lines, Took};

#[derive(Debug, Default)]
struct State {
    /// The term in which this replica leads.
    term: Option<u64>,
    by_broker: BTreeMap<BrokerId, Lines>,
    /// What gets took for good, until whoever answers them has seen it.
    got: BTreeMap<DeliveryId, Delivery>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    state: Mutex<State>,
    /// Something is to be pushed.
    pub(super) pushes: Notify,
    /// Dead letters may wait, or the queue has ended.
    pub(super) letters: Notify,
}

impl Outgoing {
    /// Begins to keep events, and takes in what the state says that channels hold: they may not have been
    /// sent it. To be called with the state locked, so that nothing comes between. Changes nothing
    /// when a later term has begun.
    pub(super) fn begin(&self, term: u64, queue: &Queue) {
        let mut state = self.state.lock();
        if state.term.is_some_and(|known| known > term) {
            return;
        }
        *state = State {
            term: Some(term),
            ..State::default()
        };
        for delivery in queue.consumers_deliveries() {
            state.add(delivery.channel, QueueEvent::Delivered(delivery));
        }
        drop(state);
        self.pushes.notify_one();
        self.letters.notify_one();
    }

    /// Forgets everything, unless a later term has begun: who works for that one looks again, because
    /// what woke somebody of the term that ended may have been for it.
    pub(super) fn end(&self, term: u64) {
        let mut state = self.state.lock();
        if state.term == Some(term) {
            *state = State::default();
            return;
        }
        drop(state);
        self.pushes.notify_one();
        self.letters.notify_one();
    }

    /// Takes in an event of the machine, while that is locked for writing.
    pub(super) fn take(&self, event: QueueEvent) {
        let mut state = self.state.lock();
        if state.term.is_none() {
            return;
        }
        match &event {
            QueueEvent::Delivered(Delivery { channel, .. })
            | QueueEvent::TakenBack { channel, .. }
            | QueueEvent::ConsumerCancelled { channel, .. } => {
                let channel = *channel;
                state.add(channel, event);
                self.pushes.notify_one();
            }
            QueueEvent::DeadLettered(_) | QueueEvent::Ended { .. } => self.letters.notify_one(),
            QueueEvent::Dropped { reason } => {
                let reason = reason.name();
                metrics::counter!("raftmq_queue_dropped_messages_total", "reason" => reason)
                    .increment(1);
            }
        }
    }

    /// Takes in what gets took for good by an entry, while the machine is locked for writing: in the state
    /// it is no more, and nobody has read it yet.
    pub(super) fn take_got(&self, reply: &Reply) {
        let replies = if let Reply::Batch(replies) = reply {
            replies.as_slice()
        } else {
            std::slice::from_ref(reply)
        };
        let mut gets = got_for_good(replies).peekable();
        if gets.peek().is_none() {
            return;
        }
        let mut state = self.state.lock();
        if state.term.is_some() {
            state.got.extend(gets.map(|taken| (taken.id, taken)));
        }
    }

    /// Somebody else holds what the gets of an entry took. What earlier entries took has been seen, too, or
    /// nobody will ask for it.
    pub(super) fn release_got(&self, replies: &[Reply]) {
        if let Some(last) = got_for_good(replies).map(|taken| taken.id).max() {
            self.state.lock().got.retain(|id, _| *id > last);
        }
    }

    /// The brokers that something is to be pushed to, and when: now, or when a channel without room has
    /// rested. Like what follows it is for the term that began last: whoever still works for one before
    /// finds nothing, and takes nothing out.
    pub(super) fn ready_at(&self, term: u64, now: Instant) -> Vec<(BrokerId, Instant)> {
        let state = self.state.lock();
        let of_term = Some(&state.by_broker).filter(|_| state.term == Some(term));
        let brokers = of_term.into_iter().flatten();
        brokers
            .filter_map(|(broker, lines)| Some((*broker, lines.ready_at(now)?)))
            .collect()
    }

    /// The next events for a broker, those of a channel together and in order, without taking them out.
    pub(super) fn peek(
        &self,
        term: u64,
        broker: BrokerId,
        now: Instant,
        count_max: usize,
    ) -> Vec<QueueEvent> {
        let state = self.state.lock();
        if state.term != Some(term) {
            return Vec::new();
        }
        let lines = state.by_broker.get(&broker);
        lines
            .map(|lines| lines.peek(now, count_max))
            .unwrap_or_default()
    }

    /// Takes out what channels are done with, the one whose turn was last at the end.
    pub(super) fn done(&self, term: u64, took: &[(ChannelId, Took)], now: Instant) {
        let mut state = self.state.lock();
        if state.term != Some(term) {
            return;
        }
        for (channel, took) in took {
            if let Some(lines) = state.by_broker.get_mut(&channel.broker) {
                lines.done(*channel, *took, now);
            }
        }
        state.by_broker.retain(|_, lines| !lines.is_empty());
    }

    /// Whether nothing is to be pushed.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().by_broker.is_empty()
    }

    /// Whether deliveries of a consumer are still to be pushed.
    pub(super) fn has_deliveries_of(&self, consumer: ConsumerId) -> bool {
        let state = self.state.lock();
        state
            .deliveries()
            .any(|delivery| delivery.consumer == Some(consumer))
    }

    /// The bodies, with their sizes, that are still to be read although their messages are settled
    /// (`no-ack`). All others are the state's. With the machine locked for reading, none is in neither.
    pub(super) fn unread(&self) -> Vec<(MessageRef, u32)> {
        let state = self.state.lock();
        let settled = state.deliveries().filter(|delivery| delivery.is_settled);
        let unread = settled.chain(state.got.values());
        unread
            .map(|delivery| (delivery.message, delivery.size))
            .collect()
    }
}

impl State {
    fn add(&mut self, channel: ChannelId, event: QueueEvent) {
        let lines = self.by_broker.entry(channel.broker).or_default();
        lines.add(channel, event);
    }

    fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        let events = self.by_broker.values().flat_map(Lines::events);
        events.filter_map(|event| match event {
            QueueEvent::Delivered(delivery) => Some(delivery),
            QueueEvent::TakenBack { .. }
            | QueueEvent::DeadLettered(_)
            | QueueEvent::Dropped { .. }
            | QueueEvent::ConsumerCancelled { .. }
            | QueueEvent::Ended { .. } => None,
        })
    }
}

/// What gets took that counts as settled already.
fn got_for_good(replies: &[Reply]) -> impl Iterator<Item = Delivery> + '_ {
    let taken = replies.iter().filter_map(|reply| match reply {
        Reply::Got { delivery, .. } => *delivery,
        Reply::Batch(_)
        | Reply::Published(_)
        | Reply::Attached { .. }
        | Reply::Settled { .. }
        | Reply::Removed { .. }
        | Reply::Done
        | Reply::Refused(_) => None,
    });
    taken.filter(|delivery| delivery.is_settled)
}

#[cfg(test)]
mod tests;
