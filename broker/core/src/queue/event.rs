//! What a queue tells its host: deliveries and other things that happened.
//!
//! Every replica has the same events; who must act is the host's knowledge. They may be lost with a
//! broker: whatever an event says stands in the state too, and a new leader asks for it there.

use crate::ids::{ConsumerId, DeadLetterId, DeliveryId};
use crate::queue::message::{ChannelId, MessageRef};

/// Why a message left the queue without being acknowledged (`reason` in `x-death`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeathReason {
    /// `basic.reject` or `basic.nack` without requeue: `rejected`.
    Rejected,
    /// Its TTL passed: `expired`.
    Expired,
    /// The queue is full: `maxlen`.
    MaxLength,
    /// It was returned too often: `delivery_limit`.
    DeliveryLimit,
}

impl DeathReason {
    /// RabbitMQ's name of the reason.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }

    pub(super) const fn tag(self) -> u8 {
        match self {
            Self::Rejected => 1,
            Self::Expired => 2,
            Self::MaxLength => 3,
            Self::DeliveryLimit => 4,
        }
    }

    pub(super) const fn of_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Rejected),
            2 => Some(Self::Expired),
            3 => Some(Self::MaxLength),
            4 => Some(Self::DeliveryLimit),
            _ => None,
        }
    }
}

/// A message on its way to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Its name, under which it is settled.
    pub id: DeliveryId,
    /// Whose delivery it is.
    pub channel: ChannelId,
    /// The consumer; `None` = `basic.get`.
    pub consumer: Option<ConsumerId>,
    /// Where the body stands.
    pub message: MessageRef,
    /// Bytes of the body.
    pub size: u32,
    /// Failed deliveries before this one (`x-delivery-count`).
    pub attempts: u32,
    /// Whether it was delivered before.
    pub is_redelivered: bool,
    /// Whether it counts as settled already (`no-ack`). The host must read its body before it lets
    /// go of the log up to this entry.
    pub is_settled: bool,
}

/// A message to be published to the queue's dead-letter exchange, at least once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its name; with the group number, an id for the target's deduplication.
    pub id: DeadLetterId,
    /// Where the body stands.
    pub message: MessageRef,
    /// Bytes of the body.
    pub size: u32,
    /// Why it died.
    pub reason: DeathReason,
    /// Its failed deliveries.
    pub attempts: u32,
}

/// Why a queue is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// `queue.delete`, or its exclusive owner is gone.
    Deleted,
    /// Nobody used it for `x-expires`.
    Expired,
    /// Its last consumer left (`auto-delete`).
    Unused,
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEvent {
    /// Send this to its channel.
    Delivered(Delivery),
    /// The delivery returned to the queue without the client's doing (consumer timeout): forget it.
    TakenBack {
        /// The channel.
        channel: ChannelId,
        /// The delivery.
        delivery: DeliveryId,
    },
    /// A message died: publish it, then propose `DeadLettersPublished`.
    DeadLettered(DeadLetter),
    /// A message died and is not wanted anywhere: count it.
    Dropped {
        /// Why.
        reason: DeathReason,
    },
    /// The queue is no more for this consumer (consumer cancel notification).
    ConsumerCancelled {
        /// The channel.
        channel: ChannelId,
        /// The consumer.
        consumer: ConsumerId,
    },
    /// The queue is no more: remove it from the metadata.
    Ended {
        /// Why.
        reason: EndReason,
    },
}
