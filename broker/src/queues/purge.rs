//! Lets go of a queue's log: each replica by itself copies what is still needed below a checkpoint into
//! survivors, and purges the log up to it.
//!
//! What is needed, and when it is worth it, is decided in `raftmq_core::queue::survivors`. Survivors
//! are written before the note that says up to where they stand, and the note before the purge, so a
//! pass that is cut off is only done again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raftmq_core::codec::{Reader, Writer};
use raftmq_core::ids::LogIndex;
use raftmq_core::queue::survivors::{Chunk, ChunkBuilder, Plan, retain};
use raftmq_core::queue::{Boundary, MessageRef};
use raftmq_store::{GroupHealth, SurvivorChange, SurvivorIndex, SurvivorRow};

use super::Queues;
use super::replica::QueueReplica;

/// How often it is looked whether a queue's log can go.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Version of the note on a set of survivors.
const NOTE_VERSION: u8 = 1;
/// Bits of a survivor's key for the position in its entry; entries hold fewer messages.
const POSITION_BITS: u32 = 20;

/// The key of a chunk that begins with a message.
pub(super) fn survivor_key(message: MessageRef) -> u64 {
    let position = u64::from(message.position).min((1 << POSITION_BITS) - 1);
    (message.log_index.get() << POSITION_BITS) | position
}

impl Queues {
    /// Purges logs as messages are settled. Runs for ever.
    pub async fn run_purges(&self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            self.purge().await;
        }
    }

    /// Looks once at every queue of this broker, and purges its log as far as that is worth it.
    pub async fn purge(&self) {
        for replica in self.all_replicas() {
            if let Err(error) = purge_one(&replica).await {
                tracing::warn!(raft_group = replica.id().0, error, "purge failed");
            }
        }
    }
}

/// What a purge works with.
struct Pass {
    replica: Arc<QueueReplica>,
    index: Arc<SurvivorIndex>,
    plan: Plan,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn purge_one(replica: &Arc<QueueReplica>) -> Result<(), String> {
    if replica.outgoing().is_empty() {
        replica.bodies().clear();
    }
    let store = replica.group_handle().store();
    if store.health() != GroupHealth::Ok {
        return Ok(());
    }
    let Some(_right) = store.clean_survivors() else {
        return Ok(());
    };
    let index = store.survivors().await.map_err(text)?;
    let purged = boundary_of(&index.note)?;
    if purged.log_index > LogIndex(0) {
        // Changes nothing when that is done already.
        let group = replica.group_handle();
        group.purge_to_checkpoint(purged.log_index.get()).await?;
    }
    let checkpoints = store.checkpoints().await.map_err(text)?;
    let checkpoints: BTreeSet<u64> = checkpoints.iter().map(|at| at.index).collect();
    let plan = replica.machine().read().plan_purge(purged);
    let Some(plan) = plan else {
        return Ok(());
    };
    let at = plan.boundary.log_index;
    // What a client is still to be sent may be settled already (`no-ack`).
    let unread = [
        replica.outgoing().oldest_unread(),
        replica.bodies().oldest_held(),
    ];
    let is_unread = unread.into_iter().flatten().any(|oldest| oldest <= at);
    if is_unread || !checkpoints.contains(&at.get()) {
        return Ok(());
    }
    let pass = Pass {
        replica: replica.clone(),
        index,
        plan,
    };
    pass.run().await
}

impl Pass {
    async fn run(self) -> Result<(), String> {
        let group = self.replica.group_handle().clone();
        let at = self.plan.boundary;
        let mut chunks = Vec::new();
        let mut builder = ChunkBuilder::default();
        for message in &self.plan.survivors {
            let body = self.replica.bodies().read(*message).await.map_err(text)?;
            if builder.is_full() {
                chunks.extend(builder.finish());
            }
            builder.push(*message, &body);
        }
        chunks.extend(builder.finish());
        let mut change = self.rewrite_old().await?;
        let survivors_count = self.plan.survivors.len();
        change.puts.extend(chunks.into_iter().map(row_of));
        let generation = self.index.generation;
        let store = group.store();
        let changed = store.change_survivors(generation, change).await;
        changed.map_err(text)?;
        let noted = store.note_survivors(generation, note_of(at)).await;
        noted.map_err(text)?;
        group.purge_to_checkpoint(at.log_index.get()).await?;
        let (raft_group, log_index) = (group.id().0, at.log_index.get());
        tracing::debug!(
            raft_group,
            log_index,
            survivors_count,
            "log of a queue purged"
        );
        tracing::trace!(target: "raftmq::mark", name = "queue_log_purged");
        metrics::counter!("raftmq_queue_purges_total").increment(1);
        Ok(())
    }

    /// Chunks of earlier purges, without what is settled by now.
    async fn rewrite_old(&self) -> Result<SurvivorChange, String> {
        let purged = boundary_of(&self.index.note)?;
        let needed = {
            let state = self.replica.machine().read();
            state.needed_up_to(purged.log_index)
        };
        let store = self.replica.group_handle().store();
        let mut change = SurvivorChange::default();
        for key in self.index.heads.keys() {
            let chunk = store.read_survivor(self.index.generation, *key).await;
            let Some(chunk) = chunk.map_err(text)? else {
                continue;
            };
            let retained = retain(&chunk, &needed).map_err(text)?;
            if retained.as_ref().is_some_and(|left| left.bytes == chunk) {
                continue;
            }
            change.deletes.push(*key);
            change.puts.extend(retained.map(row_of));
        }
        Ok(change)
    }
}

fn row_of(chunk: Chunk) -> SurvivorRow {
    SurvivorRow {
        key: survivor_key(chunk.first),
        note: Bytes::new(),
        body: chunk.bytes,
    }
}

fn note_of(boundary: Boundary) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(NOTE_VERSION);
    writer.u64(boundary.log_index.get());
    writer.u64(boundary.bytes_total);
    writer.finish()
}

/// Up to where the log is gone.
fn boundary_of(note: &Bytes) -> Result<Boundary, String> {
    if note.is_empty() {
        return Ok(Boundary::default());
    }
    let mut reader = Reader::new(note.clone());
    reader
        .version("survivors of a queue", NOTE_VERSION)
        .map_err(text)?;
    let log_index = LogIndex(reader.u64().map_err(text)?);
    let bytes_total = reader.u64().map_err(text)?;
    Ok(Boundary {
        log_index,
        bytes_total,
    })
}
