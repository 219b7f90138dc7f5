//! Calls between brokers: long-lived tonic streams, one per peer and lane, on which the calls of
//! all groups travel, batched per wake-up.
//!
//! Knows bodies as bytes only; what they mean is `codec.rs` and its users. Every call has a
//! deadline, and a lost connection fails every call on it: a loss is always an error.

pub mod codec;
mod link;
mod method;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use raftmq_store::GroupId;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub use method::{Method, Refusal};
pub use server::{Inbound, PeerHandler, PeerServer, Served};

use super::throttle::CatchUpThrottle;
use crate::env::Env;

/// Largest frame that is sent or taken.
pub const FRAME_BYTES_MAX: usize = 96 << 20;
/// Bytes of calls after which a frame is closed and sent.
pub const FRAME_BYTES_TARGET: usize = 4 << 20;
/// Calls waiting for one lane of one peer; more are refused.
pub const QUEUE_CALLS_MAX: usize = 16_384;
/// HTTP/2 windows: set, not inherited, so that one megabyte does not need sixteen round trips.
pub const STREAM_WINDOW_BYTES: u32 = 16 << 20;
/// See [`STREAM_WINDOW_BYTES`].
pub const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// Which connection a call takes, so that bulk never delays a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Heartbeats, votes, elections, metadata proposals.
    Control,
    /// Live appends.
    Append,
    /// Snapshots.
    Bulk,
    /// What clients of queues send and are sent: an answer may wait for a commit.
    Queues,
}

impl Lane {
    /// Time after which a call without an answer fails and takes its connection with it.
    #[must_use]
    pub const fn deadline(self) -> Duration {
        match self {
            Self::Control => Duration::from_millis(2_000),
            Self::Append => Duration::from_millis(3_000),
            Self::Bulk | Self::Queues => Duration::from_millis(30_000),
        }
    }
}

<<<<<<< HEAD
/// What a call asks for. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Method {
    /// openraft `AppendEntries`.
    Append = 1,
    /// openraft `Vote`.
    Vote = 2,
    /// openraft pre-vote.
    PreVote = 3,
    /// openraft full snapshot.
    Snapshot = 4,
    /// Vote, last log and health of many groups.
    GroupStates = 5,
    /// Drop the lease of named votes.
    DropLeases = 6,
    /// Campaign in many groups.
    Campaign = 7,
    /// Propose a metadata command.
    Propose = 8,
    /// A broker is alive.
    Heartbeat = 9,
    /// Who are you, and who leads the metadata group.
    Hello = 10,
    /// Move the log start of a partition led by the receiver.
    DeleteRecords = 12,
    /// Hand the leadership of many groups over, each to a named replica.
    HandOver = 16,
    /// Campaign, because the leader hands over to the receiver.
    TakeLeadership = 17,
    /// Take a step of a move of replicas in a group led by the receiver. (11 did all at once.)
    MoveReplicas = 20,
    /// Take the sender into the cluster, and give it an id where it has none.
    Join = 35,
    /// How far the sender has flushed groups that the receiver leads.
    FlushedMarks = 40,
    /// Keep survivors of a compacted log aside, for the snapshot that follows.
    StageSurvivors = 30,
    /// openraft full snapshot, of a group whose survivors were sent before.
    SnapshotWithSurvivors = 31,
    /// How far the moves of replicas are that the receiver drives, as the controller.
    MovesProgress = 50,
    /// What is written to each partition, as the receiver, the controller, was told.
    Loads = 51,
    /// Commands of a broker's clients for a queue led by the receiver.
    QueueSubmit = 60,
    /// What a queue has for channels of the receiver's clients.
    QueuePush = 61,
    /// A reply of AMQP's direct reply-to, for a client of the receiver.
    DirectReply = 70,
}

impl Method {
    /// The method of a number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Append,
            2 => Self::Vote,
            3 => Self::PreVote,
            4 => Self::Snapshot,
            5 => Self::GroupStates,
            6 => Self::DropLeases,
            7 => Self::Campaign,
            8 => Self::Propose,
            9 => Self::Heartbeat,
            10 => Self::Hello,
            20 => Self::MoveReplicas,
            40 => Self::FlushedMarks,
            12 => Self::DeleteRecords,
            16 => Self::HandOver,
            17 => Self::TakeLeadership,
            35 => Self::Join,
            30 => Self::StageSurvivors,
            31 => Self::SnapshotWithSurvivors,
            50 => Self::MovesProgress,
            51 => Self::Loads,
            60 => Self::QueueSubmit,
            61 => Self::QueuePush,
            70 => Self::DirectReply,
            _ => return None,
        })
    }
}

/// How a peer answered a call that it did not carry out. Numbers are never reused; 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// The peer does not host the group (yet).
    UnknownGroup = 1,
    /// The sender's broker epoch is fenced.
    Fenced = 2,
    /// The sender belongs to another cluster.
    ForeignCluster = 3,
    /// The body or method could not be decoded.
    Malformed = 4,
    /// The peer is stopping, or its group has failed.
    Stopped = 5,
    /// The peer does not lead the metadata group.
    NotController = 6,
    /// A planned refusal of the method itself; the body says why.
    Failed = 7,
    /// The receiver's disk has no room for the records.
    DiskFull = 40,
    /// The receiver does not lead the queue, or what came is out of order: nothing was done.
    NotTaken = 60,
    /// The receiver led the queue and lost that: what became of the commands is not known.
    OutcomeUnknown = 61,
}

