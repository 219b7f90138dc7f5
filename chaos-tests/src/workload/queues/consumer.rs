//! Consumers: they ack, hold, return and reject, fetch, look whether it was done, and die with what they
//! hold.

use std::rc::Rc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::{RETRY_PAUSE, STREAMS, connect};
use crate::history::{Queue, Receipt, Settlement};
use crate::seed::{Stream, stream};
use crate::system::{Clients, Delivered, QueueClient, Settle};
use crate::workload::consumer::FOREIGN_VALUE;
use crate::workload::value::decode;
use crate::workload::{Phase, Workload, now_us};

const PREFETCHES: [u16; 4] = [1, 3, 10, 40];
/// Turns between two deaths of a client, two ends in order and so on, on average.
const TURNS_PER_DEATH: u32 = 80;
const TURNS_PER_DEATH_OF_EXPIRING: u32 = 20;
const TURNS_PER_END: u32 = 200;
const TURNS_PER_CANCEL: u32 = 100;
const TURNS_PER_LOOK: u32 = 15;
const TURNS_PER_GET: u32 = 40;
const HELD_AFTER_CANCEL: Duration = Duration::from_millis(200);
/// How long the consumer of [`Queue::Expiring`] stays away, so that messages expire.
const AWAY: Duration = Duration::from_millis(2_500);

