//! Writes what a cleaning pass leaves: puts small chunks together, and leaves alone what is as it was.
//!
//! A chunk is replaced only together with all that was in it, in one write. Decides nothing about
//! records.

use bytes::Bytes;
use raftmq_core::limits::CHUNK_BYTES_TARGET;
use raftmq_core::partition::compaction::{Chunk, ChunkBuilder, ChunkHead, Pass, Region};
use raftmq_records::{BatchHeader, Retained};
use raftmq_store::{GroupStore, SurvivorChange, SurvivorRow};

use super::error::ReplicaError;
use super::survivors::{SurvivorView, key_of, storage};

pub(super) struct Rewriter<'a> {
    store: &'a GroupStore,
    generation: u64,
    builder: ChunkBuilder,
    /// Finished, and not yet written.
    chunks: Vec<Chunk>,
    /// What the next write replaces.
    sources: Vec<ChunkHead>,
    is_changed: bool,
    region: Option<Region>,
    read_bytes: u64,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(store: &'a GroupStore, view: &SurvivorView) -> Self {
        Self {
            store,
            generation: view.index.generation,
            builder: ChunkBuilder::default(),
            chunks: Vec::new(),
            sources: Vec::new(),
            is_changed: false,
            region: None,
            read_bytes: 0,
        }
    }

    /// Takes the next batch in, or what the pass leaves of it.
    pub(super) fn take(
        &mut self,
        header: &BatchHeader,
        batch: &Bytes,
        region: Region,
        pass: &Pass,
    ) {
        // A chunk is of one kind, so that one time counts for all its tombstones.
        let same_kind = self
            .region
            .is_none_or(|last| std::mem::discriminant(&last) == std::mem::discriminant(&region));
        if !same_kind || self.builder.is_full() {
            self.chunks.extend(self.builder.finish());
        }
        self.region = Some(region);
        self.read_bytes += batch.len() as u64;
        let cleaned = pass.clean(batch, region);
        match &cleaned.retained {
            Retained::All => self.builder.push(header, batch, cleaned.horizon_ms),
            Retained::Part(part) => {
                self.is_changed = true;
                let header = BatchHeader::parse(part).unwrap_or(*header);
                self.builder.push(&header, part, cleaned.horizon_ms);
            }
            Retained::Nothing => self.is_changed = true,
        }
    }

    /// Everything that was in a chunk has been taken in.
    pub(super) async fn end_source(&mut self, head: &ChunkHead) -> Result<(), ReplicaError> {
        self.sources.push(*head);
        let is_left_alone = !self.is_changed && self.sources.len() == 1;
        let is_large = head.bytes >= CHUNK_BYTES_TARGET as u64 / 2;
        if is_left_alone && is_large {
            return self.commit().await;
        }
        self.commit_when_full().await
    }

    pub(super) async fn commit_when_full(&mut self) -> Result<(), ReplicaError> {
        if self.chunks.is_empty() && !self.builder.is_full() {
            return Ok(());
        }
        self.commit().await
    }

    /// Writes what was taken in since the last time.
    pub(super) async fn commit(&mut self) -> Result<(), ReplicaError> {
        self.chunks.extend(self.builder.finish());
        let chunks = std::mem::take(&mut self.chunks);
        let sources = std::mem::take(&mut self.sources);
        let read_bytes = std::mem::take(&mut self.read_bytes);
        metrics::counter!("raftmq_compaction_read_bytes_total").increment(read_bytes);
        self.is_changed = false;
        let is_as_it_was = chunks.len() == sources.len()
            && chunks
                .iter()
                .zip(&sources)
                .all(|(chunk, source)| chunk.head == *source);
        if is_as_it_was {
            return Ok(());
        }
        let written_bytes = chunks.iter().map(|chunk| chunk.head.bytes).sum();
        metrics::counter!("raftmq_compaction_written_bytes_total").increment(written_bytes);
        let change = SurvivorChange {
            puts: chunks.into_iter().map(row_of).collect(),
            deletes: sources
                .iter()
                .map(|head| key_of(head.base_offset))
                .collect(),
        };
        let changed = self.store.change_survivors(self.generation, change).await;
        changed.map_err(storage)
    }
}

fn row_of(chunk: Chunk) -> SurvivorRow {
    SurvivorRow {
        key: key_of(chunk.head.base_offset),
        note: chunk.head.encode(),
        body: chunk.batches,
    }
}
