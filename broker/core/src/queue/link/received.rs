//! Which deliveries a channel has had: leaders send again what they do not know to have arrived.

use std::collections::BTreeMap;

use crate::ids::{DeliveryId, GroupNumber};

/// The newest delivery of each queue. Ids of a queue grow, and its leaders send them in order.
#[derive(Debug, Clone, Default)]
pub struct Received {
    newest: BTreeMap<GroupNumber, DeliveryId>,
}

impl Received {
    /// Says whether a delivery has not come before.
    #[must_use]
    pub fn is_news(&self, queue: GroupNumber, delivery: DeliveryId) -> bool {
        self.newest
            .get(&queue)
            .is_none_or(|newest| delivery > *newest)
    }

    /// Notes that a delivery has come.
    pub fn note(&mut self, queue: GroupNumber, delivery: DeliveryId) {
        let newest = self.newest.entry(queue).or_insert(delivery);
        *newest = delivery.max(*newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_news_once_per_queue() {
        let (one, other) = (GroupNumber(1), GroupNumber(2));
        let mut received = Received::default();

        assert!(received.is_news(one, DeliveryId(4)));
        received.note(one, DeliveryId(4));

        assert!(!received.is_news(one, DeliveryId(4)));
        assert!(
            !received.is_news(one, DeliveryId(3)),
            "it came before that one"
        );
        assert!(received.is_news(one, DeliveryId(5)));
        assert!(received.is_news(other, DeliveryId(3)));
    }
}
