//! A consumer's window over the ids of messages.
//!
//! Pure. Does not know where ids come from.

use std::collections::{BTreeSet, VecDeque};

/// Tells messages that come again from those that come for the first time, by their
/// [`raftmq_id`](crate::QueueDelivery::raftmq_id).
///
/// A message is delivered again when its consumer is lost before the acknowledgement arrives, when it is
/// requeued, and when it is dead-lettered; all these deliveries carry the same id. A deduplicator remembers the
/// last ids that it was shown, in memory: it recognises a repetition as long as fewer than `capacity` other
/// messages came in between, and as long as the process lives. Whoever needs more keeps the ids together with
/// what the messages changed, in one transaction. Two messages that were *published* twice have different ids:
/// a queue with `x-message-deduplication` keeps those out.
///
/// ```
/// use raftmq_client::Deduplicator;
///
/// let mut seen = Deduplicator::new(1_000);
/// assert!(seen.first_time("5-7-0"));
/// assert!(!seen.first_time("5-7-0"));
/// ```
#[derive(Debug, Clone)]
pub struct Deduplicator {
    known: BTreeSet<String>,
    /// In the order in which they came.
    order: VecDeque<String>,
    capacity: usize,
}

impl Deduplicator {
    /// Remembers so many ids; at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            known: BTreeSet::new(),
            order: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    /// Returns whether the id comes for the first time, and remembers it. An id that is known stays where it is
    /// in the window.
    pub fn first_time(&mut self, id: &str) -> bool {
        if self.known.contains(id) {
            return false;
        }
        if self.order.len() == self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(id.to_owned());
        self.order.push_back(id.to_owned());
        true
    }

    /// Forgets an id: its message could not be dealt with, and shall count as new when it comes again.
    pub fn forget(&mut self, id: &str) {
        if self.known.remove(id) {
            self.order.retain(|known| known != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_and_again_when_it_has_left_the_window() {
        let mut seen = Deduplicator::new(2);
        assert!(seen.first_time("a") && seen.first_time("b"));
        assert!(!seen.first_time("a") && !seen.first_time("b"));
        assert!(seen.first_time("c"), "the oldest goes");
        assert!(!seen.first_time("b"));
        assert!(seen.first_time("a"));
        assert_eq!((seen.known.len(), seen.order.len()), (2, 2));
    }

    #[test]
    fn an_id_that_was_forgotten_is_new() {
        let mut seen = Deduplicator::new(0);
        assert!(seen.first_time("a"));
        seen.forget("a");
        seen.forget("never seen");
        assert!(seen.first_time("a"));
        assert!(seen.order.len() == 1);
    }
}
