//! The consumers of a queue, and whose turn it is.
//!
//! A consumer that can take a message stands in the order of turns: higher priority first, then who
//! has waited longest; after a delivery it goes behind the others. With a single active consumer
//! the turn is always that of the best one (highest priority, then the first that came). Sources:
//! `basic.consume`, `basic.qos`; RabbitMQ's consumer priorities and single active consumer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::ids::ConsumerId;
use crate::queue::command::{AckMode, Attach};
use crate::queue::message::ChannelId;

/// One consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// How it was attached; `prefetch` and `granted` as they are now.
    pub attach: Attach,
    /// Deliveries it got so far.
    pub delivered: u64,
    /// Deliveries it has not settled.
    pub unsettled: u32,
    /// When it began to wait for its turn.
    pub(super) turn: u64,
}

impl Consumer {
    /// Whether it can take another message.
    #[must_use]
    pub const fn can_take(&self) -> bool {
        let attach = &self.attach;
        (attach.prefetch == 0 || self.unsettled < attach.prefetch)
            && self.delivered < attach.granted
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Consumers {
    map: BTreeMap<ConsumerId, Consumer>,
    /// Those that can take a message.
    turns: BTreeSet<(Reverse<i32>, u64, ConsumerId)>,
    ranks: BTreeSet<(Reverse<i32>, ConsumerId)>,
    pub(super) next_turn: u64,
    /// The consumer that was attached last.
    pub(super) last_id: u64,
    pub(super) dirty: BTreeSet<ConsumerId>,
}

impl Consumers {
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(super) fn get(&self, id: ConsumerId) -> Option<&Consumer> {
        self.map.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        self.map.iter().map(|(id, consumer)| (*id, consumer))
    }

    pub(super) fn find(&self, channel: ChannelId, tag: &str) -> Option<ConsumerId> {
        let is_it =
            |consumer: &Consumer| consumer.attach.channel == channel && consumer.attach.tag == tag;
        let found = self.map.iter().find(|(_, consumer)| is_it(consumer));
        found.map(|(id, _)| *id)
    }

    pub(super) fn has_exclusive(&self) -> bool {
        self.map.values().any(|one| one.attach.is_exclusive)
    }

    pub(super) fn insert(&mut self, attach: Attach) -> ConsumerId {
        self.last_id += 1;
        let id = ConsumerId(self.last_id);
        let consumer = Consumer {
            attach,
            delivered: 0,
            unsettled: 0,
            turn: self.next_turn,
        };
        self.next_turn += 1;
        self.dirty.insert(id);
        self.restore(id, consumer);
        id
    }

    /// Takes over a consumer as it is.
    pub(super) fn restore(&mut self, id: ConsumerId, consumer: Consumer) {
        let rank = Reverse(consumer.attach.priority);
        self.ranks.insert((rank, id));
        if consumer.can_take() {
            self.turns.insert((rank, consumer.turn, id));
        }
        self.map.insert(id, consumer);
    }

    pub(super) fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let consumer = self.map.remove(&id)?;
        let rank = Reverse(consumer.attach.priority);
        self.turns.remove(&(rank, consumer.turn, id));
        self.ranks.remove(&(rank, id));
        self.dirty.insert(id);
        Some(consumer)
    }

    pub(super) fn set_credit(&mut self, id: ConsumerId, prefetch: u32, granted: u64) {
        self.change(id, |consumer| {
            consumer.attach.prefetch = prefetch;
            consumer.attach.granted = consumer.attach.granted.max(granted);
        });
    }

    /// Notes that a consumer got a message: its next turn comes after those of the others.
    pub(super) fn delivered(&mut self, id: ConsumerId) {
        let next_turn = self.next_turn;
        let Some(consumer) = self.map.get_mut(&id) else {
            return;
        };
        let rank = Reverse(consumer.attach.priority);
        self.turns.remove(&(rank, consumer.turn, id));
        consumer.delivered += 1;
        if consumer.attach.ack_mode == AckMode::Manual {
            consumer.unsettled += 1;
        }
        consumer.turn = next_turn;
        if consumer.can_take() {
            self.turns.insert((rank, next_turn, id));
        }
        self.next_turn += 1;
        self.dirty.insert(id);
    }

    /// Notes that a consumer has settled a message.
    pub(super) fn settled(&mut self, id: ConsumerId) {
        self.change(id, |consumer| consumer.unsettled -= 1);
    }

    /// Whose turn it is.
    pub(super) fn next(&self) -> Option<ConsumerId> {
        self.turns.first().map(|(_, _, id)| *id)
    }

    /// The single active consumer.
    pub(super) fn best(&self) -> Option<ConsumerId> {
        self.ranks.first().map(|(_, id)| *id)
    }

    fn change(&mut self, id: ConsumerId, change: impl FnOnce(&mut Consumer)) {
        let Some(consumer) = self.map.get_mut(&id) else {
            return;
        };
        let could_take = consumer.can_take();
        change(consumer);
        self.dirty.insert(id);
        let rank = Reverse(consumer.attach.priority);
        match (could_take, consumer.can_take()) {
            (false, true) => {
                consumer.turn = self.next_turn;
                self.next_turn += 1;
                self.turns.insert((rank, consumer.turn, id));
            }
            (true, false) => {
                self.turns.remove(&(rank, consumer.turn, id));
            }
            (true, true) | (false, false) => {}
        }
    }
}
