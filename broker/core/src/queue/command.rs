//! What is proposed to a queue's group. Its bytes are `command_codec`'s. Knows nothing of the state.
//!
//! Sources: AMQP 0-9-1 classes `basic` and `queue`.

use bytes::Bytes;

use crate::codec::CodecError;
use crate::ids::{BrokerEpoch, BrokerId, ConsumerId, DeadLetterId, DeliveryId};
use crate::queue::message::{ChannelId, Message, MessageRef};
use crate::queue::settings::Settings;

/// Who acknowledges what a consumer or a `basic.get` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckMode {
    /// The client.
    #[default]
    Manual,
    /// The delivery itself (`no-ack`).
    Automatic,
}

/// Whether returned deliveries count as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The client rejected or returned it, or was lost with it.
    Counts,
    /// We caused it: a broker that drains, a move, a timeout.
    CountsNot,
}

/// What became of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// `basic.ack`.
    Acked,
    /// `basic.reject`, `basic.nack` without requeue: they die.
    Rejected,
    /// Requeued (`basic.reject`, `basic.nack`, `basic.recover`): back to where they were.
    Returned(Attempt),
}

/// A new consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// Its channel.
    pub channel: ChannelId,
    /// The consumer tag: unique in the channel.
    pub tag: String,
    /// `x-priority`; higher ones are served first.
    pub priority: i32,
    /// `exclusive`: the only consumer of the queue.
    pub is_exclusive: bool,
    /// Who acknowledges.
    pub ack_mode: AckMode,
    /// Unsettled deliveries it may hold (`basic.qos`); 0 = any number.
    pub prefetch: u32,
    /// Deliveries it may get in all, until `Credit` raises it: back-pressure of a connection.
    pub granted: u64,
}

/// Delivery ids from one to another, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first one.
    pub first: DeliveryId,
    /// The last one.
    pub last: DeliveryId,
}

impl Span {
    /// Just one delivery.
    #[must_use]
    pub const fn one(id: DeliveryId) -> Self {
        Self {
            first: id,
            last: id,
        }
    }

    /// All deliveries up to one (`multiple`).
    #[must_use]
    pub const fn up_to(id: DeliveryId) -> Self {
        Self {
            first: DeliveryId(0),
            last: id,
        }
    }
}

/// What can be proposed to a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Several commands, one after the other. A batch inside a batch is refused by the decoder.
    Batch(Vec<Self>),
    /// Messages at the end.
    Publish(Vec<Message>),
    /// A consumer. Repeating it, with the same channel and tag, answers as before.
    Attach(Attach),
    /// What a consumer may hold and get. Repeating it changes nothing; `granted` never sinks.
    Credit {
        /// The consumer; an unknown one is ignored.
        consumer: ConsumerId,
        /// Unsettled deliveries it may hold; 0 = any number.
        prefetch: u32,
        /// Deliveries it may get in all.
        granted: u64,
    },
    /// Ends a consumer (`basic.cancel`); what it holds stays with the channel.
    Detach {
        /// The consumer; an unknown one is ignored.
        consumer: ConsumerId,
    },
    /// A channel is closed: its consumers go, what it holds returns in order.
    CloseChannel {
        /// The channel; an unknown one is ignored.
        channel: ChannelId,
        /// Whether the deliveries failed.
        attempt: Attempt,
    },
    /// Every channel of one registration of a broker, and of earlier ones, is closed.
    CloseBroker {
        /// The broker.
        broker: BrokerId,
        /// Its fenced or ended registration.
        broker_epoch: BrokerEpoch,
        /// Whether the deliveries failed.
        attempt: Attempt,
    },
    /// Deliveries are settled. Ids that are not the channel's, or are no more, are skipped.
    Settle {
        /// Whose deliveries.
        channel: ChannelId,
        /// Which.
        spans: Vec<Span>,
        /// What became of them.
        outcome: Outcome,
    },
    /// One message for a channel (`basic.get`).
    Get {
        /// The channel.
        channel: ChannelId,
        /// Who acknowledges.
        ack_mode: AckMode,
    },
    /// Ready messages go, without dead letters (`queue.purge`).
    Purge,
    /// The queue ends (`queue.delete`).
    Delete {
        /// Only without consumers.
        if_unused: bool,
        /// Only without ready messages.
        if_empty: bool,
    },
    /// New settings.
    Configure(Settings),
    /// Somebody declared it again: it is in use.
    Touch,
    /// Time has passed (`Queue::next_deadline_ms`).
    Tick,
    /// Dead letters are where they should be, or nobody wants them.
    DeadLettersPublished(Vec<DeadLetterId>),
}

impl Command {
    /// Finds a message of this entry by its position.
    #[must_use]
    pub fn message(&self, position: u32) -> Option<&Message> {
        let commands = self.commands().iter();
        commands.flat_map(Self::messages).nth(position as usize)
    }

    /// Shows the channels that get messages by this: what they get is theirs until they are closed.
    pub fn takers(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.commands().iter().filter_map(|command| {
            if let Self::Attach(Attach { channel, .. }) | Self::Get { channel, .. } = command {
                return Some(*channel);
            }
            None
        })
    }

    /// The commands of a batch, or the one.
    const fn commands(&self) -> &[Self] {
        if let Self::Batch(commands) = self {
            return commands.as_slice();
        }
        std::slice::from_ref(self)
    }

    /// The messages of one command that is no batch.
    pub(super) fn messages(&self) -> &[Message] {
        if let Self::Publish(messages) = self {
            return messages;
        }
        &[]
    }
}

/// Finds the body of a message in the bytes of its entry; `None` when there is no such message.
///
/// # Errors
/// As for [`Command::decode`].
pub fn message_in_entry(entry: &Bytes, message: MessageRef) -> Result<Option<Message>, CodecError> {
    Ok(Command::decode(entry)?.message(message.position).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_that_attach_or_get_are_takers_in_a_batch_or_alone() {
        let channel = |number| ChannelId {
            number,
            ..ChannelId::default()
        };
        let get = |number| Command::Get {
            channel: channel(number),
            ack_mode: AckMode::Manual,
        };
        let attach = Command::Attach(Attach {
            channel: channel(2),
            tag: String::new(),
            priority: 0,
            is_exclusive: false,
            ack_mode: AckMode::Manual,
            prefetch: 0,
            granted: 0,
        });
        let close = Command::CloseChannel {
            channel: channel(3),
            attempt: Attempt::Counts,
        };
        let batch = Command::Batch(vec![get(1), Command::Tick, attach, close.clone()]);

        assert!(batch.takers().eq([channel(1), channel(2)]));
        assert!(get(4).takers().eq([channel(4)]));
        assert_eq!(close.takers().count(), 0);
    }
}
