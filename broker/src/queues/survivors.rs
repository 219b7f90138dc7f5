//! Writes what is left of a queue's log below its purge point, slice by slice, so that a pass takes little
//! memory however much is left.
//!
//! A slice is atomic, a pass is not: what one that was cut off has written lies above the note on the set,
//! and is removed by the next one. Which bodies are needed is the caller's knowledge.

use bytes::Bytes;
use raftmq_core::ids::LogIndex;
use raftmq_core::queue::MessageRef;
use raftmq_core::queue::survivors::{Chunk, ChunkBuilder, retain};
use raftmq_store::{GroupStore, SurvivorChange, SurvivorIndex, SurvivorRow};

use super::bodies::Bodies;

/// Bytes of chunks after which a slice is written.
const SLICE_BYTES_TARGET: usize = 8 << 20;
/// Chunks that a slice removes.
const SLICE_DELETES_MAX: usize = 4_096;
/// Bits of a survivor's key for the position in its entry; entries hold fewer messages.
const POSITION_BITS: u32 = 20;

/// The key of a chunk that begins with a message.
pub(super) fn survivor_key(message: MessageRef) -> u64 {
    let position = u64::from(message.position).min((1 << POSITION_BITS) - 1);
    (message.log_index.get() << POSITION_BITS) | position
}

/// Removes what a pass that was cut off has written above the note: a later chunk that reaches over it
/// would not be found.
pub(super) async fn remove_leftovers(
    store: &GroupStore,
    index: &SurvivorIndex,
    purged: LogIndex,
) -> Result<(), String> {
    let end = (purged.get() + 1) << POSITION_BITS;
    let mut slices = Slices::new(store, index.generation);
    for key in index.heads.range(end..).map(|(key, _)| *key) {
        slices.replace(key, None).await?;
    }
    slices.write().await
}

/// Copies the bodies of messages, which are in order, into chunks.
pub(super) async fn copy(
    store: &GroupStore,
    generation: u64,
    bodies: &Bodies,
    messages: &[MessageRef],
) -> Result<(), String> {
    let mut slices = Slices::new(store, generation);
    let mut builder = ChunkBuilder::default();
    for message in messages {
        let body = bodies.read(*message).await.map_err(text)?;
        if builder.is_full() {
            slices.put(builder.finish()).await?;
        }
        builder.push(*message, &body);
    }
    slices.put(builder.finish()).await?;
    slices.write().await
}

/// Writes the chunks of earlier passes again without what is not among `needed`, which is in order.
pub(super) async fn rewrite(
    store: &GroupStore,
    index: &SurvivorIndex,
    purged: LogIndex,
    needed: &[MessageRef],
) -> Result<(), String> {
    let end = (purged.get() + 1) << POSITION_BITS;
    let mut slices = Slices::new(store, index.generation);
    for key in index.heads.range(..end).map(|(key, _)| *key) {
        let chunk = store.read_survivor(index.generation, key).await;
        let Some(chunk) = chunk.map_err(text)? else {
            continue;
        };
        let retained = retain(&chunk, needed).map_err(text)?;
        if retained.as_ref().is_none_or(|left| left.bytes != chunk) {
            slices.replace(key, retained).await?;
        }
    }
    slices.write().await
}

/// What is to be written next.
struct Slices<'a> {
    store: &'a GroupStore,
    generation: u64,
    change: SurvivorChange,
    bytes: usize,
}

impl<'a> Slices<'a> {
    fn new(store: &'a GroupStore, generation: u64) -> Self {
        Self {
            store,
            generation,
            change: SurvivorChange::default(),
            bytes: 0,
        }
    }

    async fn put(&mut self, chunk: Option<Chunk>) -> Result<(), String> {
        if let Some(chunk) = chunk {
            self.bytes += chunk.bytes.len();
            self.change.puts.push(row_of(chunk));
        }
        let is_full =
            self.bytes >= SLICE_BYTES_TARGET || self.change.deletes.len() >= SLICE_DELETES_MAX;
        if is_full { self.write().await } else { Ok(()) }
    }

    /// A chunk goes, and what is left of it comes, together.
    async fn replace(&mut self, key: u64, left: Option<Chunk>) -> Result<(), String> {
        self.change.deletes.push(key);
        self.put(left).await
    }

    async fn write(&mut self) -> Result<(), String> {
        let change = std::mem::take(&mut self.change);
        self.bytes = 0;
        if change == SurvivorChange::default() {
            return Ok(());
        }
        if self.store.is_replacing_survivors() {
            return Err("a snapshot takes the survivors' place".to_owned());
        }
        tracing::trace!(target: "raftmq::mark", name = "queue_survivors_written");
        let changed = self.store.change_survivors(self.generation, change).await;
        changed.map_err(text)
    }
}

fn row_of(chunk: Chunk) -> SurvivorRow {
    SurvivorRow {
        key: survivor_key(chunk.first),
        note: Bytes::new(),
        body: chunk.bytes,
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
