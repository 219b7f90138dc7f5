//! What retention means for a log whose beginning is compacted (`cleanup.policy=compact,delete`).
//!
//! A chunk is to the survivors what a block is to the log: it expires as a whole. Reads state only.

use crate::ids::Offset;
use crate::partition::command::LogStartReason;
use crate::partition::compaction::chunk::{ChunkHead, Survivors};
use crate::partition::{Partition, RetentionCut};

/// Switches a limit off.
const NEVER: i64 = -1;

/// Says where the log start should move to, if anywhere. As [`Partition::retention`], with the
/// survivors' chunks, ascending, before the log.
#[must_use]
pub fn cut(
    state: &Partition,
    survivors: &Survivors,
    heads: &[ChunkHead],
    now_ms: i64,
    retention_ms: i64,
    retention_bytes: i64,
) -> Option<RetentionCut> {
    let log_start = state.log_start();
    let first = heads.partition_point(|head| head.end <= log_start);
    let readable = heads.get(first..).unwrap_or_default();
    let by_time = (retention_ms >= 0).then(|| {
        let expired_before_ms = now_ms.saturating_sub(retention_ms);
        let is_kept = |head: &ChunkHead| head.max_timestamp_ms >= expired_before_ms;
        start_of(readable, readable.iter().position(is_kept)).unwrap_or_else(|| {
            let of_log = state.retention_from(survivors.end, now_ms, retention_ms, NEVER);
            of_log.map_or(survivors.end, |cut| cut.log_start)
        })
    });
    let by_bytes = u64::try_from(retention_bytes).ok().map(|kept_bytes| {
        start_of(readable, first_kept(state, survivors, readable, kept_bytes)).unwrap_or_else(
            || {
                let of_log = state.retention_from(survivors.end, now_ms, NEVER, retention_bytes);
                of_log.map_or(survivors.end, |cut| cut.log_start)
            },
        )
    });
    let cut = |log_start, reason| RetentionCut { log_start, reason };
    [
        by_time.map(|at| cut(at, LogStartReason::RetentionTime)),
        by_bytes.map(|at| cut(at, LogStartReason::RetentionBytes)),
    ]
    .into_iter()
    .flatten()
    .filter(|cut| cut.log_start > log_start)
    .max_by_key(|cut| cut.log_start)
}

/// The chunk with which the log would begin so that it and what follows have `kept_bytes`; `None`
/// when the log alone has them.
fn first_kept(
    state: &Partition,
    survivors: &Survivors,
    readable: &[ChunkHead],
    kept_bytes: u64,
) -> Option<usize> {
    let mut bytes = state.payload_between(survivors.end, state.log_end());
    let mut found = None;
    for (at, head) in readable.iter().enumerate().rev() {
        if bytes >= kept_bytes {
            break;
        }
        bytes += head.bytes;
        found = Some(at);
    }
    found.or_else(|| (bytes < kept_bytes).then_some(0))
}

/// Where the log begins when this chunk is the first that stays. Nothing goes when it is the first.
fn start_of(readable: &[ChunkHead], kept: Option<usize>) -> Option<Offset> {
    match kept {
        Some(0) => Some(Offset::ZERO),
        Some(at) => readable.get(at).map(|head| head.base_offset),
        None => None,
    }
}