impl Refusal {
    const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::UnknownGroup,
            2 => Self::Fenced,
            3 => Self::ForeignCluster,
            5 => Self::Stopped,
            6 => Self::NotController,
            7 => Self::Failed,
            40 => Self::DiskFull,
            60 => Self::NotTaken,
            61 => Self::OutcomeUnknown,
            _ => Self::Malformed,
        }
    }
}

=======
>>>>>>> h-S
/// Why a call brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeerError {
    /// No address is known for the broker.
    #[error("no address is known for broker {0}")]
    UnknownBroker(u32),
    /// The connection could not be made: the call was not sent.
    #[error("no connection to broker {broker}: {reason}")]
    NoConnection {
        /// The peer.
        broker: u32,
        /// What the network said.
        reason: String,
    },
    /// The connection broke; the call may or may not have arrived.
    #[error("broker {broker} is unreachable: {reason}")]
    Unreachable {
        /// The peer.
        broker: u32,
        /// What the network said.
        reason: String,
    },
    /// No answer in time; the call may or may not have been carried out.
    #[error("broker {0} did not answer in time")]
    TimedOut(u32),
    /// Too many calls wait for this peer.
    #[error("too many calls wait for broker {0}")]
    Overloaded(u32),
    /// The peer answered with a refusal.
    #[error("broker {broker} refused: {refusal:?} {reason}")]
    Refused {
        /// The peer.
        broker: u32,
        /// Which.
        refusal: Refusal,
        /// In words, where the peer gave any.
        reason: String,
    },
}

impl PeerError {
    /// Whether the peer answered with this refusal.
    #[must_use]
    pub fn is_refusal(&self, expected: Refusal) -> bool {
        matches!(self, Self::Refused { refusal, .. } if *refusal == expected)
    }
}

/// Who this broker is, as its frames say.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Broker id.
    pub broker_id: u32,
    /// Epoch of the last registration; 0 = not registered yet.
    pub broker_epoch: u64,
    /// Empty until known.
    pub cluster_id: String,
}

/// Told when a connection to a broker was refused or reset.
pub type OnRefused = Arc<dyn Fn(u32) + Send + Sync>;

/// What the append lanes have lost, and which of them are up.
#[derive(Debug, Default)]
struct Losses {
    connected: BTreeSet<u32>,
    /// Groups whose last append to a peer brought no answer.
    groups: BTreeMap<u32, BTreeSet<GroupId>>,
}

pub(super) struct Call {
    pub group: GroupId,
    pub method: Method,
    pub body: Bytes,
    pub reply: oneshot::Sender<Result<Bytes, PeerError>>,
}

