//! The consumers of a channel, by key and by tag, and what each has been granted.
//!
//! Owns the back-pressure of deliveries: a consumer gets no more than it was granted, and is granted
//! more only as the client takes frames off the socket. Does not know queues.

use std::collections::{BTreeMap, BTreeSet};

use raftmq_amqp_protocol::Text;
use raftmq_core::queue::AckMode;

use crate::limits::GRANT_COUNT;
use crate::request::ConsumerKey;

/// One consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) tag: Text,
    pub(super) ack_mode: AckMode,
    /// Its own limit (`basic.qos` before it came); 0 = none.
    own_prefetch: u16,
    delivered: u64,
    granted: u64,
}

impl Consumer {
    pub(super) const fn new(tag: Text, ack_mode: AckMode, own_prefetch: u16) -> Self {
        Self {
            tag,
            ack_mode,
            own_prefetch,
            delivered: 0,
            granted: GRANT_COUNT,
        }
    }

    /// What its queue is told: never more than all consumers together may hold.
    pub(super) fn prefetch(&self, global_prefetch: u16) -> u32 {
        let limits = [self.own_prefetch, global_prefetch].into_iter();
        match self.ack_mode {
            AckMode::Manual => limits.filter(|limit| *limit > 0).min().map_or(0, u32::from),
            // Nothing is ever unsettled.
            AckMode::Automatic => 0,
        }
    }

    pub(super) const fn granted(&self) -> u64 {
        self.granted
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    map: BTreeMap<ConsumerKey, Consumer>,
    by_tag: BTreeMap<Text, ConsumerKey>,
    /// Those that have used half of what they were granted.
    short: BTreeSet<ConsumerKey>,
}

impl Consumers {
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn get(&self, key: ConsumerKey) -> Option<&Consumer> {
        self.map.get(&key)
    }

    pub(super) fn of_tag(&self, tag: &Text) -> Option<ConsumerKey> {
        self.by_tag.get(tag).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConsumerKey, &Consumer)> {
        self.map.iter().map(|(key, consumer)| (*key, consumer))
    }

    pub(super) fn insert(&mut self, key: ConsumerKey, consumer: Consumer) {
        self.by_tag.insert(consumer.tag.clone(), key);
        self.map.insert(key, consumer);
    }

    pub(super) fn remove(&mut self, key: ConsumerKey) -> Option<Consumer> {
        let consumer = self.map.remove(&key)?;
        self.by_tag.remove(&consumer.tag);
        self.short.remove(&key);
        Some(consumer)
    }

    /// Counts a delivery; `None` if there is no such consumer.
    pub(super) fn count_delivery(&mut self, key: ConsumerKey) -> Option<&Consumer> {
        let consumer = self.map.get_mut(&key)?;
        consumer.delivered += 1;
        if consumer.granted.saturating_sub(consumer.delivered) <= GRANT_COUNT / 2 {
            self.short.insert(key);
        }
        Some(consumer)
    }

    pub(super) fn wants_credit(&self) -> bool {
        !self.short.is_empty()
    }

    /// Grants more to those that are short, and tells which they are.
    pub(super) fn grant(&mut self) -> BTreeSet<ConsumerKey> {
        let short = std::mem::take(&mut self.short);
        for key in &short {
            if let Some(consumer) = self.map.get_mut(key) {
                consumer.granted = consumer.delivered + GRANT_COUNT;
            }
        }
        short
    }
}
