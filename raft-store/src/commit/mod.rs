//! The loop that drains the commit queue: one write and one sync for all groups waiting.
//!
//! Owns batching, when to sync, completion in submission order, and housekeeping between batches.
//! Does not know what a change means, and keeps no entries.

mod queue;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::queue::{Batch, QueueState, Wake, ready};
pub(crate) use self::queue::{
    CommitQueue, Done, Flush, Item, ItemKind, OP_OVERHEAD_BYTES, Room, append_flush,
};
use crate::config::StoreConfig;
use crate::engine::{Engine, Maintenance, WriteBatch};
use crate::error::StoreError;
use crate::metrics::StoreMetrics;
use crate::planted::{self, Bug};

/// Who runs the commit loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitDriver {
    /// A thread of its own: for a real disk, whose calls block.
    Thread,
    /// A task on the current tokio runtime: for a simulated disk, whose delays are slept.
    Task,
}

/// How long the loop waits, once idle, before it writes what rides lazily and confirms the last
/// sync in the journal, so that damage to it can be told from a torn tail.
const IDLE_WRITE_AFTER: Duration = Duration::from_secs(1);

/// Time between steps of unfinished housekeeping while nothing is written.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(50);

/// The loop's own state.
pub(crate) struct CommitLoop {
    engine: Arc<dyn Engine>,
    queue: Arc<CommitQueue>,
    metrics: StoreMetrics,
    batch_bytes_max: usize,
    os_sync_interval: Duration,
    unsynced_since: Option<Instant>,
    /// Something was synced that no later frame confirms.
    unconfirmed: bool,
    maintenance: Maintenance,
    after_batch: Box<dyn Fn() + Send + Sync>,
}

