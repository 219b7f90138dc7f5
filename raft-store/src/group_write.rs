//! Changes of a group: what is queued and what changes in memory, under one lock.
//!
//! Owns the order between the two, and what each change says to the engine. Waiting and durability
//! are the commit queue's.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec;
use crate::commit::{Done, Flush, Item, ItemKind, OP_OVERHEAD_BYTES, append_flush};
use crate::engine::{Op, RowFamily};
use crate::error::StoreError;
use crate::group::GroupStore;
use crate::group_inner::{CachedEntry, GroupInner};
use crate::key;
use crate::types::{Entry, LogId, Vote};

impl GroupStore {
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
        if let Some(expected) = inner
            .next_index()
            .filter(|expected| *expected != first_index)
        {
            let group = self.id();
            return Err(StoreError::NotContiguous {
                group,
                expected,
                actual: first_index,
            });
        }
        let mut ops = self.unhide(&mut inner);
        ops.reserve(entries.len());
        let mut cost = 0;
        let submission = self.store.tail.next_submission();
        for entry in entries {
            let record = codec::encode_entry(self.id(), &entry, inner.bytes_end);
            let payload_bytes = record.payload.len();
            let cached = CachedEntry {
                entry,
                bytes_before: inner.bytes_end,
                payload_bytes,
                submission,
            };
            cost += cached.cost();
            inner.bytes_end += payload_bytes as u64;
            inner.tail.push_back(cached);
            ops.push(Op::Append {
                group: self.id(),
                entry: record,
            });
        }
        if inner.first_index.is_none() {
            inner.first_index = Some(first_index);
        }
        inner.last = Some(last);
        self.store
            .tail
            .added(&self.shared, &mut inner, submission, cost);
        let flush = append_flush(inner.durability.unwrap_or(self.store.config.durability));
        let shared = Arc::clone(&self.shared);
        let done: Done = Box::new(move |result| {
            if result.is_ok() {
                let mut inner = shared.inner.lock();
                inner.durable_index = inner.durable_index.max(Some(last.index));
            }
            done(result);
        });
        self.store.queue.push(
            room,
            Item {
                ops,
                kind: ItemKind::Append,
                flush,
                done,
            },
        );
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
            ops.push(Op::Truncate {
                group: self.id(),
                from,
            });
            let end = inner.last;
            if inner.acknowledged > end {
                // A leader may take back what a follower had acknowledged but nobody committed.
                inner.acknowledged = end;
                self.store.queue.forget_lazy(self.id(), key::ACKNOWLEDGED);
                ops.push(self.meta_put(key::ACKNOWLEDGED, codec::encode_log_id(end)));
            }
            self.push(room, ops, Flush::Required)
        };
        waiter.await?;
        let mut inner = self.shared.inner.lock();
        inner.durable_index = inner
            .durable_index
            .filter(|durable| *durable < from)
            .or_else(|| from.checked_sub(1));
        Ok(())
    }

    pub(crate) async fn purge(&self, upto: LogId) -> Result<(), StoreError> {
        let after = self.entry_meta(upto.index + 1)?;
        let room = self.store.queue.room_for(4 * OP_OVERHEAD_BYTES).await?;
        let waiter = {
            let mut inner = self.lock()?;
            let freed = inner.cut_tail_to(upto.index);
            self.store.tail.removed(freed);
            let first = inner.first_index;
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
            if let Some(from) = first {
                let (group, upto) = (self.id(), upto.index);
                ops.push(Op::Purge { group, from, upto });
            }
            ops.push(self.meta_put(key::PURGED, codec::encode_log_id(inner.purged)));
            self.push(room, ops, Flush::Required)
        };
        waiter.await
    }

    pub(crate) async fn save_vote(&self, vote: Vote) -> Result<(), StoreError> {
        let room = self.store.queue.room_for(OP_OVERHEAD_BYTES).await?;
        let waiter = {
            let mut inner = self.lock()?;
            inner.vote = Some(vote);
            let ops = vec![self.meta_put(key::VOTE, codec::encode_vote(self.id(), &vote))];
            self.push(room, ops, Flush::Required)
        };
        if crate::planted::is_planted(crate::planted::Bug::VoteNotSynced) {
            return Ok(());
        }
        waiter.await
    }

    pub(crate) fn save_committed(&self, committed: Option<LogId>) -> Result<(), StoreError> {
        let mut inner = self.lock()?;
        inner.committed = committed;
        self.store
            .queue
            .put_lazily(self.id(), key::COMMITTED, codec::encode_log_id(committed));
        Ok(())
    }

    /// Submits changes behind everything submitted before and waits until they are durable.
    pub(crate) async fn submit_ordered(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        let bytes = ops
            .iter()
            .map(|op| op.payload_bytes() + OP_OVERHEAD_BYTES)
            .sum::<usize>();
        self.check_bytes(bytes)?;
        let room = self.store.queue.room_for(bytes).await?;
        let waiter = {
            let inner = self.lock()?;
            let durability = inner.durability.unwrap_or(self.store.config.durability);
            self.push(room, ops, append_flush(durability))
        };
        waiter.await
    }

    /// Changes that let go of a hidden, damaged end of the log, because it is being replaced.
    pub(crate) fn unhide(&self, inner: &mut GroupInner) -> Vec<Op> {
        let Some(from) = inner.hidden_from.take() else {
            return Vec::new();
        };
        let key = Bytes::copy_from_slice(&key::meta(key::HOLE));
        vec![
            Op::Truncate {
                group: self.id(),
                from,
            },
            Op::Delete {
                group: self.id(),
                family: RowFamily::Meta,
                key,
            },
        ]
    }

    fn check_size(&self, entries: &[Entry]) -> Result<usize, StoreError> {
        let payload = |entry: &Entry| match &entry.payload {
            crate::types::Payload::Normal(command) => command.0.len(),
            crate::types::Payload::Blank | crate::types::Payload::Membership(_) => 0,
        };
        let bytes = entries
            .iter()
            .map(|entry| payload(entry) + OP_OVERHEAD_BYTES)
            .sum();
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
}
