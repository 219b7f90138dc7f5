//! A client that purges a queue now and then.

use std::rc::Rc;
use std::time::Duration;

use rand::Rng;

use super::{STREAMS, connect};
use crate::history::Queue;
use crate::seed::{Stream, stream};
use crate::system::Clients;
use crate::workload::{Phase, Workload, now_us};

const PAUSE_MS: std::ops::RangeInclusive<u64> = 1_000..=5_000;

/// Purges until the load ends.
pub(super) async fn run(workload: Workload, clients: Rc<dyn Clients>, number: u64) {
    let mut rng = stream(workload.options.seed, Stream::Workload, STREAMS + number);
    loop {
        let pause_ms = rng.random_range(PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        if workload.has_reached(Phase::Quiesce) {
            return;
        }
        let Some(client) = connect(&*clients).await else {
            continue;
        };
        let place = workload.queues.purge(Queue::Purged, now_us());
        match client.purge(Queue::Purged).await {
            Ok(()) => workload.queues.purged(place, now_us()),
            Err(error) => tracing::debug!(error, "a purge was not answered"),
        }
    }
}
