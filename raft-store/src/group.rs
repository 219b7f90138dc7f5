//! One group's part of the store: its log's bounds, vote, marks and the newest entries.
//!
//! Owns the view of the log that openraft sees, and its order against the commit queue: what changes
//! here and what is queued changes under one lock. Does no input or output under that lock.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::MutexGuard;

use crate::codec;
use crate::commit::{Flush, OP_OVERHEAD_BYTES, Room};

use crate::config::Durability;
use crate::engine::{Engine, EntryMeta, Op, RowFamily};
use crate::error::StoreError;
use crate::group_inner::{GroupInner, GroupShared};
use crate::health::GroupHealth;
use crate::key;
use crate::log::GroupLog;
use crate::store::StoreShared;
use crate::types::{Entry, GroupId, LogId};

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

    /// Highest log id that this replica acknowledged, as far as it was noted.
    #[must_use]
    pub fn acknowledged(&self) -> Option<LogId> {
        self.shared.inner.lock().acknowledged
    }

    /// Notes that entries up to `log_id` are acknowledged. Written with the next batch. A mark beyond
    /// the log's end (learnt from peers) makes the group recovering. Marks are ordered by term, then
    /// index, as votes compare logs; lower ones are ignored.
    pub fn note_acknowledged(&self, log_id: LogId) {
        let mut inner = self.shared.inner.lock();
        if Some(log_id) <= inner.acknowledged || inner.is_removed {
            return;
        }
        inner.acknowledged = Some(log_id);
        let row = codec::encode_log_id(inner.acknowledged);
        self.store
            .queue
            .put_lazily(self.id(), key::ACKNOWLEDGED, row);
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
            return GroupHealth::Recovering {
                missing_from,
                acknowledged,
            };
        }
        if acknowledged > inner.last {
            return GroupHealth::Recovering {
                missing_from: inner.next_index().unwrap_or(0),
                acknowledged,
            };
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
            inner.acknowledged = inner.last;
            self.store.queue.forget_lazy(self.id(), key::ACKNOWLEDGED);
            ops.push(self.meta_put(key::ACKNOWLEDGED, codec::encode_log_id(inner.acknowledged)));
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
            let Some(last) = inner.last else {
                return Ok(Vec::new());
            };
            let first = inner.first_index.unwrap_or(u64::MAX);
            let end = end.min(last.index + 1);
            if from >= end || from < first {
                return Ok(Vec::new());
            }
            if inner.cached(from).is_some() {
                return Ok(inner.copy_cached(from, end, bytes_max));
            }
            inner
                .tail
                .front()
                .map_or(end, |front| end.min(front.entry.log_id.index))
        };
        if from >= end {
            return Ok(Vec::new());
        }
        let group = self.id();
        let read = self
            .read_engine(move |engine| engine.read_entries(group, from..end, bytes_max))
            .await;
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

    pub(crate) fn meta_put(&self, key: u8, value: Bytes) -> Op {
        let key = Bytes::copy_from_slice(&key::meta(key));
        Op::Put {
            group: self.id(),
            family: RowFamily::Meta,
            key,
            value,
        }
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
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, GroupInner>, StoreError> {
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
        room: Room<'_>,
        ops: Vec<Op>,
        flush: Flush,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        self.store.push(room, ops, flush)
    }

    /// A damaged entry is remembered on the disk, so that the next start recovers the group, and
    /// stops the store; so does every other failed read.
    pub(crate) async fn read_failed(&self, error: StoreError) -> StoreError {
        if let StoreError::DamagedEntry { group, index } = error {
            tracing::error!(
                raft_group = group.0,
                log_index = index,
                "damaged entry found"
            );
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
