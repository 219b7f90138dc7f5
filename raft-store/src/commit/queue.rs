//! The queue between groups and the commit loop.
//!
//! Owns order, back-pressure in bytes, the rows that ride lazily behind what they belong to, and the
//! first failure. Does not know who drains it, or what a change means.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::config::{Durability, StoreConfig};
use crate::engine::{Op, RowFamily, WriteBatch};
use crate::error::StoreError;
use crate::types::GroupId;

/// Fixed cost of one change, counted against the queue's limit beside its payload.
pub(crate) const OP_OVERHEAD_BYTES: usize = 96;

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

pub(super) struct Queued {
    item: Item,
    room: usize,
    sequence: u64,
}

pub(super) struct LazyRow {
    value: Bytes,
    after_sequence: u64,
}

/// What is queued.
#[derive(Default)]
pub(super) struct QueueState {
    pub(super) items: VecDeque<Queued>,
    pub(super) lazy: BTreeMap<(GroupId, u8), LazyRow>,
    sequence: u64,
    closing: bool,
    /// Housekeeping may have something to do, although nothing is to be written.
    is_nudged: bool,
    pub(super) failed: Option<StoreError>,
    pub(super) waiting_since: Option<Instant>,
}

/// The queue between the groups and the commit loop.
pub(crate) struct CommitQueue {
    pub(super) state: Mutex<QueueState>,
    pub(super) room: Semaphore,
    room_bytes: u32,
    submitted_bytes: AtomicU64,
    pub(super) thread_wake: Condvar,
    pub(super) task_wake: Notify,
    failure: watch::Sender<Option<StoreError>>,
    pub(super) stopped: watch::Sender<bool>,
}

impl std::fmt::Debug for CommitQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitQueue").finish_non_exhaustive()
    }
}

impl CommitQueue {
    pub(crate) fn new(config: &StoreConfig) -> Self {
        let room_bytes = u32::try_from(config.queue_bytes_max)
            .unwrap_or(u32::MAX)
            .max(1);
        Self {
            state: Mutex::new(QueueState::default()),
            room: Semaphore::new(room_bytes as usize),
            room_bytes,
            submitted_bytes: AtomicU64::new(0),
            thread_wake: Condvar::new(),
            task_wake: Notify::new(),
            failure: watch::Sender::new(None),
            stopped: watch::Sender::new(false),
        }
    }

    /// Waits until `bytes` fit into the queue. An item larger than the queue takes all of it.
    pub(crate) async fn room_for(&self, bytes: usize) -> Result<Room<'_>, StoreError> {
        let bytes = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(self.room_bytes);
        match self.room.acquire_many(bytes).await {
            Ok(permit) => Ok(Room { permit }),
            Err(_) => Err(self.refusal()),
        }
    }

    /// Puts an item at the end of the queue; never waits. Completes it with the failure when the
    /// store is already poisoned or closed.
    pub(crate) fn push(&self, room: Room<'_>, item: Item) {
        let bytes = room.permit.num_permits() as u64;
        self.submitted_bytes.fetch_add(bytes, Ordering::Relaxed);
        let refused = {
            let mut state = self.state.lock();
            if state.failed.is_none() && !state.closing {
                state.sequence += 1;
                let sequence = state.sequence;
                state.items.push_back(Queued {
                    item,
                    room: room.permit.num_permits(),
                    sequence,
                });
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
        state.lazy.insert(
            (group, key),
            LazyRow {
                value,
                after_sequence,
            },
        );
    }

    /// Forgets a lazy row, because a change in the queue supersedes it.
    pub(crate) fn forget_lazy(&self, group: GroupId, key: u8) {
        self.state.lock().lazy.remove(&(group, key));
    }

    pub(crate) fn refusal(&self) -> StoreError {
        self.state
            .lock()
            .failed
            .clone()
            .unwrap_or(StoreError::Closed)
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

    pub(crate) fn submitted_bytes(&self) -> u64 {
        self.submitted_bytes.load(Ordering::Relaxed)
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

    /// Lets the loop look at its housekeeping, whether anything is queued or not.
    pub(crate) fn nudge(&self) {
        self.state.lock().is_nudged = true;
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

    /// Takes items up to the batch limit, then the lazy rows that stand behind nothing still queued.
    pub(super) fn take_batch(&self, batch_bytes_max: usize, is_idle: bool) -> Batch {
        let mut batch = Batch {
            write: WriteBatch::default(),
            done: Vec::new(),
            room: 0,
            flush: Flush::Later,
            is_idle,
        };
        let mut state = self.state.lock();
        state.is_nudged = false;
        let mut bytes = 0;
        while let Some(front) = state.items.front() {
            let next = front.room;
            if !batch.done.is_empty() && bytes + next > batch_bytes_max {
                break;
            }
            let Some(queued) = state.items.pop_front() else {
                break;
            };
            bytes += next;
            batch.room += next;
            batch.write.ops.extend(queued.item.ops);
            batch.done.push((queued.item.kind, queued.item.done));
            if queued.item.flush == Flush::Required {
                batch.flush = Flush::Required;
            }
        }
        let written = state
            .items
            .front()
            .map_or(state.sequence, |front| front.sequence - 1);
        let ready = |row: &LazyRow| row.after_sequence <= written;
        let lazy = std::mem::take(&mut state.lazy);
        for ((group, key), row) in lazy {
            if ready(&row) {
                let key = Bytes::copy_from_slice(&[key]);
                let put = Op::Put {
                    group,
                    family: RowFamily::Meta,
                    key,
                    value: row.value,
                };
                batch.write.ops.push(put);
            } else {
                state.lazy.insert((group, key), row);
            }
        }
        batch
    }

    fn wake(&self) {
        self.thread_wake.notify_one();
        self.task_wake.notify_one();
    }
}

/// Why the loop woke.
pub(super) enum Wake {
    Work,
    Timer,
    End,
}

/// What one turn of the loop writes.
pub(super) struct Batch {
    pub(super) write: WriteBatch,
    pub(super) done: Vec<(ItemKind, Done)>,
    pub(super) room: usize,
    pub(super) flush: Flush,
    /// Nothing but lazy rows or a confirmation: it asks for no sync of its own.
    pub(super) is_idle: bool,
}

/// Why the loop should wake now, if it should.
pub(super) fn ready(state: &QueueState) -> Option<Wake> {
    if state.failed.is_some() {
        Some(Wake::End)
    } else if !state.items.is_empty() {
        Some(Wake::Work)
    } else if state.closing {
        Some(Wake::End)
    } else {
        state.is_nudged.then_some(Wake::Timer)
    }
}

/// When an append of a group is complete.
pub(crate) const fn append_flush(durability: Durability) -> Flush {
    match durability {
        Durability::Flush => Flush::Required,
        Durability::Os => Flush::Later,
    }
}
