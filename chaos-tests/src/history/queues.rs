//! What was published to queues, received from them and settled while a run lasts.
//!
//! Owns the queues of the workload, by what each is for. Apart from the operations of a
//! [`History`](super::History), whose rules are those of logs. It does not judge: see `checkers`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Outcome, Value};

/// The highest priority of [`Queue::Prioritized`]; what is published with a higher one counts as this.
pub const PRIORITY_MAX: u8 = 5;

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
    /// Its messages say how long they are to wait.
    Delayed,
    /// Everything in it goes now and then.
    Purged,
    /// Its messages have priorities.
    Prioritized,
    /// Takes few messages; the oldest goes when there are too many.
    Capped,
    /// Takes few messages, and no more; some of them expire and go to [`Queue::Dead`].
    Refusing,
}

/// Ready messages of a queue that takes few.
const READY_MAX: u32 = 4;

impl Queue {
    /// Every queue.
    pub const ALL: [Self; 12] = [
        Self::Work,
        Self::Copies,
        Self::Single,
        Self::Limited,
        Self::Expiring,
        Self::Deduplicated,
        Self::Dead,
        Self::Delayed,
        Self::Purged,
        Self::Prioritized,
        Self::Capped,
        Self::Refusing,
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
            Self::Delayed => "delayed",
            Self::Purged => "purged",
            Self::Prioritized => "prioritized",
            Self::Capped => "capped",
            Self::Refusing => "refusing",
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
            Self::Limited | Self::Expiring | Self::Refusing => true,
            Self::Work
            | Self::Copies
            | Self::Single
            | Self::Deduplicated
            | Self::Dead
            | Self::Delayed
            | Self::Purged
            | Self::Prioritized
            | Self::Capped => false,
        }
    }

    /// How many ready messages it takes, where that is limited.
    #[must_use]
    pub fn ready_max(self) -> Option<u32> {
        matches!(self, Self::Capped | Self::Refusing).then_some(READY_MAX)
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
    /// What it asks for.
    pub wishes: Wishes,
    /// When it was about to be sent.
    pub sent_at_us: u64,
    /// When its confirm came.
    pub confirmed_at_us: Option<u64>,
    /// `Ok` = confirmed. `Fail` = returned: it reached no queue. `Info` = anything else, `basic.nack`
    /// included: a broker that cannot tell says that it does not answer for the message.
    pub outcome: Outcome,
}

/// What a publisher asks of the queue for a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Of messages with the same, a queue that deduplicates takes one.
    pub dedup_id: Option<u64>,
    /// `x-delay`: it is not delivered before.
    pub delay_ms: Option<u32>,
    /// `expiration`: it dies if it waits for so long.
    pub ttl_ms: Option<u32>,
    /// The highest goes first.
    pub priority: u8,
}

/// One `queue.purge`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purge {
    /// Of which queue.
    pub queue: Queue,
    /// When it was about to be sent.
    pub began_at_us: u64,
    /// When it was answered; one that was not may be carried out at any time.
    pub ended_at_us: Option<u64>,
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
    /// Since when its consumer, which may hold one message, had said of every earlier one what becomes of it;
    /// `None` where it may hold more.
    pub asked_at_us: Option<u64>,
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
    /// In the order in which they were sent.
    pub purges: Vec<Purge>,
    /// Most ready messages that each queue was ever seen to have.
    pub most_ready: BTreeMap<Queue, u32>,
    /// Brokers' clocks jump in this run.
    pub has_clock_jumps: bool,
    /// All queues were seen to be empty, with nothing held, after everything had been healed.
    pub is_drained: bool,
    /// What each queue was seen to have last: ready messages and consumers.
    pub counts: BTreeMap<Queue, (u32, u32)>,
}

/// The history that all clients of a run share.
#[derive(Debug, Clone, Default)]
pub struct QueueRecorder(Rc<RefCell<QueueHistory>>);

impl QueueRecorder {
    /// Notes that brokers' clocks jump.
    pub fn clocks_jump(&self) {
        self.0.borrow_mut().has_clock_jumps = true;
    }

    /// Notes a publication, which should end unknown until it is told otherwise; returns its place.
    pub fn publish(&self, publication: Publication) -> usize {
        let mut history = self.0.borrow_mut();
        history.publications.push(publication);
        history.publications.len() - 1
    }

    /// Notes how a publication ended.
    pub fn published(&self, place: usize, outcome: Outcome, now_us: u64) {
        if let Some(publication) = self.0.borrow_mut().publications.get_mut(place) {
            publication.outcome = outcome;
            publication.confirmed_at_us = (outcome == Outcome::Ok).then_some(now_us);
        }
    }

    /// Notes that a queue is about to be purged; returns the place of that.
    pub fn purge(&self, queue: Queue, now_us: u64) -> usize {
        let mut history = self.0.borrow_mut();
        history.purges.push(Purge {
            queue,
            began_at_us: now_us,
            ended_at_us: None,
        });
        history.purges.len() - 1
    }

    /// Notes that a purge was answered.
    pub fn purged(&self, place: usize, now_us: u64) {
        if let Some(purge) = self.0.borrow_mut().purges.get_mut(place) {
            purge.ended_at_us = Some(now_us);
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
        let mut history = self.0.borrow_mut();
        history.counts.insert(queue, counts);
        let most = history.most_ready.entry(queue).or_default();
        *most = counts.0.max(*most);
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
