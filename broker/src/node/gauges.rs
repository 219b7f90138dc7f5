//! Shows what no event tells, now and then, and empties the buffers of what was measured.
//!
//! Does not know who reads it.

use std::time::Duration;

use tokio::time::sleep;

use super::Parts;
use crate::http::Metrics;

/// Pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Looks for ever.
pub(super) async fn run(parts: Parts, recorder: Metrics) {
    let recovering = metrics::gauge!("raftmq_broker_recovering_groups");
    loop {
        let count = parts.recovering().len();
        recovering.set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        recorder.run_upkeep();
        sleep(LOOK_INTERVAL).await;
    }
}
