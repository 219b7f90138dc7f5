//! What happens because time has passed: delays, TTL, consumer timeouts, expiry of an unused queue.
//!
//! Time is that of the entries. Each entry first does what is due, so a `Tick` only says that nothing
//! else came along. Does not know clocks.

use crate::ids::{DeliveryId, LogIndex};
use crate::queue::Queue;
use crate::queue::command::Attempt;
use crate::queue::entry::Entry;
use crate::queue::event::{DeathReason, EndReason, QueueEvent};
use crate::queue::message::ChannelId;
use crate::queue::publish::after;
use crate::queue::settings::Overflow;

impl Queue {
    /// Does what is due at the replicated time.
    pub(super) fn advance_time(&mut self, entry: &mut Entry<'_>) {
        if self.ended.is_some() {
            return;
        }
        if self.is_unused_for_too_long() {
            self.end(EndReason::Expired, entry);
            return;
        }
        self.return_timed_out(entry);
        while let Some((due, postponed)) = self.delayed.pop_due(self.now_ms) {
            tracing::trace!(target: "raftmq::mark", name = "delayed_message_due");
            self.enqueue(due.message, postponed);
            self.pump(entry);
            self.enforce_limits(entry);
            if !entry.may_work() {
                return;
            }
        }
        self.drop_expired(entry);
        if let Some(dedup) = self.settings.dedup {
            self.window.prune(dedup, self.now_ms);
        }
    }

    /// When the host must propose a `Tick`, if nothing else comes before: replicated time,
    /// milliseconds since 1970. A time that has passed means at once.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<i64> {
        if self.ended.is_some() {
            return None;
        }
        if self.has_work_left() {
            return Some(self.now_ms);
        }
        let deadlines = [
            self.ready.next_expiry_ms(),
            self.delayed.next_ms(),
            self.unused_until_ms(),
            self.oldest_delivery()
                .map(|(_, _, returns_at_ms)| returns_at_ms),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Whether an entry stopped before it had done everything.
    fn has_work_left(&self) -> bool {
        let can_deliver = !self.ready.is_empty() && self.next_consumer().is_some();
        can_deliver || (self.settings.overflow == Overflow::DropHead && self.is_too_long())
    }

    fn unused_until_ms(&self) -> Option<i64> {
        let expires_ms = self.settings.expires_ms?;
        self.consumers
            .is_empty()
            .then(|| after(self.last_used_ms, expires_ms))
    }

    fn is_unused_for_too_long(&self) -> bool {
        self.unused_until_ms()
            .is_some_and(|until_ms| until_ms <= self.now_ms)
    }

    /// The delivery that times out first, and when.
    fn oldest_delivery(&self) -> Option<(ChannelId, DeliveryId, i64)> {
        let timeout_ms = self.settings.consumer_timeout_ms?;
        let oldest = self.channels.oldest().min_by_key(|(_, id, _)| *id);
        oldest.map(|(channel, id, at_ms)| (channel, id, after(at_ms, timeout_ms)))
    }

    /// Returns what a client has held for too long. The channel stays open; it does not count as a
    /// failed delivery.
    fn return_timed_out(&mut self, entry: &mut Entry<'_>) {
        while let Some((channel, delivery, returns_at_ms)) = self.oldest_delivery() {
            if returns_at_ms > self.now_ms || !entry.may_work() {
                return;
            }
            let Some(unsettled) = self.channels.remove(channel, delivery) else {
                return;
            };
            if let Some(consumer) = unsettled.consumer {
                self.consumers.settled(consumer);
            }
            tracing::trace!(target: "raftmq::mark", name = "consumer_timeout");
            entry.push(QueueEvent::TakenBack { channel, delivery });
            self.return_one(unsettled, Attempt::CountsNot, entry);
        }
    }

    fn drop_expired(&mut self, entry: &mut Entry<'_>) {
        while let Some(waiting) = self.ready.front() {
            if !self.has_expired(&waiting) || !entry.may_work() {
                return;
            }
            self.ready.take(&waiting);
            tracing::trace!(target: "raftmq::mark", name = "message_expired");
            self.die(waiting.item, DeathReason::Expired, entry);
        }
    }

    /// The last entry in the state.
    #[must_use]
    pub const fn applied(&self) -> LogIndex {
        self.applied
    }
}
