//! Reading everything that is kept, a little at a time, so that damage is found while peers still have
//! what is damaged here.
//!
//! Owns the order and what a finding means. Does not know how often or how fast: the host paces it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::codec;
use crate::engine::{Engine, Op, RowFamily};
use crate::error::StoreError;
use crate::key;
use crate::load::{meta_row, read_hole};
use crate::store::Store;
use crate::types::GroupId;

/// Bytes of entries that are read at once.
const READ_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes that a look at anything counts beside its payload, so that steps end where all is small.
const ITEM_BYTES: u64 = 64;

/// What one step of a scrub did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrubStep {
    /// Bytes that were read and verified.
    pub bytes: u64,
    /// Checkpoints and votes that turned out damaged.
    pub damaged: u64,
    /// Everything was read once since the last pass ended.
    pub is_pass_complete: bool,
}

/// What of a group is read next.
#[derive(Debug, Clone)]
enum Part {
    /// Its vote and its state.
    Rows,
    /// Its log, from this index on.
    Log(u64),
    /// Its checkpoints, from this log index on.
    Checkpoints(u64),
}

/// A pass over everything that a store keeps, in steps. Its place is lost when it is dropped.
#[derive(Debug)]
pub struct Scrub {
    store: Store,
    groups: VecDeque<GroupId>,
    part: Part,
}

/// What was found in one part.
struct Found {
    bytes: u64,
    next: Option<Part>,
    damaged: Option<Damaged>,
}

/// What is damaged beside entries, which stop the store.
enum Damaged {
    Vote,
    Checkpoint { log_index: u64 },
}

impl Scrub {
    pub(crate) const fn new(store: Store) -> Self {
        Self {
            store,
            groups: VecDeque::new(),
            part: Part::Rows,
        }
    }

    /// Reads and verifies about `bytes_max` bytes: entries, checkpoints, votes and state. The pass
    /// starts anew after it was completed.
    ///
    /// A damaged entry is remembered and stops the store, as when it is read by anybody: the next start
    /// is recovering. A damaged checkpoint that is not the group's snapshot is dropped. A damaged
    /// snapshot or vote is counted and logged: the next purge replaces the one, the next start names
    /// the other.
    ///
    /// # Errors
    /// When the store has failed, or fails by what is found.
    pub async fn step(&mut self, bytes_max: u64) -> Result<ScrubStep, StoreError> {
        let mut step = ScrubStep::default();
        if self.groups.is_empty() {
            let ids = self.store.read(Engine::group_ids).await?;
            self.groups = ids.into();
            self.part = Part::Rows;
        }
        while step.bytes < bytes_max {
            let Some(group) = self.groups.front().copied() else {
                break;
            };
            let left = (bytes_max - step.bytes).min(READ_BYTES_MAX);
            let part = self.part.clone();
            let look = move |engine: &dyn Engine| look_at(engine, group, &part, left);
            let found = match self.store.read(look).await {
                Ok(found) => found,
                Err(error) => return Err(self.failed(group, error).await),
            };
            step.bytes += found.bytes + ITEM_BYTES;
            if let Some(damaged) = found.damaged {
                step.damaged += 1;
                self.handle(group, &damaged).await?;
            }
            match found.next {
                Some(part) => self.part = part,
                None => {
                    self.groups.pop_front();
                    self.part = Part::Rows;
                }
            }
        }
        step.is_pass_complete = self.groups.is_empty();
        self.store.note_scrubbed(step);
        Ok(step)
    }

    async fn failed(&self, group: GroupId, error: StoreError) -> StoreError {
        tracing::trace!(target: "raftmq::mark", name = "scrub_found_damage");
        self.store.note_scrubbed(ScrubStep {
            damaged: 1,
            ..ScrubStep::default()
        });
        self.store.group(group).read_failed(error).await
    }

