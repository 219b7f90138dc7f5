//! Asks leaders for their high watermarks now and then; nothing is fetched in advance.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rand::Rng;

use super::consumer::{complete, invoke};
use super::{Phase, Workload, now_us};
use crate::history::{Outcome, PollMode};
use crate::seed::{Stream, stream};
use crate::system::{Clients, Polled};

const PAUSE_MS: std::ops::RangeInclusive<u64> = 50..=400;

/// Probes until everything is drained.
pub(super) async fn run(workload: Workload, clients: Rc<dyn Clients>, process: u32) {
    let mut rng = stream(
        workload.options.seed,
        Stream::Workload,
        100 + u64::from(process),
    );
    while !workload.has_reached(Phase::Done) {
        tokio::time::sleep(Duration::from_millis(rng.random_range(PAUSE_MS))).await;
        let partition = rng.random_range(0..workload.options.partitions_count);
        // Each probe is a session of its own: only real time orders them.
        let id = invoke(&workload, process, workload.next_session(), PollMode::Probe);
        match clients.high_watermark(partition).await {
            Ok(offset) => {
                let high_watermarks = [(partition, offset)].into();
                let polled = Polled {
                    records: BTreeMap::new(),
                    high_watermarks,
                };
                complete(&workload, id, Outcome::Ok, &polled);
            }
            Err(_) => workload
                .recorder
                .complete(id, Outcome::Info, now_us(), |_| ()),
        }
    }
}
