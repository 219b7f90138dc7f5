//! Finds the bodies of messages: in the log, or, below the purge point, among the survivors.
//!
//! Keeps the entries that were read last, because the messages of an entry are mostly delivered together,
//! and the chunk of survivors that was; few bytes of them, because every queue that is led has its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::EntryPayload;
use parking_lot::Mutex;
use raftmq_core::queue::survivors::bodies;
use raftmq_core::queue::{Command, MessageRef};
use raftmq_store::GroupStore;
use thiserror::Error;
use tokio::time::sleep;

use super::survivors::survivor_key;
use crate::raft::machine::open_envelope;

/// Entries that are kept.
const ENTRIES_KEPT: usize = 4;
/// Bytes of bodies that are kept, unless the last entry alone is larger.
const BYTES_KEPT: usize = 4 << 20;
/// Looks at the survivors anew, when one went while it was read.
const ATTEMPTS_MAX: usize = 300;
/// Pause between them: what took its place is known a moment after it is gone.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(10);

/// Why a body was not found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum BodyError {
    /// The store has failed, or what it holds is damaged.
    #[error("{0}")]
    Storage(String),
    /// It is in neither place: a bug.
    #[error("the body of {0:?} is nowhere")]
    Missing(MessageRef),
}

#[derive(Debug)]
struct Kept {
    log_index: u64,
    command: Arc<Command>,
    bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Bodies {
    store: GroupStore,
    kept: Mutex<VecDeque<Kept>>,
    /// Bodies of the survivors that were read last.
    kept_chunk: Mutex<BTreeMap<MessageRef, Bytes>>,
    /// Bodies that will be read although their messages may be settled, and how often.
    held: Mutex<BTreeMap<MessageRef, usize>>,
}

fn storage(error: impl std::fmt::Display) -> BodyError {
    BodyError::Storage(error.to_string())
}

impl Bodies {
    pub(super) fn new(store: GroupStore) -> Self {
        Self {
            store,
            kept: Mutex::default(),
            kept_chunk: Mutex::default(),
            held: Mutex::default(),
        }
    }

    /// A body will be read: it must not go before [`Self::release`].
    pub(super) fn hold(&self, message: MessageRef) {
        *self.held.lock().entry(message).or_default() += 1;
    }

    /// It was read, or nobody wants it any more.
    pub(super) fn release(&self, message: MessageRef) {
        let mut held = self.held.lock();
        if let Some(count) = held.get_mut(&message) {
            *count -= 1;
            if *count == 0 {
                held.remove(&message);
            }
        }
    }

    /// The bodies that are held.
    pub(super) fn held(&self) -> Vec<MessageRef> {
        self.held.lock().keys().copied().collect()
    }

    /// Keeps an entry that is likely to be asked for.
    pub(super) fn keep(&self, log_index: u64, command: Arc<Command>) {
        let bytes = bytes_of(&command);
        let mut kept = self.kept.lock();
        kept.retain(|other| other.log_index != log_index);
        let mut kept_bytes = bytes + kept.iter().map(|other| other.bytes).sum::<usize>();
        while kept.len() >= ENTRIES_KEPT || kept_bytes > BYTES_KEPT {
            let Some(oldest) = kept.pop_front() else {
                break;
            };
            kept_bytes -= oldest.bytes;
        }
        kept.push_back(Kept {
            log_index,
            command,
            bytes,
        });
    }

    /// Lets go of what is kept: nothing is to be read for now.
    pub(super) fn clear(&self) {
        self.kept.lock().clear();
        self.kept_chunk.lock().clear();
    }

    /// Reads a body.
    pub(super) async fn read(&self, message: MessageRef) -> Result<Bytes, BodyError> {
        let log_index = message.log_index.get();
        let kept = {
            let kept = self.kept.lock();
            let found = kept.iter().find(|kept| kept.log_index == log_index);
            found.map(|kept| Arc::clone(&kept.command))
        };
        let command = match kept {
            Some(command) => Some(command),
            None => self.read_entry(log_index).await?,
        };
        match command {
            Some(command) => {
                let found = command.message(message.position);
                let body = found.map(|message| message.body.clone());
                body.ok_or(BodyError::Missing(message))
            }
            None => self.read_survivor(message).await,
        }
    }

    /// The command of an entry; `None` when it was purged.
    async fn read_entry(&self, log_index: u64) -> Result<Option<Arc<Command>>, BodyError> {
        let entries = self.store.read_entries(log_index, 1).await;
        let first = entries.map_err(storage)?.into_iter().next();
        let Some(entry) = first.filter(|entry| entry.log_id.index == log_index) else {
            return Ok(None);
        };
        let EntryPayload::Normal(bytes) = entry.payload else {
            return Ok(None);
        };
        let (_, _, command) =
            open_envelope(&bytes.0).ok_or_else(|| storage("not a command of this version"))?;
        let command = Arc::new(Command::decode(&command).map_err(storage)?);
        self.keep(log_index, Arc::clone(&command));
        Ok(Some(command))
    }

    async fn read_survivor(&self, message: MessageRef) -> Result<Bytes, BodyError> {
        // A body never changes: where it was read does not matter.
        if let Some(body) = self.kept_chunk.lock().get(&message) {
            return Ok(body.clone());
        }
        for _ in 0..ATTEMPTS_MAX {
            let index = self.store.survivors().await.map_err(storage)?;
            let chunk = index.heads.range(..=survivor_key(message)).next_back();
            let Some((key, _)) = chunk else {
                return Err(BodyError::Missing(message));
            };
            let chunk = self.store.read_survivor(index.generation, *key).await;
            if let Some(chunk) = chunk.map_err(storage)? {
                let bodies = bodies(&chunk).map_err(storage)?;
                let found = bodies.get(&message).cloned();
                *self.kept_chunk.lock() = bodies;
                return found.ok_or(BodyError::Missing(message));
            }
            tracing::trace!(target: "raftmq::mark", name = "queue_survivor_went_while_it_was_read");
            sleep(ATTEMPT_PAUSE).await;
        }
        Err(BodyError::Missing(message))
    }
}

/// Bytes of the bodies in an entry.
fn bytes_of(command: &Command) -> usize {
    let commands = if let Command::Batch(commands) = command {
        commands.as_slice()
    } else {
        std::slice::from_ref(command)
    };
    let messages = commands.iter().filter_map(|command| {
        if let Command::Publish(messages) = command {
            return Some(messages);
        }
        None
    });
    messages.flatten().map(|message| message.body.len()).sum()
}

#[cfg(test)]
mod tests;
