//! Awaits acknowledgements and measures them: latency, and pauses after a fault.
//!
//! One task per partition awaits the deliveries of that partition in order, so a stalled partition
//! delays no other one's figures. Used by `produce`, `bench` and `demo`; sends nothing itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use raftmq_client::{DeliveryFuture, Error};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Deliveries that wait in one partition; the sender waits beyond it.
const WAITING_COUNT_MAX: usize = 32_768;
/// Deliveries taken from the queue at a time.
const TAKEN_COUNT_MAX: usize = 256;
/// Significant digits of a latency histogram.
const HISTOGRAM_DIGITS: u8 = 3;
/// Longest latency that is told apart: an hour.
const LATENCY_MICROS_MAX: u64 = 3_600_000_000;

/// A histogram of microseconds.
///
/// Its bounds are fixed: `Histogram::new` starts with a bound of 2, and `saturating_record` clamps
/// to that instead of growing, so every latency would be shown as 2 us.
pub(crate) fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_MICROS_MAX, HISTOGRAM_DIGITS).expect("the bounds are valid")
}

/// Adds one latency; beyond an hour it counts as an hour.
pub(crate) fn record_latency(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
}

/// A sent record whose acknowledgement is awaited.
#[derive(Debug)]
struct Waiting {
    sent_at: Instant,
    bytes: u64,
    delivery: DeliveryFuture,
}

/// What has been acknowledged so far; shared with whoever watches.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    acked_records: AtomicU64,
    acked_bytes: AtomicU64,
    failed_records: AtomicU64,
    first_error: Mutex<Option<Error>>,
    fault_at: Mutex<Option<Instant>>,
    moved: Notify,
}

impl Progress {
    /// Acknowledged records.
    pub(crate) fn acked_records(&self) -> u64 {
        self.acked_records.load(Ordering::Relaxed)
    }

    /// Bytes of acknowledged records, as their sender counted them.
    pub(crate) fn acked_bytes(&self) -> u64 {
        self.acked_bytes.load(Ordering::Relaxed)
    }

    /// Records that were refused or timed out.
    pub(crate) fn failed_records(&self) -> u64 {
        self.failed_records.load(Ordering::Relaxed)
    }

    /// The first error, if any record failed.
    pub(crate) fn first_error(&self) -> Option<Error> {
        self.first_error.lock().clone()
    }

    /// From now on pauses are measured.
    pub(crate) fn mark_fault(&self) {
        *self.fault_at.lock() = Some(Instant::now());
    }

    /// Waits until `reached` holds; looked at whenever something was acknowledged or failed.
    pub(crate) async fn wait_until(&self, reached: impl Fn(&Self) -> bool) {
        loop {
            let moved = self.moved.notified();
            if reached(self) {
                return;
            }
            moved.await;
        }
    }
}

/// What one partition, or all of them together, measured.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Microseconds from sending (or from the time it was due) to the acknowledgement.
    pub(crate) latency_micros: Histogram<u64>,
    /// After the fault: the longest time in which a partition had records waiting and
    /// acknowledged none.
    pub(crate) pause_max: Duration,
}

impl Measured {
    fn new() -> Self {
        Self {
            latency_micros: latency_histogram(),
            pause_max: Duration::ZERO,
        }
    }

    fn add(&mut self, other: &Self) {
        self.latency_micros
            .add(&other.latency_micros)
            .expect("both have the same bounds");
        self.pause_max = self.pause_max.max(other.pause_max);
    }
}

/// Awaits the deliveries of one topic.
#[derive(Debug)]
pub(crate) struct Tracker {
    queues: Vec<mpsc::Sender<Waiting>>,
    tasks: JoinSet<Measured>,
    progress: Arc<Progress>,
}

impl Tracker {
    /// Starts one task per partition.
    pub(crate) fn new(partitions_count: u32) -> Self {
        let progress = Arc::new(Progress::default());
        let mut tasks = JoinSet::new();
        let mut queues = Vec::new();
        for _ in 0..partitions_count.max(1) {
            let (queue, waiting) = mpsc::channel(WAITING_COUNT_MAX);
            tasks.spawn(await_partition(waiting, Arc::clone(&progress)));
            queues.push(queue);
        }
        Self {
            queues,
            tasks,
            progress,
        }
    }

