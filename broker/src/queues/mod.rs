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
mod error;
mod follow;
mod letters;
mod outgoing;
mod peers;
mod purge;
mod push;
mod pusher;
mod replica;
mod session;
mod submission;
mod view;
mod way;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all, ready};
use parking_lot::{Mutex, RwLock};
use raftmq_core::ids::{BrokerEpoch, BrokerId, GroupNumber};
use raftmq_core::queue::{AckMode, Attempt, ChannelId, Command, Delivery, Message, Refusal, Reply};
use raftmq_store::GroupId;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use binding::{HostedQueue, QueueBinding};
pub use channel::{ChannelEvent, QueueChannel};
pub use dead_letters::{DeadLetterRouter, DeadMessage, Undeliverable};
pub use error::QueueError;

use self::channel::Closer;
use self::channels::Channels;
use self::replica::QueueReplica;
use self::submission::{Answer, Ask};
use self::way::{Errand, Way};
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
    /// A queue refused it (`reject-publish`): `basic.nack`.
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
    ways: Mutex<BTreeMap<GroupNumber, mpsc::Sender<Errand>>>,
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

type Answered = BoxFuture<'static, Result<Answer, QueueError>>;

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
    pub fn open_channel(&self) -> Result<(QueueChannel, mpsc::Receiver<ChannelEvent>), QueueError> {
        let Some(broker_epoch) = self.epoch_in_service() else {
            let within = Duration::ZERO;
            return Err(QueueError::Unavailable { within });
        };
        let channels = &self.shared.channels;
        let (id, events) = channels.open(self.broker_id(), broker_epoch);
        let closer: Arc<dyn Closer> = Arc::new(self.clone());
        Ok((QueueChannel::new(id, closer), events))
    }

    /// Enqueues a message in several queues. Takes effect in the order of calls, queue by queue; the
    /// future only waits. Not repeated when its outcome is unknown, unless the queue deduplicates it.
    /// A queue that is no more counts only when all are.
    ///
    /// # Errors
    ///
    /// See [`QueueError`]; with several queues some may have it all the same.
    pub fn publish(
        &self,
        queues: &[GroupNumber],
        message: Message,
    ) -> impl Future<Output = Result<Published, QueueError>> + Send + use<> {
        let sent = queues.iter().map(|queue| {
            let ask = Ask::Run(Command::Publish(vec![message.clone()]));
            self.send(*queue, ask)
        });
        let sent: Vec<Answered> = sent.collect();
        async move { published(join_all(sent).await) }
    }

    /// Runs a command at the queue's leader, wherever that is; a refusal is a reply, but for
    /// `Refusal::Gone`. Takes effect in the order of calls (publishes and gets included); the future
    /// only waits. Repeated over moves of the leader: such commands may be. Not for `Publish` and `Get`.
    ///
    /// # Errors
    ///
    /// See [`QueueError`].
    pub fn run(
        &self,
        queue: GroupNumber,
        command: Command,
    ) -> impl Future<Output = Result<Reply, QueueError>> + Send + use<> {
        let attaching = match &command {
            Command::Attach(attach) => Some(attach.channel),
            Command::Batch(_)
            | Command::Publish(_)
            | Command::Credit { .. }
            | Command::Detach { .. }
            | Command::CloseChannel { .. }
            | Command::CloseBroker { .. }
            | Command::Settle { .. }
            | Command::Get { .. }
            | Command::Purge
            | Command::Delete { .. }
            | Command::Configure(_)
            | Command::Touch
            | Command::Tick
            | Command::DeadLettersPublished(_) => None,
        };
        if let Some(channel) = attaching {
            self.shared.channels.attaching(channel, queue);
        }
        let sent = self.send(queue, Ask::Run(command));
        let queues = self.clone();
        async move {
            let answer = sent.await;
            if let Some(channel) = attaching {
                let consumer = match &answer {
                    Ok(Answer::Reply(Reply::Attached { consumer })) => Some(*consumer),
                    Ok(_) | Err(_) => None,
                };
                queues.shared.channels.attached(channel, queue, consumer);
            }
            match answer? {
                Answer::Reply(Reply::Refused(Refusal::Gone)) => Err(QueueError::Gone),
                Answer::Reply(reply) => Ok(reply),
                Answer::Full(brokers) => Err(QueueError::Full { brokers }),
                Answer::Got(_) | Answer::Counts(_) => Err(QueueError::OutcomeUnknown),
            }
        }
    }

    /// Takes one message for a channel (`basic.get`). Not repeated when its outcome is unknown: a
    /// message that was taken then returns with the channel.
    ///
    /// # Errors
    ///
    /// See [`QueueError`].
    pub fn get(
        &self,
        queue: GroupNumber,
        channel: ChannelId,
        ack_mode: AckMode,
    ) -> impl Future<Output = Result<Got, QueueError>> + Send + use<> {
        self.shared.channels.touch(channel, queue);
        let sent = self.send(queue, Ask::Run(Command::Get { channel, ack_mode }));
        async move {
            match sent.await? {
                Answer::Got(got) => Ok(got),
                Answer::Reply(Reply::Refused(Refusal::Gone)) => Err(QueueError::Gone),
                Answer::Reply(_) | Answer::Full(_) | Answer::Counts(_) => {
                    Err(QueueError::OutcomeUnknown)
                }
            }
        }
    }

    /// Counts what is in a queue, as its leader knows it once everything asked before is done.
    ///
    /// # Errors
    ///
    /// See [`QueueError`].
    pub fn counts(
        &self,
        queue: GroupNumber,
    ) -> impl Future<Output = Result<Counts, QueueError>> + Send + use<> {
        let sent = self.send(queue, Ask::Counts);
        async move {
            match sent.await? {
                Answer::Counts(counts) => Ok(counts),
                Answer::Reply(_) | Answer::Full(_) | Answer::Got(_) => {
                    Err(QueueError::OutcomeUnknown)
                }
            }
        }
    }

    /// Sends something on the way to a queue, at once.
    fn send(&self, queue: GroupNumber, ask: Ask) -> Answered {
        let permit = match self.permit_for(&ask) {
            Ok(permit) => permit,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        let way = match self.way(queue) {
            Ok(way) => way,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        let (reply, answer) = oneshot::channel();
        let errand = Errand {
            is_repeatable: self.is_repeatable(queue, &ask),
            ask,
            reply,
            since: Instant::now(),
            permit,
        };
        match way.try_send(errand) {
            Ok(()) => Box::pin(async move { answer.await.unwrap_or(Err(QueueError::Stopping)) }),
            Err(mpsc::error::TrySendError::Full(_)) => Box::pin(ready(Err(QueueError::Overloaded))),
            // It ends only with its queue, or with the broker.
            Err(mpsc::error::TrySendError::Closed(_)) => Box::pin(ready(Err(QueueError::Gone))),
        }
    }

    fn permit_for(
        &self,
        ask: &Ask,
    ) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, QueueError> {
        if !matches!(ask, Ask::Run(Command::Publish(_))) {
            return Ok(None);
        }
        // One message larger than the whole budget must still get through, alone.
        let bytes = ask.bytes().clamp(1, self.shared.publish_budget_bytes);
        let permits = u32::try_from(bytes).map_err(|_| QueueError::Overloaded)?;
        let budget = self.shared.publish_budget.clone();
        let permit = budget.try_acquire_many_owned(permits);
        permit.map(Some).map_err(|_| QueueError::Overloaded)
    }

    /// A message that the queue deduplicates may be sent again; what a get takes would be taken twice.
    fn is_repeatable(&self, queue: GroupNumber, ask: &Ask) -> bool {
        match ask {
            Ask::Run(Command::Get { .. }) => false,
            Ask::Run(Command::Publish(messages)) => {
                messages.iter().all(|message| message.dedup_id.is_some())
                    && self.deduplicates(queue)
            }
            Ask::Run(_) | Ask::Counts => true,
        }
    }

    fn deduplicates(&self, queue: GroupNumber) -> bool {
        let image = self.controller().images().current();
        let queue = image.amqp.queues.get(&queue);
        let settings = queue.and_then(view::settings_of);
        settings.is_some_and(|settings| settings.dedup.is_some())
    }

    fn downgrade(&self) -> WeakQueues {
        WeakQueues {
            shared: Arc::downgrade(&self.shared),
        }
    }

    fn way(&self, queue: GroupNumber) -> Result<mpsc::Sender<Errand>, QueueError> {
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
            group.leader().filter(|_| is_newer)
        });
        newer.or(known.map(BrokerId::get))
    }

    fn replica(&self, id: GroupId) -> Option<Arc<QueueReplica>> {
        self.shared.replicas.read().get(&id).cloned()
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
        for queue in self.shared.channels.close(channel) {
            let command = Command::CloseChannel { channel, attempt };
            // The way repeats it until the queue has it; nobody waits.
            drop(self.send(queue, Ask::Run(command)));
        }
    }
}

fn published(answers: Vec<Result<Answer, QueueError>>) -> Result<Published, QueueError> {
    let (mut is_refused, mut is_anywhere) = (false, answers.is_empty());
    for answer in answers {
        match answer {
            Ok(Answer::Reply(Reply::Published(published))) => {
                is_refused |= !published.refused.is_empty();
                is_anywhere = true;
            }
            Ok(Answer::Reply(Reply::Refused(_))) | Err(QueueError::Gone) => {}
            Ok(Answer::Full(brokers)) => return Err(QueueError::Full { brokers }),
            Ok(Answer::Reply(_) | Answer::Got(_) | Answer::Counts(_)) => {
                return Err(QueueError::OutcomeUnknown);
            }
            Err(error) => return Err(error),
        }
    }
    match (is_anywhere, is_refused) {
        (false, _) => Err(QueueError::Gone),
        (true, true) => Ok(Published::Refused),
        (true, false) => Ok(Published::Enqueued),
    }
}
