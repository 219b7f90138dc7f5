//! The commit queue and the loop that drains it: one write and one sync for all groups waiting.
//!
//! Owns order, batching, back-pressure in bytes, completion in submission order and the first
//! failure. Does not know what a change means, and keeps no entries.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::config::{Durability, StoreConfig};
use crate::engine::{Engine, Maintenance, Op, RowFamily, WriteBatch};
use crate::error::StoreError;
use crate::metrics::StoreMetrics;
use crate::planted::{self, Bug};
use crate::types::GroupId;

/// Who runs the commit loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitDriver {
    /// A thread of its own: for a real disk, whose calls block.
    Thread,
    /// A task on the current tokio runtime: for a simulated disk, whose delays are slept.
    Task,
}

/// Fixed cost of one change, counted against the queue's limit beside its payload.
pub(crate) const OP_OVERHEAD_BYTES: usize = 96;

/// How long the loop waits, once idle, before it writes what rides lazily and confirms the last
/// sync in the journal, so that damage to it can be told from a torn tail.
const IDLE_WRITE_AFTER: Duration = Duration::from_secs(1);

/// Time between steps of unfinished housekeeping while nothing is written.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(50);

/// Whether an item must be flushed before it is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Complete after a sync.
    Required,
    /// Complete after the write; the sync follows within the configured interval.
    Later,
}

/// What kind of item it is: only the planted bugs care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Append,
    Other,
}

pub(crate) type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// One submission: written atomically.
pub(crate) struct Item {
    pub(crate) ops: Vec<Op>,
    pub(crate) kind: ItemKind,
    pub(crate) flush: Flush,
    pub(crate) done: Done,
}

/// Room in the queue, acquired before an item is built; given back when nothing is pushed.
#[derive(Debug)]
pub(crate) struct Room<'queue> {
    permit: SemaphorePermit<'queue>,
}

struct Queued {
    item: Item,
    room: usize,
    sequence: u64,
}

struct LazyRow {
    value: Bytes,
    after_sequence: u64,
}

#[derive(Default)]
struct QueueState {
    items: VecDeque<Queued>,
    lazy: BTreeMap<(GroupId, u8), LazyRow>,
    sequence: u64,
    closing: bool,
    failed: Option<StoreError>,
    waiting_since: Option<Instant>,
}

/// The queue between the groups and the commit loop.
pub(crate) struct CommitQueue {
    state: Mutex<QueueState>,
    room: Semaphore,
    room_bytes: u32,
    thread_wake: Condvar,
    task_wake: Notify,
    failure: watch::Sender<Option<StoreError>>,
    stopped: watch::Sender<bool>,
}

impl std::fmt::Debug for CommitQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitQueue").finish_non_exhaustive()
    }
}

impl CommitQueue {
    pub(crate) fn new(config: &StoreConfig) -> Self {
        let room_bytes = u32::try_from(config.queue_bytes_max).unwrap_or(u32::MAX).max(1);
        Self {
            state: Mutex::new(QueueState::default()),
            room: Semaphore::new(room_bytes as usize),
            room_bytes,
            thread_wake: Condvar::new(),
            task_wake: Notify::new(),
            failure: watch::Sender::new(None),
            stopped: watch::Sender::new(false),
        }
    }

    /// Waits until `bytes` fit into the queue. An item larger than the queue takes all of it.
    pub(crate) async fn room_for(&self, bytes: usize) -> Result<Room<'_>, StoreError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.room_bytes);
        match self.room.acquire_many(bytes).await {
            Ok(permit) => Ok(Room { permit }),
            Err(_) => Err(self.refusal()),
        }
    }

    /// Puts an item at the end of the queue; never waits. Completes it with the failure when the
    /// store is already poisoned or closed.
    pub(crate) fn push(&self, room: Room<'_>, item: Item) {
        let refused = {
            let mut state = self.state.lock();
            if state.failed.is_none() && !state.closing {
                state.sequence += 1;
                let sequence = state.sequence;
                state.items.push_back(Queued { item, room: room.permit.num_permits(), sequence });
                room.permit.forget();
                if state.waiting_since.is_none() {
                    state.waiting_since = Some(Instant::now());
                }
                None
            } else {
                Some((item, state.failed.clone().unwrap_or(StoreError::Closed)))
            }
        };
        match refused {
            None => self.wake(),
            Some((item, error)) => (item.done)(Err(error)),
        }
    }

    /// Remembers a row of the Meta family that may be written with any later batch, behind the items
    /// that are queued now. A newer value replaces an older one.
    pub(crate) fn put_lazily(&self, group: GroupId, key: u8, value: Bytes) {
        let mut state = self.state.lock();
        let after_sequence = state.sequence;
        state.lazy.insert((group, key), LazyRow { value, after_sequence });
    }

    /// Forgets a lazy row, because a change in the queue supersedes it.
    pub(crate) fn forget_lazy(&self, group: GroupId, key: u8) {
        self.state.lock().lazy.remove(&(group, key));
    }

    pub(crate) fn refusal(&self) -> StoreError {
        self.state.lock().failed.clone().unwrap_or(StoreError::Closed)
    }

    pub(crate) fn failure(&self) -> watch::Receiver<Option<StoreError>> {
        self.failure.subscribe()
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let state = self.state.lock();
        match &state.failed {
            Some(error) => Err(error.clone()),
            None if state.closing => Err(StoreError::Closed),
            None => Ok(()),
        }
    }

    /// Time since the last completed sync (or since the first submission after it), while something
    /// waits.
    pub(crate) fn sync_age(&self) -> Option<Duration> {
        self.state.lock().waiting_since.map(|since| since.elapsed())
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        (self.room_bytes as usize).saturating_sub(self.room.available_permits())
    }

    /// Poisons the store: everything queued and everything later fails with `error`.
    pub(crate) fn fail(&self, error: &StoreError) {
        let items = {
            let mut state = self.state.lock();
            if state.failed.is_none() {
                state.failed = Some(error.clone());
            }
            state.lazy.clear();
            std::mem::take(&mut state.items)
        };
        self.room.close();
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(error.clone());
            }
            first
        });
        for queued in items {
            (queued.item.done)(Err(error.clone()));
        }
        self.wake();
    }

    /// Lets the loop drain what is queued and end; later submissions are refused.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.room.close();
        self.wake();
    }

    pub(crate) async fn wait_stopped(&self) {
        let mut stopped = self.stopped.subscribe();
        // An error means that the sender is gone, which is as good as stopped.
        let _gone = stopped.wait_for(|stopped| *stopped).await;
    }

    fn wake(&self) {
        self.thread_wake.notify_one();
        self.task_wake.notify_one();
    }
}

