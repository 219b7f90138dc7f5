//! One group's part of the store: its log's bounds, vote, marks and the newest entries.
//!
//! Owns the view of the log that openraft sees, and its order against the commit queue: what changes
//! here and what is queued changes under one lock. Does no input or output under that lock.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::codec;
use crate::commit::{Done, Flush, Item, ItemKind, OP_OVERHEAD_BYTES, append_flush};
use crate::config::Durability;
use crate::engine::{Engine, EntryMeta, Op, RowFamily};
use crate::error::StoreError;
use crate::health::GroupHealth;
use crate::key;
use crate::log::GroupLog;
use crate::store::StoreShared;
use crate::tail_cache::{ENTRY_OVERHEAD_BYTES, TailCache};
use crate::types::{Entry, GroupId, LogId, Vote};

/// An entry in the cache.
#[derive(Debug, Clone)]
pub(crate) struct CachedEntry {
    pub(crate) entry: Entry,
    pub(crate) bytes_before: u64,
    pub(crate) payload_bytes: usize,
}

impl CachedEntry {
    const fn cost(&self) -> usize {
        self.payload_bytes + ENTRY_OVERHEAD_BYTES
    }
}

/// What a group knows in memory.
#[derive(Debug, Default)]
pub(crate) struct GroupInner {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    /// Log index of the first entry, when there is one.
    pub(crate) first_index: Option<u64>,
    /// Payload bytes ever appended before the first entry, and up to the last one.
    pub(crate) bytes_first: u64,
    pub(crate) bytes_end: u64,
    /// Highest log index that is written as durably as the group's mode asks.
    pub(crate) durable_index: Option<u64>,
    pub(crate) acknowledged: u64,
    /// Entries from here on are on the disk but hidden, because this one is damaged.
    pub(crate) hidden_from: Option<u64>,
    pub(crate) damaged: Option<&'static str>,
    pub(crate) is_removed: bool,
    pub(crate) durability: Option<Durability>,
    /// Newest entries, contiguous up to the last one.
    pub(crate) tail: VecDeque<CachedEntry>,
}

impl GroupInner {
    fn next_index(&self) -> Option<u64> {
        self.last.map(|last| last.index + 1)
    }

    /// Drops cached entries from `from` on and gives back their cost.
    fn cut_tail_from(&mut self, from: u64) -> usize {
        let mut freed = 0;
        while self.tail.back().is_some_and(|cached| cached.entry.log_id.index >= from) {
            freed += self.tail.pop_back().map_or(0, |cached| cached.cost());
        }
        freed
    }

    /// Drops cached entries up to `upto`, inclusive, and gives back their cost.
    fn cut_tail_to(&mut self, upto: u64) -> usize {
        let mut freed = 0;
        while self.tail.front().is_some_and(|cached| cached.entry.log_id.index <= upto) {
            freed += self.tail.pop_front().map_or(0, |cached| cached.cost());
        }
        if self.tail.is_empty() {
            self.tail = VecDeque::new();
        }
        freed
    }

    /// Drops every cached entry and gives back their cost.
    pub(crate) fn clear_tail(&mut self) -> usize {
        self.cut_tail_to(u64::MAX)
    }

    pub(crate) fn cached(&self, index: u64) -> Option<&CachedEntry> {
        let front = self.tail.front()?.entry.log_id.index;
        let place = usize::try_from(index.checked_sub(front)?).ok()?;
        self.tail.get(place)
    }
}

/// A group as all its handles share it.
#[derive(Debug)]
pub(crate) struct GroupShared {
    pub(crate) id: GroupId,
    pub(crate) inner: Mutex<GroupInner>,
}

impl GroupShared {
    /// Evicts cached entries up to `upto` if they are durable; `false` when they are not.
    pub(crate) fn evict_up_to(&self, upto: u64, cache: &TailCache) -> bool {
        let mut inner = self.inner.lock();
        if inner.cached(upto).is_some() && inner.durable_index.is_none_or(|durable| durable < upto) {
            return false;
        }
        let upto = inner.durable_index.map_or(upto, |durable| durable.min(upto));
        let freed = inner.cut_tail_to(upto);
        cache.removed(freed);
        true
    }
}

