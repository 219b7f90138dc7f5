//! Measures what is written to the groups that this broker leads, for the controller's plans.

use std::time::Duration;

use raftmq_core::cluster::balance::measured::Counted;
use tokio::time::sleep;

use super::Hosting;

/// Pause between two looks at the counters.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

impl Hosting {
    /// Measures now and then. Runs for ever.
    pub async fn run_measuring(&self) {
        loop {
            sleep(MEASURE_INTERVAL).await;
            let hosted = self.all().into_iter();
            let led = hosted.filter(|led| led.group().leading_term().is_some());
            let counted: Vec<Counted> = led.map(|led| led.counted()).collect();
            self.controller().measure_loads(counted);
        }
    }
}
