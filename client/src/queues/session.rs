//! The handle of a session: what publishers, consumers and deliveries ask of the task that keeps a stream.
//!
//! Owns the bounds of what may be under way. Does not know the stream: `driver` has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use raftmq_proto::v1::{ConsumeQueue, GetMessage, SettleDeliveries};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::consuming::Consuming;
use super::delivery::QueueDelivery;
use super::driver::Driver;
use super::flight::Publish;
use super::message::Message;
use crate::client::Shared;
use crate::error::{Error, Result};
use crate::limits::{
    CONSUMER_BUFFER_COUNT, EVENTS_MAX, MESSAGE_BYTES_MAX, PUBLISHES_BYTES_MAX, PUBLISHES_COUNT_MAX,
};

/// What is asked of the task.
#[derive(Debug)]
pub(super) enum Command {
    /// Publish a message.
    Publish(Box<Publish>),
    /// Take a message.
    Get(GetMessage, oneshot::Sender<Result<Option<QueueDelivery>>>),
    /// Settle deliveries of the stream of this number; those of an earlier one are gone.
    Settle(u64, SettleDeliveries),
}

/// What a consumer is told.
#[derive(Debug)]
pub(super) enum Event {
    /// A message.
    Delivered(Box<QueueDelivery>),
    /// The stream is lost: what was asked on it is answered no more.
    Lost(Error),
    /// The consumer has ended for good.
    Ended(Error),
}

/// See the module. Cheap to clone; the task ends when nobody has it, and everything published is answered.
#[derive(Debug, Clone)]
pub(super) struct Session {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    /// The number of the stream that is open; 0 = none.
    stream: Arc<AtomicU64>,
    publishes: Arc<Semaphore>,
    publish_bytes: Arc<Semaphore>,
}

impl Session {
    /// Starts a session that publishes and gets.
    pub(super) fn start(shared: Arc<Shared>, vhost: &str) -> Self {
        Self::spawn(shared, vhost, None)
    }

    /// Starts a session with a consumer, and waits until its queue has it.
    pub(super) async fn consume(
        shared: Arc<Shared>,
        vhost: &str,
        consume: ConsumeQueue,
    ) -> Result<(Self, mpsc::Receiver<Event>)> {
        let (events, receiver) = mpsc::channel(CONSUMER_BUFFER_COUNT);
        let (started, is_started) = oneshot::channel();
        let timeout = shared.timeouts.request;
        let consuming = Consuming::new(consume, events, started);
        let session = Self::spawn(shared, vhost, Some(consuming));
        match tokio::time::timeout(timeout, is_started).await {
            Ok(Ok(started)) => started.map(|()| (session, receiver)),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::TimedOut {
                operation: "start of a consumer",
                timeout,
                last_error: None,
            }),
        }
    }

    fn spawn(shared: Arc<Shared>, vhost: &str, consuming: Option<Consuming>) -> Self {
        let (commands, receiver) = mpsc::channel(EVENTS_MAX);
        let session = Self {
            shared: Arc::clone(&shared),
            commands,
            stream: Arc::new(AtomicU64::new(0)),
            publishes: Arc::new(Semaphore::new(PUBLISHES_COUNT_MAX)),
            publish_bytes: Arc::new(Semaphore::new(PUBLISHES_BYTES_MAX)),
        };
        let own = WeakSession {
            commands: session.commands.downgrade(),
            room: [
                Arc::clone(&session.publishes),
                Arc::clone(&session.publish_bytes),
            ],
            stream: Arc::clone(&session.stream),
            shared: Arc::clone(&shared),
        };
        let driver = Driver::new(shared, vhost.to_owned(), (own, receiver), consuming);
        tokio::spawn(driver.run());
        session
    }

    /// Hands a message over as soon as there is room; the receiver gives the outcome.
    pub(super) async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        message: Message,
    ) -> Result<oneshot::Receiver<Result<()>>> {
        let size_bytes = message.body.len();
        if size_bytes > MESSAGE_BYTES_MAX {
            return Err(Error::RecordTooLarge {
                size_bytes,
                max_bytes: MESSAGE_BYTES_MAX,
            });
        }
        let message = message.identified(|| self.shared.random.id());
        let bytes = u32::try_from(size_bytes.max(1)).unwrap_or(u32::MAX);
        let count = Arc::clone(&self.publishes).acquire_owned().await;
        let bytes = Arc::clone(&self.publish_bytes).acquire_many_owned(bytes);
        let (Ok(count), Ok(bytes)) = (count, bytes.await) else {
            return Err(Error::Closed);
        };
        let (told, outcome) = oneshot::channel();
        let to = (exchange.to_owned(), routing_key.to_owned());
        let deadline = Instant::now() + self.shared.timeouts.request;
        let publish = Publish::new(to, message, told, deadline, [count, bytes]);
        self.send(Command::Publish(Box::new(publish))).await?;
        Ok(outcome)
    }

    /// Takes a message, if one is ready.
    pub(super) async fn get(&self, get: GetMessage) -> Result<Option<QueueDelivery>> {
        let (told, got) = oneshot::channel();
        self.send(Command::Get(get, told)).await?;
        let timeout = self.shared.timeouts.request;
        match tokio::time::timeout(timeout, got).await {
            Ok(got) => got.unwrap_or(Err(Error::Closed)),
            Err(_) => Err(Error::TimedOut {
                operation: "get",
                timeout,
                last_error: None,
            }),
        }
    }

    /// Settles deliveries of a stream.
    pub(super) async fn settle(&self, stream: u64, settle: SettleDeliveries) -> Result<()> {
        if self.stream.load(Ordering::Acquire) != stream {
            return Err(Error::DeliveryLost);
        }
        self.send(Command::Settle(stream, settle)).await
    }

    async fn send(&self, command: Command) -> Result<()> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| Error::Closed)
    }
}

/// A session as its own task has it, which must not keep it alive.
#[derive(Debug)]
pub(super) struct WeakSession {
    shared: Arc<Shared>,
    commands: mpsc::WeakSender<Command>,
    stream: Arc<AtomicU64>,
    room: [Arc<Semaphore>; 2],
}

impl WeakSession {
    /// Says which stream is open from now on; 0 = none.
    pub(super) fn set_stream(&self, number: u64) {
        self.stream.store(number, Ordering::Release);
    }

    pub(super) fn is_open(&self) -> bool {
        self.stream.load(Ordering::Acquire) != 0
    }

    /// The session, unless nobody has it any more.
    pub(super) fn upgrade(&self) -> Option<Session> {
        let [publishes, publish_bytes] = self.room.clone();
        Some(Session {
            shared: Arc::clone(&self.shared),
            commands: self.commands.upgrade()?,
            stream: Arc::clone(&self.stream),
            publishes,
            publish_bytes,
        })
    }
}
