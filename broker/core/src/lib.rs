//! The pure state machines of RaftMQ: no I/O, no clock, no randomness.
//!
//! Owns what a partition's log and the metadata log *mean*. It deliberately does not know Raft,
//! storage, sockets, runtimes or wires: its `Cargo.toml` has none of them, and `clippy.toml`
//! bans hash maps and clocks, so that the same bytes make the same state on every replica, for
//! ever. Start reading at [`machine`].

pub mod cluster;
pub mod codec;
pub mod effect;
pub mod exchange;
pub mod ids;
pub mod limits;
pub mod machine;
pub mod partition;
pub mod planted;
pub mod queue;
pub mod quota;
pub mod space;
mod thinning;
pub mod throttle;

pub use effect::{Effect, Effects};
pub use ids::{
    BrokerEpoch, BrokerId, ConsumerId, DeadLetterId, DeliveryId, DirectoryId, GroupNumber,
    LogIndex, Offset, PartitionIndex, ProducerId, Term, TopicId,
};
pub use machine::{EntryMeta, Machine, RowUpdates};
