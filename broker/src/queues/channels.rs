//! The open channels of this broker's clients: what queues' leaders push comes in here, once, and leaves
//! through each channel's receiver.
//!
//! Does not know leaders, nor how pushes travel.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use raftmq_core::ids::{BrokerEpoch, BrokerId, ConsumerId, GroupNumber};
use raftmq_core::queue::ChannelId;
use raftmq_core::queue::link::Received;

use super::channel::ChannelEvent;
use super::events::{ChannelEvents, EventSender, Sent, events};
use super::push::Push;
use crate::planted::{Bug, is_planted};

#[derive(Debug)]
struct Open {
    events: EventSender,
    received: Received,
    /// Queues that may know the channel.
    touched: BTreeSet<GroupNumber>,
    consumers: BTreeSet<(GroupNumber, ConsumerId)>,
    /// How many consumers are being attached, by queue: who they are is not known yet.
    attaching: BTreeMap<GroupNumber, usize>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<ChannelId, Open>,
    last_number: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Channels {
    state: Mutex<State>,
}

impl Channels {
    /// Opens a channel under a new name.
    pub(super) fn open(
        &self,
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
    ) -> (ChannelId, ChannelEvents) {
        let (events, receiver) = events();
        let mut state = self.state.lock();
        state.last_number += 1;
        let id = ChannelId {
            broker,
            broker_epoch,
            number: state.last_number,
        };
        let open = Open {
            events,
            received: Received::default(),
            touched: BTreeSet::new(),
            consumers: BTreeSet::new(),
            attaching: BTreeMap::new(),
        };
        state.open.insert(id, open);
        #[expect(clippy::cast_precision_loss, reason = "a gauge takes floats")]
        metrics::gauge!("raftmq_queue_channels").set(state.open.len() as f64);
        (id, receiver)
    }

    /// Forgets a channel; returns the queues that may know it.
    pub(super) fn close(&self, id: ChannelId) -> BTreeSet<GroupNumber> {
        let mut state = self.state.lock();
        let open = state.open.remove(&id);
        #[expect(clippy::cast_precision_loss, reason = "a gauge takes floats")]
        metrics::gauge!("raftmq_queue_channels").set(state.open.len() as f64);
        open.map(|open| open.touched).unwrap_or_default()
    }

    /// The queues that may know an open channel.
    pub(super) fn touched(&self, id: ChannelId) -> BTreeSet<GroupNumber> {
        let state = self.state.lock();
        let open = state.open.get(&id);
        open.map(|open| open.touched.clone()).unwrap_or_default()
    }

    /// The closed channels of a registration that something is delivered to all the same: their queue has
    /// not heard of the end yet, or has forgotten it.
    pub(super) fn closed_among(
        &self,
        pushes: &[Push],
        registration: (BrokerId, BrokerEpoch),
    ) -> BTreeSet<ChannelId> {
        let state = self.state.lock();
        let is_closed = |channel: &ChannelId| {
            (channel.broker, channel.broker_epoch) == registration
                && channel.number <= state.last_number
                && !state.open.contains_key(channel)
        };
        let delivered = pushes.iter().filter_map(|push| match push {
            Push::Delivered(delivery, _) => Some(delivery.channel),
            Push::TakenBack(..) | Push::Cancelled(..) => None,
        });
        delivered.filter(is_closed).collect()
    }

    /// Forgets the channels of every registration but this one; their receivers end.
    pub(super) fn keep_only(&self, current: Option<BrokerEpoch>) {
        let mut state = self.state.lock();
        let is_current = |id: &ChannelId| Some(id.broker_epoch) == current;
        state.open.retain(|id, _| is_current(id));
    }

    /// A queue may know a channel from now on.
    pub(super) fn touch(&self, id: ChannelId, queue: GroupNumber) {
        if let Some(open) = self.state.lock().open.get_mut(&id) {
            open.touched.insert(queue);
        }
    }

    /// A consumer is being attached.
    pub(super) fn attaching(&self, id: ChannelId, queue: GroupNumber) {
        if let Some(open) = self.state.lock().open.get_mut(&id) {
            open.touched.insert(queue);
            *open.attaching.entry(queue).or_default() += 1;
        }
    }

