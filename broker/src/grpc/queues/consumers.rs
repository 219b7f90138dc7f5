//! The consumers of a stream: their two names, the client's tag and that of the queue, and what each has been
//! granted.
//!
//! Owns the back-pressure of deliveries: a consumer gets no more than it was granted, and is granted more only
//! as its deliveries are written. Does not know queues.

use std::collections::BTreeMap;

use raftmq_core::{ConsumerId, GroupNumber};

use super::limits::{CONSUMERS_COUNT_MAX, GRANT_COUNT};

/// Who a consumer is at its queue.
pub(super) type Id = (GroupNumber, ConsumerId);

#[derive(Debug)]
struct Consumer {
    /// `None` while its queue has not said it.
    id: Option<Id>,
    prefetch: u32,
    delivered: u64,
    granted: u64,
}

/// What a consumer may hold and get from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Credit {
    pub(super) prefetch: u32,
    pub(super) granted: u64,
}

/// Why there is no such consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoConsumer {
    TagInUse,
    TooMany,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    by_tag: BTreeMap<String, Consumer>,
    tags: BTreeMap<Id, String>,
}

impl Consumers {
    /// Begins a consumer that its queue does not know yet.
    pub(super) fn begin(&mut self, tag: &str, prefetch: u32) -> Result<Credit, NoConsumer> {
        if self.by_tag.contains_key(tag) {
            return Err(NoConsumer::TagInUse);
        }
        if self.by_tag.len() >= CONSUMERS_COUNT_MAX {
            return Err(NoConsumer::TooMany);
        }
        let granted = GRANT_COUNT;
        let consumer = Consumer {
            id: None,
            prefetch,
            delivered: 0,
            granted,
        };
        self.by_tag.insert(tag.to_owned(), consumer);
        Ok(Credit { prefetch, granted })
    }

    /// Takes note of who a consumer is at its queue.
    pub(super) fn attached(&mut self, tag: &str, id: Id) {
        if let Some(consumer) = self.by_tag.get_mut(tag) {
            consumer.id = Some(id);
            self.tags.insert(id, tag.to_owned());
        }
    }

    /// Forgets a consumer.
    pub(super) fn end(&mut self, tag: &str) {
        if let Some(id) = self.by_tag.remove(tag).and_then(|consumer| consumer.id) {
            self.tags.remove(&id);
        }
    }

    pub(super) fn knows(&self, tag: &str) -> bool {
        self.by_tag.contains_key(tag)
    }

    /// Whether some consumer's queue has not said yet who it is.
    pub(super) fn is_any_attaching(&self) -> bool {
        self.tags.len() < self.by_tag.len()
    }

    pub(super) fn id_of(&self, tag: &str) -> Option<Id> {
        self.by_tag.get(tag)?.id
    }

    pub(super) fn tag_of(&self, id: Id) -> Option<&str> {
        self.tags.get(&id).map(String::as_str)
    }

    /// Counts a delivery. Gives more credit when half of it is used.
    pub(super) fn count_delivery(&mut self, id: Id) -> Option<Credit> {
        let consumer = self.by_tag.get_mut(self.tags.get(&id)?)?;
        consumer.delivered += 1;
        if consumer.granted.saturating_sub(consumer.delivered) > GRANT_COUNT / 2 {
            return None;
        }
        consumer.granted = consumer.delivered + GRANT_COUNT;
        Some(Credit {
            prefetch: consumer.prefetch,
            granted: consumer.granted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = (GroupNumber(5), ConsumerId(9));

    #[test]
    fn a_consumer_has_two_names_until_it_ends() {
        let mut consumers = Consumers::default();
        let credit = consumers.begin("c", 7).unwrap();
        let granted = GRANT_COUNT;
        let prefetch = 7;
        assert_eq!(credit, Credit { prefetch, granted });
        assert!(consumers.knows("c") && consumers.is_any_attaching());
        assert_eq!(consumers.begin("c", 1), Err(NoConsumer::TagInUse));

        consumers.attached("c", ID);
        assert!(!consumers.is_any_attaching());
        assert_eq!(consumers.tag_of(ID), Some("c"));
        assert_eq!(consumers.id_of("c"), Some(ID));
        let other = (GroupNumber(6), ConsumerId(9));
        assert_eq!(consumers.tag_of(other), None, "ids are a queue's own");

        consumers.end("c");
        assert!(!consumers.knows("c"));
        assert_eq!(consumers.tag_of(ID), None);
        assert_eq!(consumers.count_delivery(ID), None);
    }

    #[test]
    fn credit_is_given_once_half_of_it_is_used() {
        let mut consumers = Consumers::default();
        consumers.begin("c", 0).unwrap();
        consumers.attached("c", ID);
        for _ in 1..GRANT_COUNT / 2 {
            assert_eq!(consumers.count_delivery(ID), None);
        }
        let credit = consumers.count_delivery(ID).unwrap();
        assert_eq!(credit.granted, GRANT_COUNT / 2 + GRANT_COUNT);
        assert_eq!(consumers.count_delivery(ID), None);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut consumers = Consumers::default();
        for number in 0..CONSUMERS_COUNT_MAX {
            consumers.begin(&number.to_string(), 0).unwrap();
        }
        assert_eq!(consumers.begin("more", 0), Err(NoConsumer::TooMany));
    }
}
