//! Who gets which message: the head goes to the consumer whose turn it is, until there is no head or
//! no turn. Also `basic.get`. Does not know sockets: a delivery is an event.

use crate::ids::ConsumerId;
use crate::planted::{self, Bug};
use crate::queue::Queue;
use crate::queue::channels::Unsettled;
use crate::queue::command::AckMode;
use crate::queue::entry::Entry;
use crate::queue::event::{DeathReason, Delivery, QueueEvent};
use crate::queue::message::ChannelId;
use crate::queue::ready::Waiting;
use crate::queue::reply::Reply;

impl Queue {
    /// Delivers what can be delivered.
    pub(super) fn pump(&mut self, entry: &mut Entry<'_>) {
        while let Some(consumer) = self.next_consumer() {
            if self.ready.is_empty() || !entry.may_work() {
                return;
            }
            let Some(waiting) = self.take_head(entry) else {
                return;
            };
            let Some(attach) = self.consumers.get(consumer).map(|one| &one.attach) else {
                return;
            };
            let (channel, ack_mode) = (attach.channel, attach.ack_mode);
            self.consumers.delivered(consumer);
            let delivery = self.assign(channel, Some(consumer), ack_mode, &waiting);
            entry.push(QueueEvent::Delivered(delivery));
        }
    }

    pub(super) fn get_one(
        &mut self,
        channel: ChannelId,
        ack_mode: AckMode,
        entry: &mut Entry<'_>,
    ) -> Reply {
        self.last_used_ms = self.now_ms;
        let waiting = self.take_head(entry);
        let delivery = waiting.map(|waiting| self.assign(channel, None, ack_mode, &waiting));
        Reply::Got {
            delivery,
            ready_count: self.ready.count(),
        }
    }

    /// Whose turn it is. A single active consumer waits until what others hold (it may have
    /// replaced one of them) is settled or returned: this keeps the order.
    pub(super) fn next_consumer(&self) -> Option<ConsumerId> {
        if !self.settings.is_single_active_consumer {
            return self.consumers.next();
        }
        let id = self.consumers.best()?;
        let consumer = self.consumers.get(id)?;
        let holds_all = u64::from(consumer.unsettled) == self.channels.consumers_count()
            || planted::is_planted(Bug::QueueActiveConsumersOverlap);
        (consumer.can_take() && holds_all).then_some(id)
    }

    /// Takes the first message that has not expired. One of this very entry never has: with a TTL
    /// of 0 it may still be delivered at once.
    fn take_head(&mut self, entry: &mut Entry<'_>) -> Option<Waiting> {
        loop {
            let waiting = self.ready.front()?;
            let is_new = waiting.item.message.log_index == entry.log_index;
            if is_new || !self.has_expired(&waiting) {
                self.ready.take(&waiting);
                return Some(waiting);
            }
            if !entry.may_work() {
                return None;
            }
            self.ready.take(&waiting);
            self.die(waiting.item, DeathReason::Expired, entry);
        }
    }

    pub(super) fn has_expired(&self, waiting: &Waiting) -> bool {
        let expires_at_ms = waiting.item.expires_at_ms;
        expires_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms)
    }

    fn assign(
        &mut self,
        channel: ChannelId,
        consumer: Option<ConsumerId>,
        ack_mode: AckMode,
        waiting: &Waiting,
    ) -> Delivery {
        let id = self.channels.next_id();
        if ack_mode == AckMode::Manual {
            let unsettled = Unsettled {
                slot: waiting.slot,
                item: waiting.item,
                consumer,
                delivered_at_ms: self.now_ms,
                is_redelivered: waiting.is_redelivered,
            };
            self.channels.insert(channel, id, unsettled);
        }
        let hides = planted::is_planted(Bug::QueueRedeliveredMissing);
        Delivery {
            id,
            channel,
            consumer,
            message: waiting.item.message,
            size: waiting.item.size,
            attempts: waiting.item.attempts,
            is_redelivered: waiting.is_redelivered && !hides,
            is_settled: ack_mode == AckMode::Automatic,
        }
    }
}
