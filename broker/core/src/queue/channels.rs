//! What channels have not settled, and which consumers are theirs.
//!
//! Deliveries belong to the channel, not to the consumer: after `basic.cancel` they can still be
//! settled (AMQP 0-9-1, `basic.cancel`). Does not know the ready messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{BrokerEpoch, BrokerId, ConsumerId, DeliveryId};
use crate::queue::command::Span;
use crate::queue::item::Item;
use crate::queue::message::ChannelId;
use crate::queue::ready::Slot;

/// A delivery that waits to be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsettled {
    pub(super) slot: Slot,
    pub(super) item: Item,
    pub(super) consumer: Option<ConsumerId>,
    /// Replicated time of the delivery, milliseconds.
    pub(super) delivered_at_ms: i64,
    pub(super) is_redelivered: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Channel {
    pub(super) consumers: BTreeSet<ConsumerId>,
    pub(super) unsettled: BTreeMap<DeliveryId, Unsettled>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Channels {
    map: BTreeMap<ChannelId, Channel>,
    count: u64,
    /// How many of them were delivered to consumers, not by `basic.get`.
    consumers_count: u64,
    /// The next delivery; 0 is none's, so that a span from 0 covers all.
    pub(super) next_delivery: u64,
    /// Deliveries below this one may have a row.
    saved_next: u64,
    gone: BTreeSet<DeliveryId>,
}

impl Channels {
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    pub(super) const fn consumers_count(&self) -> u64 {
        self.consumers_count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ChannelId, DeliveryId, &Unsettled)> {
        self.map.iter().flat_map(|(id, channel)| {
            let deliveries = channel.unsettled.iter();
            deliveries.map(|(delivery, unsettled)| (*id, *delivery, unsettled))
        })
    }

    pub(super) fn of(&self, id: ChannelId) -> Option<&Channel> {
        self.map.get(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.map.keys().copied()
    }

    /// The channels of one registration of a broker, and of earlier ones.
    pub(super) fn of_broker(&self, broker: BrokerId, epoch: BrokerEpoch) -> Vec<ChannelId> {
        let ids = self.map.keys().copied();
        ids.filter(|id| id.broker == broker && id.broker_epoch <= epoch)
            .collect()
    }

    pub(super) fn add_consumer(&mut self, id: ChannelId, consumer: ConsumerId) {
        let channel = self.map.entry(id).or_default();
        channel.consumers.insert(consumer);
    }

    pub(super) fn remove_consumer(&mut self, id: ChannelId, consumer: ConsumerId) {
        if let Some(channel) = self.map.get_mut(&id) {
            channel.consumers.remove(&consumer);
        }
        self.forget_if_idle(id);
    }

    pub(super) const fn next_id(&mut self) -> DeliveryId {
        self.next_delivery += 1;
        DeliveryId(self.next_delivery)
    }

    pub(super) fn insert(&mut self, id: ChannelId, delivery: DeliveryId, unsettled: Unsettled) {
        self.count += 1;
        self.consumers_count += u64::from(unsettled.consumer.is_some());
        let channel = self.map.entry(id).or_default();
        channel.unsettled.insert(delivery, unsettled);
    }

    pub(super) fn remove(&mut self, id: ChannelId, delivery: DeliveryId) -> Option<Unsettled> {
        let channel = self.map.get_mut(&id)?;
        let unsettled = channel.unsettled.remove(&delivery)?;
        if channel.unsettled.is_empty() {
            self.forget_if_idle(id);
        }
        self.count -= 1;
        self.consumers_count -= u64::from(unsettled.consumer.is_some());
        if delivery.0 <= self.saved_next {
            self.gone.insert(delivery);
        }
        Some(unsettled)
    }

    /// The deliveries of a channel in a span, in order.
    pub(super) fn in_span(&self, id: ChannelId, span: Span) -> Vec<DeliveryId> {
        let Some(channel) = self.map.get(&id) else {
            return Vec::new();
        };
        if span.first > span.last {
            return Vec::new();
        }
        let deliveries = channel.unsettled.range(span.first..=span.last);
        deliveries.map(|(delivery, _)| *delivery).collect()
    }

    /// The oldest delivery of each channel, with its time.
    pub(super) fn oldest(&self) -> impl Iterator<Item = (ChannelId, DeliveryId, i64)> + '_ {
        self.map.iter().filter_map(|(id, channel)| {
            let (delivery, unsettled) = channel.unsettled.first_key_value()?;
            Some((*id, *delivery, unsettled.delivered_at_ms))
        })
    }

    /// The newest delivery that is not settled.
    pub(super) fn newest(&self) -> Option<DeliveryId> {
        let channels = self.map.values();
        let newest = channels.filter_map(|channel| channel.unsettled.last_key_value());
        newest.map(|(delivery, _)| *delivery).max()
    }

    fn forget_if_idle(&mut self, id: ChannelId) {
        let is_idle =
            |channel: &Channel| channel.consumers.is_empty() && channel.unsettled.is_empty();
        if self.map.get(&id).is_some_and(is_idle) {
            self.map.remove(&id);
        }
    }

    /// Takes the deliveries that are in no row yet, and those that have left their rows.
    pub(super) fn take_dirty(&mut self) -> (Vec<(ChannelId, DeliveryId)>, BTreeSet<DeliveryId>) {
        let after = DeliveryId(self.saved_next.saturating_add(1));
        let mut added = Vec::new();
        for (id, channel) in &self.map {
            let new = channel.unsettled.range(after..);
            added.extend(new.map(|(delivery, _)| (*id, *delivery)));
        }
        self.saved_next = self.next_delivery;
        (added, std::mem::take(&mut self.gone))
    }

    /// Counts everything as saved, or nothing.
    pub(super) const fn mark_saved(&mut self, is_saved: bool) {
        self.saved_next = if is_saved { self.next_delivery } else { 0 };
    }
}