/// Consumes one queue until the drain begins.
pub(super) async fn run(
    workload: Workload,
    clients: Rc<dyn Clients>,
    (number, queue): (u64, Queue),
) {
    let mut rng = stream(workload.options.seed, Stream::Workload, STREAMS + number);
    while !workload.has_reached(Phase::Drain) {
        let Some(client) = connect(&*clients).await else {
            tokio::time::sleep(RETRY_PAUSE).await;
            continue;
        };
        let mut session = Session::new(&workload, client, queue);
        let ended = session.run(&mut rng).await;
        // What it holds is not held any longer.
        drop(session);
        if let Err(error) = ended {
            tracing::debug!(queue = queue.name(), error, "a consumer ended");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        if is_left_alone(queue) && !workload.has_reached(Phase::Quiesce) {
            tokio::time::sleep(AWAY).await;
        }
    }
}

const fn turns_per_death(queue: Queue) -> u32 {
    match queue {
        Queue::Expiring | Queue::Purged | Queue::Prioritized | Queue::Capped | Queue::Refusing => {
            TURNS_PER_DEATH_OF_EXPIRING
        }
        Queue::Work
        | Queue::Copies
        | Queue::Single
        | Queue::Limited
        | Queue::Deduplicated
        | Queue::Dead
        | Queue::Delayed => TURNS_PER_DEATH,
    }
}

/// Whether its consumer stays away for a while after each session, so that messages wait.
const fn is_left_alone(queue: Queue) -> bool {
    turns_per_death(queue) == TURNS_PER_DEATH_OF_EXPIRING
}

/// One channel and what it holds.
pub(super) struct Session {
    workload: Workload,
    client: Rc<dyn QueueClient>,
    queue: Queue,
    number: u64,
    opened_at_us: u64,
    /// Not settled: tags, oldest first, and places in the history.
    held: Vec<(u64, usize)>,
    /// Settled, and not known to be carried out.
    settled: Vec<usize>,
    /// Since when a consumer that may hold one message has none; see [`Receipt::asked_at_us`].
    asked_at_us: Option<u64>,
}

impl Session {
    /// A session on a client that was opened just before, in which nothing was delivered yet.
    pub(super) fn new(workload: &Workload, client: Rc<dyn QueueClient>, queue: Queue) -> Self {
        Self {
            workload: workload.clone(),
            client,
            queue,
            number: workload.next_session(),
            opened_at_us: now_us(),
            held: Vec::new(),
            settled: Vec::new(),
            asked_at_us: None,
        }
    }

    pub(super) async fn consume(&mut self, prefetch: u16) -> Result<(), String> {
        self.asked_at_us = (prefetch == 1).then(now_us);
        self.client.consume(self.queue, prefetch).await
    }

    /// Notes the next delivery, which is held from now on. False: none came in time.
    pub(super) async fn receive_next(&mut self) -> Result<bool, String> {
        let delivered = self.client.next().await?;
        Ok(delivered
            .map(|delivered| self.receive(&delivered))
            .is_some())
    }

    async fn run(&mut self, rng: &mut StdRng) -> Result<(), String> {
        let drawn = PREFETCHES[rng.random_range(0..PREFETCHES.len())];
        let prefetch = match self.queue == Queue::Prioritized {
            true => 1,
            false => drawn,
        };
        self.consume(prefetch).await?;
        while !self.workload.has_reached(Phase::Drain) {
            match self.client.next().await? {
                Some(delivered) => self.take(rng, &delivered).await?,
                // Nothing more comes to somebody who holds as much as he may.
                None => self.settle_all(Settlement::Acked).await?,
            }
            if rng.random_ratio(1, TURNS_PER_LOOK) {
                self.look().await?;
            }
            if self.queue == Queue::Work && rng.random_ratio(1, TURNS_PER_GET) {
                self.get().await?;
            }
            if rng.random_ratio(1, turns_per_death(self.queue)) {
                return Ok(());
            }
            if rng.random_ratio(1, TURNS_PER_CANCEL) {
                return self.cancel().await;
            }
            if rng.random_ratio(1, TURNS_PER_END) {
                return self.client.close().await;
            }
        }
        Ok(())
    }

    /// Ends the consumer, holds what it had for a while, and returns it.
    async fn cancel(&mut self) -> Result<(), String> {
        self.client.cancel().await?;
        while self.receive_next().await? {}
        tokio::time::sleep(HELD_AFTER_CANCEL).await;
        self.settle_all(Settlement::Returned).await?;
        self.look().await?;
        self.client.close().await
    }

    /// Notes a delivery and does something with it.
    async fn take(&mut self, rng: &mut StdRng, delivered: &Delivered) -> Result<(), String> {
        self.receive(delivered);
        let tag = delivered.tag;
        // Whoever only reads what died does no more to it.
        let roll = match self.queue {
            Queue::Dead => rng.random_range(0..80),
            Queue::Limited => rng.random_range(30..100),
            Queue::Work
            | Queue::Copies
            | Queue::Single
            | Queue::Expiring
            | Queue::Deduplicated
            | Queue::Delayed
            | Queue::Purged
            | Queue::Prioritized
            | Queue::Capped
            | Queue::Refusing => rng.random_range(0..100),
        };
        match roll {
            0..65 => self.settle_one(tag, Settlement::Acked).await,
            65..75 => Ok(()),
            75..80 => self.settle_all(Settlement::Acked).await,
            80..92 => self.settle_one(tag, Settlement::Returned).await,
            92..97 => self.settle_all(Settlement::Returned).await,
            _ if self.queue.has_dead_letters() => self.settle_one(tag, Settlement::Rejected).await,
            _ => self.settle_one(tag, Settlement::Acked).await,
        }
    }

    /// Notes a delivery; it is held from now on.
    fn receive(&mut self, delivered: &Delivered) {
        let died_in = delivered.died_in.as_deref().and_then(Queue::named);
        let receipt = Receipt {
            queue: self.queue,
            value: decode(&delivered.body).unwrap_or(FOREIGN_VALUE),
            id: delivered.id.clone(),
            session: self.number,
            opened_at_us: self.opened_at_us,
            at_us: now_us(),
            asked_at_us: self.asked_at_us,
            is_redelivered: delivered.is_redelivered,
            died_in,
            settled: None,
            certain_at_us: None,
        };
        let place = self.workload.queues.receive(receipt);
        self.held.push((delivered.tag, place));
    }

    async fn settle_one(&mut self, tag: u64, settlement: Settlement) -> Result<(), String> {
        let at = self.held.iter().position(|(held, _)| *held == tag);
        let Some(at) = at else {
            return Ok(());
        };
        let (_, place) = self.held.remove(at);
        self.note(place, settlement);
        let settle = Settle {
            tag,
            is_multiple: false,
            settlement,
        };
        self.client.settle(settle).await
    }

    /// Settles all that is held, at once.
    pub(super) async fn settle_all(&mut self, settlement: Settlement) -> Result<(), String> {
        let Some((tag, _)) = self.held.last().copied() else {
            return Ok(());
        };
        for (_, place) in std::mem::take(&mut self.held) {
            self.note(place, settlement);
        }
        let settle = Settle {
            tag,
            is_multiple: true,
            settlement,
        };
        self.client.settle(settle).await
    }

    /// What is about to be sent may arrive, whatever the client is told.
    fn note(&mut self, place: usize, settlement: Settlement) {
        self.workload.queues.settle(place, settlement);
        self.settled.push(place);
        self.asked_at_us = self.asked_at_us.map(|_| now_us());
    }

    /// Ready messages and consumers: asked behind everything that was settled, so that is carried out.
    pub(super) async fn look(&mut self) -> Result<(u32, u32), String> {
        let counts = self.client.counts(self.queue).await?;
        self.workload.queues.count(self.queue, counts);
        let settled = std::mem::take(&mut self.settled);
        self.workload.queues.is_certain(&settled, now_us());
        Ok(counts)
    }

    async fn get(&mut self) -> Result<(), String> {
        let Some(delivered) = self.client.get(self.queue).await? else {
            return Ok(());
        };
        self.receive(&delivered);
        self.settle_one(delivered.tag, Settlement::Acked).await
    }
}
