//! The drain of the queues: with everything healed and nobody else there, each is consumed until all are
//! empty and nobody holds anything.
//!
//! A dead letter may be on its way between two queues: as long as something that was confirmed is missing,
//! the drain goes on for a while. Never gives up otherwise; the run does.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::consumer::Session;
use super::{RETRY_PAUSE, connect, is_declared};
use crate::checkers::queues::unaccounted;
use crate::history::{Queue, Settlement};
use crate::system::Clients;
use crate::workload::{Workload, now_us};

const PREFETCH: u16 = 50;
/// How long everything must have been empty.
const QUIET: Duration = Duration::from_millis(300);
/// The same when something is missing: longer than a dead letter waits to be published again.
const QUIET_WITH_LOSSES: Duration = Duration::from_secs(6);

/// What the consumers of the drain know of each other.
#[derive(Default)]
struct Progress {
    /// When the last message came, from whichever queue.
    received_at_us: Cell<u64>,
    /// When each queue was seen to be empty.
    empty_at_us: [Cell<u64>; Queue::ALL.len()],
    is_done: Cell<bool>,
}

/// Consumes everything, then records that it did.
pub(in crate::workload) async fn drain(workload: &Workload, clients: Rc<dyn Clients>) {
    while !is_declared(workload, &*clients).await {
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    let progress: Rc<Progress> = Rc::default();
    progress.received_at_us.set(now_us());
    let mut consumers = JoinSet::new();
    for queue in workload.options.queues() {
        let (workload, clients) = (workload.clone(), Rc::clone(&clients));
        consumers.spawn_local(consume(workload, clients, queue, Rc::clone(&progress)));
    }
    while !is_drained(workload, &progress) {
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    progress.is_done.set(true);
    while consumers.join_next().await.is_some() {}
    workload.queues.drained();
}

fn is_drained(workload: &Workload, progress: &Progress) -> bool {
    let is_complete = workload
        .queues
        .with(|history| unaccounted(history).is_empty());
    let quiet = match is_complete {
        true => QUIET,
        false => QUIET_WITH_LOSSES,
    };
    let quiet_us = u64::try_from(quiet.as_micros()).unwrap_or(u64::MAX);
    let since_us = progress.received_at_us.get().saturating_add(quiet_us);
    let mut queues = workload.options.queues().into_iter();
    queues.all(|queue| progress.empty_at_us[queue as usize].get() >= since_us)
}

async fn consume(
    workload: Workload,
    clients: Rc<dyn Clients>,
    queue: Queue,
    progress: Rc<Progress>,
) {
    while !progress.is_done.get() {
        let Some(client) = connect(&*clients).await else {
            tokio::time::sleep(RETRY_PAUSE).await;
            continue;
        };
        let session = Session::new(&workload, client, queue);
        if let Err(error) = empty(session, queue, &progress).await {
            tracing::debug!(queue = queue.name(), error, "a drain ended");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Acks all that comes, and notes when nothing is left.
async fn empty(mut session: Session, queue: Queue, progress: &Progress) -> Result<(), String> {
    session.consume(PREFETCH).await?;
    while !progress.is_done.get() {
        if session.receive_next().await? {
            progress.received_at_us.set(now_us());
            session.settle_all(Settlement::Acked).await?;
            continue;
        }
        let counts = session.look().await?;
        // Whoever was there before is gone, and what he held has returned.
        if counts == (0, 1) {
            progress.empty_at_us[queue as usize].set(now_us());
        }
    }
    Ok(())
}
