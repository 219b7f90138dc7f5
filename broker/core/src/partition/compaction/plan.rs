//! Whether a cleaning pass is due, and over which range.
//!
//! Kafka's rules (`LogCleanerManager`): the share of what was never cleaned reaches
//! `min.cleanable.dirty.ratio`, or tombstones may go; nothing younger than
//! `min.compaction.lag.ms`, and never the open segment. Reads state only.

use crate::ids::{LogIndex, Offset};
use crate::partition::compaction::chunk::{ChunkHead, Survivors};
use crate::partition::{Boundary, Partition};

/// Parts of a ratio.
const MILLION: u128 = 1_000_000;

/// The settings of a topic that compaction acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionSettings {
    /// `min.cleanable.dirty.ratio`, in millionths.
    pub dirty_ratio_min_ppm: u32,
    /// `min.compaction.lag.ms`: younger records are left alone.
    pub lag_ms: i64,
    /// `delete.retention.ms`: how long a tombstone stays after it was first cleaned.
    pub delete_retention_ms: i64,
}

/// What a pass should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Keys are learnt from here on.
    pub dirty_from: Offset,
    /// Where the log is read from: what lies before it are survivors, or deleted.
    pub log_from: Offset,
    /// Checkpoints up to which the pass may go, ascending; none when only survivors are due.
    pub targets: Vec<Boundary>,
}

impl Plan {
    /// The offset up to which keys may be learnt.
    #[must_use]
    pub fn dirty_end(&self) -> Offset {
        self.targets
            .last()
            .map_or(self.log_from, |target| target.log_end)
    }

    /// The first target at or past an offset; `None` when the survivors reach that far already.
    #[must_use]
    pub fn target_for(&self, covered_to: Offset) -> Option<Boundary> {
        let reaches = |target: &&Boundary| target.log_end >= covered_to;
        let target = self.targets.iter().find(reaches).copied();
        target.filter(|_| covered_to > self.log_from)
    }
}

/// Plans a pass; `None` when none is due. `checkpoints` are the log indexes at which this replica
/// has one; `now_ms` is the wall clock.
#[must_use]
pub fn plan<'a>(
    state: &Partition,
    survivors: &Survivors,
    heads: impl Iterator<Item = &'a ChunkHead>,
    settings: &CompactionSettings,
    checkpoints: &[LogIndex],
    now_ms: i64,
) -> Option<Plan> {
    let log_start = state.log_start();
    let log_from = survivors.end.max(log_start);
    let dirty_from = survivors.cleaned_to.max(log_start);
    let young_from = state.young_from(log_from, now_ms.saturating_sub(settings.lag_ms));
    let targets: Vec<Boundary> = state
        .boundaries()
        .iter()
        .filter(|boundary| {
            // The newest records stay in the log, so that a reader of the survivors gets to them.
            boundary.log_end > log_from
                && boundary.log_end < state.log_end()
                && boundary.log_index > survivors.boundary
                && (settings.lag_ms <= 0 || boundary.log_end <= young_from)
                && checkpoints.contains(&boundary.log_index)
        })
        .copied()
        .collect();
    let dirty_end = targets.last().map_or(log_from, |target| target.log_end);
    let mut dirty_bytes = state.payload_between(log_from, dirty_end);
    let (mut clean_bytes, mut is_expired) = (0, false);
    for head in heads {
        if head.base_offset >= dirty_from {
            dirty_bytes += head.bytes;
        } else {
            clean_bytes += head.bytes;
        }
        is_expired |= head.end <= log_start || head.horizon_ms.is_some_and(|at_ms| at_ms <= now_ms);
    }
    let whole = u128::from(dirty_bytes) + u128::from(clean_bytes);
    let is_dirty = dirty_bytes > 0
        && u128::from(dirty_bytes) * MILLION >= whole * u128::from(settings.dirty_ratio_min_ppm);
    (is_dirty || is_expired).then_some(Plan {
        dirty_from,
        log_from,
        targets,
    })
}
