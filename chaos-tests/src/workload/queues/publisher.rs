//! Publishers: two that publish each value once, everywhere, and one that publishes again what a queue is
//! to take once.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use super::{RETRY_PAUSE, STREAMS, connect};
use crate::history::{Outcome, Publication, Queue, Route, Value, Wishes};
use crate::seed::{Stream, stream};
use crate::system::{Clients, Confirm, QueueClient};
use crate::workload::value::encode;
use crate::workload::{Phase, Workload, now_us};

const BURST_MAX: u32 = 4;
const PAUSE_MS: std::ops::RangeInclusive<u64> = 100..=300;
/// Publishes that wait for their confirms, at most.
const IN_FLIGHT_MAX: usize = 64;
/// Bursts between two deaths of a client, on average.
const BURSTS_PER_CRASH: u32 = 80;
/// Values that may be published again.
const RECENT_MAX: usize = 16;
/// The largest body; frames carry 8 KiB.
const BODY_BYTES_MAX: u32 = 10_000;

/// What is published with what frequency, of 100.
const ROUTES: [(u32, Route); 6] = [
    (25, Route::To(Queue::Work)),
    (45, Route::Fanout),
    (70, Route::To(Queue::Single)),
    (84, Route::To(Queue::Limited)),
    (97, Route::To(Queue::Expiring)),
    (100, Route::Nowhere),
];

/// The same of queues with limits.
const ROUTES_WITH_WISHES: [(u32, Route); 5] = [
    (25, Route::To(Queue::Delayed)),
    (45, Route::To(Queue::Purged)),
    (70, Route::To(Queue::Prioritized)),
    (85, Route::To(Queue::Capped)),
    (100, Route::To(Queue::Refusing)),
];
const DELAY_MS: std::ops::RangeInclusive<u32> = 50..=2_500;
const TTL_MS: std::ops::RangeInclusive<u32> = 100..=1_500;
const PRIORITIES: std::ops::RangeInclusive<u8> = 0..=6;

