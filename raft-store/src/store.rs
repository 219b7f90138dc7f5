//! The store of one broker: all groups, the commit queue and its driver, the broker's own rows.
//!
//! Owns life cycle: open, load groups, removal, shutdown, failure. Does not know why a group exists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::commit::{
    CommitDriver, CommitLoop, CommitQueue, Done, Flush, Item, ItemKind, OP_OVERHEAD_BYTES, Room,
};
use crate::config::StoreConfig;
use crate::engine::{Engine, NODE_GROUP, Op, RecoveryReport, RowFamily, Usage, WriteBatch};
use crate::error::{Site, StoreError};
use crate::group::GroupStore;
use crate::group_inner::{GroupInner, GroupShared};
use crate::key;
use crate::load::load_group;
use crate::metrics::StoreMetrics;
use crate::repair::repair_damaged;
use crate::scrub::{Scrub, ScrubStep};
use crate::survivors::SurvivorCache;
use crate::tail_cache::TailCache;
use crate::types::GroupId;

/// Figures of a store, for metrics and admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Bytes waiting in the commit queue.
    pub queued_bytes: usize,
    /// Bytes of newest entries in memory.
    pub tail_cache_bytes: usize,
    /// Groups with a handle or data loaded.
    pub groups_loaded: usize,
    /// What the engine holds.
    pub usage: Usage,
}

/// Groups with a handle or data loaded.
#[derive(Debug, Default)]
struct Groups {
    loaded: BTreeMap<GroupId, Arc<GroupShared>>,
    /// Removals that were completed: what was read before one may be what it removed.
    removals: u64,
}

/// What every handle shares.
#[derive(Debug)]
pub(crate) struct StoreShared {
    pub(crate) engine: EngineHandle,
    pub(crate) queue: Arc<CommitQueue>,
    pub(crate) tail: Arc<TailCache>,
    pub(crate) config: StoreConfig,
    metrics: StoreMetrics,
    groups: Mutex<Groups>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    was_clean: bool,
}

/// The engine, with a `Debug` for the structures around it.
#[derive(Clone)]
pub(crate) struct EngineHandle(Arc<dyn Engine>);

impl std::fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl std::ops::Deref for EngineHandle {
    type Target = dyn Engine;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// The store of one broker; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<StoreShared>,
}