/// Why the loop woke.
enum Wake {
    Work,
    Timer,
    End,
}

/// What one turn of the loop writes.
struct Batch {
    write: WriteBatch,
    done: Vec<(ItemKind, Done)>,
    room: usize,
    flush: Flush,
    /// Nothing but lazy rows or a confirmation: it asks for no sync of its own.
    is_idle: bool,
}

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
            let Some(batch) = self.next_batch(wake) else { break };
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
            let Some(batch) = self.next_batch(wake) else { break };
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

    fn ready(state: &QueueState) -> Option<Wake> {
        if state.failed.is_some() {
            Some(Wake::End)
        } else if !state.items.is_empty() {
            Some(Wake::Work)
        } else if state.closing {
            Some(Wake::End)
        } else {
            None
        }
    }

    fn wait_blocking(&self) -> Wake {
        let mut state = self.queue.state.lock();
        loop {
            if let Some(wake) = Self::ready(&state) {
                return wake;
            }
            match self.timer(&state) {
                Some(wait) => {
                    if self.queue.thread_wake.wait_for(&mut state, wait).timed_out() {
                        return Self::ready(&state).unwrap_or(Wake::Timer);
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
                if let Some(wake) = Self::ready(&state) {
                    return wake;
                }
                self.timer(&state)
            };
            match timer {
                Some(wait) => {
                    let woken = self.queue.task_wake.notified();
                    if tokio::time::timeout(wait, woken).await.is_err() {
                        return Self::ready(&self.queue.state.lock()).unwrap_or(Wake::Timer);
                    }
                }
                None => self.queue.task_wake.notified().await,
            }
        }
    }

    /// Takes items up to the batch limit, then the lazy rows that stand behind nothing still queued.
    fn next_batch(&self, wake: Wake) -> Option<Batch> {
        let is_idle = match wake {
            Wake::Work => false,
            Wake::Timer => true,
            Wake::End => return None,
        };
        let mut batch = Batch {
            write: WriteBatch::default(),
            done: Vec::new(),
            room: 0,
            flush: Flush::Later,
            is_idle,
        };
        let mut state = self.queue.state.lock();
        let mut bytes = 0;
        while let Some(front) = state.items.front() {
            let next = front.room;
            if !batch.done.is_empty() && bytes + next > self.batch_bytes_max {
                break;
            }
            let Some(queued) = state.items.pop_front() else { break };
            bytes += next;
            batch.room += next;
            batch.write.ops.extend(queued.item.ops);
            batch.done.push((queued.item.kind, queued.item.done));
            if queued.item.flush == Flush::Required {
                batch.flush = Flush::Required;
            }
        }
        let written = state.items.front().map_or(state.sequence, |front| front.sequence - 1);
        let ready = |row: &LazyRow| row.after_sequence <= written;
        let lazy = std::mem::take(&mut state.lazy);
        for ((group, key), row) in lazy {
            if ready(&row) {
                let key = Bytes::copy_from_slice(&[key]);
                let put = Op::Put { group, family: RowFamily::Meta, key, value: row.value };
                batch.write.ops.push(put);
            } else {
                state.lazy.insert((group, key), row);
            }
        }
        Some(batch)
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
            Err(error) => Err(self.fail(&error)),
        }
    }

    fn is_sync_due(&self, flush: Flush) -> bool {
        let waited = self.unsynced_since.is_some_and(|since| since.elapsed() >= self.os_sync_interval);
        flush == Flush::Required || waited
    }

    fn sync(&mut self) -> Result<(), ()> {
        let started = Instant::now();
        match self.engine.sync() {
            Ok(()) => {
                self.metrics.sync_seconds.record(started.elapsed().as_secs_f64());
                self.unsynced_since = None;
                self.unconfirmed = true;
                Ok(())
            }
            Err(error) => Err(self.fail(&error)),
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
            Err(error) => Err(self.fail(&error)),
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

/// When an append of a group is complete.
pub(crate) const fn append_flush(durability: Durability) -> Flush {
    match durability {
        Durability::Flush => Flush::Required,
        Durability::Os => Flush::Later,
    }
}