/// The links to all peers. Cheap to clone.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub env: Env,
    pub identity: RwLock<Identity>,
    addresses: RwLock<BTreeMap<u32, String>>,
    links: Mutex<BTreeMap<(u32, Lane), link::Link>>,
    on_refused: RwLock<Option<OnRefused>>,
    losses: Mutex<Losses>,
    lost: Notify,
    heard: Mutex<BTreeMap<u32, Instant>>,
    /// Nobody listens there: the process that did is gone.
    gone: Mutex<BTreeSet<u32>>,
    refusing_records: RwLock<BTreeSet<u32>>,
    throttle: CatchUpThrottle,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl Transport {
    /// A transport without links; they are made when first used.
    #[must_use]
    pub fn new(env: Env, identity: Identity) -> Self {
        let shared = Shared {
            env,
            identity: RwLock::new(identity),
            addresses: RwLock::default(),
            links: Mutex::default(),
            on_refused: RwLock::default(),
            losses: Mutex::default(),
            lost: Notify::new(),
            heard: Mutex::default(),
            gone: Mutex::default(),
            refusing_records: RwLock::default(),
            throttle: CatchUpThrottle::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What slows replication to replicas that are catching up.
    #[must_use]
    pub fn throttle(&self) -> &CatchUpThrottle {
        &self.shared.throttle
    }

    /// Sets who is told when a connection is refused.
    pub fn set_on_refused(&self, on_refused: OnRefused) {
        *self.shared.on_refused.write() = Some(on_refused);
    }

    /// Whether `broker` has answered something that was asked within `session`, other than that it
    /// takes this broker for fenced.
    #[must_use]
    pub fn has_heard(&self, broker: u32, session: Duration) -> bool {
        self.shared
            .heard
            .lock()
            .get(&broker)
            .is_some_and(|at| at.elapsed() < session)
    }

    /// Whether the last connection to `broker` was refused, not merely lost: the process that listened there
    /// has ended, and no other one listens yet. (A network that answers for hosts which live would mislead it.)
    #[must_use]
    pub fn is_gone(&self, broker: u32) -> bool {
        self.shared.gone.lock().contains(&broker)
    }

    /// `broker` has answered what was asked at this time, and takes this one for in service.
    pub fn note_heard(&self, broker: u32, asked_at: Instant) {
        self.shared.note_heard(broker, asked_at);
    }

    /// `broker` takes this one for fenced: that it was heard of counts for nothing.
    pub fn forget_heard(&self, broker: u32) {
        self.shared.heard.lock().remove(&broker);
    }

    /// An append of `group` to `broker` brought no answer: what it carried must be repeated, and
    /// openraft without ticks does not do so by itself.
    pub fn note_lost_append(&self, broker: u32, group: GroupId) {
        self.shared
            .losses
            .lock()
            .groups
            .entry(broker)
            .or_default()
            .insert(group);
        self.shared.lost.notify_one();
    }

    /// Sets which peers take no records now, because their disks are full.
    pub fn set_refusing_records(&self, brokers: BTreeSet<u32>) {
        *self.shared.refusing_records.write() = brokers;
    }

    /// Whether a peer takes no records now, as far as is known here.
    #[must_use]
    pub fn refuses_records(&self, broker: u32) -> bool {
        self.shared.refusing_records.read().contains(&broker)
    }

    /// Waits until an append is lost that nobody has taken. For one waiter.
    pub async fn has_lost_appends(&self) {
        while self.shared.losses.lock().groups.is_empty() {
            self.shared.lost.notified().await;
        }
    }

    /// Takes the lost appends of every peer whose append lane is up, and one of every other peer:
    /// repeating that one finds out whether the peer is back.
    #[must_use]
    pub fn take_lost_appends(&self) -> BTreeMap<u32, BTreeSet<GroupId>> {
        let mut losses = self.shared.losses.lock();
        let Losses { connected, groups } = &mut *losses;
        let mut taken = BTreeMap::new();
        for (broker, lost) in groups.iter_mut() {
            let repeated = if connected.contains(broker) {
                std::mem::take(lost)
            } else {
                lost.pop_first().into_iter().collect()
            };
            taken.insert(*broker, repeated);
        }
        groups.retain(|_, lost| !lost.is_empty());
        taken
    }

    /// Changes what frames say about this broker.
    pub fn set_identity(&self, change: impl FnOnce(&mut Identity)) {
        change(&mut self.shared.identity.write());
    }

    /// What frames say about this broker.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.shared.identity.read().clone()
    }

    /// Sets where a broker's peer listener is; a changed address drops the old connections.
    pub fn set_address(&self, broker: u32, endpoint: &str) {
        let old = self
            .shared
            .addresses
            .write()
            .insert(broker, endpoint.to_owned());
        if old.is_some_and(|old| old != endpoint) {
            self.shared
                .links
                .lock()
                .retain(|(target, _), _| *target != broker);
        }
    }

    /// Every broker that has an address.
    #[must_use]
    pub fn known_brokers(&self) -> Vec<u32> {
        self.shared.addresses.read().keys().copied().collect()
    }

    /// Queues a call, in the order of calls of this lane and peer, and returns its answer's future.
    ///
    /// # Errors
    ///
    /// See [`PeerError`]; a failed call may still have been carried out.
    pub fn call(
        &self,
        broker: u32,
        lane: Lane,
        group: GroupId,
        method: Method,
        body: Bytes,
    ) -> impl Future<Output = Result<Bytes, PeerError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let queued = self.enqueue(
            broker,
            lane,
            Call {
                group,
                method,
                body,
                reply,
            },
        );
        async move {
            queued?;
            let lost = |_| PeerError::Unreachable {
                broker,
                reason: "connection lost".to_owned(),
            };
            answer.await.unwrap_or_else(|error| Err(lost(error)))
        }
    }

    fn enqueue(&self, broker: u32, lane: Lane, call: Call) -> Result<(), PeerError> {
        let mut links = self.shared.links.lock();
        let shared = &self.shared;
        let link = links
            .entry((broker, lane))
            .or_insert_with(|| link::Link::spawn(Arc::downgrade(shared), broker, lane));
        link.send(call).map_err(|_| PeerError::Overloaded(broker))
    }
}

impl Shared {
    fn address(&self, broker: u32) -> Option<String> {
        self.addresses.read().get(&broker).cloned()
    }

    fn tell_refused(&self, broker: u32) {
        let on_refused = self.on_refused.read().clone();
        if let Some(on_refused) = on_refused {
            on_refused(broker);
        }
    }

    fn note_heard(&self, broker: u32, at: Instant) {
        let mut heard = self.heard.lock();
        let known = heard.entry(broker).or_insert(at);
        *known = (*known).max(at);
    }

    fn set_gone(&self, broker: u32, is_gone: bool) {
        let mut gone = self.gone.lock();
        if is_gone {
            gone.insert(broker);
        } else {
            gone.remove(&broker);
        }
    }

    fn set_connected(&self, broker: u32, is_connected: bool) {
        let mut losses = self.losses.lock();
        if is_connected {
            losses.connected.insert(broker);
        } else {
            losses.connected.remove(&broker);
        }
    }
}