/// Handle of one group; cheap to clone.
#[derive(Debug, Clone)]
pub struct GroupStore {
    pub(crate) store: Arc<StoreShared>,
    pub(crate) shared: Arc<GroupShared>,
}

impl GroupStore {
    /// The group.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.shared.id
    }

    /// openraft's log storage of this group.
    #[must_use]
    pub fn log(&self) -> GroupLog {
        GroupLog::new(self.clone())
    }

    /// Log index of the oldest entry, or `None` when the log is empty.
    #[must_use]
    pub fn first_log_index(&self) -> Option<u64> {
        self.shared.inner.lock().first_index
    }

    /// Log index of the newest entry, or of the purge point when the log is empty after one.
    #[must_use]
    pub fn last_log_index(&self) -> Option<u64> {
        self.shared.inner.lock().last.map(|last| last.index)
    }

    /// Payload bytes of the entries in the log.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        let inner = self.shared.inner.lock();
        inner.bytes_end.saturating_sub(inner.bytes_first)
    }

    /// Payload bytes of the entries from `log_index` on; `None` when it is not in the log.
    ///
    /// # Errors
    /// When the store has failed.
    pub fn log_bytes_from(&self, log_index: u64) -> Result<Option<u64>, StoreError> {
        let meta = self.entry_meta(log_index)?;
        let end = self.shared.inner.lock().bytes_end;
        Ok(meta.map(|meta| end.saturating_sub(meta.bytes_before)))
    }

    /// Log id of an entry, from memory or the index; `None` when it is not in the log.
    ///
    /// # Errors
    /// When the store has failed.
    pub fn log_id_at(&self, log_index: u64) -> Result<Option<LogId>, StoreError> {
        let meta = self.entry_meta(log_index)?;
        Ok(meta.map(|meta| crate::types::log_id(meta.term, meta.index)))
    }

    /// Chooses when this group's appends are complete, instead of the store's own setting.
    pub fn set_durability(&self, durability: Durability) {
        self.shared.inner.lock().durability = Some(durability);
    }

    /// Highest log index that this replica acknowledged, as far as it was noted; 0 for none.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.inner.lock().acknowledged
    }

    /// Notes that entries up to `log_index` are acknowledged. Written with the next batch. A mark
    /// beyond the log's end (learnt from peers) makes the group recovering. Lower marks are ignored.
    pub fn note_acknowledged(&self, log_index: u64) {
        let mut inner = self.shared.inner.lock();
        if log_index <= inner.acknowledged || inner.is_removed {
            return;
        }
        inner.acknowledged = log_index;
        self.store.queue.put_lazily(self.id(), key::ACKNOWLEDGED, codec::encode_u64(log_index));
    }

    /// Whether the log can be trusted.
    #[must_use]
    pub fn health(&self) -> GroupHealth {
        let inner = self.shared.inner.lock();
        let acknowledged = inner.acknowledged;
        if let Some(what) = inner.damaged {
            return GroupHealth::Damaged { what };
        }
        if let Some(missing_from) = inner.hidden_from {
            return GroupHealth::Recovering { missing_from, acknowledged };
        }
        let next = inner.next_index().unwrap_or(0);
        if acknowledged > 0 && next <= acknowledged {
            return GroupHealth::Recovering { missing_from: next, acknowledged };
        }
        GroupHealth::Ok
    }

    /// Gives up what is missing: the log's end becomes the acknowledged mark, durably. Only on an
    /// operator's order, where no peer can supply the entries.
    ///
    /// # Errors
    /// When the store has failed or the group was removed.
    pub async fn accept_loss(&self) -> Result<(), StoreError> {
        let room = self.store.queue.room_for(4 * OP_OVERHEAD_BYTES).await?;
        let waiter = {
            let mut inner = self.lock()?;
            let mut ops = self.unhide(&mut inner);
            inner.acknowledged = inner.last.map_or(0, |last| last.index);
            self.store.queue.forget_lazy(self.id(), key::ACKNOWLEDGED);
            ops.push(self.meta_put(key::ACKNOWLEDGED, codec::encode_u64(inner.acknowledged)));
            self.push(room, ops, Flush::Required)
        };
        waiter.await
    }

    /// Reads entries from `from_log_index` on, in order and without a gap, until `bytes_max` payload
    /// bytes are passed: at least one entry if there is one. Empty when `from_log_index` was purged
    /// or lies beyond the end. The newest entries come from memory.
    ///
    /// # Errors
    /// When the store has failed, or an entry is damaged (which fails the store).
    pub async fn read_entries(
        &self,
        from_log_index: u64,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read_range(from_log_index, u64::MAX, bytes_max).await
    }

    pub(crate) async fn read_range(
        &self,
        from: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let end = {
            let inner = self.lock()?;
            let Some(last) = inner.last else { return Ok(Vec::new()) };
            let first = inner.first_index.unwrap_or(u64::MAX);
            let end = end.min(last.index + 1);
            if from >= end || from < first {
                return Ok(Vec::new());
            }
            if inner.cached(from).is_some() {
                return Ok(copy_cached(&inner, from, end, bytes_max));
            }
            inner.tail.front().map_or(end, |front| end.min(front.entry.log_id.index))
        };
        if from >= end {
            return Ok(Vec::new());
        }
        let group = self.id();
        let read =
            self.read_engine(move |engine| engine.read_entries(group, from..end, bytes_max)).await;
        let records = match read {
            Ok(records) => records,
            Err(error) => return Err(self.read_failed(error).await),
        };
        if records.first().is_some_and(|record| record.index != from) {
            // Purged while it was read.
            return Ok(Vec::new());
        }
        records.iter().map(codec::decode_entry).collect()
    }

    /// Appends entries; `done` is called once they are as durable as the group's mode asks. They are
    /// readable when this returns.
    pub(crate) async fn append(&self, entries: Vec<Entry>, done: Done) -> Result<(), StoreError> {
        let Some(last) = entries.last().map(|entry| entry.log_id) else {
            done(Ok(()));
            return Ok(());
        };
        let bytes = self.check_size(&entries)?;
        let room = self.store.queue.room_for(bytes).await?;
        let mut inner = self.lock()?;
        let first_index = entries[0].log_id.index;
        if let Some(expected) = inner.next_index().filter(|expected| *expected != first_index) {
            let group = self.id();
            return Err(StoreError::NotContiguous { group, expected, actual: first_index });
        }
        let mut ops = self.unhide(&mut inner);
        ops.reserve(entries.len());
        let mut cost = 0;
        for entry in entries {
            let record = codec::encode_entry(self.id(), &entry, inner.bytes_end);
            let payload_bytes = record.payload.len();
            let cached = CachedEntry { entry, bytes_before: inner.bytes_end, payload_bytes };
            cost += cached.cost();
            inner.bytes_end += payload_bytes as u64;
            inner.tail.push_back(cached);
            ops.push(Op::Append { group: self.id(), entry: record });
        }
        if inner.first_index.is_none() {
            inner.first_index = Some(first_index);
        }
        inner.last = Some(last);
        let flush = append_flush(inner.durability.unwrap_or(self.store.config.durability));
        let shared = Arc::clone(&self.shared);
        let done: Done = Box::new(move |result| {
            if result.is_ok() {
                let mut inner = shared.inner.lock();
                inner.durable_index = inner.durable_index.max(Some(last.index));
            }
            done(result);
        });
        self.store.queue.push(room, Item { ops, kind: ItemKind::Append, flush, done });
        drop(inner);
        self.store.tail.added(&self.shared, last.index, cost);
        Ok(())
    }

    pub(crate) async fn truncate_after(&self, last: Option<LogId>) -> Result<(), StoreError> {
        let from = last.map_or(0, |last| last.index + 1);
        let meta = self.entry_meta(from)?;
        let room = self.store.queue.room_for(4 * OP_OVERHEAD_BYTES).await?;
        let waiter = {
            let mut inner = self.lock()?;
            let freed = inner.cut_tail_from(from);
            self.store.tail.removed(freed);
            if let Some(meta) = meta {
                inner.bytes_end = meta.bytes_before;
            }
            let kept = match (inner.last, last) {
                (Some(end), Some(last)) if end.index <= last.index => Some(end),
                (Some(_) | None, last) => last,
            };
            inner.last = kept.max(inner.purged);
            if inner.first_index.is_some_and(|first| first >= from) {
                inner.first_index = None;
                inner.bytes_first = inner.bytes_end;
            }
            let mut ops = self.unhide(&mut inner);
            ops.push(Op::Truncate { group: self.id(), from });
            let end = inner.last.map_or(0, |last| last.index);
            if inner.acknowledged > end {
                // A leader may take back what a follower had acknowledged but nobody committed.
                inner.acknowledged = end;
                self.store.queue.forget_lazy(self.id(), key::ACKNOWLEDGED);
                ops.push(self.meta_put(key::ACKNOWLEDGED, codec::encode_u64(end)));
            }
            self.push(room, ops, Flush::Required)
        };
        waiter.await?;
        let mut inner = self.shared.inner.lock();
        inner.durable_index = inner.durable_index.filter(|durable| *durable < from).or_else(|| from.checked_sub(1));
        Ok(())
    }

    pub(crate) async fn purge(&self, upto: LogId) -> Result<(), StoreError> {
        let after = self.entry_meta(upto.index + 1)?;
        let room = self.store.queue.room_for(4 * OP_OVERHEAD_BYTES).await?;
        let waiter = {
            let mut inner = self.lock()?;
            let freed = inner.cut_tail_to(upto.index);
            self.store.tail.removed(freed);
            inner.purged = inner.purged.max(Some(upto));
            if inner.last.is_none_or(|last| last.index <= upto.index) {
                inner.last = Some(upto);
                inner.first_index = None;
                inner.bytes_first = inner.bytes_end;
            } else if let Some(after) = after {
                inner.first_index = inner.first_index.max(Some(after.index));
                inner.bytes_first = after.bytes_before;
            }
            let mut ops = Vec::with_capacity(4);
            if inner.hidden_from.is_some_and(|hidden| hidden <= upto.index) {
                ops = self.unhide(&mut inner);
            }
            ops.push(Op::Purge { group: self.id(), upto: upto.index });
            ops.push(self.meta_put(key::PURGED, codec::encode_log_id(inner.purged)));
            self.push(room, ops, Flush::Required)
        };
        waiter.await
    }

    pub(crate) async fn save_vote(&self, vote: Vote) -> Result<(), StoreError> {
        let room = self.store.queue.room_for(OP_OVERHEAD_BYTES).await?;
        let not_synced = crate::planted::is_planted(crate::planted::Bug::VoteNotSynced);
        let waiter = {
            let mut inner = self.lock()?;
            inner.vote = Some(vote);
            let ops = vec![self.meta_put(key::VOTE, codec::encode_vote(self.id(), &vote))];
            self.push(room, ops, if not_synced { Flush::Later } else { Flush::Required })
        };
        waiter.await
    }

    pub(crate) fn save_committed(&self, committed: Option<LogId>) -> Result<(), StoreError> {
        let mut inner = self.lock()?;
        inner.committed = committed;
        self.store.queue.put_lazily(self.id(), key::COMMITTED, codec::encode_log_id(committed));
        Ok(())
    }

    /// Submits changes behind everything submitted before and waits until they are durable.
    pub(crate) async fn submit_ordered(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        let bytes = ops.iter().map(|op| op.payload_bytes() + OP_OVERHEAD_BYTES).sum::<usize>();
        self.check_bytes(bytes)?;
        let room = self.store.queue.room_for(bytes).await?;
        let waiter = {
            let inner = self.lock()?;
            let durability = inner.durability.unwrap_or(self.store.config.durability);
            self.push(room, ops, append_flush(durability))
        };
        waiter.await
    }

    pub(crate) fn meta_put(&self, key: u8, value: Bytes) -> Op {
        let key = Bytes::copy_from_slice(&key::meta(key));
        Op::Put { group: self.id(), family: RowFamily::Meta, key, value }
    }

    /// Runs a read of the engine where it may block.
    pub(crate) async fn read_engine<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Engine) -> Result<T, StoreError> + Send + 'static,
    {
        drop(self.lock()?);
        self.store.read_engine(read).await
    }

    pub(crate) fn entry_meta(&self, index: u64) -> Result<Option<EntryMeta>, StoreError> {
        {
            let inner = self.lock()?;
            if let Some(cached) = inner.cached(index) {
                return Ok(Some(EntryMeta {
                    index,
                    term: cached.entry.log_id.leader_id.term,
                    bytes_before: cached.bytes_before,
                    payload_bytes: u32::try_from(cached.payload_bytes).unwrap_or(u32::MAX),
                }));
            }
            let is_within = inner.first_index.is_some_and(|first| first <= index)
                && inner.last.is_some_and(|last| index <= last.index);
            if !is_within {
                return Ok(None);
            }
        }
        self.store.engine.entry_meta(self.id(), index)
    }

    /// Locks the group for a use that a removed group or a failed store refuses.
    pub(crate) fn lock(&self) -> Result<parking_lot::MutexGuard<'_, GroupInner>, StoreError> {
        self.store.queue.check()?;
        let inner = self.shared.inner.lock();
        if inner.is_removed {
            return Err(StoreError::GroupRemoved { group: self.id() });
        }
        Ok(inner)
    }

    /// Queues changes; the returned future waits for them. Called with the group locked, so that
    /// memory and queue agree.
    pub(crate) fn push(
        &self,
        room: crate::commit::Room<'_>,
        ops: Vec<Op>,
        flush: Flush,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        self.store.push(room, ops, flush)
    }

    /// Changes that let go of a hidden, damaged end of the log, because it is being replaced.
    fn unhide(&self, inner: &mut GroupInner) -> Vec<Op> {
        let Some(from) = inner.hidden_from.take() else { return Vec::new() };
        let key = Bytes::copy_from_slice(&key::meta(key::HOLE));
        vec![
            Op::Truncate { group: self.id(), from },
            Op::Delete { group: self.id(), family: RowFamily::Meta, key },
        ]
    }

    fn check_size(&self, entries: &[Entry]) -> Result<usize, StoreError> {
        let payload = |entry: &Entry| match &entry.payload {
            crate::types::Payload::Normal(command) => command.0.len(),
            crate::types::Payload::Blank | crate::types::Payload::Membership(_) => 0,
        };
        let bytes = entries.iter().map(|entry| payload(entry) + OP_OVERHEAD_BYTES).sum();
        self.check_bytes(bytes)?;
        Ok(bytes)
    }

    fn check_bytes(&self, bytes: usize) -> Result<(), StoreError> {
        let bytes_max = self.store.config.operation_bytes_max;
        if bytes > bytes_max {
            return Err(StoreError::TooLarge { bytes, bytes_max });
        }
        Ok(())
    }

    /// A damaged entry is remembered on the disk, so that the next start recovers the group, and
    /// stops the store; so does every other failed read.
    async fn read_failed(&self, error: StoreError) -> StoreError {
        if let StoreError::DamagedEntry { group, index } = error {
            tracing::error!(raft_group = group.0, log_index = index, "damaged entry found");
            let op = self.meta_put(key::HOLE, codec::encode_u64(index));
            if let Err(second) = self.submit_ordered(vec![op]).await {
                tracing::error!(error = %second, "damage could not be recorded");
            }
        }
        if error.is_fatal() {
            self.store.queue.fail(&error);
        }
        error
    }
}

fn copy_cached(inner: &GroupInner, from: u64, end: u64, bytes_max: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    let front = inner.tail.front().map_or(from, |front| front.entry.log_id.index);
    let skip = usize::try_from(from - front).unwrap_or(usize::MAX);
    for cached in inner.tail.iter().skip(skip) {
        if cached.entry.log_id.index >= end || (!entries.is_empty() && bytes >= bytes_max) {
            break;
        }
        bytes += cached.payload_bytes;
        entries.push(cached.entry.clone());
    }
    entries
}
