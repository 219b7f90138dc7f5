//! Publishers and consumers of queues, and the drain at the end; they write down what they saw.
//!
//! Owns who does what how often. Does not judge, nor know how a client talks to a broker.

mod consumer;
mod drain;
mod publisher;

use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;

pub(super) use self::drain::drain;
use super::{Phase, Workload};
use crate::history::Queue;
use crate::system::{Clients, QueueClient};

/// Pause before the next client after one has failed.
const RETRY_PAUSE: Duration = Duration::from_millis(150);
/// Publishers, besides the one that publishes again.
const PUBLISHERS_COUNT: u64 = 2;
/// The streams of random numbers of these clients.
const STREAMS: u64 = 2_000;

/// Declares everything, and publishes until the load ends and everything in flight has ended.
pub(super) async fn publish(workload: Workload, clients: Rc<dyn Clients>) {
    while !workload.has_reached(Phase::Quiesce) {
        if is_declared(&*clients).await {
            break;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS_COUNT {
        let (workload, clients) = (workload.clone(), Rc::clone(&clients));
        publishers.spawn_local(publisher::run(workload, clients, number));
    }
    publishers.spawn_local(publisher::run_again(workload, clients, PUBLISHERS_COUNT));
    while publishers.join_next().await.is_some() {}
}

/// Consumes until the drain begins.
pub(super) async fn consume(workload: Workload, clients: Rc<dyn Clients>) {
    let consumed = Queue::ALL.into_iter().flat_map(|queue| {
        let count = match queue {
            Queue::Work | Queue::Single => 2,
            Queue::Copies
            | Queue::Limited
            | Queue::Expiring
            | Queue::Deduplicated
            | Queue::Dead => 1,
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

async fn is_declared(clients: &dyn Clients) -> bool {
    let Some(client) = connect(clients).await else {
        return false;
    };
    let declared = client.declare().await;
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
