//! What a group holds on the disk, read into memory on first use.
//!
//! Owns the view that Raft gets of it: nothing is shown from a damaged entry on, and nothing counts as
//! committed that is not shown. The rows of a damaged group agree already (`repair`).

use bytes::Bytes;

use crate::codec;
use crate::engine::{Engine, RowFamily};
use crate::error::StoreError;
use crate::group_inner::GroupInner;
use crate::key;
use crate::types::{GroupId, LogId, log_id};

/// Reads one row of the Meta family.
pub(crate) fn meta_row(
    engine: &dyn Engine,
    group: GroupId,
    key: u8,
) -> Result<Option<Bytes>, StoreError> {
    engine.get_row(group, RowFamily::Meta, &key::meta(key))
}

/// First log index that was found damaged.
pub(crate) fn read_hole(engine: &dyn Engine, group: GroupId) -> Result<Option<u64>, StoreError> {
    let row = meta_row(engine, group, key::HOLE)?;
    row.map(|bytes| codec::decode_u64("hole", &bytes))
        .transpose()
}

/// Last entry that the saved state contains; `None` when there is none.
pub(crate) fn read_applied(
    engine: &dyn Engine,
    group: GroupId,
) -> Result<Option<LogId>, StoreError> {
    let row = meta_row(engine, group, key::APPLIED)?;
    let decoded = row.map(|bytes| codec::decode_applied(&bytes)).transpose()?;
    Ok(decoded.and_then(|(applied, _)| applied))
}

/// Reads a row that holds a log id.
pub(crate) fn read_log_id(
    engine: &dyn Engine,
    group: GroupId,
    key: u8,
    what: &'static str,
) -> Result<Option<LogId>, StoreError> {
    let row = meta_row(engine, group, key)?;
    let decoded = row.map(|bytes| codec::decode_log_id(what, &bytes));
    Ok(decoded.transpose()?.flatten())
}

/// Highest log id that this replica acknowledged.
pub(crate) fn read_acknowledged(
    engine: &dyn Engine,
    group: GroupId,
) -> Result<Option<LogId>, StoreError> {
    if let Some(bytes) = meta_row(engine, group, key::ACKNOWLEDGED)? {
        return codec::decode_log_id("acknowledged", &bytes);
    }
    // A mark of before it had a term.
    let Some(bytes) = meta_row(engine, group, key::ACKNOWLEDGED_INDEX)? else {
        return Ok(None);
    };
    let index = codec::decode_u64("acknowledged", &bytes)?;
    if index == 0 {
        return Ok(None);
    }
    if let Some(meta) = engine.entry_meta(group, index)? {
        return Ok(Some(log_id(meta.term, index)));
    }
    // Its entry is gone, and its term with it: no entry has a higher term than the vote.
    let vote = meta_row(engine, group, key::VOTE)?;
    let vote = vote.and_then(|bytes| codec::decode_vote(group, &bytes).ok());
    Ok(Some(log_id(
        vote.map_or(0, |vote| vote.leader_id.term),
        index,
    )))
}

/// Reads what a group holds on the disk.
pub(crate) fn load_group(engine: &dyn Engine, id: GroupId) -> Result<GroupInner, StoreError> {
    let mut inner = GroupInner::default();
    match meta_row(engine, id, key::VOTE)?.map(|bytes| codec::decode_vote(id, &bytes)) {
        None => {}
        Some(Ok(vote)) => inner.vote = Some(vote),
        Some(Err(error)) => {
            tracing::error!(raft_group = id.0, %error, "vote is damaged");
            inner.damaged = Some("vote");
        }
    }
    inner.committed = read_log_id(engine, id, key::COMMITTED, "committed")?;
    inner.purged = read_log_id(engine, id, key::PURGED, "purged")?;
    inner.acknowledged = read_acknowledged(engine, id)?;
    inner.hidden_from = read_hole(engine, id)?;
    if let Some(hidden) = inner.hidden_from
        && read_applied(engine, id)?.is_some_and(|applied| applied.index >= hidden)
    {
        // The log cannot lead up to the state, and no snapshot is left to start again from.
        inner.damaged = inner.damaged.or(Some("snapshot"));
    }
    load_bounds(engine, id, &mut inner)?;
    inner.committed = inner.committed.min(inner.last);
    Ok(inner)
}

/// Fills in where the log begins and ends.
fn load_bounds(engine: &dyn Engine, id: GroupId, inner: &mut GroupInner) -> Result<(), StoreError> {
    inner.last = inner.purged;
    let first = inner.purged.map_or(0, |purged| purged.index + 1);
    let Some(bounds) = engine.log_bounds(id, first)? else {
        return Ok(());
    };
    let visible = match inner.hidden_from {
        None => Some(bounds.last),
        Some(hidden) if hidden <= bounds.first.index => None,
        Some(hidden) => engine.entry_meta(id, hidden - 1)?,
    };
    inner.bytes_first = bounds.first.bytes_before;
    inner.bytes_end = bounds.first.bytes_before;
    if let Some(last) = visible {
        inner.first_index = Some(bounds.first.index);
        inner.last = Some(log_id(last.term, last.index));
        inner.bytes_end = last.bytes_before + u64::from(last.payload_bytes);
        inner.durable_index = Some(last.index);
    }
    Ok(())
}
