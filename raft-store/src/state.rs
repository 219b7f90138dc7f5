//! State rows and checkpoints of a group, written through the commit queue.
//!
//! Owns their atomicity: rows, applied log id and membership change together, behind the entries
//! they contain. Does not know what a row means or when to checkpoint.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::codec;
use crate::engine::{Engine, Op, RowFamily};
use crate::error::StoreError;
use crate::group::GroupStore;
use crate::key;
use crate::types::{GroupId, LogId, StoredMembership};

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
        let group = self.id();
        let key = Bytes::copy_from_slice(&checkpoint.log_id.index.to_be_bytes());
        let put = |family, value| Op::Put {
            group,
            family,
            key: key.clone(),
            value,
        };
        let ops = vec![
            put(
                RowFamily::CheckpointHead,
                codec::encode_checkpoint_head(group, checkpoint.log_id),
            ),
            put(
                RowFamily::Checkpoint,
                codec::encode_checkpoint(group, &checkpoint),
            ),
        ];
        self.submit_ordered(ops).await
    }

    /// Log ids of the checkpoints that are kept, oldest first. Reads none of their bodies.
    ///
    /// # Errors
    /// When the store has failed, or the head of a checkpoint is damaged.
    pub async fn checkpoints(&self) -> Result<Vec<LogId>, StoreError> {
        let group = self.id();
        let rows = self
            .read_engine(move |engine| engine.scan_rows(group, RowFamily::CheckpointHead))
            .await?;
        rows.iter()
            .map(|(_, value)| codec::decode_checkpoint_head(group, value))
            .collect()
    }

    /// The checkpoint that is the group's Raft snapshot, `None` when none was chosen. One that is
    /// replaced while it is read is read anew, so that the answer is never older than the log.
    ///
    /// # Errors
    /// When the store has failed, or the checkpoint is damaged or missing.
    pub async fn snapshot(&self) -> Result<Option<Checkpoint>, StoreError> {
        let group = self.id();
        let row = self
            .read_engine(move |engine| snapshot_row(engine, group))
            .await?;
        row.map(|value| codec::decode_checkpoint(group, &value))
            .transpose()
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

    /// Removes the checkpoints below a log index, exclusive. Reads none of their bodies.
    ///
    /// # Errors
    /// When the store has failed or the group was removed.
    pub async fn drop_checkpoints_below(&self, log_index: u64) -> Result<(), StoreError> {
        let group = self.id();
        let rows = self
            .read_engine(move |engine| engine.scan_rows(group, RowFamily::CheckpointHead))
            .await?;
        let limit = log_index.to_be_bytes();
        let below = rows
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| key[..] < limit[..]);
        let families = [RowFamily::CheckpointHead, RowFamily::Checkpoint];
        let delete = |key: Bytes| {
            families.map(|family| Op::Delete {
                group,
                family,
                key: key.clone(),
            })
        };
        let ops: Vec<Op> = below.flat_map(delete).collect();
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
        self.read_engine(move |engine| read_snapshot_pointer(engine, group))
            .await
    }

    /// Chooses the checkpoint that is the group's Raft snapshot, or none. The checkpoint is verified
    /// first: a log is purged because a snapshot stands for it.
    ///
    /// # Errors
    /// When the store has failed, the group was removed, or the checkpoint is damaged or missing; the
    /// snapshot is what it was then.
    pub async fn set_snapshot_pointer(&self, log_index: Option<u64>) -> Result<(), StoreError> {
        if let Some(log_index) = log_index
            && self.load_checkpoint(log_index).await?.is_none()
        {
            return Err(missing_checkpoint(self.id(), log_index));
        }
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

/// Log index of the checkpoint that is the group's Raft snapshot.
pub(crate) fn read_snapshot_pointer(
    engine: &dyn Engine,
    group: GroupId,
) -> Result<Option<u64>, StoreError> {
    let row = engine.get_row(group, RowFamily::Meta, &key::meta(key::SNAPSHOT))?;
    row.map(|value| codec::decode_u64("snapshot pointer", &value))
        .transpose()
}

/// The checkpoint that the pointer names. A purge moves the pointer first and removes the checkpoint
/// behind it then; who read the old pointer finds nothing, and reads the new one.
fn snapshot_row(engine: &dyn Engine, group: GroupId) -> Result<Option<Bytes>, StoreError> {
    let mut pointer = read_snapshot_pointer(engine, group)?;
    while let Some(log_index) = pointer {
        let row = engine.get_row(group, RowFamily::Checkpoint, &log_index.to_be_bytes())?;
        if row.is_some() {
            return Ok(row);
        }
        let now = read_snapshot_pointer(engine, group)?;
        if now == pointer {
            return Err(missing_checkpoint(group, log_index));
        }
        pointer = now;
    }
    Ok(None)
}

fn missing_checkpoint(group: GroupId, log_index: u64) -> StoreError {
    StoreError::Damaged {
        what: "snapshot",
        text: format!("checkpoint of group {group} at log index {log_index} is missing"),
    }
}
