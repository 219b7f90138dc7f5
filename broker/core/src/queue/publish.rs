//! `basic.publish`: messages come in, are deduplicated, delayed or enqueued, and over a length limit
//! the head goes. Does not know who published, nor what was refused before it was proposed.

use crate::planted::{self, Bug};
use crate::queue::Queue;
use crate::queue::delayed::{Due, Postponed};
use crate::queue::entry::Entry;
use crate::queue::event::{DeathReason, QueueEvent};
use crate::queue::item::Item;
use crate::queue::message::{Arrival, Message, MessageRef};
use crate::queue::reply::Published;
use crate::queue::settings::Overflow;

enum Fate {
    Taken,
    Duplicate,
    Refused,
}

impl Queue {
    pub(super) fn publish(&mut self, messages: &[Message], entry: &mut Entry<'_>) -> Published {
        let mut published = Published {
            count: messages.len(),
            ..Published::default()
        };
        for (number, message) in messages.iter().enumerate() {
            let at = entry.next_message();
            entry.payload_bytes += u64::from(message.size());
            match self.publish_one(message, at, entry) {
                Fate::Taken => self.published_total += 1,
                Fate::Duplicate => published.duplicates.push(number),
                Fate::Refused => published.refused.push(number),
            }
            // Message by message: how many share an entry must make no difference.
            self.pump(entry);
            self.enforce_limits(entry);
        }
        published
    }

    fn publish_one(&mut self, message: &Message, at: MessageRef, entry: &mut Entry<'_>) -> Fate {
        if message.arrival == Arrival::DeadLetter {
            let item = item(at, message.size());
            self.die(item, DeathReason::MaxLength, entry);
            return Fate::Refused;
        }
        if let (Some(id), Some(dedup)) = (&message.dedup_id, self.settings.dedup) {
            self.window.prune(dedup, self.now_ms);
            if self.window.contains(id, dedup, self.now_ms) {
                tracing::trace!(target: "raftmq::mark", name = "duplicate_message");
                return Fate::Duplicate;
            }
            self.window.insert(id, dedup, self.now_ms);
        }
        let postponed = Postponed {
            size: message.size(),
            priority: message.priority,
            ttl_ms: message.ttl_ms,
        };
        match message.delay_ms {
            Some(delay_ms) if delay_ms > 0 && !planted::is_planted(Bug::QueueDelayIgnored) => {
                let due = Due {
                    at_ms: after(self.now_ms, delay_ms),
                    message: at,
                };
                self.delayed.insert(due, postponed);
            }
            Some(_) | None => self.enqueue(at, postponed),
        }
        Fate::Taken
    }

    /// Adds a message at the end of its line. Its TTL begins now.
    pub(super) fn enqueue(&mut self, at: MessageRef, postponed: Postponed) {
        let ttl_ms = self.settings.ttl_ms(postponed.ttl_ms);
        let item = Item {
            expires_at_ms: ttl_ms.map(|ttl_ms| after(self.now_ms, ttl_ms)),
            ..item(at, postponed.size)
        };
        let priority = postponed.priority.min(self.settings.priority_max);
        self.ready.push(priority, item);
    }

    /// Drops the head while the queue is too long.
    pub(super) fn enforce_limits(&mut self, entry: &mut Entry<'_>) {
        if self.settings.overflow != Overflow::DropHead {
            return;
        }
        while self.is_too_long() && entry.may_work() {
            let Some(waiting) = self.ready.pop() else {
                return;
            };
            tracing::trace!(target: "raftmq::mark", name = "queue_head_dropped");
            self.die(waiting.item, DeathReason::MaxLength, entry);
        }
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.settings
            .is_over(self.ready.count(), self.ready.bytes())
    }

    /// A message leaves without having been acknowledged.
    pub(super) fn die(&mut self, item: Item, reason: DeathReason, entry: &mut Entry<'_>) {
        let is_lost = planted::is_planted(Bug::QueueDeadLetterLost);
        if !self.settings.has_dead_letters || is_lost {
            entry.push(QueueEvent::Dropped { reason });
            return;
        }
        let letter = self.dead_letters.push(item, reason);
        entry.push(QueueEvent::DeadLettered(letter));
    }
}

const fn item(message: MessageRef, size: u32) -> Item {
    Item {
        message,
        size,
        attempts: 0,
        expires_at_ms: None,
        reason: None,
    }
}

/// A time so many milliseconds later, at most at the end of time.
pub(super) fn after(now_ms: i64, duration_ms: u64) -> i64 {
    now_ms.saturating_add_unsigned(duration_ms)
}
