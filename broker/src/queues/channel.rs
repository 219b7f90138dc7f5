//! A channel of a client of this broker as the service of queues sees it: its name, what happens to
//! it, and its end, which no failure makes undone.
//!
//! Does not know AMQP channels' numbers, delivery tags or sockets.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use raftmq_core::ids::{ConsumerId, DeliveryId, GroupNumber};
use raftmq_core::queue::{Attempt, ChannelId, Delivery};

/// What concerns a channel. The events of one queue come in their order; a delivery comes once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelEvent {
    /// A message for one of its consumers.
    Delivered {
        /// From which queue.
        queue: GroupNumber,
        /// Its name and circumstances.
        delivery: Delivery,
        /// The message's body, in the front end's storage form.
        body: Bytes,
    },
    /// Deliveries returned to the queue without the client's doing: forget them. May come twice.
    TakenBack {
        /// The queue.
        queue: GroupNumber,
        /// Which.
        deliveries: Vec<DeliveryId>,
    },
    /// The queue is no more for this consumer (consumer cancel notification).
    ConsumerCancelled {
        /// The queue.
        queue: GroupNumber,
        /// The consumer.
        consumer: ConsumerId,
    },
}

/// Closes a channel in every queue that it touched.
pub(super) trait Closer: Send + Sync {
    /// Takes the channel's end in hand; returns at once.
    fn close(&self, channel: ChannelId, attempt: Attempt);
}

/// An open channel. Dropping it closes it: what it holds returns, and counts as failed.
pub struct QueueChannel {
    id: ChannelId,
    closer: Option<Arc<dyn Closer>>,
}

impl fmt::Debug for QueueChannel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("QueueChannel");
        shown.field("id", &self.id).finish_non_exhaustive()
    }
}

impl QueueChannel {
    pub(super) fn new(id: ChannelId, closer: Arc<dyn Closer>) -> Self {
        Self {
            id,
            closer: Some(closer),
        }
    }

    /// Its name, under which queues know it.
    #[must_use]
    pub const fn id(&self) -> ChannelId {
        self.id
    }

    /// Closes it. Returns at once: each queue that it touched is told until it has heard.
    pub fn close(mut self, attempt: Attempt) {
        if let Some(closer) = self.closer.take() {
            closer.close(self.id, attempt);
        }
    }
}

impl Drop for QueueChannel {
    fn drop(&mut self) {
        if let Some(closer) = self.closer.take() {
            closer.close(self.id, Attempt::Counts);
        }
    }
}
