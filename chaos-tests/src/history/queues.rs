//! What was published to queues, received from them and settled while a run lasts.
//!
//! Owns the queues of the workload, by what each is for. Apart from the operations of a
//! [`History`](super::History), whose rules are those of logs. It does not judge: see `checkers`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Outcome, Value};

/// A queue of the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// An ordinary one with several consumers; bound to the fanout exchange, too.
    Work,
    /// Gets what is published to the fanout exchange, and nothing else.
    Copies,
    /// With a single active consumer.
    Single,
    /// A message that failed too often goes to [`Queue::Dead`].
    Limited,
    /// A message that waits for too long goes to [`Queue::Dead`].
    Expiring,
    /// Takes a message with the same id once.
    Deduplicated,
    /// Dead letters of others.
    Dead,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Self; 7] = [
        Self::Work,
        Self::Copies,
        Self::Single,
        Self::Limited,
        Self::Expiring,
        Self::Deduplicated,
        Self::Dead,
    ];

    /// Its name at the brokers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Copies => "copies",
            Self::Single => "single",
            Self::Limited => "limited",
            Self::Expiring => "expiring",
            Self::Deduplicated => "deduplicated",
            Self::Dead => "dead",
        }
    }

    /// The queue of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.name() == name)
    }

    /// Whether what dies here goes to [`Queue::Dead`].
    #[must_use]
    pub const fn has_dead_letters(self) -> bool {
        match self {
            Self::Limited | Self::Expiring => true,
            Self::Work | Self::Copies | Self::Single | Self::Deduplicated | Self::Dead => false,
        }
    }
}

/// Where a message is published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// One queue, by the default exchange.
    To(Queue),
    /// The fanout exchange.
    Fanout,
    /// A queue that is not there.
    Nowhere,
}

impl Route {
    /// The queues that it reaches.
    #[must_use]
    pub fn queues(self) -> Vec<Queue> {
        match self {
            Self::To(queue) => vec![queue],
            Self::Fanout => vec![Queue::Work, Queue::Copies],
            Self::Nowhere => Vec::new(),
        }
    }
}

/// One `basic.publish` with `mandatory`, on a channel in confirm mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publication {
    /// What was published; of [`Queue::Deduplicated`] the same value may be published again.
    pub value: Value,
    /// Where to.
    pub route: Route,
    /// The channel, on which values rise (but for those of [`Queue::Deduplicated`]).
    pub session: u64,
    /// `Ok` = confirmed. `Fail` = returned: it reached no queue. `Info` = anything else, `basic.nack`
    /// included: a broker that cannot tell says that it does not answer for the message.
    pub outcome: Outcome,
}

/// What a consumer said of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// `basic.ack`.
    Acked,
    /// `basic.nack` or `reject` with `requeue`.
    Returned,
    /// `basic.reject` without `requeue`.
    Rejected,
}

/// One `basic.deliver` or `basic.get-ok` as its client got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The queue it came from.
    pub queue: Queue,
    /// What it holds.
    pub value: Value,
    /// `x-raftmq-id`: which message of the queue it is; a dead letter keeps it.
    pub id: String,
    /// The channel.
    pub session: u64,
    /// When the channel was opened.
    pub opened_at_us: u64,
    /// When it came.
    pub at_us: u64,
    /// The flag of the delivery.
    pub is_redelivered: bool,
    /// Of a dead letter: where it died.
    pub died_in: Option<Queue>,
    /// What was said of it, noted before it was sent.
    pub settled: Option<Settlement>,
    /// When that certainly was carried out: a method of the same channel that concerns the same queue was
    /// sent behind it and has been answered.
    pub certain_at_us: Option<u64>,
}

impl Receipt {
    /// The queue that it was published to.
    #[must_use]
    pub fn origin(&self) -> Queue {
        self.died_in.unwrap_or(self.queue)
    }
}

/// Everything about the queues of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueHistory {
    /// In the order in which they were sent.
    pub publications: Vec<Publication>,
    /// In the order in which they came.
    pub receipts: Vec<Receipt>,
    /// All queues were seen to be empty, with nothing held, after everything had been healed.
    pub is_drained: bool,
    /// What each queue was seen to have last: ready messages and consumers.
    pub counts: BTreeMap<Queue, (u32, u32)>,
}

/// The history that all clients of a run share.
#[derive(Debug, Clone, Default)]
pub struct QueueRecorder(Rc<RefCell<QueueHistory>>);

impl QueueRecorder {
    /// Notes a publication, which ends unknown until it is told otherwise; returns its place.
    pub fn publish(&self, value: Value, route: Route, session: u64) -> usize {
        let mut history = self.0.borrow_mut();
        history.publications.push(Publication {
            value,
            route,
            session,
            outcome: Outcome::Info,
        });
        history.publications.len() - 1
    }

    /// Notes how a publication ended.
    pub fn published(&self, place: usize, outcome: Outcome) {
        if let Some(publication) = self.0.borrow_mut().publications.get_mut(place) {
            publication.outcome = outcome;
        }
    }

    /// Notes a message that came; returns its place.
    pub fn receive(&self, receipt: Receipt) -> usize {
        let mut history = self.0.borrow_mut();
        history.receipts.push(receipt);
        history.receipts.len() - 1
    }

    /// Notes what is about to be said of a message.
    pub fn settle(&self, place: usize, settlement: Settlement) {
        if let Some(receipt) = self.0.borrow_mut().receipts.get_mut(place) {
            receipt.settled = Some(settlement);
        }
    }

    /// Everything that was said of these messages is carried out.
    pub fn is_certain(&self, places: &[usize], now_us: u64) {
        let mut history = self.0.borrow_mut();
        for place in places {
            if let Some(receipt) = history.receipts.get_mut(*place) {
                receipt.certain_at_us.get_or_insert(now_us);
            }
        }
    }

    /// Notes what a queue has.
    pub fn count(&self, queue: Queue, counts: (u32, u32)) {
        self.0.borrow_mut().counts.insert(queue, counts);
    }

    /// Notes that everything is drained.
    pub fn drained(&self) {
        self.0.borrow_mut().is_drained = true;
    }

    /// Runs `read` on what was noted so far.
    pub fn with<R>(&self, read: impl FnOnce(&QueueHistory) -> R) -> R {
        read(&self.0.borrow())
    }
}
