//! Damaged groups, before anything reads them: their rows are made to agree, durably, so that Raft can
//! start from them now and after every later start until the missing entries were fetched.
//!
//! A state cannot stand on a log with a hole below it, and a log cannot begin behind a hole: whoever
//! fetches what is retained would miss the entries before. So the state goes back to the group's
//! snapshot and is computed again up to the hole; what lies behind the hole stays, hidden, until the
//! leader sends the missing entry. Does not fetch: that is replication's work.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::codec;
use crate::engine::{Engine, Op, RowFamily, WriteBatch};
use crate::error::StoreError;
use crate::key;
use crate::load::{meta_row, read_acknowledged, read_applied, read_hole, read_log_id};
use crate::planted::{self, Bug};
use crate::state::read_snapshot_pointer;
use crate::types::{GroupId, LogId, log_id};

/// Bytes of entries that are read at once while a log is searched for damage.
const SEARCH_BYTES: usize = 1024 * 1024;

/// Brings every group with a damaged entry, found now or before, into a state that Raft can start from.
pub(crate) fn repair_damaged(engine: &dyn Engine) -> Result<(), StoreError> {
    let mut holes = BTreeMap::new();
    for group in engine.group_ids()? {
        if let Some(hole) = read_hole(engine, group)? {
            holes.insert(group, hole);
        }
    }
    for hole in &engine.recovery().holes {
        let known = holes.entry(hole.group).or_insert(hole.missing_from);
        *known = hole.missing_from.min(*known);
    }
    let mut ops = Vec::new();
    for (group, hole) in holes {
        let repair = Repair {
            engine,
            group,
            ops: Vec::new(),
        };
        ops.extend(repair.plan(hole)?);
    }
    if ops.is_empty() {
        return Ok(());
    }
    engine.write(WriteBatch { ops })?;
    engine.sync()
}

/// First entry from `from` to `upto`, inclusive, that is damaged or missing.
pub(crate) fn first_damage(
    engine: &dyn Engine,
    group: GroupId,
    from: u64,
    upto: u64,
) -> Result<Option<u64>, StoreError> {
    let mut next = from;
    while next <= upto {
        match engine.read_entries(group, next..upto + 1, SEARCH_BYTES) {
            Ok(entries) => match (entries.first(), entries.last()) {
                (Some(first), Some(last)) if first.index == next => next = last.index + 1,
                _ => return Ok(Some(next)),
            },
            Err(StoreError::DamagedEntry { index, .. }) => return Ok(Some(index)),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// What one group needs.
struct Repair<'a> {
    engine: &'a dyn Engine,
    group: GroupId,
    ops: Vec<Op>,
}

impl Repair<'_> {
    fn plan(mut self, found: u64) -> Result<Vec<Op>, StoreError> {
        let (engine, group) = (self.engine, self.group);
        let purged = read_log_id(engine, group, key::PURGED, "purged")?;
        let first = purged.map_or(0, |purged| purged.index + 1);
        let Some(bounds) = engine.log_bounds(group, first)? else {
            // It was purged or replaced.
            self.delete(key::HOLE)?;
            return Ok(self.ops);
        };
        let end = bounds.last;
        let snapshot = self.snapshot()?;
        let mut hole = Some(found).filter(|hole| (first..=end.index).contains(hole));
        if let (Some(damaged), Some(snapshot)) = (hole, snapshot)
            && snapshot.index >= damaged
        {
            // The group's snapshot contains it: the purge for which that was chosen is completed.
            self.ops.push(Op::Purge {
                group,
                from: bounds.first.index,
                upto: snapshot.index,
            });
            self.put(key::PURGED, codec::encode_log_id(Some(snapshot)))?;
            hole = first_damage(engine, group, snapshot.index + 1, end.index)?;
        }
        let Some(hole) = hole else {
            self.delete(key::HOLE)?;
            return Ok(self.ops);
        };
        self.recover_from(hole, purged, snapshot, log_id(end.term, end.index))?;
        Ok(self.ops)
    }

    /// Makes the group recovering: nothing from `hole` on is shown, and what this replica may have
    /// acknowledged is everything up to the log's end.
    fn recover_from(
        &mut self,
        hole: u64,
        purged: Option<LogId>,
        snapshot: Option<LogId>,
        end: LogId,
    ) -> Result<(), StoreError> {
        let (engine, group) = (self.engine, self.group);
        let applied = read_applied(engine, group)?;
        if applied.is_some_and(|applied| applied.index >= hole) {
            let is_replayable = purged.is_none() || snapshot >= purged;
            if is_replayable {
                self.rewind(snapshot)?;
            } else {
                tracing::error!(
                    raft_group = group.0,
                    log_index = hole,
                    "log and snapshot are damaged: the replica must be rebuilt from its peers"
                );
            }
        }
        let acknowledged = read_acknowledged(engine, group)?.max(Some(end));
        tracing::trace!(target: "raftmq::mark", name = "damaged_group_recovering");
        tracing::error!(
            raft_group = group.0,
            log_index = hole,
            "acknowledged entries are damaged: the group is recovering"
        );
        if planted::is_planted(Bug::HoleForgotten) {
            return Ok(());
        }
        self.put(key::HOLE, codec::encode_u64(hole))?;
        self.put(key::ACKNOWLEDGED, codec::encode_log_id(acknowledged))
    }

    /// Takes the saved state back, so that Raft starts from the snapshot or from nothing and applies the
    /// log again.
    fn rewind(&mut self, snapshot: Option<LogId>) -> Result<(), StoreError> {
        tracing::trace!(target: "raftmq::mark", name = "state_rewound_below_damage");
        self.ops.push(Op::DeleteFamily {
            group: self.group,
            family: RowFamily::State,
        });
        self.delete(key::APPLIED)?;
        if snapshot.is_none() {
            // It names a damaged checkpoint for which nothing was purged yet.
            self.delete(key::SNAPSHOT)?;
        }
        Ok(())
    }

    /// Log id of the group's snapshot, if it can be read.
    fn snapshot(&self) -> Result<Option<LogId>, StoreError> {
        let Some(log_index) = read_snapshot_pointer(self.engine, self.group)? else {
            return Ok(None);
        };
        let key = log_index.to_be_bytes();
        let row = self
            .engine
            .get_row(self.group, RowFamily::Checkpoint, &key)?;
        match row.map(|bytes| codec::decode_checkpoint(self.group, &bytes)) {
            Some(Ok(checkpoint)) => Ok(Some(checkpoint.log_id)),
            Some(Err(error)) => {
                tracing::error!(raft_group = self.group.0, %error, "snapshot is damaged");
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Writes a row unless it says so already.
    fn put(&mut self, key: u8, value: Bytes) -> Result<(), StoreError> {
        if meta_row(self.engine, self.group, key)?.as_ref() != Some(&value) {
            self.ops.push(Op::Put {
                group: self.group,
                family: RowFamily::Meta,
                key: Bytes::copy_from_slice(&key::meta(key)),
                value,
            });
        }
        Ok(())
    }

    /// Removes a row if it is there.
    fn delete(&mut self, key: u8) -> Result<(), StoreError> {
        if meta_row(self.engine, self.group, key)?.is_some() {
            self.ops.push(Op::Delete {
                group: self.group,
                family: RowFamily::Meta,
                key: Bytes::copy_from_slice(&key::meta(key)),
            });
        }
        Ok(())
    }
}