/// Publishes what `choose` says until the load ends.
pub(super) async fn run(workload: Workload, clients: Rc<dyn Clients>, number: u64, choose: Choose) {
    let mut publisher = Publisher::new(workload, number);
    while !publisher.workload.has_reached(Phase::Quiesce) {
        match connect(&*clients).await {
            Some(client) => publisher.session(&*client, choose).await,
            None => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}

/// What is published next: where to, what, and what is asked for it.
pub(super) type Choice = (Route, Value, Wishes);

/// Chooses that.
pub(super) type Choose = fn(&mut Publisher) -> Choice;

pub(super) struct Publisher {
    workload: Workload,
    rng: StdRng,
    /// With the value and whether it was confirmed.
    in_flight: JoinSet<(Value, bool)>,
    /// Of those that may be published again: whether they are confirmed.
    recent: BTreeMap<Value, bool>,
}

impl Publisher {
    fn new(workload: Workload, number: u64) -> Self {
        let rng = stream(workload.options.seed, Stream::Workload, STREAMS + number);
        Self {
            workload,
            rng,
            in_flight: JoinSet::new(),
            recent: BTreeMap::new(),
        }
    }

    /// Publishes with one client until it fails, dies or the load ends; then waits for what is in flight.
    async fn session(&mut self, client: &dyn QueueClient, choose: Choose) {
        let session = self.workload.next_session();
        while !self.workload.has_reached(Phase::Quiesce) {
            for _ in 0..self.rng.random_range(1..=BURST_MAX) {
                let choice = choose(self);
                if !self.publish(client, session, choice).await {
                    return;
                }
            }
            while self.in_flight.len() > IN_FLIGHT_MAX {
                self.take_confirm().await;
            }
            if self.rng.random_ratio(1, BURSTS_PER_CRASH) {
                // The client dies; what was in flight stays unknown.
                return;
            }
            let pause_ms = self.rng.random_range(PAUSE_MS);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        while !self.in_flight.is_empty() {
            self.take_confirm().await;
        }
    }

    /// A new value, for any queue.
    pub(super) fn choose_new(&mut self) -> Choice {
        let route = self.route_of(&ROUTES);
        (route, self.workload.next_value(), Wishes::default())
    }

    /// A new value for a queue with limits, which may have to wait, expire, or go before others.
    pub(super) fn choose_with_wishes(&mut self) -> Choice {
        let route = self.route_of(&ROUTES_WITH_WISHES);
        let has_wish = self.rng.random_ratio(3, 4);
        let (delay_ms, ttl_ms, priority) = (
            self.rng.random_range(DELAY_MS),
            self.rng.random_range(TTL_MS),
            self.rng.random_range(PRIORITIES),
        );
        let wishes = match route {
            Route::To(Queue::Delayed) => Wishes {
                delay_ms: has_wish.then_some(delay_ms),
                ..Wishes::default()
            },
            Route::To(Queue::Refusing) => Wishes {
                ttl_ms: has_wish.then_some(ttl_ms),
                ..Wishes::default()
            },
            Route::To(Queue::Prioritized) => Wishes {
                priority,
                ..Wishes::default()
            },
            Route::To(_) | Route::Fanout | Route::Nowhere => Wishes::default(),
        };
        (route, self.workload.next_value(), wishes)
    }

    fn route_of(&mut self, routes: &[(u32, Route)]) -> Route {
        let roll = self.rng.random_range(0..100);
        let route = routes.iter().find(|(below, _)| roll < *below);
        route.map_or(Route::Nowhere, |(_, route)| *route)
    }

    /// A new value for the queue that deduplicates, or one of before: more often one that nobody has
    /// confirmed.
    pub(super) fn choose_again(&mut self) -> Choice {
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_first();
        }
        while let Some(Ok((value, is_confirmed))) = self.in_flight.try_join_next() {
            if let Some(known) = self.recent.get_mut(&value) {
                *known |= is_confirmed;
            }
        }
        let wants_confirmed = self.rng.random_ratio(1, 4);
        let again: Vec<Value> = self
            .recent
            .iter()
            .filter(|(_, is_confirmed)| **is_confirmed == wants_confirmed)
            .map(|(value, _)| *value)
            .collect();
        let value = if again.is_empty() || self.rng.random_bool(0.5) {
            let value = self.workload.next_value();
            self.recent.insert(value, false);
            value
        } else {
            again[self.rng.random_range(0..again.len())]
        };
        let wishes = Wishes {
            dedup_id: Some(value),
            ..Wishes::default()
        };
        (Route::To(Queue::Deduplicated), value, wishes)
    }

    /// One publish; false if the client is of no more use.
    async fn publish(&mut self, client: &dyn QueueClient, session: u64, choice: Choice) -> bool {
        let (route, value, wishes) = choice;
        let queues = self.workload.queues.clone();
        let place = queues.publish(Publication {
            value,
            route,
            session,
            wishes,
            sent_at_us: now_us(),
            confirmed_at_us: None,
            outcome: Outcome::Info,
        });
        // One in thirty-two takes more than one frame.
        let size = match self.rng.random_ratio(1, 32) {
            true => BODY_BYTES_MAX,
            false => self.workload.options.value_bytes,
        };
        let body = encode(value, size);
        // What was not written whole may have arrived all the same.
        let Ok(confirming) = client.publish(route, body, wishes).await else {
            return false;
        };
        self.in_flight.spawn_local(async move {
            let outcome = match confirming.await {
                Confirm::Acked => Outcome::Ok,
                Confirm::Returned => Outcome::Fail,
                Confirm::Nacked | Confirm::Unknown => Outcome::Info,
            };
            queues.published(place, outcome, now_us());
            (value, outcome == Outcome::Ok)
        });
        true
    }

    async fn take_confirm(&mut self) {
        if let Some(Ok((value, is_confirmed))) = self.in_flight.join_next().await
            && let Some(known) = self.recent.get_mut(&value)
        {
            *known |= is_confirmed;
        }
    }
}
