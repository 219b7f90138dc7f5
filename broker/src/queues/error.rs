//! Why a queue could not do what was asked. Front ends turn these into protocol codes.

use std::time::Duration;

use thiserror::Error;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueueError {
    /// The queue is no more (404 NOT_FOUND); nothing was done.
    #[error("the queue is no more")]
    Gone,
    /// Nobody led the queue's group within the bound, or this broker is out of service; nothing was
    /// done, and trying again is safe.
    #[error("nobody led the queue within {} ms", within.as_millis())]
    Unavailable {
        /// How long it was tried.
        within: Duration,
    },
    /// The leader was lost before it answered: a message may be in the queue, a `get` may have taken
    /// one for the channel, or not. A publisher is told `basic.nack`.
    #[error("the queue's leader was lost before it answered")]
    OutcomeUnknown,
    /// The disk of the leader, or those of a majority of the replicas, have no room; nothing was
    /// written.
    #[error("no room for messages: the disks of brokers {brokers:?} are full")]
    Full {
        /// Whose disks.
        brokers: Vec<u32>,
    },
    /// Too much waits for the queue on this broker; nothing was done. Never said of what settles, gives
    /// credit, or ends a consumer or a channel.
    #[error("too much waits for the queue on this broker")]
    Overloaded,
    /// This broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}
