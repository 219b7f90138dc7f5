//! The service of queues: their replicas on this broker, and the way from any broker to a queue's
//! leader and back to the channels of its clients.
//!
//! Every queue is a Raft group whose machine is `raftmq_core::queue::Queue`. Does not know AMQP frames,
//! exchanges, permissions, or sockets of clients.

mod channel;
mod dead_letters;
mod error;

use std::sync::Arc;

use bytes::Bytes;
use raftmq_core::ids::GroupNumber;
use raftmq_core::queue::{AckMode, ChannelId, Command, Delivery, Message, Reply};
use tokio::sync::mpsc;

pub use channel::{ChannelEvent, QueueChannel};
pub use dead_letters::{DeadLetterRouter, DeadMessage};
pub use error::QueueError;

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
#[derive(Debug, Clone)]
pub struct Queues {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared;

impl Queues {
    /// Only until the service is there.
    pub fn stub() -> Self {
        Self {
            shared: Arc::new(Shared),
        }
    }

    /// Opens a channel for a client of this broker. What concerns it comes out of the receiver, as
    /// much as its consumers were granted: take it out promptly. When the receiver ends, the channel
    /// is lost (this broker was fenced): close the client's connection.
    ///
    /// # Errors
    ///
    /// `Unavailable` while this broker is out of service.
    pub fn open_channel(&self) -> Result<(QueueChannel, mpsc::Receiver<ChannelEvent>), QueueError> {
        let _ = &self.shared;
        Err(QueueError::Stopping)
    }

    /// Enqueues a message in several queues. Takes effect in the order of calls, queue by queue; the
    /// future only waits. Not repeated when its outcome is unknown.
    ///
    /// # Errors
    ///
    /// See [`QueueError`]; with several queues some may have it all the same.
    pub fn publish(
        &self,
        _queues: &[GroupNumber],
        _message: Message,
    ) -> impl Future<Output = Result<Published, QueueError>> + Send + use<> {
        std::future::ready(Err(QueueError::Stopping))
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
        _queue: GroupNumber,
        _command: Command,
    ) -> impl Future<Output = Result<Reply, QueueError>> + Send + use<> {
        std::future::ready(Err(QueueError::Stopping))
    }

    /// Takes one message for a channel (`basic.get`). Not repeated when its outcome is unknown: a
    /// message that was taken then returns with the channel.
    ///
    /// # Errors
    ///
    /// See [`QueueError`].
    pub fn get(
        &self,
        _queue: GroupNumber,
        _channel: ChannelId,
        _ack_mode: AckMode,
    ) -> impl Future<Output = Result<Got, QueueError>> + Send + use<> {
        std::future::ready(Err(QueueError::Stopping))
    }

    /// Counts what is in a queue, as its leader knows it once everything asked before is done.
    ///
    /// # Errors
    ///
    /// See [`QueueError`].
    pub fn counts(
        &self,
        _queue: GroupNumber,
    ) -> impl Future<Output = Result<Counts, QueueError>> + Send + use<> {
        std::future::ready(Err(QueueError::Stopping))
    }
}
