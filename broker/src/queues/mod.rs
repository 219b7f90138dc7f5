//! The service of queues: their replicas on this broker, and the way from any broker to a queue's
//! leader and back to the channels of its clients.
//!
//! Every queue is a Raft group whose machine is `raftmq_core::queue::Queue`. When replicas are opened,
//! and when they lead, is `hosting`'s matter. Does not know AMQP frames, exchanges, permissions, or
//! sockets of clients.

mod answers;
mod binding;
mod bodies;
mod channel;
mod channels;
mod dead_letters;
mod deciding;
mod errands;
mod error;
mod events;
mod follow;
mod gauges;
mod letters;
mod lines;
mod outgoing;
mod peers;
mod posting;
mod purge;
mod push;
mod pusher;
mod replica;
mod requests;
mod session;
mod submission;
mod survivors;
mod view;
mod waiting;
mod way;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use raftmq_core::ids::{BrokerEpoch, BrokerId, GroupNumber};
use raftmq_core::queue::{Attempt, ChannelId, Command, Delivery};
use raftmq_store::GroupId;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use binding::{HostedQueue, QueueBinding};
pub use channel::{ChannelEvent, QueueChannel};
pub use dead_letters::{DeadLetterRouter, DeadMessage, Undeliverable};
pub use error::QueueError;
pub use events::ChannelEvents;

use self::channel::Closer;
use self::channels::Channels;
use self::errands::Errands;
use self::replica::QueueReplica;
use self::way::Way;
use crate::controller::Controller;
use crate::hosting::Hosting;
use crate::raft::transport::Transport;

/// How often it is looked whether this broker's registration still holds, and whether consumed queues are.
const CHANNELS_LOOK: Duration = Duration::from_millis(100);

/// What became of a published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Every queue has it, or had it before: `basic.ack`.
    Enqueued,
    /// A queue refused it (`reject-publish`), or it is larger than any message may be (48 MiB with its
    /// properties; no queue has it then): `basic.nack`.
    Refused,
}

/// What `basic.get` took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// The message and its body; `None` = `basic.get-empty`.
    pub message: Option<(Delivery, Bytes)>,
    /// Ready messages that are left.
    pub ready_count: u64,
}

/// What `queue.declare` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Ready messages.
    pub ready: u64,
    /// Consumers.
    pub consumers: u64,
}

/// The queues of the cluster, as this broker's clients use them. Cheap to clone.
#[derive(Clone)]
pub struct Queues {
    shared: Arc<Shared>,
}

/// What does not keep the service alive.
#[derive(Clone)]
struct WeakQueues {
    shared: Weak<Shared>,
}

impl WeakQueues {
    fn upgrade(&self) -> Option<Queues> {
        let shared = self.shared.upgrade()?;
        Some(Queues { shared })
    }
}

struct Shared {
    hosting: Hosting,
    router: RwLock<Arc<dyn DeadLetterRouter>>,
    replicas: RwLock<BTreeMap<GroupId, Arc<QueueReplica>>>,
    ways: Mutex<BTreeMap<GroupNumber, Arc<Errands>>>,
    channels: Channels,
    publish_budget: Arc<Semaphore>,
    publish_budget_bytes: usize,
    stopping: CancellationToken,
}

impl fmt::Debug for Queues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queues").finish_non_exhaustive()
    }
}

