//! State rows and checkpoints of a group, written through the commit queue.
//!
//! Owns their atomicity: rows, applied log id and membership change together, behind the entries
//! they contain. Does not know what a row means or when to checkpoint.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::codec;
use crate::engine::{Op, RowFamily};
use crate::error::StoreError;
use crate::group::GroupStore;
use crate::key;
use crate::types::{LogId, StoredMembership};

/// State of a group as it was last saved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SavedState {
    /// The last entry that the rows contain.
    pub applied: Option<LogId>,
    /// The membership at that entry.
    pub membership: StoredMembership,
    /// The rows.
    pub rows: BTreeMap<Bytes, Bytes>,
}

/// A change of a group's saved state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateUpdate {
    /// The last entry that the rows contain afterwards.
    pub applied: Option<LogId>,
    /// The membership at that entry.
    pub membership: StoredMembership,
    /// Rows to write.
    pub puts: Vec<(Bytes, Bytes)>,
    /// Rows to remove.
    pub deletes: Vec<Bytes>,
    /// Remove every other row first (a snapshot was installed).
    pub replace_all: bool,
}

/// State of a group's machine at a log id, in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last entry that the body contains.
    pub log_id: LogId,
    /// The membership at that entry.
    pub membership: StoredMembership,
    /// The machine's own encoding.
    pub body: Bytes,
}

impl GroupStore {
    /// Reads the saved state; `None` when none was saved.
    ///
    /// # Errors
    /// When the store has failed, or the stored bytes are damaged.
    pub async fn load_state(&self) -> Result<Option<SavedState>, StoreError> {
        let group = self.id();
        let (applied, rows) = self
            .read_engine(move |engine| {
                let applied = engine.get_row(group, RowFamily::Meta, &key::meta(key::APPLIED))?;
                Ok((applied, engine.scan_rows(group, RowFamily::State)?))
            })
            .await?;
        let Some(applied) = applied else {
            return Ok(None);
        };
        let (applied, membership) = codec::decode_applied(&applied)?;
        Ok(Some(SavedState {
            applied,
            membership,
            rows: rows.into_iter().collect(),
        }))
    }

    /// Saves a change of the state, atomically, behind every entry submitted before.
    ///
    /// # Errors
    /// When the store has failed or the group was removed.
    pub async fn save_state(&self, update: StateUpdate) -> Result<(), StoreError> {
        let group = self.id();
        let mut ops = Vec::with_capacity(update.puts.len() + update.deletes.len() + 2);
        let family = RowFamily::State;
        if update.replace_all {
            ops.push(Op::DeleteFamily { group, family });
        }
        ops.extend(
            update
                .deletes
                .into_iter()
                .map(|key| Op::Delete { group, family, key }),
        );
        ops.extend(update.puts.into_iter().map(|(key, value)| Op::Put {
            group,
            family,
            key,
            value,
        }));
        ops.push(self.meta_put(
            key::APPLIED,
            codec::encode_applied(update.applied, &update.membership),
        ));
        self.submit_ordered(ops).await
    }

    /// Saves a checkpoint under its log index, replacing one that is there.
    ///
    /// # Errors
    /// When the store has failed, the group was removed or the body is too large.
    pub async fn save_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let op = Op::Put {
            group: self.id(),
            family: RowFamily::Checkpoint,
            key: Bytes::copy_from_slice(&checkpoint.log_id.index.to_be_bytes()),
            value: codec::encode_checkpoint(self.id(), &checkpoint),
        };
        self.submit_ordered(vec![op]).await
    }

    /// Log ids of the checkpoints that are kept, oldest first.
    ///
    /// # Errors
    /// When the store has failed, or a checkpoint is damaged.
    pub async fn checkpoints(&self) -> Result<Vec<LogId>, StoreError> {
        let group = self.id();
        let rows = self
            .read_engine(move |engine| engine.scan_rows(group, RowFamily::Checkpoint))
            .await?;
        let decoded = rows
            .iter()
            .map(|(_, value)| codec::decode_checkpoint(group, value));
        decoded
            .map(|checkpoint| checkpoint.map(|checkpoint| checkpoint.log_id))
            .collect()
    }

    /// Reads the checkpoint at a log index; `None` when there is none.
    ///
    /// # Errors
    /// When the store has failed, or the checkpoint is damaged: it is never handed out then.
    pub async fn load_checkpoint(&self, log_index: u64) -> Result<Option<Checkpoint>, StoreError> {
        let group = self.id();
        let row = self
            .read_engine(move |engine| {
                engine.get_row(group, RowFamily::Checkpoint, &log_index.to_be_bytes())
            })
            .await?;
        row.map(|value| codec::decode_checkpoint(group, &value))
            .transpose()
    }

    /// Removes the checkpoints below a log index, exclusive.
    ///
    /// # Errors
    /// When the store has failed or the group was removed.
    pub async fn drop_checkpoints_below(&self, log_index: u64) -> Result<(), StoreError> {
        let group = self.id();
        let family = RowFamily::Checkpoint;
        let rows = self
            .read_engine(move |engine| engine.scan_rows(group, family))
            .await?;
        let limit = log_index.to_be_bytes();
        let below = rows
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| key[..] < limit[..]);
        let ops: Vec<Op> = below.map(|key| Op::Delete { group, family, key }).collect();
        if ops.is_empty() {
            return Ok(());
        }
        self.submit_ordered(ops).await
    }

    /// Log index of the checkpoint that is the group's Raft snapshot.
    ///
    /// # Errors
    /// When the store has failed, or the row is damaged.
    pub async fn snapshot_pointer(&self) -> Result<Option<u64>, StoreError> {
        let group = self.id();
        let row = self
            .read_engine(move |engine| {
                engine.get_row(group, RowFamily::Meta, &key::meta(key::SNAPSHOT))
            })
            .await?;
        row.map(|value| codec::decode_u64("snapshot pointer", &value))
            .transpose()
    }

    /// Chooses the checkpoint that is the group's Raft snapshot, or none.
    ///
    /// # Errors
    /// When the store has failed or the group was removed.
    pub async fn set_snapshot_pointer(&self, log_index: Option<u64>) -> Result<(), StoreError> {
        let op = match log_index {
            Some(index) => self.meta_put(key::SNAPSHOT, codec::encode_u64(index)),
            None => Op::Delete {
                group: self.id(),
                family: RowFamily::Meta,
                key: Bytes::copy_from_slice(&key::meta(key::SNAPSHOT)),
            },
        };
        self.submit_ordered(vec![op]).await
    }
}
