//! A fixed rate: says how many records are due, every millisecond.
//!
//! A thread of its own keeps the time, because the runtime's timer is only as fine as a
//! millisecond and rounds up, which would be measured as latency.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Ticks that may wait for a sender that has fallen behind; the thread then waits, the times at
/// which records are due do not.
const TICKS_WAITING_MAX: usize = 1_024;
/// Ticks per second.
const TICKS_PER_SECOND: u64 = 1_000;

/// Records that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tick {
    /// When they were due.
    pub(super) due_at: Instant,
    /// How many.
    pub(super) count: u64,
}

/// Starts a thread that sends ticks until `records` are due; the receiver dropped, it ends.
pub(super) fn start(rate: u32, records: u64) -> mpsc::Receiver<Tick> {
    let (ticks, due) = mpsc::channel(TICKS_WAITING_MAX);
    let start = Instant::now();
    tokio::task::spawn_blocking(move || keep_time(start, rate, records, &ticks));
    due
}

fn keep_time(start: Instant, rate: u32, records: u64, ticks: &mpsc::Sender<Tick>) {
    let (lock, alarm) = (Mutex::new(()), Condvar::new());
    let mut sent = 0;
    for number in 0_u64.. {
        let due_at = start + Duration::from_millis(number * 1_000 / TICKS_PER_SECOND);
        let mut guard = lock.lock();
        while Instant::now() < due_at {
            alarm.wait_until(&mut guard, due_at.into_std());
        }
        drop(guard);
        let count = due_by(number, rate).min(records) - sent;
        if count > 0 && ticks.blocking_send(Tick { due_at, count }).is_err() {
            return;
        }
        sent += count;
        if sent == records {
            return;
        }
    }
}

/// Records due up to and including tick `number`; the first is due at once.
fn due_by(number: u64, rate: u32) -> u64 {
    (number * u64::from(rate)) / TICKS_PER_SECOND + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_brings_as_many_records_as_the_rate_says() {
        for rate in [1, 7, 999, 1_000, 2_000, 123_456] {
            assert_eq!(due_by(0, rate), 1);
            assert_eq!(due_by(TICKS_PER_SECOND, rate), u64::from(rate) + 1);
        }
    }

    #[tokio::test]
    async fn every_record_is_due_once_and_in_order() {
        let mut due = start(100_000, 1_000);
        let mut total = 0;
        let mut last = None;
        while let Some(tick) = due.recv().await {
            assert!(last.is_none_or(|last| last < tick.due_at));
            last = Some(tick.due_at);
            total += tick.count;
        }
        assert_eq!(total, 1_000);
    }
}
