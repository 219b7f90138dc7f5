//! `basic.ack`, `basic.reject`, `basic.nack`, `basic.recover`, and channels that are gone: deliveries
//! are settled, die, or return to their slots. Does not know delivery tags: the front end keeps them.

use crate::ids::DeliveryId;
use crate::planted::{self, Bug};
use crate::queue::Queue;
use crate::queue::channels::Unsettled;
use crate::queue::command::{Attempt, Outcome, Span};
use crate::queue::entry::Entry;
use crate::queue::event::{DeathReason, EndReason};
use crate::queue::message::ChannelId;
use crate::queue::reply::Reply;

impl Queue {
    pub(super) fn settle(
        &mut self,
        channel: ChannelId,
        spans: &[Span],
        outcome: Outcome,
        entry: &mut Entry<'_>,
    ) -> Reply {
        let mut count = 0;
        for span in spans {
            if span.first == span.last {
                count += usize::from(self.settle_one(channel, span.first, outcome, entry));
                continue;
            }
            for delivery in self.channels.in_span(channel, *span) {
                count += usize::from(self.settle_one(channel, delivery, outcome, entry));
            }
        }
        Reply::Settled { count }
    }

    /// Settles a delivery, if it is the channel's and not settled yet: a second time changes nothing.
    fn settle_one(
        &mut self,
        channel: ChannelId,
        delivery: DeliveryId,
        outcome: Outcome,
        entry: &mut Entry<'_>,
    ) -> bool {
        let mut unsettled = self.channels.remove(channel, delivery);
        if unsettled.is_none() && planted::is_planted(Bug::QueueDoubleAckSettlesNext) {
            let after = Span {
                first: delivery,
                last: DeliveryId(u64::MAX),
            };
            let next = self.channels.in_span(channel, after).first().copied();
            unsettled = next.and_then(|next| self.channels.remove(channel, next));
        }
        let Some(unsettled) = unsettled else {
            tracing::trace!(target: "raftmq::mark", name = "settled_twice");
            return false;
        };
        if let Some(consumer) = unsettled.consumer {
            self.consumers.settled(consumer);
        }
        match outcome {
            Outcome::Acked => {}
            Outcome::Rejected => self.die(unsettled.item, DeathReason::Rejected, entry),
            Outcome::Returned(attempt) => self.return_one(unsettled, attempt, entry),
        }
        true
    }

    /// Puts a delivery back to where it was, or lets it die if it failed too often.
    pub(super) fn return_one(
        &mut self,
        unsettled: Unsettled,
        attempt: Attempt,
        entry: &mut Entry<'_>,
    ) {
        let mut item = unsettled.item;
        if attempt == Attempt::Counts {
            item.attempts = item.attempts.saturating_add(1);
            let limit = self.settings.delivery_limit;
            if limit.is_some_and(|limit| item.attempts > limit) {
                tracing::trace!(target: "raftmq::mark", name = "delivery_limit_reached");
                self.die(item, DeathReason::DeliveryLimit, entry);
                return;
            }
        }
        tracing::trace!(target: "raftmq::mark", name = "delivery_returned");
        if planted::is_planted(Bug::QueueRequeueLosesOrder) {
            self.ready.push(u8::MAX - unsettled.slot.rank, item);
            return;
        }
        self.ready.put_back(unsettled.slot, item);
    }

    /// Closes channels: their consumers go first, so that nothing returns to them.
    pub(super) fn close_channels(
        &mut self,
        channels: &[ChannelId],
        attempt: Attempt,
        entry: &mut Entry<'_>,
    ) -> Reply {
        let had_consumers = !self.consumers.is_empty();
        for channel in channels {
            let consumers = self.channels.of(*channel).map(|one| one.consumers.clone());
            for consumer in consumers.into_iter().flatten() {
                self.consumers.remove(consumer);
                self.channels.remove_consumer(*channel, consumer);
            }
        }
        let mut count = 0;
        for channel in channels {
            let all = Span::up_to(DeliveryId(u64::MAX));
            for delivery in self.channels.in_span(*channel, all) {
                let Some(unsettled) = self.channels.remove(*channel, delivery) else {
                    continue;
                };
                count += 1;
                if !planted::is_planted(Bug::QueueRequeueLost) {
                    self.return_one(unsettled, attempt, entry);
                }
            }
        }
        if count > 0 {
            tracing::trace!(target: "raftmq::mark", name = "queue_channel_closed_with_deliveries");
        }
        if had_consumers {
            self.consumer_left(entry);
        }
        Reply::Settled { count }
    }

    /// Looks whether that was the last consumer.
    pub(super) fn consumer_left(&mut self, entry: &mut Entry<'_>) {
        if !self.consumers.is_empty() {
            return;
        }
        self.last_used_ms = self.now_ms;
        if self.settings.is_auto_delete {
            self.end(EndReason::Unused, entry);
        }
    }
}