    /// What has been acknowledged so far.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Handles that several tasks can track with.
    pub(crate) fn handle(&self) -> TrackerHandle {
        TrackerHandle {
            queues: self.queues.clone(),
        }
    }

    /// Waits for everything tracked; every handle must be dropped by then.
    pub(crate) async fn finish(self) -> Measured {
        let Self {
            queues,
            mut tasks,
            progress: _,
        } = self;
        drop(queues);
        let mut total = Measured::new();
        while let Some(measured) = tasks.join_next().await {
            total.add(&measured.expect("a tracking task neither panics nor is aborted"));
        }
        total
    }
}

/// Hands deliveries to a [`Tracker`].
#[derive(Debug, Clone)]
pub(crate) struct TrackerHandle {
    queues: Vec<mpsc::Sender<Waiting>>,
}

impl TrackerHandle {
    /// Tracks one delivery; waits while too many are under way.
    pub(crate) async fn track(&self, sent_at: Instant, bytes: u64, delivery: DeliveryFuture) {
        let index = delivery.partition() as usize % self.queues.len();
        // The receiving task ends only after every sender is gone.
        let _ = self.queues[index]
            .send(Waiting {
                sent_at,
                bytes,
                delivery,
            })
            .await;
    }
}

async fn await_partition(mut queue: mpsc::Receiver<Waiting>, progress: Arc<Progress>) -> Measured {
    let mut measured = Measured::new();
    let mut taken = Vec::with_capacity(TAKEN_COUNT_MAX);
    let mut last_ack = Instant::now();
    while queue.recv_many(&mut taken, TAKEN_COUNT_MAX).await > 0 {
        for Waiting {
            sent_at,
            bytes,
            delivery,
        } in taken.drain(..)
        {
            let outcome = delivery.await;
            let now = Instant::now();
            if let Err(error) = outcome {
                progress.failed_records.fetch_add(1, Ordering::Relaxed);
                progress.first_error.lock().get_or_insert(error);
                progress.moved.notify_waiters();
                continue;
            }
            let latency = now.saturating_duration_since(sent_at);
            record_latency(&mut measured.latency_micros, latency);
            note_pause(&mut measured, &progress, last_ack.max(sent_at), now);
            last_ack = now;
            progress.acked_records.fetch_add(1, Ordering::Relaxed);
            progress.acked_bytes.fetch_add(bytes, Ordering::Relaxed);
            progress.moved.notify_waiters();
        }
    }
    measured
}

/// A pause counts when it ends after the fault.
fn note_pause(measured: &mut Measured, progress: &Progress, since: Instant, now: Instant) {
    let pause = now.saturating_duration_since(since);
    if pause > measured.pause_max && progress.fault_at.lock().is_some_and(|fault| now > fault) {
        measured.pause_max = pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_read_back_as_they_were_recorded() {
        let mut histogram = latency_histogram();
        for millis in 1..=1_000 {
            record_latency(&mut histogram, Duration::from_millis(millis));
        }

        for (quantile, expected_micros) in [(0.001, 1_000), (0.5, 500_000), (0.99, 990_000)] {
            let found = histogram.value_at_quantile(quantile);
            let distance = found.abs_diff(expected_micros);
            assert!(distance * 1_000 <= expected_micros, "{quantile}: {found}");
        }
        assert!(
            histogram.max().abs_diff(1_000_000) <= 1_000,
            "{}",
            histogram.max()
        );
    }

    #[test]
    fn a_latency_beyond_the_bound_counts_as_the_bound() {
        let mut histogram = latency_histogram();
        record_latency(&mut histogram, Duration::MAX);
        assert!(histogram.max() >= LATENCY_MICROS_MAX);
        assert_eq!(histogram.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_counts_only_when_it_ends_after_the_fault() {
        let progress = Progress::default();
        let mut measured = Measured::new();
        let start = Instant::now();
        note_pause(
            &mut measured,
            &progress,
            start,
            start + Duration::from_secs(9),
        );
        assert_eq!(measured.pause_max, Duration::ZERO);

        progress.mark_fault();
        note_pause(
            &mut measured,
            &progress,
            start,
            start + Duration::from_secs(2),
        );
        note_pause(
            &mut measured,
            &progress,
            start,
            start + Duration::from_secs(1),
        );

        assert_eq!(measured.pause_max, Duration::from_secs(2));
    }
}