impl CommitLoop {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        queue: Arc<CommitQueue>,
        metrics: StoreMetrics,
        config: &StoreConfig,
        after_batch: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            engine,
            queue,
            metrics,
            batch_bytes_max: config.commit_batch_bytes_max.max(1),
            os_sync_interval: config.os_sync_interval,
            unsynced_since: None,
            unconfirmed: false,
            maintenance: Maintenance::Idle,
            after_batch,
        }
    }

    /// Runs on a thread of its own until the queue is closed or fails.
    pub(crate) fn run_blocking(mut self) {
        loop {
            let wake = self.wait_blocking();
            let Some(batch) = self.next_batch(&wake) else {
                break;
            };
            if self.write(batch.is_idle, batch.write).is_err() {
                Self::fail_items(&self.queue, batch.done);
                break;
            }
            let done = self.complete_early(batch.done);
            if self.is_sync_due(batch.flush) && self.sync().is_err() {
                Self::fail_items(&self.queue, done);
                break;
            }
            self.complete(done, batch.room);
            if self.maintain().is_err() {
                break;
            }
        }
        self.end();
    }

    /// Runs as a task; the disk's delay is slept between write and sync.
    pub(crate) async fn run_task(mut self) {
        loop {
            let wake = self.wait_task().await;
            let Some(batch) = self.next_batch(&wake) else {
                break;
            };
            if self.write(batch.is_idle, batch.write).is_err() {
                Self::fail_items(&self.queue, batch.done);
                break;
            }
            let done = self.complete_early(batch.done);
            if self.is_sync_due(batch.flush) {
                let delay = self.engine.sync_delay();
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                if self.sync().is_err() {
                    Self::fail_items(&self.queue, done);
                    break;
                }
            }
            self.complete(done, batch.room);
            if self.maintain().is_err() {
                break;
            }
        }
        self.end();
    }

    fn timer(&self, state: &QueueState) -> Option<Duration> {
        if let Some(since) = self.unsynced_since {
            return Some(self.os_sync_interval.saturating_sub(since.elapsed()));
        }
        if self.maintenance == Maintenance::Busy {
            return Some(MAINTENANCE_INTERVAL);
        }
        (self.unconfirmed || !state.lazy.is_empty()).then_some(IDLE_WRITE_AFTER)
    }

    fn wait_blocking(&self) -> Wake {
        let mut state = self.queue.state.lock();
        loop {
            if let Some(wake) = ready(&state) {
                return wake;
            }
            match self.timer(&state) {
                Some(wait) => {
                    if self
                        .queue
                        .thread_wake
                        .wait_for(&mut state, wait)
                        .timed_out()
                    {
                        return ready(&state).unwrap_or(Wake::Timer);
                    }
                }
                None => self.queue.thread_wake.wait(&mut state),
            }
        }
    }

    async fn wait_task(&self) -> Wake {
        loop {
            let timer = {
                let state = self.queue.state.lock();
                if let Some(wake) = ready(&state) {
                    return wake;
                }
                self.timer(&state)
            };
            match timer {
                Some(wait) => {
                    let woken = self.queue.task_wake.notified();
                    if tokio::time::timeout(wait, woken).await.is_err() {
                        return ready(&self.queue.state.lock()).unwrap_or(Wake::Timer);
                    }
                }
                None => self.queue.task_wake.notified().await,
            }
        }
    }

    fn next_batch(&self, wake: &Wake) -> Option<Batch> {
        match wake {
            Wake::Work => Some(self.queue.take_batch(self.batch_bytes_max, false)),
            Wake::Timer => Some(self.queue.take_batch(self.batch_bytes_max, true)),
            Wake::End => None,
        }
    }

    fn write(&mut self, is_idle: bool, batch: WriteBatch) -> Result<(), ()> {
        let ops_count = batch.ops.len();
        let is_confirmation = self.unconfirmed && self.maintenance == Maintenance::Idle;
        if is_idle && ops_count == 0 && !(is_confirmation && self.unsynced_since.is_none()) {
            return Ok(());
        }
        match self.engine.write(batch) {
            Ok(receipt) => {
                #[expect(clippy::cast_precision_loss, reason = "a histogram takes floats")]
                {
                    self.metrics.commit_batch_bytes.record(receipt.bytes as f64);
                    self.metrics.commit_batch_entries.record(ops_count as f64);
                }
                self.metrics.written_bytes.increment(receipt.bytes);
                self.unconfirmed = false;
                if self.unsynced_since.is_none() && !is_idle {
                    self.unsynced_since = Some(Instant::now());
                }
                Ok(())
            }
            Err(error) => {
                self.fail(&error);
                Err(())
            }
        }
    }

    fn is_sync_due(&self, flush: Flush) -> bool {
        let waited = self
            .unsynced_since
            .is_some_and(|since| since.elapsed() >= self.os_sync_interval);
        flush == Flush::Required || waited
    }

    fn sync(&mut self) -> Result<(), ()> {
        let started = Instant::now();
        match self.engine.sync() {
            Ok(()) => {
                self.metrics
                    .sync_seconds
                    .record(started.elapsed().as_secs_f64());
                self.unsynced_since = None;
                self.unconfirmed = true;
                Ok(())
            }
            Err(error) => {
                self.fail(&error);
                Err(())
            }
        }
    }

    /// The planted bugs complete items before the sync; nothing else does.
    fn complete_early(&self, items: Vec<(ItemKind, Done)>) -> Vec<(ItemKind, Done)> {
        if !planted::is_planted(Bug::AckBeforeFlush) {
            return items;
        }
        let mut kept = Vec::new();
        for (kind, done) in items {
            match kind {
                ItemKind::Append => done(Ok(())),
                ItemKind::Other => kept.push((kind, done)),
            }
        }
        kept
    }

    fn complete(&self, items: Vec<(ItemKind, Done)>, room: usize) {
        for (_, done) in items {
            done(Ok(()));
        }
        self.queue.room.add_permits(room);
        {
            let mut state = self.queue.state.lock();
            state.waiting_since = (!state.items.is_empty()).then(Instant::now);
        }
        (self.after_batch)();
    }

    fn maintain(&mut self) -> Result<(), ()> {
        match self.engine.maintain() {
            Ok(maintenance) => {
                self.maintenance = maintenance;
                Ok(())
            }
            Err(error) => {
                self.fail(&error);
                Err(())
            }
        }
    }

    fn fail(&self, error: &StoreError) {
        tracing::error!(%error, "storage failed; the store stops");
        self.metrics.poisoned.set(1.0);
        self.queue.fail(error);
    }

    fn fail_items(queue: &CommitQueue, items: Vec<(ItemKind, Done)>) {
        let error = queue.refusal();
        for (_, done) in items {
            done(Err(error.clone()));
        }
    }

    fn end(self) {
        if self.queue.state.lock().failed.is_none()
            && let Err(error) = self.engine.close()
        {
            self.fail(&error);
        }
        self.queue.stopped.send_replace(true);
    }
}
