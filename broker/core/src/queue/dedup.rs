//! The window in which a message id counts as seen: by time and by count.
//!
//! It is part of the state, so it holds across any failover. Ids are copied: a slice would keep
//! its whole entry in memory. Does not know what an id is taken from.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::queue::settings::DedupSettings;

/// One id that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: Bytes,
    /// Replicated time, milliseconds.
    pub(super) at_ms: i64,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    ids: BTreeMap<Bytes, i64>,
    /// The oldest first.
    order: VecDeque<Seen>,
    /// Number of the oldest.
    first: u64,
    saved_first: u64,
    saved_next: u64,
}

impl Window {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    fn next(&self) -> u64 {
        self.first + self.order.len() as u64
    }

    /// Whether an id counts as seen at a time.
    pub(super) fn contains(&self, id: &[u8], settings: DedupSettings, now_ms: i64) -> bool {
        self.ids
            .get(id)
            .is_some_and(|at_ms| !is_over(*at_ms, settings, now_ms))
    }

    /// Remembers an id. Only one that is not in the window may be given.
    pub(super) fn insert(&mut self, id: &[u8], settings: DedupSettings, now_ms: i64) {
        let id = Bytes::copy_from_slice(id);
        let before = self.ids.insert(id.clone(), now_ms);
        assert!(before.is_none(), "an id is in the window twice");
        self.order.push_back(Seen { id, at_ms: now_ms });
        while self.order.len() > settings.ids_count_max as usize {
            self.pop();
        }
    }

    /// Forgets what is too old.
    pub(super) fn prune(&mut self, settings: DedupSettings, now_ms: i64) {
        let is_old = |seen: &Seen| is_over(seen.at_ms, settings, now_ms);
        while self.order.front().is_some_and(is_old) {
            self.pop();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.first = self.next();
        self.ids.clear();
        self.order.clear();
    }

    fn pop(&mut self) {
        if let Some(seen) = self.order.pop_front() {
            self.ids.remove(&seen.id);
            self.first += 1;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Seen)> {
        (self.first..).zip(&self.order)
    }

    /// Takes the ids that are in no row yet, and the numbers of those that have left their rows.
    pub(super) fn take_dirty(&mut self) -> (Vec<(u64, Seen)>, Vec<u64>) {
        let (saved_first, saved_next) = (self.saved_first, self.saved_next);
        let new = self.iter().skip_while(|(number, _)| *number < saved_next);
        let new = new.map(|(number, seen)| (number, seen.clone())).collect();
        let gone = (saved_first..self.first.min(saved_next)).collect();
        self.saved_first = self.first;
        self.saved_next = self.next();
        (new, gone)
    }

    /// Counts everything as changed.
    pub(super) const fn mark_all_dirty(&mut self) {
        self.saved_first = self.first;
        self.saved_next = self.first;
    }

    /// Takes over restored ids, the oldest first; the first one has this number.
    pub(super) fn restore(first: u64, order: VecDeque<Seen>) -> Self {
        let ids = order.iter().map(|seen| (seen.id.clone(), seen.at_ms));
        Self {
            ids: ids.collect(),
            first,
            saved_first: first,
            saved_next: first + order.len() as u64,
            order,
        }
    }
}

fn is_over(at_ms: i64, settings: DedupSettings, now_ms: i64) -> bool {
    now_ms.saturating_sub(at_ms).unsigned_abs() >= settings.window_ms && now_ms > at_ms
}
