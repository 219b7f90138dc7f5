//! Messages that died and are still to be published to the dead-letter exchange.
//!
//! They stand here, body in the log, until the leader says that they are published: at least once,
//! in order, and once if the target deduplicates by the dead letter's id. Does not know exchanges.

use std::collections::BTreeSet;

use crate::ids::DeadLetterId;
use crate::limits::DEAD_LETTERS_AHEAD_COUNT_MAX;
use crate::queue::event::{DeadLetter, DeathReason};
use crate::queue::fifo::Fifo;
use crate::queue::item::Item;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct DeadLetters {
    pub(super) line: Fifo,
    /// Published, while one before them is not.
    pub(super) ahead: BTreeSet<u64>,
    pub(super) is_ahead_dirty: bool,
}

impl DeadLetters {
    pub(super) fn len(&self) -> u64 {
        self.line.len() - self.ahead.len() as u64
    }

    pub(super) fn push(&mut self, mut item: Item, reason: DeathReason) -> DeadLetter {
        item.expires_at_ms = None;
        item.reason = Some(reason);
        let id = self.line.push(item);
        letter(id, &item)
    }

    /// Notes that a dead letter is published. One that is unknown, or too far ahead of an
    /// unpublished one, is ignored: it will be published again.
    pub(super) fn published(&mut self, id: DeadLetterId) {
        let first = self.line.first();
        let end = self.line.next().min(first + DEAD_LETTERS_AHEAD_COUNT_MAX);
        if !(first..end).contains(&id.0) {
            return;
        }
        self.ahead.insert(id.0);
        self.is_ahead_dirty = true;
        while self.ahead.remove(&self.line.first()) {
            self.line.pop();
        }
    }

    /// Shows some that are not published yet, from an id on.
    pub(super) fn from(&self, id: DeadLetterId, count: usize) -> Vec<DeadLetter> {
        let line = self.line.from(id.0, count.saturating_add(self.ahead.len()));
        let unpublished = line.iter().filter(|(at, _)| !self.ahead.contains(at));
        unpublished
            .take(count)
            .map(|(at, item)| letter(*at, item))
            .collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Item> + '_ {
        let line = self.line.iter();
        line.filter(|(at, _)| !self.ahead.contains(at))
            .map(|(_, item)| item)
    }
}

fn letter(id: u64, item: &Item) -> DeadLetter {
    DeadLetter {
        id: DeadLetterId(id),
        message: item.message,
        size: item.size,
        reason: item.reason.unwrap_or(DeathReason::Rejected),
        attempts: item.attempts,
    }
}
