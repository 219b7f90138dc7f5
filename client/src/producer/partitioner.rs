//! Which partition a record goes to when it does not say so itself.
//!
//! Knows keys, counts and how much went where; it does not know leaders or batches.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use raftmq_records::partition_for_key;

use crate::backoff::Random;

/// A function from (topic, key, number of partitions) to a partition.
pub type PartitionFn = dyn Fn(&str, Option<&[u8]>, u32) -> u32 + Send + Sync;

/// How partitions are chosen. A record with [`Record::partition`](crate::Record::partition) set
/// goes there, whatever the partitioner.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Partitioner {
    /// By the key's murmur2 hash, as Kafka's clients do; records without a key stick to a random
    /// partition until a batch's worth went there (KIP-794).
    #[default]
    KeyHashOrSticky,
    /// One after the other, keys ignored.
    RoundRobin,
    /// At random, keys ignored.
    Random,
    /// Sticks to a random partition until a batch's worth went there, keys ignored.
    Sticky,
    /// Whatever the function says, modulo the number of partitions.
    Custom(Arc<PartitionFn>),
}

impl fmt::Debug for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyHashOrSticky => "KeyHashOrSticky",
            Self::RoundRobin => "RoundRobin",
            Self::Random => "Random",
            Self::Sticky => "Sticky",
            Self::Custom(_) => "Custom",
        })
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct TopicState {
    current: Option<u32>,
    bytes: usize,
}

/// A partitioner with what it has to remember per topic.
#[derive(Debug)]
pub(crate) struct Chooser {
    partitioner: Partitioner,
    sticky_bytes: usize,
    topics: BTreeMap<Arc<str>, TopicState>,
}

impl Chooser {
    pub(crate) const fn new(partitioner: Partitioner, sticky_bytes: usize) -> Self {
        Self {
            partitioner,
            sticky_bytes,
            topics: BTreeMap::new(),
        }
    }

    /// Chooses one of `count` partitions (at least one) for a record of `size_bytes` bytes.
    pub(crate) fn choose(
        &mut self,
        random: &Random,
        topic: &Arc<str>,
        key: Option<&[u8]>,
        (count, size_bytes): (u32, usize),
    ) -> u32 {
        match (&self.partitioner, key) {
            (Partitioner::KeyHashOrSticky, Some(key)) => partition_for_key(key, count),
            (Partitioner::KeyHashOrSticky, None) | (Partitioner::Sticky, _) => {
                self.sticky(random, topic, count, size_bytes)
            }
            (Partitioner::RoundRobin, _) => {
                let state = self.topic(topic);
                let next = state.current.map_or(0, |current| current.wrapping_add(1)) % count;
                state.current = Some(next);
                next
            }
            (Partitioner::Random, _) => random.below(count),
            (Partitioner::Custom(choose), key) => choose(topic, key, count) % count,
        }
    }

    fn sticky(&mut self, random: &Random, topic: &Arc<str>, count: u32, size_bytes: usize) -> u32 {
        let sticky_bytes = self.sticky_bytes;
        let state = self.topic(topic);
        let current = state
            .current
            .filter(|current| *current < count && state.bytes < sticky_bytes);
        let partition = match current {
            Some(current) => current,
            None => {
                state.bytes = 0;
                next_sticky(random, state.current, count)
            }
        };
        state.current = Some(partition);
        state.bytes += size_bytes;
        partition
    }

    fn topic(&mut self, topic: &Arc<str>) -> &mut TopicState {
        if !self.topics.contains_key(topic) {
            self.topics.insert(Arc::clone(topic), TopicState::default());
        }
        self.topics
            .get_mut(topic)
            .expect("the topic was inserted just above")
    }
}

/// A random partition other than the last one, if there is another.
fn next_sticky(random: &Random, last: Option<u32>, count: u32) -> u32 {
    match last {
        Some(last) if count > 1 && last < count => (last + 1 + random.below(count - 1)) % count,
        Some(_) | None => random.below(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(partitioner: Partitioner, key: Option<&[u8]>, times: usize) -> Vec<u32> {
        let random = Random::new(Some(1));
        let topic: Arc<str> = Arc::from("t");
        let mut chooser = Chooser::new(partitioner, 100);
        (0..times)
            .map(|_| chooser.choose(&random, &topic, key, (12, 50)))
            .collect()
    }

    #[test]
    fn a_key_goes_where_kafkas_clients_send_it() {
        let chosen = choose(Partitioner::KeyHashOrSticky, Some(b"abc"), 3);

        assert_eq!(chosen, [479_470_107 % 12; 3]);
    }

    #[test]
    fn round_robin_visits_all_partitions() {
        let chosen = choose(Partitioner::RoundRobin, Some(b"abc"), 13);

        let expected: Vec<_> = (0..12).chain([0]).collect();
        assert_eq!(chosen, expected);
    }

    #[test]
    fn without_a_key_a_batchs_worth_sticks_together() {
        let chosen = choose(Partitioner::KeyHashOrSticky, None, 40);

        for pair in chosen.chunks(2) {
            assert_eq!(pair[0], pair[1]);
        }
        assert!(
            chosen
                .chunks(2)
                .zip(chosen.chunks(2).skip(1))
                .all(|(a, b)| a != b)
        );
    }

    #[test]
    fn a_custom_choice_stays_in_range() {
        let far: Arc<PartitionFn> = Arc::new(|_, _, _| 1_000);

        assert_eq!(choose(Partitioner::Custom(far), None, 1), [1_000 % 12]);
    }
}
