//! The ready messages of a queue: one line for each priority, and those that were returned.
//!
//! The order of a message is its slot, which it keeps for life: a returned message comes before
//! everything that was behind it when it was first ready. Does not know consumers or limits.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::LogIndex;
use crate::queue::fifo::Fifo;
use crate::queue::item::Item;

/// The place of a message in the queue: smaller comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    /// 255 less the priority.
    pub(super) rank: u8,
    /// Number in the line of its priority.
    pub(super) number: u64,
}

/// A ready message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) slot: Slot,
    pub(super) item: Item,
    pub(super) is_redelivered: bool,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Ready {
    /// By rank. Lines are never removed: slots must not repeat.
    pub(super) lines: BTreeMap<u8, Fifo>,
    pub(super) returned: BTreeMap<Slot, Item>,
    count: u64,
    bytes: u64,
    pub(super) dirty: BTreeSet<Slot>,
}

impl Ready {
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a new message.
    pub(super) fn push(&mut self, priority: u8, item: Item) {
        self.count += 1;
        self.bytes += u64::from(item.size);
        self.lines.entry(u8::MAX - priority).or_default().push(item);
    }

    /// Puts a message back to its slot.
    pub(super) fn put_back(&mut self, slot: Slot, item: Item) {
        self.count += 1;
        self.bytes += u64::from(item.size);
        self.dirty.insert(slot);
        let before = self.returned.insert(slot, item);
        assert!(before.is_none(), "two messages have one slot: {slot:?}");
    }

    /// Shows the message at the head.
    pub(super) fn front(&self) -> Option<Waiting> {
        if self.count == 0 {
            return None;
        }
        let returned = self.returned.first_key_value().map(|(slot, item)| Waiting {
            slot: *slot,
            item: *item,
            is_redelivered: true,
        });
        let line = self.lines.iter().find_map(|(rank, line)| {
            line.front().map(|item| Waiting {
                slot: Slot {
                    rank: *rank,
                    number: line.first(),
                },
                item: *item,
                is_redelivered: false,
            })
        });
        match (returned, line) {
            (Some(returned), Some(line)) if line.slot < returned.slot => Some(line),
            (returned, line) => returned.or(line),
        }
    }

    /// Takes the message at the head.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.front()?;
        self.take(&waiting);
        Some(waiting)
    }

    /// Takes the message that `front` showed.
    pub(super) fn take(&mut self, waiting: &Waiting) {
        let slot = waiting.slot;
        if waiting.is_redelivered {
            self.returned.remove(&slot);
            self.dirty.insert(slot);
        } else {
            let line = self.lines.get_mut(&slot.rank);
            let popped = line.and_then(Fifo::pop);
            assert_eq!(
                popped.map(|(number, _)| number),
                Some(slot.number),
                "the head of a line moved"
            );
        }
        self.count -= 1;
        self.bytes -= u64::from(waiting.item.size);
    }

    /// Drops everything; gives how many there were.
    pub(super) fn clear(&mut self) -> u64 {
        self.lines.values_mut().for_each(Fifo::clear);
        self.dirty.extend(self.returned.keys().copied());
        self.returned.clear();
        self.bytes = 0;
        std::mem::take(&mut self.count)
    }

    /// When the next message at a head expires. One behind it waits until it is at the head, as in
    /// RabbitMQ.
    pub(super) fn next_expiry_ms(&self) -> Option<i64> {
        self.front().and_then(|waiting| waiting.item.expires_at_ms)
    }

    /// Log index of the oldest message at the head of a line.
    pub(super) fn oldest_in_line(&self) -> Option<LogIndex> {
        let heads = self.lines.values().filter_map(Fifo::front);
        heads.map(|item| item.message.log_index).min()
    }

    /// Shows every message, in no useful order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Item> + '_ {
        let lines = self.lines.values();
        lines
            .flat_map(|line| line.iter().map(|(_, item)| item))
            .chain(self.returned.values().copied())
    }

    /// Takes over restored messages.
    pub(super) fn recount(&mut self) {
        let (mut count, mut bytes) = (0, 0);
        for item in self.iter() {
            count += 1;
            bytes += u64::from(item.size);
        }
        (self.count, self.bytes) = (count, bytes);
    }
}