impl Store {
    /// Starts a store over an opened engine. [`CommitDriver::Task`] needs a tokio runtime around it.
    ///
    /// # Errors
    /// When the engine fails, rows of a damaged group cannot be read, or the commit thread cannot be
    /// started.
    pub fn open(
        engine: Arc<dyn Engine>,
        driver: CommitDriver,
        config: StoreConfig,
    ) -> Result<Self, StoreError> {
        let metrics = StoreMetrics::register();
        metrics.poisoned.set(0.0);
        let was_clean = take_clean_marker(&*engine)?;
        repair_damaged(&*engine)?;
        let queue = Arc::new(CommitQueue::new(&config));
        let tail = Arc::new(TailCache::new(config.tail_cache_bytes, metrics.clone()));
        let after_batch: Box<dyn Fn() + Send + Sync> = {
            let (tail, engine, metrics) = (Arc::clone(&tail), Arc::clone(&engine), metrics.clone());
            Box::new(move || {
                tail.evict();
                #[expect(clippy::cast_precision_loss, reason = "a gauge takes floats")]
                metrics.segments.set(engine.usage().segments as f64);
            })
        };
        let commit = CommitLoop::new(
            Arc::clone(&engine),
            Arc::clone(&queue),
            metrics.clone(),
            &config,
            after_batch,
        );
        let thread = match driver {
            CommitDriver::Thread => {
                let builder = std::thread::Builder::new().name("raftmq-commit".to_owned());
                let spawned = builder.spawn(move || commit.run_blocking());
                Some(spawned.map_err(|error| StoreError::io(Site::Open, &error))?)
            }
            CommitDriver::Task => {
                // The queue owns the task's end: it stops when the queue is closed or has failed.
                drop(tokio::spawn(commit.run_task()));
                None
            }
        };
        let shared = StoreShared {
            engine: EngineHandle(engine),
            queue,
            tail,
            config,
            metrics,
            groups: Mutex::default(),
            thread: Mutex::new(thread),
            was_clean,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Every group that holds something, in order. When the index cannot be read the store is poisoned
    /// and the list is what memory knows.
    #[must_use]
    pub fn group_ids(&self) -> Vec<GroupId> {
        let mut ids: BTreeSet<GroupId> = match self.shared.engine.group_ids() {
            Ok(ids) => ids.into_iter().collect(),
            Err(error) => {
                self.shared.queue.fail(&error);
                BTreeSet::new()
            }
        };
        for (id, group) in &self.shared.groups.lock().loaded {
            if group.inner.lock().is_removed {
                ids.remove(id);
            } else {
                ids.insert(*id);
            }
        }
        ids.into_iter().collect()
    }

    /// Handle of a group, loaded or created on first use. When it cannot be loaded the store is
    /// poisoned and every call of the handle fails.
    #[must_use]
    pub fn group(&self, id: GroupId) -> GroupStore {
        loop {
            let removals = {
                let groups = self.shared.groups.lock();
                if let Some(shared) = groups.loaded.get(&id) {
                    return self.handle(Arc::clone(shared));
                }
                groups.removals
            };
            let inner = match load_group(&*self.shared.engine, id) {
                Ok(inner) => inner,
                Err(error) => {
                    tracing::error!(raft_group = id.0, %error, "group could not be loaded");
                    self.shared.queue.fail(&error);
                    GroupInner::default()
                }
            };
            let mut groups = self.shared.groups.lock();
            if groups.removals != removals {
                // What was read may have been removed meanwhile.
                continue;
            }
            let loaded = || {
                Arc::new(GroupShared {
                    id,
                    inner: Mutex::new(inner),
                    survivors: SurvivorCache::default(),
                })
            };
            let shared = Arc::clone(groups.loaded.entry(id).or_insert_with(loaded));
            return self.handle(shared);
        }
    }

    fn handle(&self, shared: Arc<GroupShared>) -> GroupStore {
        GroupStore {
            store: Arc::clone(&self.shared),
            shared,
        }
    }

    /// Removes a group: its log, rows and cached entries. Handles taken before refuse everything from
    /// now on; a later [`Store::group`] starts an empty one. Removing an unknown group is no error.
    ///
    /// # Errors
    /// When the store has failed.
    pub async fn remove_group(&self, id: GroupId) -> Result<(), StoreError> {
        let room = self.shared.queue.room_for(OP_OVERHEAD_BYTES).await?;
        self.shared.queue.check()?;
        let group = self.group(id).shared;
        let (sender, receiver) = oneshot::channel();
        {
            let mut inner = group.inner.lock();
            let mut ops = Vec::new();
            // A second removal waits behind the first.
            if !inner.is_removed {
                inner.is_removed = true;
                for row in [key::COMMITTED, key::ACKNOWLEDGED] {
                    self.shared.queue.forget_lazy(id, row);
                }
                ops.push(Op::RemoveGroup { group: id });
            }
            let (shared, removed) = (Arc::clone(&self.shared), Arc::clone(&group));
            let done: Done = Box::new(move |result: Result<(), StoreError>| {
                if result.is_ok() {
                    shared.forget(&removed);
                }
                // A caller that went away does not need the answer.
                let _gone = sender.send(result);
            });
            let (kind, flush) = (ItemKind::Other, Flush::Required);
            self.shared.queue.push(
                room,
                Item {
                    ops,
                    kind,
                    flush,
                    done,
                },
            );
        }
        receiver.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Reads one of the broker's own rows.
    ///
    /// # Errors
    /// When the store has failed.
    pub fn node_row(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.shared.queue.check()?;
        self.shared
            .engine
            .get_row(NODE_GROUP, RowFamily::Node, key.as_bytes())
    }

    /// Writes one of the broker's own rows, durably.
    ///
    /// # Errors
    /// When the store has failed.
    pub async fn put_node_row(&self, key: &str, value: Bytes) -> Result<(), StoreError> {
        self.put_node_bytes(key.as_bytes(), value).await
    }

    async fn put_node_bytes(&self, key: &[u8], value: Bytes) -> Result<(), StoreError> {
        let room = self
            .shared
            .queue
            .room_for(key.len() + value.len() + OP_OVERHEAD_BYTES)
            .await?;
        let key = Bytes::copy_from_slice(key);
        let put = Op::Put {
            group: NODE_GROUP,
            family: RowFamily::Node,
            key,
            value,
        };
        self.shared.push(room, vec![put], Flush::Required).await
    }

    /// The first storage error, once there is one. From then on every call fails, and the host must
    /// end the process within a second (exit code 74).
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<StoreError>> {
        self.shared.queue.failure()
    }

    /// Age of the last completed sync (or of the first submission after it) while something waits
    /// for one; `None` when nothing waits.
    #[must_use]
    pub fn sync_age(&self) -> Option<Duration> {
        self.shared.queue.sync_age()
    }

    /// Whether the store that used this disk before was shut down and not killed.
    #[must_use]
    pub fn was_shut_down_cleanly(&self) -> bool {
        self.shared.was_clean
    }

    /// What happened when the engine was opened.
    #[must_use]
    pub fn recovery(&self) -> RecoveryReport {
        self.shared.engine.recovery().clone()
    }

    /// Figures for metrics and admission.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            queued_bytes: self.shared.queue.queued_bytes(),
            tail_cache_bytes: self.shared.tail.used(),
            groups_loaded: self.shared.groups.lock().loaded.len(),
            usage: self.shared.engine.usage(),
        }
    }

    /// Bytes that can still be written; `None` where nothing limits them.
    ///
    /// # Errors
    /// When the store has failed, or the disk does not say.
    pub async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.read(|engine| engine.free_bytes()).await
    }

