//! A message that came, and its settlement.

use std::fmt;

use raftmq_proto::v1::{self, SettleDeliveries, SettleOutcome};

use super::message::Message;
use super::session::Session;
use crate::error::Result;

/// A message that a queue gave, to be settled with [`ack`](Self::ack), [`reject`](Self::reject) or
/// [`requeue`](Self::requeue).
///
/// One that is dropped without that stays with its consumer, counts against its prefetch, and returns to the
/// queue when the consumer's stream ends: when the last handle of it goes, or its connection is lost.
pub struct QueueDelivery {
    /// The message.
    pub message: Message,
    /// The exchange it was published to; empty = the default one.
    pub exchange: String,
    /// Its routing key; bytes that are no text are replaced.
    pub routing_key: String,
    /// Whether it was delivered before, perhaps to somebody else.
    pub is_redelivered: bool,
    /// Unique in the cluster, and the same for every delivery of the message, dead-lettered or not: what a
    /// [`Deduplicator`](crate::Deduplicator) recognises. Empty for replies to direct calls.
    pub raftmq_id: String,
    /// Deliveries of it that failed.
    pub failed_attempts: u32,
    /// Ready messages that were left when it was got.
    pub ready_messages: u64,
    tag: u64,
    /// `None`: there is nothing to settle.
    settling: Option<(Session, u64)>,
}

impl fmt::Debug for QueueDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueDelivery")
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("raftmq_id", &self.raftmq_id)
            .field("is_redelivered", &self.is_redelivered)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

impl QueueDelivery {
    /// `settling`: by whom, and on which stream.
    pub(super) fn new(told: v1::QueueDelivery, settling: Option<(Session, u64)>) -> Self {
        Self {
            message: Message::from_wire(told.message.unwrap_or_default()),
            exchange: told.exchange,
            routing_key: String::from_utf8_lossy(&told.routing_key).into_owned(),
            is_redelivered: told.redelivered,
            raftmq_id: told.raftmq_id,
            failed_attempts: told.failed_attempts,
            ready_messages: 0,
            tag: told.delivery_tag,
            settling,
        }
    }

    /// The body as text; bytes that are no text are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.message.body).into_owned()
    }

    /// Says that the message is dealt with: it goes from the queue. Does nothing to a delivery that needs no
    /// acknowledgement.
    ///
    /// Returns once it is handed to the stream. When the stream is lost before the broker has it, the message
    /// comes again; nobody is told, so work that must not be done twice needs a
    /// [`Deduplicator`](crate::Deduplicator), or something that lasts.
    ///
    /// # Errors
    /// `DeliveryLost` when the stream is lost already: the message comes again.
    pub async fn ack(self) -> Result<()> {
        self.settle(SettleOutcome::Acked).await
    }

    /// Says that nobody can deal with the message: it is dropped, or goes where the queue sends dead letters.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub async fn reject(self) -> Result<()> {
        self.settle(SettleOutcome::Rejected).await
    }

    /// Puts the message back to where it was in the queue; it comes again, perhaps to another consumer.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub async fn requeue(self) -> Result<()> {
        self.settle(SettleOutcome::Requeued).await
    }

    async fn settle(self, outcome: SettleOutcome) -> Result<()> {
        let Some((session, stream)) = self.settling else {
            return Ok(());
        };
        let settle = SettleDeliveries {
            delivery_tag: self.tag,
            multiple: false,
            outcome: outcome.into(),
        };
        session.settle(stream, settle).await
    }
}
