//! Names the concrete openraft types that the store keeps, once.
//!
//! Owns the choice of standard Raft (`leader_id_std`: one leader per term, a log id is a term and an
//! index). Knows nothing of what a command means: to the store it is bytes.

use std::fmt;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::impls::{EmptyNode, leader_id_std};
use openraft::vote::RaftLeaderId;

/// One Raft group of this broker: a partition, a queue, a coordinator shard or the metadata group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a group proposes: opaque bytes, stored and handed back as they came.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Command(pub Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} bytes)", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A candidate or leader: term and broker id.
pub type LeaderId = leader_id_std::LeaderId<u64, u64>;
/// The leader part of a log id: the term alone, because standard Raft has one leader per term.
pub type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
/// Term and index of an entry.
pub type LogId = openraft::LogId<CommittedLeaderId>;
/// A vote as the store keeps it.
pub type Vote = openraft::impls::Vote<LeaderId>;
/// What an entry carries: nothing, a command, or a membership.
pub type Payload = openraft::EntryPayload<Command, u64, EmptyNode>;
/// A log entry.
pub type Entry = openraft::impls::Entry<CommittedLeaderId, Payload>;
/// Voters and learners of a group.
pub type Membership = openraft::Membership<u64, EmptyNode>;
/// A membership with the log id that holds it.
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, EmptyNode>;

/// Builds a log id from its term and index.
#[must_use]
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// Any openraft configuration whose stored types are ours; the answer type and the runtime stay free.
pub trait StoreTypes:
    RaftTypeConfig<
        D = Command,
        NodeId = u64,
        Node = EmptyNode,
        Term = u64,
        LeaderId = LeaderId,
        Vote = Vote,
        Payload = Payload,
        Entry = Entry,
    >
{
}

impl<C> StoreTypes for C where
    C: RaftTypeConfig<
            D = Command,
            NodeId = u64,
            Node = EmptyNode,
            Term = u64,
            LeaderId = LeaderId,
            Vote = Vote,
            Payload = Payload,
            Entry = Entry,
        >
{
}
