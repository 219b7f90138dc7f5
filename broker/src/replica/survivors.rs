//! Reads below the purge point of a compacted partition: what is left of its log there.
//!
//! Does not know how it came to be left (`cleaner.rs`).

use std::sync::Arc;

use bytes::Bytes;
use raftmq_core::ids::Offset;
use raftmq_core::partition::compaction::{ChunkHead, Survivors};
use raftmq_store::{GroupStore, SurvivorIndex};

use super::error::ReplicaError;
use super::fetch::{FoundOffset, first_record_at};
use super::local::Replica;

/// Looks at the survivors anew, when one went while it was read.
const ATTEMPTS_MAX: usize = 16;

pub(super) fn storage(error: impl std::fmt::Display) -> ReplicaError {
    ReplicaError::Storage(error.to_string())
}

/// The survivors as they were when it was asked for them.
#[derive(Debug, Clone)]
pub(super) struct SurvivorView {
    pub(super) index: Arc<SurvivorIndex>,
    pub(super) whole: Survivors,
}

impl SurvivorView {
    pub(super) async fn of(store: &GroupStore) -> Result<Self, ReplicaError> {
        let index = store.survivors().await.map_err(storage)?;
        let whole = Survivors::decode(index.note.clone()).map_err(storage)?;
        Ok(Self { index, whole })
    }

    /// Every chunk in force, ascending.
    pub(super) fn heads(&self) -> Result<Vec<ChunkHead>, ReplicaError> {
        let end = key_of(self.whole.end);
        let notes = self.index.heads.range(..end);
        notes
            .map(|(_, note)| ChunkHead::decode(note.clone()).map_err(storage))
            .collect()
    }

    /// The first chunk that reaches past an offset.
    fn chunk_beyond(&self, offset: Offset) -> Result<Option<ChunkHead>, ReplicaError> {
        let end = key_of(self.whole.end);
        let at = key_of(offset);
        let before = self.index.heads.range(..=at.min(end)).next_back();
        let after = self
            .index
            .heads
            .range(at.saturating_add(1)..end.max(at + 1));
        for (key, note) in before.into_iter().chain(after) {
            let head = ChunkHead::decode(note.clone()).map_err(storage)?;
            if *key < end && head.end > offset {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// The batches of a chunk; `None` when it went meanwhile.
    pub(super) async fn read(
        &self,
        store: &GroupStore,
        head: &ChunkHead,
    ) -> Result<Option<Vec<Bytes>>, ReplicaError> {
        let key = key_of(head.base_offset);
        let body = store.read_survivor(self.index.generation, key).await;
        let Some(body) = body.map_err(storage)? else {
            return Ok(None);
        };
        let batches = raftmq_records::batches(&body);
        let whole = batches.map(|batch| batch.map(|(_, bytes)| bytes).map_err(storage));
        whole.collect::<Result<Vec<_>, _>>().map(Some)
    }
}

/// The key of a chunk that begins at an offset.
pub(super) fn key_of(offset: Offset) -> u64 {
    u64::try_from(offset.get()).unwrap_or(0)
}

impl Replica {
    pub(super) async fn survivors(&self) -> Result<SurvivorView, ReplicaError> {
        SurvivorView::of(self.group().store()).await
    }

    /// Batches of survivors from `offset` on: at most `bytes_max`, but at least one if there is one.
    /// Empty when there is none left before the log begins.
    pub(super) async fn read_survivors(
        &self,
        offset: i64,
        bytes_max: usize,
    ) -> Result<Vec<Bytes>, ReplicaError> {
        let (mut next, mut bytes, mut found) = (Offset(offset), 0, Vec::new());
        for _ in 0..ATTEMPTS_MAX {
            let view = self.survivors().await?;
            while let Some(head) = view.chunk_beyond(next)? {
                let Some(batches) = view.read(self.group().store(), &head).await? else {
                    break;
                };
                for batch in batches {
                    let header = raftmq_records::BatchHeader::parse(&batch).map_err(storage)?;
                    if header.next_offset() <= next.get() {
                        continue;
                    }
                    bytes += batch.len();
                    if bytes > bytes_max && !found.is_empty() {
                        return Ok(found);
                    }
                    next = Offset(header.next_offset());
                    found.push(batch);
                }
                next = next.max(head.end);
            }
            if view.chunk_beyond(next)?.is_none() {
                break;
            }
            // The index of a later moment names what took its place.
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    /// The first survivor from `log_start` on that has this timestamp or a later one.
    pub(super) async fn search_survivors(
        &self,
        timestamp_ms: i64,
        log_start: i64,
    ) -> Result<Option<FoundOffset>, ReplicaError> {
        let heads = self.survivors().await?.heads()?;
        let promising =
            |head: &&ChunkHead| head.end.get() > log_start && head.max_timestamp_ms >= timestamp_ms;
        for head in heads.iter().filter(promising) {
            let first = head.base_offset.get().max(log_start);
            let bytes_max = usize::try_from(head.bytes).unwrap_or(usize::MAX);
            for batch in self.read_survivors(first, bytes_max).await? {
                if let Some(found) = first_record_at(&batch, timestamp_ms, log_start)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }
}