    async fn handle(&self, group: GroupId, damaged: &Damaged) -> Result<(), StoreError> {
        match damaged {
            Damaged::Vote => {
                tracing::error!(raft_group = group.0, "vote is damaged");
                Ok(())
            }
            Damaged::Checkpoint { log_index } => {
                tracing::error!(raft_group = group.0, log_index, "checkpoint is damaged");
                self.drop_checkpoint(group, *log_index).await
            }
        }
    }

    /// Drops a damaged checkpoint, so that no purge relies on it, unless it is the group's snapshot.
    async fn drop_checkpoint(&self, group: GroupId, log_index: u64) -> Result<(), StoreError> {
        let handle = self.store.group(group);
        if handle.snapshot_pointer().await? == Some(log_index) {
            return Ok(());
        }
        let key = Bytes::copy_from_slice(&log_index.to_be_bytes());
        let delete = |family| Op::Delete {
            group,
            family,
            key: key.clone(),
        };
        let ops = vec![
            delete(RowFamily::CheckpointHead),
            delete(RowFamily::Checkpoint),
        ];
        match handle.submit_ordered(ops).await {
            Err(StoreError::GroupRemoved { .. }) => Ok(()),
            dropped => dropped,
        }
    }
}

fn look_at(
    engine: &dyn Engine,
    group: GroupId,
    part: &Part,
    bytes_max: u64,
) -> Result<Found, StoreError> {
    match part {
        Part::Rows => look_at_rows(engine, group),
        Part::Log(from) => look_at_log(engine, group, *from, bytes_max),
        Part::Checkpoints(from) => look_at_checkpoint(engine, group, *from),
    }
}

fn look_at_rows(engine: &dyn Engine, group: GroupId) -> Result<Found, StoreError> {
    let vote = meta_row(engine, group, key::VOTE)?;
    let is_damaged = vote.is_some_and(|bytes| codec::decode_vote(group, &bytes).is_err());
    // The index verifies what it reads.
    let rows = engine.scan_rows(group, RowFamily::State)?;
    let bytes = rows.iter().map(|(key, value)| key.len() + value.len());
    Ok(Found {
        bytes: bytes.sum::<usize>() as u64,
        next: Some(Part::Log(0)),
        damaged: is_damaged.then_some(Damaged::Vote),
    })
}

fn look_at_log(
    engine: &dyn Engine,
    group: GroupId,
    from: u64,
    bytes_max: u64,
) -> Result<Found, StoreError> {
    // What lies behind a known hole waits to be replaced.
    let end = read_hole(engine, group)?.unwrap_or(u64::MAX);
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX).max(1);
    let entries = engine.read_entries(group, from..end.max(from), bytes_max)?;
    let bytes = entries.iter().map(|entry| entry.payload.len());
    Ok(Found {
        bytes: bytes.sum::<usize>() as u64,
        next: Some(match entries.last() {
            Some(last) => Part::Log(last.index.saturating_add(1)),
            None => Part::Checkpoints(0),
        }),
        damaged: None,
    })
}

fn look_at_checkpoint(engine: &dyn Engine, group: GroupId, from: u64) -> Result<Found, StoreError> {
    let heads = engine.scan_rows(group, RowFamily::CheckpointHead)?;
    let indexes = heads.iter().filter_map(|(key, _)| key.first_chunk::<8>());
    let mut indexes = indexes.map(|key| u64::from_be_bytes(*key));
    let Some(log_index) = indexes.find(|index| *index >= from) else {
        return Ok(Found {
            bytes: 0,
            next: None,
            damaged: None,
        });
    };
    let key = log_index.to_be_bytes();
    let row = engine.get_row(group, RowFamily::Checkpoint, &key)?;
    let bytes = row.as_ref().map_or(0, Bytes::len) as u64;
    // One that is gone was dropped since its head was read, or is the snapshot that a start will name.
    let is_damaged = row.is_some_and(|bytes| codec::decode_checkpoint(group, &bytes).is_err());
    Ok(Found {
        bytes,
        next: log_index.checked_add(1).map(Part::Checkpoints),
        damaged: is_damaged.then_some(Damaged::Checkpoint { log_index }),
    })
}
