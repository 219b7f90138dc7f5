//! What the machine's events leave to do for the replica that leads: what is to be pushed, to which
//! broker, and whether dead letters or the queue's end wait.
//!
//! Followers keep nothing. A leader that loses its term forgets all; whoever follows finds what counts in
//! the state. Bounded by what consumers were granted.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use raftmq_core::ids::{BrokerId, LogIndex};
use raftmq_core::queue::{Delivery, Queue, QueueEvent};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct State {
    /// The term in which this replica leads.
    term: Option<u64>,
    by_broker: BTreeMap<BrokerId, VecDeque<QueueEvent>>,
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
    /// sent it. To be called with the state locked, so that nothing comes between.
    pub(super) fn begin(&self, term: u64, queue: &Queue) {
        let mut state = self.state.lock();
        state.term = Some(term);
        state.by_broker.clear();
        for delivery in queue.consumers_deliveries() {
            state.add(delivery.channel.broker, QueueEvent::Delivered(delivery));
        }
        drop(state);
        self.pushes.notify_one();
        self.letters.notify_one();
    }

    /// Forgets everything, unless a later term has begun.
    pub(super) fn end(&self, term: u64) {
        let mut state = self.state.lock();
        if state.term == Some(term) {
            *state = State::default();
        }
    }

    /// Takes in an event of the machine.
    pub(super) fn take(&self, event: QueueEvent) {
        let mut state = self.state.lock();
        if state.term.is_none() {
            return;
        }
        match &event {
            QueueEvent::Delivered(Delivery { channel, .. })
            | QueueEvent::TakenBack { channel, .. }
            | QueueEvent::ConsumerCancelled { channel, .. } => {
                let broker = channel.broker;
                state.add(broker, event);
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

    /// The brokers that something is to be pushed to. Like what follows it is for the term that began last:
    /// whoever still works for one before finds nothing, and takes nothing out.
    pub(super) fn brokers(&self, term: u64) -> Vec<BrokerId> {
        let state = self.state.lock();
        let of_term = Some(&state.by_broker).filter(|_| state.term == Some(term));
        of_term
            .into_iter()
            .flat_map(BTreeMap::keys)
            .copied()
            .collect()
    }

    /// The next events for a broker, without taking them out.
    pub(super) fn peek(&self, term: u64, broker: BrokerId, count_max: usize) -> Vec<QueueEvent> {
        let state = self.state.lock();
        if state.term != Some(term) {
            return Vec::new();
        }
        let events = state.by_broker.get(&broker).into_iter().flatten();
        events.take(count_max).copied().collect()
    }

    /// Takes out as many events as a broker has taken.
    pub(super) fn done(&self, term: u64, broker: BrokerId, count: usize) {
        let mut state = self.state.lock();
        if state.term != Some(term) {
            return;
        }
        if let Some(events) = state.by_broker.get_mut(&broker) {
            events.drain(..count.min(events.len()));
            if events.is_empty() {
                state.by_broker.remove(&broker);
            }
        }
    }

    /// Whether nothing is to be pushed.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().by_broker.is_empty()
    }

    /// Log index of the oldest body that is still to be read.
    pub(super) fn oldest_unread(&self) -> Option<LogIndex> {
        let state = self.state.lock();
        let events = state.by_broker.values().flatten();
        let unread = events.filter_map(|event| match event {
            QueueEvent::Delivered(delivery) => Some(delivery.message.log_index),
            QueueEvent::TakenBack { .. }
            | QueueEvent::DeadLettered(_)
            | QueueEvent::Dropped { .. }
            | QueueEvent::ConsumerCancelled { .. }
            | QueueEvent::Ended { .. } => None,
        });
        unread.min()
    }
}

impl State {
    fn add(&mut self, broker: BrokerId, event: QueueEvent) {
        self.by_broker.entry(broker).or_default().push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use raftmq_core::ids::{ConsumerId, DeliveryId};
    use raftmq_core::queue::ChannelId;

    use super::*;

    const BROKER: BrokerId = BrokerId(2);

    fn taken_back(id: u64) -> QueueEvent {
        let channel = ChannelId {
            broker: BROKER,
            ..ChannelId::default()
        };
        let delivery = DeliveryId(id);
        QueueEvent::TakenBack { channel, delivery }
    }

    #[test]
    fn a_follower_keeps_nothing() {
        let outgoing = Outgoing::default();

        outgoing.take(taken_back(1));

        assert!(outgoing.is_empty());
    }

    #[test]
    fn what_was_taken_goes_and_the_rest_stays_in_order() {
        let outgoing = Outgoing::default();
        outgoing.begin(5, &Queue::default());
        (1..=3).for_each(|id| outgoing.take(taken_back(id)));

        assert_eq!(outgoing.brokers(5), [BROKER]);
        assert_eq!(outgoing.peek(5, BROKER, 2), [taken_back(1), taken_back(2)]);
        outgoing.done(5, BROKER, 2);

        assert_eq!(outgoing.peek(5, BROKER, 2), [taken_back(3)]);
        outgoing.done(5, BROKER, 1);
        assert!(outgoing.is_empty());
    }

    #[test]
    fn a_push_of_the_term_before_takes_nothing_out() {
        let outgoing = Outgoing::default();
        outgoing.begin(5, &Queue::default());
        outgoing.take(taken_back(1));
        outgoing.begin(6, &Queue::default());
        let cancelled = QueueEvent::ConsumerCancelled {
            channel: ChannelId {
                broker: BROKER,
                ..ChannelId::default()
            },
            consumer: ConsumerId(1),
        };
        outgoing.take(cancelled);

        outgoing.done(5, BROKER, 1);
        outgoing.end(5);

        assert_eq!(outgoing.peek(5, BROKER, 9), []);
        assert_eq!(outgoing.peek(6, BROKER, 9), [cancelled]);
    }
}
