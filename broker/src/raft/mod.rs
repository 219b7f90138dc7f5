//! The host of many Raft groups: concrete openraft types, the registry of groups, peer transport.
//!
//! Joins `raftmq-core` (decides) and `raftmq-store` (keeps). Does not know topics, clients or
//! protocols; services above give it machines and commands.

pub mod adopt;
mod coalesce;
pub mod events;
pub mod group;
pub mod handover;
pub mod host;
pub mod machine;
pub mod marks;
pub mod membership;
pub mod network;
pub mod serve;
pub mod space;
pub mod state_machine;
pub mod status;
mod survivors;
pub mod suspension;
mod throttle;
pub mod transport;
pub mod types;
pub mod vouching;

pub use group::{Group, GroupKind, ProposeError};
pub use handover::{HandOver, HandOvers, Ready};
pub use host::{Beginning, HostError, RaftHost};
pub use space::DiskSpace;
pub use throttle::CatchUpThrottle;
pub use types::{LogId, METADATA_GROUP, Reply, TypeConfig};