    /// That is over: it is attached, or not.
    pub(super) fn attached(&self, id: ChannelId, queue: GroupNumber, consumer: Option<ConsumerId>) {
        let mut state = self.state.lock();
        let Some(open) = state.open.get_mut(&id) else {
            return;
        };
        if let Some(count) = open.attaching.get_mut(&queue) {
            *count -= 1;
            if *count == 0 {
                open.attaching.remove(&queue);
            }
        }
        open.consumers
            .extend(consumer.map(|consumer| (queue, consumer)));
    }

    /// A consumer is gone by the client's own doing.
    pub(super) fn detached(&self, queue: GroupNumber, consumer: ConsumerId) {
        for open in self.state.lock().open.values_mut() {
            open.consumers.remove(&(queue, consumer));
        }
    }

    /// Takes in what a queue's leader pushes, as far as its channels have room; says which events were not
    /// taken, by their numbers. Behind one of them nothing is taken for its channel: order is kept. What came
    /// before, or is for a channel that is closed, counts as taken.
    pub(super) fn take(&self, queue: GroupNumber, pushes: Vec<Push>) -> Vec<usize> {
        let mut state = self.state.lock();
        let mut full = BTreeSet::new();
        let mut refused = Vec::new();
        for (number, push) in pushes.into_iter().enumerate() {
            let channel = push.channel();
            let Some(open) = state.open.get_mut(&channel) else {
                continue;
            };
            if full.contains(&channel) || !open.take(queue, push) {
                full.insert(channel);
                refused.push(number);
            }
        }
        refused
    }

    /// The queues that some consumer is attached to.
    pub(super) fn consumed_queues(&self) -> BTreeSet<GroupNumber> {
        let state = self.state.lock();
        let consumers = state.open.values().flat_map(|open| &open.consumers);
        consumers.map(|(queue, _)| *queue).collect()
    }

    /// Tells the consumers of a queue that it is no more. Says whether all have been told.
    pub(super) fn cancel_consumers(&self, queue: GroupNumber) -> bool {
        let mut state = self.state.lock();
        let mut is_done = true;
        for (id, open) in &mut state.open {
            let consumers = open.consumers.iter().filter(|(of, _)| *of == queue);
            let consumers: Vec<ConsumerId> = consumers.map(|(_, consumer)| *consumer).collect();
            for consumer in consumers {
                is_done &= open.take(queue, Push::Cancelled(*id, consumer));
            }
        }
        is_done
    }
}

impl Open {
    /// False: there is no room now.
    fn take(&mut self, queue: GroupNumber, push: Push) -> bool {
        let event = match push {
            Push::Delivered(delivery, body) => {
                let is_planted = is_planted(Bug::QueueDeliveriesRepeated);
                if !self.received.is_news(queue, delivery.id) && !is_planted {
                    tracing::trace!(target: "raftmq::mark", name = "delivery_came_again");
                    return true;
                }
                ChannelEvent::Delivered {
                    queue,
                    delivery,
                    body,
                }
            }
            Push::TakenBack(_, delivery) => ChannelEvent::TakenBack {
                queue,
                deliveries: vec![delivery],
            },
            Push::Cancelled(_, consumer) => {
                let is_known = self.consumers.contains(&(queue, consumer));
                if !is_known && !self.attaching.contains_key(&queue) {
                    // It was told, or ended it itself.
                    return true;
                }
                ChannelEvent::ConsumerCancelled { queue, consumer }
            }
        };
        let (delivered, cancelled) = match &event {
            ChannelEvent::Delivered { delivery, .. } => (Some(delivery.id), None),
            ChannelEvent::ConsumerCancelled { consumer, .. } => (None, Some(*consumer)),
            ChannelEvent::TakenBack { .. } => (None, None),
        };
        match self.events.try_send(event) {
            Sent::Taken => {}
            Sent::NoRoom => return false,
            Sent::Closed => return true,
        }
        if let Some(delivery) = delivered {
            self.received.note(queue, delivery);
        }
        if let Some(consumer) = cancelled {
            self.consumers.remove(&(queue, consumer));
        }
        true
    }
}

#[cfg(test)]
mod tests;
