//! Paces the store's scrub: everything on the disk is read once within a configured time, evenly.
//!
//! Does not know what is read or what a finding means: damage fails the store, which ends the process.

use std::time::Duration;

use raftmq_store::Store;
use tokio::time::{Instant, sleep, sleep_until};

/// Pause between steps, unless the period is shorter than a few of them.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Steps of a pass, at the least.
const STEPS_MIN: u32 = 8;

/// Bytes that a step reads at least: a small store is read quickly and then left alone.
const STEP_BYTES_MIN: u64 = 1 << 20;

/// Scrubs for ever, one pass in each `period`.
pub(super) async fn run(store: Store, period: Duration) {
    let mut scrub = store.scrub();
    let mut started = Instant::now();
    let pause = pause(period);
    loop {
        sleep(pause).await;
        let bytes = step_bytes(store.stats().usage.live_bytes, period);
        match scrub.step(bytes).await {
            Ok(step) if step.is_pass_complete => {
                tracing::debug!("everything on the disk was read and verified");
                sleep_until(started + period).await;
                started = Instant::now();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "scrub has ended with the store");
                // The store's failure ends the broker.
                return std::future::pending().await;
            }
        }
    }
}

fn pause(period: Duration) -> Duration {
    PAUSE_MAX.min(period / STEPS_MIN)
}

/// Bytes of one step, so that `kept_bytes` are read in `period`.
fn step_bytes(kept_bytes: u64, period: Duration) -> u64 {
    let steps = period.as_millis() / pause(period).as_millis().max(1);
    let steps = u64::try_from(steps).unwrap_or(u64::MAX).max(1);
    kept_bytes.div_ceil(steps).max(STEP_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

    #[test]
    fn steps_are_large_enough_for_everything_in_the_period_and_never_tiny() {
        let tebibyte = 1 << 40;
        let steps_in_a_week = 60_480;
        assert!(step_bytes(tebibyte, WEEK) * steps_in_a_week >= tebibyte);
        assert!(step_bytes(tebibyte, WEEK) < 20 << 20);
        assert_eq!(step_bytes(0, WEEK), STEP_BYTES_MIN);
    }

    #[test]
    fn a_short_period_has_short_pauses() {
        assert_eq!(pause(WEEK), PAUSE_MAX);
        assert_eq!(pause(Duration::from_secs(8)), Duration::from_secs(1));
        assert_eq!(step_bytes(64 << 20, Duration::from_secs(8)), 8 << 20);
    }
}
