//! Where the time of an append goes, from the moment when its partition is asked to its answer.
//!
//! Owns one histogram for each stage, and reads the clock once for each entry and stage: the appends
//! that share an entry share its times. Does not know what an entry holds, nor who waits for it.

use metrics::{Histogram, histogram};
use tokio::time::Instant;

/// The stages of the entries of one session.
pub(super) struct Stages {
    /// From the arrival of the oldest append until the entry is begun: the entries before it, and
    /// the session's turn.
    wait: Histogram,
    /// Deciding and stamping, until openraft has taken the entry.
    decide: Histogram,
    /// Flush here and replication at the same time, until a majority has flushed it and it is
    /// applied here.
    commit: Histogram,
    /// From there until every in-sync replica has flushed it.
    in_sync: Histogram,
}

impl Stages {
    pub(super) fn new() -> Self {
        let stage =
            |name: &'static str| histogram!("raftmq_partition_stage_seconds", "stage" => name);
        Self {
            wait: stage("wait"),
            decide: stage("decide"),
            commit: stage("commit"),
            in_sync: stage("in_sync"),
        }
    }

    /// An entry was proposed whose oldest append came at `came_at` and which was begun at
    /// `begun_at`. Returns the time.
    pub(super) fn proposed(&self, came_at: Instant, begun_at: Instant) -> Instant {
        self.wait
            .record(begun_at.saturating_duration_since(came_at));
        finish(&self.decide, begun_at)
    }

    /// What was proposed at `proposed_at` is committed and applied. Returns the time.
    pub(super) fn committed(&self, proposed_at: Instant) -> Instant {
        finish(&self.commit, proposed_at)
    }

    /// What was applied at `committed_at` is on the disk of every in-sync replica.
    pub(super) fn in_sync(&self, committed_at: Instant) {
        finish(&self.in_sync, committed_at);
    }
}

fn finish(stage: &Histogram, since: Instant) -> Instant {
    let now = Instant::now();
    stage.record(now.saturating_duration_since(since));
    now
}
