//! `queue-duplicate`: one value as two messages of a queue.
//!
//! A publish is never repeated by the brokers, and a publisher repeats only what a queue is to take once. Which
//! message it is `x-raftmq-id` tells, also of dead letters; those may come more than once, under one id.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkers::{Anomaly, Property};
use crate::history::{Queue, QueueHistory, Value};

pub(super) fn check(history: &QueueHistory) -> Vec<Anomaly> {
    let mut ids: BTreeMap<(Queue, Value), BTreeSet<&str>> = BTreeMap::new();
    for receipt in &history.receipts {
        let known = ids.entry((receipt.origin(), receipt.value)).or_default();
        known.insert(&receipt.id);
    }
    let twice = ids.into_iter().filter(|(_, ids)| ids.len() > 1);
    twice
        .map(|((queue, value), ids)| {
            let detail = format!("queue {}: value {value} is {ids:?}", queue.name());
            Anomaly::new(Property::QueueDuplicate, detail)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::history::Settlement;

    #[test]
    fn a_value_under_two_ids_is_a_duplicate() {
        for queue in [Queue::Work, Queue::Deduplicated] {
            let mut script = Script::new();
            script.receive(1, queue, 1);
            script.receive(1, queue, 1).id = "another".to_owned();
            assert_eq!(check(&script.history).len(), 1, "{queue:?}");
        }
    }

    #[test]
    fn a_message_that_comes_again_is_none() {
        let mut script = Script::new();
        script.settled(1, Queue::Work, 1, Settlement::Returned);
        script.again(1, Queue::Work, 1, Settlement::Acked);
        assert_eq!(check(&script.history), Vec::new());
    }

    #[test]
    fn a_dead_letter_under_its_own_id_is_none_however_often_it_comes() {
        let mut script = Script::new();
        script.settled(1, Queue::Limited, 1, Settlement::Rejected);
        script.died(2, Queue::Limited, 1, Settlement::Acked);
        script.died(2, Queue::Limited, 1, Settlement::Acked);
        assert_eq!(check(&script.history), Vec::new());
    }

    #[test]
    fn the_copies_of_a_fanout_are_none() {
        let mut script = Script::new();
        script.receive(1, Queue::Work, 1);
        script.receive(2, Queue::Copies, 1);
        assert_eq!(check(&script.history), Vec::new());
    }
}
