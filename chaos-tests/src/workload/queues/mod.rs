//! Publishers and consumers of queues, and the drain at the end; they write down what they saw.
//!
//! Owns who does what how often. Does not judge, nor know how a client talks to a broker.

mod consumer;
mod drain;
mod publisher;
mod purger;

use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;

pub(super) use self::drain::drain;
use self::publisher::Publisher;
use super::{Phase, Workload};
use crate::faults::FaultClass;
use crate::history::Queue;
use crate::system::{Clients, QueueClient};

/// Pause before the next client after one has failed.
const RETRY_PAUSE: Duration = Duration::from_millis(150);
/// Publishers, besides the one that publishes again.
const PUBLISHERS_COUNT: u64 = 2;
/// The clients that use queues with limits, behind all consumers.
const PUBLISHER_TO_LIMITS: u64 = 40;
const PURGER: u64 = 41;
/// The streams of random numbers of these clients.
const STREAMS: u64 = 2_000;

/// Declares everything, and publishes until the load ends and everything in flight has ended.
pub(super) async fn publish(workload: Workload, clients: Rc<dyn Clients>) {
    while !workload.has_reached(Phase::Quiesce) {
        if is_declared(&workload, &*clients).await {
            break;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    let mut publishers = JoinSet::new();
    let mut spawn = |number: u64, choose: publisher::Choose| {
        let (workload, clients) = (workload.clone(), Rc::clone(&clients));
        publishers.spawn_local(publisher::run(workload, clients, number, choose));
    };
    let faults = &workload.options.faults;
    if faults.contains(&FaultClass::Amqp) {
        for number in 0..PUBLISHERS_COUNT {
            spawn(number, Publisher::choose_new);
        }
        spawn(PUBLISHERS_COUNT, Publisher::choose_again);
    }
    if faults.contains(&FaultClass::AmqpLimits) {
        spawn(PUBLISHER_TO_LIMITS, Publisher::choose_with_wishes);
        publishers.spawn_local(purger::run(workload.clone(), Rc::clone(&clients), PURGER));
    }
    while publishers.join_next().await.is_some() {}
}

/// Consumes until the drain begins.
pub(super) async fn consume(workload: Workload, clients: Rc<dyn Clients>) {
    let queues = workload.options.queues();
    let consumed = queues.into_iter().flat_map(|queue| {
        let count = match queue {
            Queue::Work | Queue::Single => 2,
            Queue::Copies
            | Queue::Limited
            | Queue::Expiring
            | Queue::Deduplicated
            | Queue::Dead
            | Queue::Delayed
            | Queue::Purged
            | Queue::Prioritized
            | Queue::Capped
            | Queue::Refusing => 1,
        };
        std::iter::repeat_n(queue, count)
    });
    let mut consumers = JoinSet::new();
    for (number, queue) in (PUBLISHERS_COUNT + 1..).zip(consumed) {
        let (workload, clients) = (workload.clone(), Rc::clone(&clients));
        consumers.spawn_local(consumer::run(workload, clients, (number, queue)));
    }
    while consumers.join_next().await.is_some() {}
}

async fn is_declared(workload: &Workload, clients: &dyn Clients) -> bool {
    let Some(client) = connect(clients).await else {
        return false;
    };
    let declared = client.declare(&workload.options.queues()).await;
    if let Err(error) = &declared {
        tracing::debug!(error, "queues are not declared yet");
    }
    declared.is_ok()
}

/// A new client; `None` where there is none now.
async fn connect(clients: &dyn Clients) -> Option<Rc<dyn QueueClient>> {
    match clients.queue_client().await {
        Ok(client) => Some(Rc::from(client)),
        Err(error) => {
            tracing::debug!(error, "no client of queues");
            None
        }
    }
}
