//! What can be asked of a queue without changing it. A new leader, or a broker that lost events, asks
//! here for what they said.

use crate::ids::{ConsumerId, DeadLetterId, DeliveryId, LogIndex};
use crate::queue::channels::Unsettled;
use crate::queue::consumers::Consumer;
use crate::queue::event::{DeadLetter, Delivery, EndReason};
use crate::queue::item::Item;
use crate::queue::message::{ChannelId, MessageRef};
use crate::queue::ready::Ready;
use crate::queue::settings::Settings;
use crate::queue::{Boundary, Queue};

impl Queue {
    /// The settings in force.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Why the queue is no more, if it is.
    #[must_use]
    pub const fn ended(&self) -> Option<EndReason> {
        self.ended
    }

    /// Whether the group can be destroyed: the queue has ended and its dead letters are published.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.ended.is_some() && self.dead_letters.len() == 0
    }

    /// Replicated time, milliseconds since 1970.
    #[must_use]
    pub const fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Counts the ready messages.
    #[must_use]
    pub const fn ready_count(&self) -> u64 {
        self.ready.count()
    }

    /// Counts the bytes of the bodies of ready messages.
    #[must_use]
    pub const fn ready_bytes(&self) -> u64 {
        self.ready.bytes()
    }

    /// Counts the bytes that its log ever had.
    #[must_use]
    pub const fn written_bytes(&self) -> u64 {
        self.bytes_total
    }

    /// Counts the deliveries that are not settled.
    #[must_use]
    pub const fn unsettled_count(&self) -> u64 {
        self.channels.count()
    }

    /// Counts the messages that are not due yet.
    #[must_use]
    pub fn delayed_count(&self) -> usize {
        self.delayed.map.len()
    }

    /// Counts the dead letters that are not published yet.
    #[must_use]
    pub fn dead_letters_count(&self) -> u64 {
        self.dead_letters.len()
    }

    /// Counts the ids in the deduplication window.
    #[must_use]
    pub fn dedup_ids_count(&self) -> usize {
        self.window.len()
    }

    /// Counts the messages that were ever taken.
    #[must_use]
    pub const fn published_total(&self) -> u64 {
        self.published_total
    }

    /// Counts the consumers.
    #[must_use]
    pub fn consumers_count(&self) -> usize {
        self.consumers.len()
    }

    /// Shows the consumers, in the order in which they came.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        self.consumers.iter()
    }

    /// The consumer that gets everything, on a queue with a single active consumer.
    #[must_use]
    pub fn active_consumer(&self) -> Option<ConsumerId> {
        let id = self.consumers.best()?;
        self.settings.is_single_active_consumer.then_some(id)
    }

    /// The states that can be checkpoints, the oldest first.
    #[must_use]
    pub fn boundaries(&self) -> &[Boundary] {
        &self.boundaries
    }

    /// Shows some dead letters that are to be published, from an id on.
    #[must_use]
    pub fn dead_letters(&self, from: DeadLetterId, count: usize) -> Vec<DeadLetter> {
        self.dead_letters.from(from, count)
    }

    /// Shows what a channel holds, the oldest first: what it should have been sent.
    #[must_use]
    pub fn deliveries(&self, channel: ChannelId) -> Vec<Delivery> {
        let Some(held) = self.channels.of(channel) else {
            return Vec::new();
        };
        let deliveries = held.unsettled.iter();
        deliveries
            .map(|(id, unsettled)| delivery(channel, *id, unsettled))
            .collect()
    }

    /// Shows what consumers hold, queue-wide, the oldest first: what their channels should have been sent.
    #[must_use]
    pub fn consumers_deliveries(&self) -> Vec<Delivery> {
        let held = self.channels.iter();
        let consumed = held.filter(|(_, _, unsettled)| unsettled.consumer.is_some());
        let mut deliveries: Vec<Delivery> = consumed
            .map(|(channel, id, unsettled)| delivery(channel, id, unsettled))
            .collect();
        deliveries.sort_unstable_by_key(|delivery| delivery.id);
        deliveries
    }

    /// Shows the channels that have consumers or hold deliveries.
    pub fn channels(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.channels.ids()
    }

    /// Shows ready messages from the head on, as they would be delivered.
    #[must_use]
    pub fn ready_messages(&self, count: usize) -> Vec<MessageRef> {
        let mut ready: Ready = self.ready.clone();
        let heads = std::iter::from_fn(|| ready.pop());
        heads
            .take(count)
            .map(|waiting| waiting.item.message)
            .collect()
    }

    /// Counts the bytes of memory that ready messages take.
    #[must_use]
    pub fn ready_memory_bytes(&self) -> usize {
        let lines = self.ready.lines.values();
        let returned = self.ready.returned.len() * 2 * size_of::<Item>();
        returned + lines.map(|line| line.memory_bytes()).sum::<usize>()
    }

    /// Log index of the oldest body that is still needed.
    #[must_use]
    pub fn oldest_needed(&self) -> Option<LogIndex> {
        self.unsettled().map(|(message, _)| message.log_index).min()
    }
}

const fn delivery(channel: ChannelId, id: DeliveryId, unsettled: &Unsettled) -> Delivery {
    let item = &unsettled.item;
    Delivery {
        id,
        channel,
        consumer: unsettled.consumer,
        message: item.message,
        size: item.size,
        attempts: item.attempts,
        is_redelivered: unsettled.is_redelivered,
        is_settled: false,
    }
}
