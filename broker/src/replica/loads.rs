//! Measures what is written to the partitions that this broker leads, for the controller's plans.

use std::time::Duration;

use raftmq_core::cluster::balance::measured::Counted;
use raftmq_core::ids::GroupNumber;
use tokio::time::sleep;

use super::Replicas;

/// Pause between two looks at the counters.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

impl Replicas {
    /// Measures now and then. Runs for ever.
    pub async fn run_measuring(&self) {
        loop {
            sleep(MEASURE_INTERVAL).await;
            let replicas = self.all().into_iter();
            let led = replicas.filter(|replica| replica.group().leading_term().is_some());
            let counted = led.map(|replica| {
                let state = replica.machine().read();
                Counted {
                    group: GroupNumber(replica.id().0),
                    written_bytes: state.written_bytes(),
                    size_bytes: state.size_bytes(),
                }
            });
            let counted: Vec<Counted> = counted.collect();
            self.shared.controller.measure_loads(counted);
        }
    }
}