    /// Bytes that this handle's store was asked to write since it was opened, payloads and a fixed cost
    /// for each change: what [`Self::free_bytes`] measured has shrunk by about as much since.
    #[must_use]
    pub fn submitted_bytes(&self) -> u64 {
        self.shared.queue.submitted_bytes()
    }

    /// Whether space is short: from now on housekeeping frees what it can at once, also while nothing
    /// is written. Each repetition of `true` has it look again.
    pub fn set_tight(&self, is_tight: bool) {
        self.shared.engine.set_tight(is_tight);
        if is_tight {
            self.shared.queue.nudge();
        }
    }

    /// A pass over everything that is kept, to find damage; the host calls its steps.
    #[must_use]
    pub fn scrub(&self) -> Scrub {
        Scrub::new(self.clone())
    }

    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Engine) -> Result<T, StoreError> + Send + 'static,
    {
        self.shared.queue.check()?;
        self.shared.read_engine(read).await
    }

    pub(crate) fn note_scrubbed(&self, step: ScrubStep) {
        let metrics = &self.shared.metrics;
        metrics.scrubbed_bytes.increment(step.bytes);
        metrics.scrub_damage.increment(step.damaged);
        metrics
            .scrub_passes
            .increment(u64::from(step.is_pass_complete));
    }

    /// Writes everything queued and the clean-shutdown marker, then ends the commit loop. Later calls
    /// of any handle fail with [`StoreError::Closed`]. Repeating it is harmless.
    ///
    /// # Errors
    /// When the store has failed before or fails now.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let marked = self
            .put_node_bytes(key::CLEAN_SHUTDOWN, Bytes::from_static(&[1]))
            .await;
        self.shared.queue.close();
        self.shared.queue.wait_stopped().await;
        let thread = self.shared.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("commit thread panicked");
        }
        match self.shared.queue.failure().borrow().clone() {
            Some(error) => Err(error),
            None => match marked {
                Ok(()) | Err(StoreError::Closed) => Ok(()),
                Err(error) => Err(error),
            },
        }
    }
}

impl StoreShared {
    /// Lets go of a group whose removal is durable: the next handle starts an empty one.
    fn forget(&self, removed: &Arc<GroupShared>) {
        self.tail.forget(&mut removed.inner.lock());
        let mut groups = self.groups.lock();
        groups.removals += 1;
        if let Some(loaded) = groups.loaded.get(&removed.id)
            && Arc::ptr_eq(loaded, removed)
        {
            groups.loaded.remove(&removed.id);
        }
    }

    /// Queues changes; the returned future waits until they are complete.
    pub(crate) fn push(
        &self,
        room: Room<'_>,
        ops: Vec<Op>,
        flush: Flush,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| {
            // A caller that went away does not need the answer.
            let _gone = sender.send(result);
        });
        self.queue.push(
            room,
            Item {
                ops,
                kind: ItemKind::Other,
                flush,
                done,
            },
        );
        async move { receiver.await.unwrap_or(Err(StoreError::Closed)) }
    }

    pub(crate) async fn read_engine<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Engine) -> Result<T, StoreError> + Send + 'static,
    {
        if !self.engine.reads_block() {
            return read(&*self.engine);
        }
        let engine = self.engine.clone();
        let joined = tokio::task::spawn_blocking(move || read(&*engine)).await;
        joined.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for StoreShared {
    fn drop(&mut self) {
        // The loop drains what is queued and ends; nobody is left to wait for it.
        self.queue.close();
    }
}

/// Reads the clean-shutdown marker and removes it, durably, before anything else is written.
fn take_clean_marker(engine: &dyn Engine) -> Result<bool, StoreError> {
    let row = engine.get_row(NODE_GROUP, RowFamily::Node, key::CLEAN_SHUTDOWN)?;
    if row.is_none() {
        return Ok(false);
    }
    let key = Bytes::from_static(key::CLEAN_SHUTDOWN);
    let delete = Op::Delete {
        group: NODE_GROUP,
        family: RowFamily::Node,
        key,
    };
    engine.write(WriteBatch { ops: vec![delete] })?;
    engine.sync()?;
    Ok(true)
}
