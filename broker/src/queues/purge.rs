//! Lets go of a queue's log: each replica by itself copies what is still needed below a checkpoint into
//! survivors, and purges the log up to it.
//!
//! What is needed, and when it is worth it, is decided in `raftmq_core::queue::survivors`, but for what a
//! client is still to be sent although it is settled (`no-ack`): that this replica knows, if it leads.
//! Survivors are written before the note that says up to where they stand, and the note before the purge,
//! so a pass that is cut off is only done again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raftmq_core::codec::{Reader, Writer};
use raftmq_core::ids::LogIndex;
use raftmq_core::queue::survivors::Plan;
use raftmq_core::queue::{Boundary, MessageRef, Queue};
use raftmq_store::{GroupHealth, GroupId, SurvivorIndex};

use super::Queues;
use super::bodies::Bodies;
use super::outgoing::Outgoing;
use super::replica::QueueReplica;
use super::survivors::{copy, remove_leftovers, rewrite};

/// How often it is looked whether a queue's log can go.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Version of the note on a set of survivors.
const NOTE_VERSION: u8 = 1;

/// What a queue was like when there was nothing to purge: as long as it is like that, there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    applied: LogIndex,
    unread_count: usize,
}

impl Queues {
    /// Purges logs as messages are settled. Runs for ever.
    pub async fn run_purges(&self) {
        let mut looks = BTreeMap::new();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            looks = self.purge_but(&looks).await;
        }
    }

    /// Looks once at every queue of this broker, and purges its log as far as that is worth it.
    pub async fn purge(&self) {
        self.purge_but(&BTreeMap::new()).await;
    }

    /// Passes over the queues that are as they were, and says where there is nothing to purge now.
    async fn purge_but(&self, looks: &BTreeMap<GroupId, Look>) -> BTreeMap<GroupId, Look> {
        let mut new_looks = BTreeMap::new();
        for replica in self.all_replicas() {
            let id = replica.id();
            match purge_one(&replica, looks.get(&id).copied()).await {
                Ok(look) => new_looks.extend(look.map(|look| (id, look))),
                Err(error) => tracing::warn!(raft_group = id.0, error, "purge failed"),
            }
        }
        new_looks
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The bodies that are still to be read although the state may not name them, with their sizes as far as
/// they are known. To be called with the machine locked, before or after the state is asked.
fn unread(outgoing: &Outgoing, bodies: &Bodies) -> Vec<(MessageRef, u32)> {
    // In this order: what gets took comes to be held before it is no more outgoing.
    let mut unread = outgoing.unread();
    unread.extend(bodies.held().into_iter().map(|message| (message, 0)));
    unread
}

/// What of the log up to a log index must stay, in order.
fn needed(state: &Queue, unread: &[(MessageRef, u32)], up_to: LogIndex) -> Vec<MessageRef> {
    let mut needed = state.needed_up_to(up_to);
    let unread = unread.iter().map(|(message, _)| *message);
    needed.extend(unread.filter(|message| message.log_index <= up_to));
    needed.sort_unstable();
    needed.dedup();
    needed
}

fn look_at(replica: &QueueReplica) -> Look {
    let state = replica.machine().read();
    Look {
        applied: state.applied(),
        unread_count: unread(replica.outgoing(), replica.bodies()).len(),
    }
}

/// Purges if there is something to purge; gives a look when there is not.
async fn purge_one(
    replica: &Arc<QueueReplica>,
    before: Option<Look>,
) -> Result<Option<Look>, String> {
    if replica.outgoing().is_empty() {
        replica.bodies().clear();
    }
    let look = look_at(replica);
    if before == Some(look) {
        return Ok(before);
    }
    let store = replica.group_handle().store();
    if store.health() != GroupHealth::Ok {
        return Ok(None);
    }
    let Some(_right) = store.clean_survivors() else {
        return Ok(None);
    };
    let index = store.survivors().await.map_err(text)?;
    let purged = boundary_of(&index.note)?;
    if purged.log_index > LogIndex(0) {
        // Changes nothing when that is done already.
        let group = replica.group_handle();
        group.purge_to_checkpoint(purged.log_index.get()).await?;
    }
    let plan = {
        let state = replica.machine().read();
        let unread = unread(replica.outgoing(), replica.bodies());
        state.plan_purge_without(purged, &unread)
    };
    let Some(plan) = plan else {
        return Ok(Some(look));
    };
    let checkpoints = store.checkpoints().await.map_err(text)?;
    let checkpoints: BTreeSet<u64> = checkpoints.iter().map(|at| at.index).collect();
    if !checkpoints.contains(&plan.boundary.log_index.get()) {
        return Ok(None);
    }
    let pass = Pass {
        replica: replica.clone(),
        index,
        purged: purged.log_index,
        plan,
    };
    pass.run().await?;
    if replica.outgoing().is_empty() {
        replica.bodies().clear();
    }
    Ok(None)
}

/// What a purge works with.
struct Pass {
    replica: Arc<QueueReplica>,
    index: Arc<SurvivorIndex>,
    /// Up to where the log was purged before.
    purged: LogIndex,
    plan: Plan,
}

impl Pass {
    async fn run(self) -> Result<(), String> {
        let group = self.replica.group_handle().clone();
        let (store, generation) = (group.store(), self.index.generation);
        remove_leftovers(store, &self.index, self.purged).await?;
        // What is needed only grows less, as long as no body has to be read twice.
        let needed = {
            let state = self.replica.machine().read();
            let unread = unread(self.replica.outgoing(), self.replica.bodies());
            needed(&state, &unread, self.purged)
        };
        rewrite(store, &self.index, self.purged, &needed).await?;
        let survivors = &self.plan.survivors;
        copy(store, generation, self.replica.bodies(), survivors).await?;
        let at = self.plan.boundary;
        let noted = store.note_survivors(generation, note_of(at)).await;
        noted.map_err(text)?;
        group.purge_to_checkpoint(at.log_index.get()).await?;
        tracing::debug!(
            raft_group = group.id().0,
            log_index = at.log_index.get(),
            survivors_count = survivors.len(),
            "log of a queue purged"
        );
        tracing::trace!(target: "raftmq::mark", name = "queue_log_purged");
        metrics::counter!("raftmq_queue_purges_total").increment(1);
        Ok(())
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

#[cfg(test)]
mod tests;