impl Queues {
    /// A service without replicas; [`Hosting::follow`] opens them. `publish_bytes_max` bounds the bytes of
    /// messages that wait on this broker to be enqueued.
    #[must_use]
    pub fn new(
        hosting: Hosting,
        router: Arc<dyn DeadLetterRouter>,
        publish_bytes_max: usize,
    ) -> Self {
        let publish_budget_bytes = publish_bytes_max.min(Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared {
                hosting,
                router: RwLock::new(router),
                replicas: RwLock::default(),
                ways: Mutex::default(),
                channels: Channels::default(),
                publish_budget: Arc::new(Semaphore::new(publish_budget_bytes)),
                publish_budget_bytes,
                stopping: CancellationToken::new(),
            }),
        }
    }

    /// Sets who decides where dead letters go.
    pub fn set_router(&self, router: Arc<dyn DeadLetterRouter>) {
        *self.shared.router.write() = router;
    }

    /// Opens a channel for a client of this broker. What concerns it comes out of the receiver, as
    /// much as its consumers were granted: take it out promptly. When the receiver ends, the channel
    /// is lost (this broker was fenced): close the client's connection.
    ///
    /// # Errors
    ///
    /// `Unavailable` while this broker is out of service.
    pub fn open_channel(&self) -> Result<(QueueChannel, ChannelEvents), QueueError> {
        let Some(broker_epoch) = self.epoch_in_service() else {
            let within = Duration::ZERO;
            return Err(QueueError::Unavailable { within });
        };
        let channels = &self.shared.channels;
        let (id, events) = channels.open(self.broker_id(), broker_epoch);
        let closer: Arc<dyn Closer> = Arc::new(self.clone());
        Ok((QueueChannel::new(id, closer), events))
    }

    fn downgrade(&self) -> WeakQueues {
        WeakQueues {
            shared: Arc::downgrade(&self.shared),
        }
    }

    fn way(&self, queue: GroupNumber) -> Result<Arc<Errands>, QueueError> {
        if self.shared.stopping.is_cancelled() {
            return Err(QueueError::Stopping);
        }
        let mut ways = self.shared.ways.lock();
        if let Some(way) = ways.get(&queue) {
            return Ok(way.clone());
        }
        if self.is_gone(queue) {
            return Err(QueueError::Gone);
        }
        let way = Way::start(self.clone(), queue);
        ways.insert(queue, way.clone());
        Ok(way)
    }

    fn forget_way(&self, queue: GroupNumber) {
        self.shared.ways.lock().remove(&queue);
    }

    /// Whether a queue was, and is no more: one that the image does not know yet may be new.
    fn is_gone(&self, queue: GroupNumber) -> bool {
        let image = self.controller().images().current();
        queue <= image.last_group && image.partition(queue).is_none()
    }

    /// Who leads a queue, as far as this broker knows: by its own replica, or by the image.
    fn leader_of(&self, queue: GroupNumber) -> Option<u32> {
        let image = self.controller().images().current();
        let info = image.partition(queue)?;
        let known = info.leader.filter(|id| image.is_alive(*id));
        let replica = self.replica(GroupId(queue.get()));
        let newer = replica.and_then(|replica| {
            let group = replica.group_handle();
            let is_newer = known.is_none() || group.term() > info.leader_epoch.get();
            let is_alive = |id: &u32| image.is_alive(BrokerId(*id));
            group.leader().filter(|id| is_newer && is_alive(id))
        });
        newer.or_else(|| known.map(BrokerId::get))
    }

    fn replica(&self, id: GroupId) -> Option<Arc<QueueReplica>> {
        self.shared.replicas.read().get(&id).cloned()
    }

    /// The machine of a queue that has a replica here; a simulation compares them.
    #[must_use]
    pub fn machine(&self, id: GroupId) -> Option<Arc<HostedQueue>> {
        let replicas = self.shared.replicas.read();
        replicas
            .get(&id)
            .map(|replica| Arc::clone(replica.machine()))
    }

    fn all_replicas(&self) -> Vec<Arc<QueueReplica>> {
        self.shared.replicas.read().values().cloned().collect()
    }

    fn broker_id(&self) -> BrokerId {
        BrokerId(self.shared.hosting.host().broker_id())
    }

    fn broker_epoch(&self) -> u64 {
        self.controller().session().broker_epoch()
    }

    /// The registration under which this broker is in service.
    fn epoch_in_service(&self) -> Option<BrokerEpoch> {
        let session = self.controller().session();
        let is_in_service = !session.is_fenced();
        is_in_service.then(|| BrokerEpoch(session.broker_epoch()))
    }

    fn controller(&self) -> &Controller {
        self.shared.hosting.controller()
    }

    fn transport(&self) -> &Transport {
        self.shared.hosting.host().transport()
    }

    fn router(&self) -> Arc<dyn DeadLetterRouter> {
        self.shared.router.read().clone()
    }

    fn stopping(&self) -> CancellationToken {
        self.shared.stopping.clone()
    }

    /// Ends channels whose registration is over, and tells consumers whose queue is no more. Runs for
    /// ever.
    pub async fn run_channels(&self) {
        let _stop = self.shared.stopping.clone().drop_guard();
        let channels = &self.shared.channels;
        loop {
            channels.keep_only(self.epoch_in_service());
            for queue in channels.consumed_queues() {
                if self.is_gone(queue) {
                    channels.cancel_consumers(queue);
                }
            }
            sleep(CHANNELS_LOOK).await;
        }
    }
}

impl Closer for Queues {
    fn close(&self, channel: ChannelId, attempt: Attempt) {
        for queue in self.shared.channels.touched(channel) {
            let command = Command::CloseChannel { channel, attempt };
            // The way repeats it until the queue has it; nobody waits.
            self.send_surely(queue, command);
        }
        // Not before: whatever is pushed from now on has it closed again, behind this.
        self.shared.channels.close(channel);
    }
}
