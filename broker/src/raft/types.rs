//! The concrete openraft types of the broker, named once. Knows the store's entry and vote types
//! and the replies of the state machines; not what any of them means.

use std::fmt;

use openraft::RaftTypeConfig;
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use raftmq_core::{cluster, partition, queue};
use raftmq_store::{Command, GroupId};

use super::state_machine::StateMachine;

/// The metadata group; partition groups have higher numbers.
pub const METADATA_GROUP: GroupId = GroupId(0);

/// openraft's type parameters for every group of a broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Command;
    type R = Reply;
    type NodeId = u64;
    type Node = openraft::impls::EmptyNode;
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
    type Vote = raftmq_store::Vote;
    type Payload = openraft::EntryPayload<Command, u64, openraft::impls::EmptyNode>;
    type Entry = raftmq_store::Entry;
    type AsyncRuntime = DeterministicRng<TokioRuntime>;
    type Responder<T>
        = openraft::impls::OneshotResponder<Self, T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// A running Raft group.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// Term and log index of an entry.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;

/// A membership and the entry that set it.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;

/// What a state machine answers to one committed entry.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Blank and membership entries.
    None,
    /// From the metadata machine.
    Cluster(Box<cluster::Reply>),
    /// From a partition machine.
    Partition(partition::Reply),
    /// From a queue's machine.
    Queue(queue::Reply),
}

impl fmt::Display for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}
