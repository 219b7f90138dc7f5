//! Identities and positions: one newtype for each thing that could be mistaken for another.
//!
//! Knows nothing of what the numbers point at. A position in a partition is an [`Offset`]
//! (Kafka's word); a position in a Raft log is a [`LogIndex`] (Raft's word); they never mix.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// Returns the bare number, for encoders and metrics.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

id! {
    /// Names one broker process; chosen by the operator or the cluster, it stays with the data folder.
    BrokerId(u32)
}
id! {
    /// Position of a partition inside its topic, from 0.
    PartitionIndex(u32)
}
id! {
    /// Names one Raft group. 0 is the metadata group; partitions count from 1; never reused.
    GroupNumber(u64)
}
id! {
    /// Names an idempotent producer; -1 on the wire means "none" and is never held here.
    ProducerId(i64)
}
id! {
    /// Position of a record in a partition, from 0, without gaps.
    Offset(i64)
}
id! {
    /// Position of an entry in the Raft log of a group.
    LogIndex(u64)
}
id! {
    /// A Raft term; for a partition group it is the leader epoch.
    Term(u64)
}
id! {
    /// Log index at which a broker's registration was applied: it only grows.
    BrokerEpoch(u64)
}

id! {
    /// Names a consumer of a queue, from 1, in the order in which they were attached. Never reused.
    ConsumerId(u64)
}
id! {
    /// Names one delivery of a queue, from 1, in the order in which they were assigned. Never reused.
    DeliveryId(u64)
}
id! {
    /// Names a dead letter of a queue until it is published, from 0, without gaps.
    DeadLetterId(u64)
}

id! {
    /// Names a virtual host of AMQP for as long as it lives, from 1. Never reused.
    VhostId(u64)
}

impl GroupNumber {
    /// The one metadata group of the cluster.
    pub const METADATA: Self = Self(0);

    /// Tells whether this is the metadata group.
    #[must_use]
    pub const fn is_metadata(self) -> bool {
        self.0 == 0
    }
}

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);

    /// Returns the offset that many records further on.
    ///
    /// Saturates at `i64::MAX`, which no real log reaches.
    #[must_use]
    pub const fn advance(self, records_count: i64) -> Self {
        Self(self.0.saturating_add(records_count))
    }
}

/// Names one data folder for ever (KIP-858: `directory.id`): made at random when the folder is, so
/// that a broker that lost its disk is known to be another one. Zeros = not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DirectoryId(pub [u8; 16]);

impl DirectoryId {
    /// Tells whether the folder is known.
    #[must_use]
    pub fn is_known(self) -> bool {
        self != Self::default()
    }
}

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirectoryId({self})")
    }
}

/// Names one topic for ever: a topic that is deleted and made again has another id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// The hidden topic whose partitions are the groups of queues; no client's topic has this id.
    pub const QUEUES: Self = Self([0xff; 16]);
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}
