//! The final drain: a new consumer reads every partition from its start to its end.
//!
//! The end is asked of the leaders once all producers have finished. Never gives up; the run does.

use std::rc::Rc;
use std::time::Duration;

use super::consumer::{advance, complete, invoke, poll, start};
use super::{Workload, now_us};
use crate::history::{Event, Outcome, PollMode};
use crate::seed::Protocol;
use crate::system::Clients;

const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Reads everything, then records that it did.
pub(super) async fn run(workload: Workload, clients: Rc<dyn Clients>, process: u32) {
    let mut ends = start(&workload);
    for (partition, end) in &mut ends {
        *end = loop {
            match clients.high_watermark(*partition).await {
                Ok(offset) => break offset,
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        };
    }
    let mut positions = start(&workload);
    let is_drained = |positions: &std::collections::BTreeMap<u32, i64>| {
        ends.iter()
            .all(|(partition, end)| positions.get(partition) >= Some(end))
    };
    while !is_drained(&positions) {
        let Ok(mut consumer) = clients.consumer(Protocol::Grpc, positions.clone()).await else {
            tokio::time::sleep(RETRY_PAUSE).await;
            continue;
        };
        let session = workload.next_session();
        while !is_drained(&positions) {
            let id = invoke(&workload, process, session, PollMode::Drain);
            let Some(polled) = poll(&workload, id, consumer.as_mut()).await else {
                break;
            };
            advance(&mut positions, &polled);
            complete(&workload, id, Outcome::Ok, &polled);
        }
    }
    workload.recorder.event(Event::Drained, now_us());
}
