//! What the proposer of a command is told when it is applied.

use crate::ids::ConsumerId;
use crate::queue::event::Delivery;

/// What became of the messages of one `Publish`. All others were enqueued: confirm them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// Messages of the command.
    pub count: usize,
    /// Those that were published before, by their number in the command: confirm them, too.
    pub duplicates: Vec<usize>,
    /// Those that were refused and dead-lettered: `basic.nack`.
    pub refused: Vec<usize>,
}

/// Why a command changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The queue has an exclusive consumer, or others where this one wants to be it
    /// (403 ACCESS_REFUSED).
    ExclusiveConsumer,
    /// The queue has as many consumers as it may have.
    TooManyConsumers {
        /// How many.
        limit: usize,
    },
    /// The queue has consumers (406 PRECONDITION_FAILED).
    InUse {
        /// How many.
        consumers_count: usize,
    },
    /// The queue has ready messages (406 PRECONDITION_FAILED).
    NotEmpty {
        /// How many.
        ready_count: u64,
    },
    /// The queue has ended (404 NOT_FOUND).
    Gone,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// One for each command of a batch.
    Batch(Vec<Self>),
    /// To `Publish`.
    Published(Published),
    /// To `Attach`.
    Attached {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// To `Settle`, `CloseChannel`, `CloseBroker`.
    Settled {
        /// How many deliveries.
        count: usize,
    },
    /// To `Get`.
    Got {
        /// The message; `None` = `basic.get-empty`.
        delivery: Option<Delivery>,
        /// Ready messages that are left.
        ready_count: u64,
    },
    /// To `Purge` and `Delete`.
    Removed {
        /// Ready messages that went.
        count: u64,
    },
    /// To everything else.
    Done,
    /// Nothing changed.
    Refused(Refusal),
}
