//! Calls between brokers: long-lived tonic streams, one per peer and lane, on which the calls of
//! all groups travel, batched per wake-up.
//!
//! Knows bodies as bytes only; what they mean is `codec.rs` and its users. Every call has a
//! deadline, and a lost connection fails every call on it: a loss is always an error.

pub mod codec;
mod frame;
mod link;
mod method;
mod rope;
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
pub use rope::Rope;
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

/// Largest HTTP/2 frame that is taken. Each is written, and read, by calls to the system of its own: of the default,
/// 16 KiB, a megabyte would need sixty-four.
pub const HTTP2_FRAME_BYTES: u32 = 1 << 20;

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
    pub body: Rope,
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
        self.call_in_pieces(broker, lane, group, method, Rope::from(body))
    }

    /// As [`Self::call`], with a body whose large pieces are not copied.
    ///
    /// # Errors
    ///
    /// See [`Self::call`].
    pub fn call_in_pieces(
        &self,
        broker: u32,
        lane: Lane,
        group: GroupId,
        method: Method,
        body: Rope,
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
