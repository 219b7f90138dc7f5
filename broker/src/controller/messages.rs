//! What brokers say to the controller and to each other about the cluster, as JSON: these calls
//! are few, and readable ones help whoever looks at a dump. Fields are only ever added.

use std::collections::BTreeMap;

use bytes::Bytes;
use raftmq_core::cluster::{ClusterError, Endpoints, Outcome};
use raftmq_core::ids::DirectoryId;
use raftmq_core::space::Space;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A broker is alive. Sent to the controller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who.
    pub broker_id: u32,
    /// Its registration.
    pub broker_epoch: u64,
    /// How far the metadata group is applied there.
    pub metadata_applied: u64,
    /// How long its oldest disk sync has been under way, milliseconds; 0 = none is.
    pub sync_age_ms: u64,
    /// It is caught up and may lead.
    pub is_ready: bool,
    /// Groups that the image says it leads, and that it does not lead (any more).
    #[serde(default)]
    pub not_leading: Vec<u64>,
    /// Its wall clock, milliseconds since 1970.
    #[serde(default)]
    pub wall_ms: Option<i64>,
    /// It is about to stop: its leaderships are to be moved, and it is to be given none.
    #[serde(default)]
    pub is_stopping: bool,
    /// The room on its disk.
    #[serde(default)]
    pub space: Space,
    /// What is written to partitions that it leads, where that is news.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<Load>,
}

/// What is written to a partition: its group, bytes per second, and the bytes of its retained log.
pub(super) type Load = (u64, u64, u64);

/// The controller's answer to a heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// The registration is not the current one: register anew.
    pub must_register: bool,
    /// The broker is out of service.
    pub is_fenced: bool,
    /// How far the sender's wall clock is ahead of the median of all brokers, milliseconds.
    #[serde(default)]
    pub clock_offset_ms: Option<i64>,
    /// To a broker that stops: it leads nothing that another one could lead.
    #[serde(default)]
    pub is_drained: bool,
    /// To a broker that stops: so does every other one that is in service.
    #[serde(default)]
    pub is_alone: bool,
    /// Brokers that have little room on their disks.
    #[serde(default)]
    pub spaces: BTreeMap<u32, Space>,
}

/// Who are you. Sent by a broker that knows little.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who asks.
    pub broker_id: u32,
}

/// The answer to [`Hello`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloReply {
    /// Who answers.
    pub broker_id: u32,
    /// The cluster's id; empty = there is none yet.
    pub cluster_id: String,
    /// Leader of the metadata group; 0 = none known.
    pub controller_id: u32,
    /// Its peer listener; empty = not known.
    pub controller_endpoint: String,
    /// The asker's broker id is registered in the cluster.
    pub knows_asker: bool,
    /// The answerer's image shows the asker out of service.
    #[serde(default)]
    pub takes_asker_for_fenced: bool,
}

/// Take me into the cluster. Sent by a broker with an empty data folder to any member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The id that it was told; 0 = the cluster chooses one.
    pub broker_id: u32,
    /// Its data folder.
    pub directory_id: DirectoryId,
    /// Random, new at each start of the process.
    pub incarnation: [u8; 16],
    /// Where it listens.
    pub endpoints: Endpoints,
    /// Its failure domain; empty = none.
    pub rack: String,
}

/// The answer to [`JoinRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The sender's id from now on.
    pub broker_id: u32,
    /// The cluster's id.
    pub cluster_id: String,
    /// The peer listeners of all brokers.
    pub brokers: BTreeMap<u32, String>,
}

/// Take the next step of a move of replicas. Sent by the controller to the leader of the group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MoveOrder {
    /// The members that the group is to have, the preferred leader first.
    pub target: Vec<u32>,
    /// Which reassignment of the partition is meant.
    pub move_epoch: u64,
}

/// The answer to a `MoveOrder`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveProgress {
    /// The group's committed membership is the target.
    pub is_done: bool,
    /// The step that was taken, or is waited for, for people.
    pub step: String,
    /// Log entries that the replica which is furthest behind lacks; not set by older brokers.
    #[serde(default)]
    pub entries_left: Option<u64>,
    /// Log entries that a new replica is sent; not set by older brokers.
    #[serde(default)]
    pub entries_count: Option<u64>,
    /// Term and index of the membership that is the target; not set by older brokers.
    #[serde(default)]
    pub membership: Option<(u64, u64)>,
}

/// How far the moves are that the controller drives, by group. Asked by any broker, without a body.
pub(super) type MovesDriven = BTreeMap<u64, MoveProgress>;

/// The answer to a forwarded proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proposed {
    /// Log index of the entry.
    pub log_index: u64,
    /// What the machine said.
    pub reply: Result<Outcome, ClusterError>,
}

/// Encodes a message.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Bytes {
    Bytes::from(serde_json::to_vec(message).expect("messages have string keys only"))
}

/// Decodes a message.
///
/// # Errors
///
/// In words, when the bytes are not such a message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}
