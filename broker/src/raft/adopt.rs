//! Begins a group with a copy of another group's log, of which no more than this replica is left, and
//! with this broker as its only voter (`raftmq_core::cluster::loss`).
//!
//! The copy is whole or it is made anew: whoever asks removes the old group only once this has returned,
//! and opens the new one only after that. Does not know why a loss was accepted.

use std::collections::BTreeMap;

use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use openraft::{EmptyNode, EntryPayload, Membership};
use raftmq_store::{Entry, GroupId, GroupStore, LogId, Store, StoreError, Vote, log_id};
use thiserror::Error;

use super::types::TypeConfig;

/// Bytes of entries that are copied at once.
const COPY_BYTES: usize = 4 << 20;

/// Why a group could not be begun.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// The store failed, or what is to be copied is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The same, as openraft's traits say it.
    #[error("{0}")]
    Log(#[from] std::io::Error),
    /// The same, where entries are appended.
    #[error("{0}")]
    Append(#[from] openraft::StorageError<TypeConfig>),
}

/// Makes `new` a copy of `old` up to its last whole entry, led by nobody, in a term above `leader_epoch` and
/// above every term that `old` knew here, with `voter` alone. What is there of `new` is replaced.
///
/// # Errors
///
/// See [`AdoptError`]; `old` is as it was.
pub async fn adopt(
    store: &Store,
    (old, new): (GroupId, GroupId),
    voter: u32,
    leader_epoch: u64,
) -> Result<(), AdoptError> {
    store.remove_group(new).await?;
    let (old, new) = (store.group(old), store.group(new));
    let mut last = copy_snapshot(&old, &new).await?;
    let mut log = new.log();
    loop {
        let next = last.map_or(0, |last| last.index + 1);
        let entries = old.read_entries(next, COPY_BYTES).await?;
        let Some(end) = entries.last().map(|entry| entry.log_id) else {
            break;
        };
        RaftLogStorageExt::<TypeConfig>::blocking_append(&mut log, entries).await?;
        last = Some(end);
    }
    let term = 1 + newest_term(&old, last).await.max(leader_epoch);
    let vote = Vote::new(term, u64::from(voter));
    RaftLogStorage::<TypeConfig>::save_vote(&mut log, &vote).await?;
    let at = log_id(term, last.map_or(0, |last| last.index + 1));
    let alone = voters_entry(at, &[voter]);
    RaftLogStorageExt::<TypeConfig>::blocking_append(&mut log, [alone]).await?;
    tracing::trace!(target: "raftmq::mark", name = "log_adopted");
    Ok(())
}

/// An entry that makes these the voters.
pub(super) fn voters_entry(log_id: LogId, voters: &[u32]) -> Entry {
    let nodes: BTreeMap<u64, EmptyNode> = voters
        .iter()
        .map(|id| (u64::from(*id), EmptyNode::default()))
        .collect();
    let payload = EntryPayload::Membership(Membership::from(nodes));
    Entry { log_id, payload }
}

/// The snapshot stands for what was purged; the log begins behind it. Returns where it stands.
async fn copy_snapshot(old: &GroupStore, new: &GroupStore) -> Result<Option<LogId>, AdoptError> {
    let Some(snapshot) = old.snapshot().await? else {
        return Ok(None);
    };
    let log_id = snapshot.log_id;
    new.save_checkpoint(snapshot).await?;
    new.set_snapshot_pointer(Some(log_id.index)).await?;
    RaftLogStorage::<TypeConfig>::purge(&mut new.log(), log_id).await?;
    Ok(Some(log_id))
}

async fn newest_term(old: &GroupStore, last: Option<LogId>) -> u64 {
    let vote = RaftLogReader::<TypeConfig>::read_vote(&mut old.log()).await;
    // A damaged vote says nothing: nobody of the old group votes in the new one.
    let voted = vote
        .ok()
        .flatten()
        .map_or(0, |vote: Vote| vote.leader_id.term);
    voted.max(last.map_or(0, |last| last.leader_id.term))
}
