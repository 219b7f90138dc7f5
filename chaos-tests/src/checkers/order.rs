//! The version order: which value stands where, from all evidence of a history.
//!
//! Offset → values and value → offsets per partition, from polls of *any* completion (a consumer
//! must never be shown what is not committed) and from sends that must have committed. An *index*
//! is a dense offset: gaps are legal (void entries, control records) and removed.
//! An `acks=1` acknowledgement is no evidence: a later leader may put another record there.
//!
//! Source: `jepsen.tests.kafka/version-orders`.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Acks, History, Operation, Outcome, Send, Value};

/// What is known of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionOrder {
    /// Offset → every value that was seen there.
    pub offsets: BTreeMap<i64, BTreeSet<Value>>,
    /// Value → every offset at which it was seen.
    pub values: BTreeMap<Value, BTreeSet<i64>>,
    /// Values that some consumer was given.
    pub read: BTreeSet<Value>,
    indexes: BTreeMap<i64, usize>,
}

impl PartitionOrder {
    /// The dense index of an offset.
    #[must_use]
    pub fn index_of(&self, offset: i64) -> Option<usize> {
        self.indexes.get(&offset).copied()
    }

    fn record(&mut self, offset: i64, value: Value) {
        self.offsets.entry(offset).or_default().insert(value);
        self.values.entry(value).or_default().insert(offset);
    }
}

/// The version orders of all partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionOrder {
    /// By partition.
    pub partitions: BTreeMap<u32, PartitionOrder>,
}

impl VersionOrder {
    /// Gathers the evidence.
    #[must_use]
    pub fn of(history: &History) -> Self {
        let mut order = Self::default();
        for (_, poll) in history.polls() {
            for (partition, reads) in &poll.reads {
                let partition = order.partitions.entry(*partition).or_default();
                for read in reads {
                    partition.record(read.offset, read.value);
                    partition.read.insert(read.value);
                }
            }
        }
        for (operation, send) in history.sends() {
            let Some(offset) = send.offset else { continue };
            if is_durable(operation, send) {
                order
                    .partitions
                    .entry(send.partition)
                    .or_default()
                    .record(offset, send.value);
            }
        }
        for partition in order.partitions.values_mut() {
            partition.indexes = partition
                .offsets
                .keys()
                .enumerate()
                .map(|(index, offset)| (*offset, index))
                .collect();
        }
        order
    }

    /// What is known of `partition`, if anything.
    #[must_use]
    pub fn partition(&self, partition: u32) -> Option<&PartitionOrder> {
        self.partitions.get(&partition)
    }

    /// Every offset at which the send's value was seen; empty = nowhere.
    #[must_use]
    pub fn offsets_of(&self, send: &Send) -> Vec<i64> {
        self.partition(send.partition)
            .and_then(|partition| partition.values.get(&send.value))
            .map(|offsets| offsets.iter().copied().collect())
            .unwrap_or_default()
    }
}

/// Whether the client was promised that nothing takes this send back.
pub(super) fn is_durable(operation: &Operation, send: &Send) -> bool {
    operation.outcome == Outcome::Ok && send.acks == Acks::All
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;

    #[test]
    fn gaps_between_offsets_leave_no_gap_between_indexes() {
        let mut script = Script::new();
        script.poll(1, 0, &[(3, 30), (9, 90)]);

        let order = VersionOrder::of(&script.history());

        let partition = order.partition(0).unwrap();
        assert_eq!(partition.index_of(3), Some(0));
        assert_eq!(partition.index_of(9), Some(1));
        assert_eq!(partition.index_of(4), None);
    }

    #[test]
    fn an_acknowledgement_by_the_leader_alone_is_no_evidence() {
        let mut script = Script::new();
        script.send(0, 7, |send| {
            send.acks = Acks::Leader;
            send.offset = Some(4);
        });

        let order = VersionOrder::of(&script.history());

        assert_eq!(order.partition(0), None);
    }
}
