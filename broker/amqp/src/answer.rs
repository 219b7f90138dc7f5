//! What a connection is told by its host: answers, outcomes, deliveries, and events of its own.
//!
//! Owns the interface in this direction; `request.rs` has the other.

use raftmq_amqp_protocol::Text;
use raftmq_core::queue::MessageRef;
use raftmq_core::{DeliveryId, GroupNumber};

use crate::exception::{Exception, internal_error};
use crate::refusal::Refusal;
use crate::request::{ChannelKey, ConsumerKey, Message};

/// The answer to an `Ask`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is so.
    Done,
    /// It is not so; for most asks that closes the channel or the connection.
    Refused(Refusal),
    /// To `Authenticate`.
    Authenticated(Identity),
    /// To `DeclareQueue`.
    QueueDeclared(QueueDeclared),
    /// To `DeleteQueue` and `PurgeQueue`.
    Removed {
        /// Ready messages that went.
        message_count: u64,
    },
    /// To `Consume`.
    Consuming {
        /// The queue that was meant.
        queue: GroupNumber,
    },
    /// To `Get`; `None` = the queue is empty.
    Got(Option<Box<Got>>),
}

/// Who logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name, for texts and for `user-id`.
    pub user: Text,
    /// Whether messages may carry another one's `user-id` (RabbitMQ's tag `impersonator`).
    pub may_impersonate: bool,
}

/// A queue that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDeclared {
    /// Its name, chosen by the host if the client gave none.
    pub queue: Text,
    /// Ready messages.
    pub message_count: u64,
    /// Consumers.
    pub consumer_count: u64,
}

/// A message that `basic.get` took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// The message, as a queue gives it.
    pub taken: Taken,
    /// Ready messages that are left.
    pub ready_count: u64,
}

/// A message as it comes from a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The queue.
    pub queue: GroupNumber,
    /// Under which it is settled.
    pub id: DeliveryId,
    /// Whether it counts as settled already (`no-ack`).
    pub is_settled: bool,
    /// Whether it was delivered before.
    pub is_redelivered: bool,
    /// Failed deliveries before this one (`x-delivery-count`).
    pub attempts: u32,
    /// Where its body stands; `x-raftmq-id` is made of it, unless the message has one.
    pub stored_at: MessageRef,
    /// The message.
    pub message: Message,
}

/// A message on its way to a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The consumer's channel.
    pub channel: ChannelKey,
    /// The consumer.
    pub consumer: ConsumerKey,
    /// The message.
    pub taken: Taken,
}

/// What became of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// Every queue that it reached has committed it, or it reached none and is not mandatory.
    Committed,
    /// It may not be where it should be: `basic.nack`.
    Failed,
    /// It is mandatory and reached no queue: it is returned, then confirmed.
    Unroutable(Box<Message>),
    /// The client may not do that: the channel is closed.
    Refused(Refusal),
}

/// Something that the host tells unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A consumer's queue is no more.
    ConsumerCancelled {
        /// Its channel.
        channel: ChannelKey,
        /// The consumer.
        consumer: ConsumerKey,
    },
    /// A queue took deliveries back (consumer timeout): settling them does nothing.
    TakenBack {
        /// Whose.
        channel: ChannelKey,
        /// The queue.
        queue: GroupNumber,
        /// Which.
        deliveries: Vec<DeliveryId>,
    },
    /// A reply for the channel's consumer of `amq.rabbitmq.reply-to`; without one it is dropped.
    Reply {
        /// The channel that its address names.
        channel: ChannelKey,
        /// The message.
        message: Box<Message>,
    },
    /// The broker takes no messages for now: the next publish stops the connection.
    Blocked {
        /// Why, for people.
        reason: Text,
    },
    /// The broker takes messages again.
    Unblocked,
    /// The broker stops, or an operator wants the connection closed (320 CONNECTION_FORCED).
    ForcedClose {
        /// Why, for people.
        reason: String,
    },
    /// The socket is gone, or a deadline of [`crate::Timing`] has passed.
    Lost,
}

impl Answer {
    /// Takes the answer of an ask that has nothing to tell.
    pub(crate) fn done(self) -> Result<(), Exception> {
        let Self::Done = self else {
            return Err(self.unexpected());
        };
        Ok(())
    }

    pub(crate) fn queue_declared(self) -> Result<QueueDeclared, Exception> {
        let Self::QueueDeclared(declared) = self else {
            return Err(self.unexpected());
        };
        Ok(declared)
    }

    pub(crate) fn removed(self) -> Result<u64, Exception> {
        let Self::Removed { message_count } = self else {
            return Err(self.unexpected());
        };
        Ok(message_count)
    }

    pub(crate) fn consuming(self) -> Result<GroupNumber, Exception> {
        let Self::Consuming { queue } = self else {
            return Err(self.unexpected());
        };
        Ok(queue)
    }

    pub(crate) fn got(self) -> Result<Option<Box<Got>>, Exception> {
        let Self::Got(got) = self else {
            return Err(self.unexpected());
        };
        Ok(got)
    }

    /// A bug of the host's must not become a panic of the connection's.
    pub(crate) fn unexpected(&self) -> Exception {
        let name = match self {
            Self::Done => "done",
            Self::Refused(_) => "refused",
            Self::Authenticated(_) => "authenticated",
            Self::QueueDeclared(_) => "queue declared",
            Self::Removed { .. } => "removed",
            Self::Consuming { .. } => "consuming",
            Self::Got(_) => "got",
        };
        internal_error(format!("unexpected answer of the broker: {name}"))
    }
}
