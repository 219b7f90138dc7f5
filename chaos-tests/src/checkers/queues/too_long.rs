//! `queue-too-long`: a queue that drops its oldest messages was seen with more than it may have.
//!
//! One that refuses new ones may have more: what consumers return comes on top.

use crate::checkers::{Anomaly, Property};
use crate::history::{Queue, QueueHistory};

pub(super) fn check(history: &QueueHistory) -> Vec<Anomaly> {
    let queue = Queue::Capped;
    let seen = history.most_ready.get(&queue).copied();
    let too_long = seen.filter(|seen| queue.ready_max().is_some_and(|max| *seen > max));
    too_long
        .map(|seen| {
            let detail = format!(
                "queue {} had {seen} messages, {:?} are allowed",
                queue.name(),
                queue.ready_max()
            );
            Anomaly::new(Property::QueueTooLong, detail)
        })
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::properties;
    use super::*;

    #[test]
    fn only_more_than_the_limit_is_found() {
        let mut history = QueueHistory::default();
        let max = Queue::Capped.ready_max().unwrap();
        history.most_ready.insert(Queue::Capped, max);
        assert_eq!(check(&history), []);

        history.most_ready.insert(Queue::Capped, max + 1);
        assert_eq!(properties(&check(&history)), [Property::QueueTooLong]);
    }
}
