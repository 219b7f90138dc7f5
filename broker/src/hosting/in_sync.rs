//! A leader's watch over its followers: how far each has flushed, and who is in sync.
//!
//! Decisions are `IsrTracker`'s; this feeds it with what openraft, the store and the image show.

use std::collections::BTreeSet;

use metrics::{Counter, counter};
use raftmq_core::ids::{BrokerId, LogIndex};
use raftmq_core::partition::isr::IsrTracker;
use raftmq_core::space::Space;
use raftmq_store::LogId;
use tokio::time::Instant;

use super::reports::Reports;
use super::view::GroupView;
use crate::raft::Group;
use crate::raft::status::{DataMetrics, matched_of};

/// See the module.
#[derive(Debug)]
pub(crate) struct InSync {
    broker_id: u32,
    tracker: IsrTracker,
    started: Instant,
    /// Who was in sync when that was last counted.
    counted: BTreeSet<BrokerId>,
    shrinks: Counter,
    expands: Counter,
}

impl InSync {
    /// A watch that begins with a term: whoever has what this replica has applied, the blank entry of the
    /// term included, has everything from before the term.
    pub(crate) fn new(
        broker_id: u32,
        view: &GroupView,
        lag_time_max_ms: u64,
        term_start: u64,
    ) -> Self {
        let brokers = |ids: &[u32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
        let (replicas, in_sync) = (brokers(&view.replicas), brokers(&view.isr));
        let me = BrokerId(broker_id);
        let mut tracker = IsrTracker::new(me, &replicas, &in_sync, lag_time_max_ms, 0);
        tracker.observe_leader_last(LogIndex(term_start), 0);
        Self {
            broker_id,
            counted: tracker.isr().collect(),
            tracker,
            started: Instant::now(),
            shrinks: counter!("raftmq_partition_isr_shrinks_total"),
            expands: counter!("raftmq_partition_isr_expands_total"),
        }
    }

    /// What it decides by.
    pub(crate) fn tracker(&self) -> &IsrTracker {
        &self.tracker
    }

    /// Whether all of these replicas are in sync.
    pub(crate) fn is_complete(&self, view: &GroupView) -> bool {
        self.tracker.in_sync_count() >= view.replicas.len()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes the placement and settings as they are now.
    pub(crate) fn follow(
        &mut self,
        view: &GroupView,
        min_insync_replicas: usize,
        lag_time_max_ms: u64,
    ) {
        let now_ms = self.now_ms();
        let replicas: Vec<_> = view.replicas.iter().copied().map(BrokerId).collect();
        self.tracker.set_replicas(&replicas, now_ms);
        self.tracker.configure(min_insync_replicas, lag_time_max_ms);
        for broker in replicas {
            let is_scarce = view.spaces.get(&broker) == Some(&Space::Scarce);
            if is_scarce || view.fenced.contains(&broker.get()) {
                self.tracker.fence(broker);
            } else {
                self.tracker.unfence(broker);
            }
        }
        let known: Vec<_> = view.isr.iter().copied().map(BrokerId).collect();
        self.tracker.reported(&known);
    }

    /// The newest entry that is committed.
    pub(crate) fn observe_leader_last(&mut self, log_index: u64) {
        let now_ms = self.now_ms();
        self.tracker
            .observe_leader_last(LogIndex(log_index), now_ms);
    }

    /// Looks for followers that lag.
    pub(crate) fn tick(&mut self) {
        let now_ms = self.now_ms();
        self.tracker.tick(now_ms);
    }

    /// Takes in how far followers have matched and how far this replica has flushed.
    pub(crate) fn observe(&mut self, group: &Group, data: &DataMetrics, own: Option<LogId>) {
        let now_ms = self.now_ms();
        for (broker, matched) in matched_of(data) {
            if broker != self.broker_id {
                self.tracker
                    .observe(BrokerId(broker), LogIndex(matched), now_ms);
            }
        }
        if let Some(own) = own {
            let me = BrokerId(self.broker_id);
            self.tracker.observe(me, LogIndex(own.index), now_ms);
            group.store().note_acknowledged(own);
        }
    }

    /// Reports and counts who is in sync, where that has changed.
    pub(crate) fn report(&mut self, reports: &Reports, group: &Group, term: u64) {
        self.count_changes();
        if let Some(changed) = self.tracker.change_to_report() {
            self.tracker.reported(&changed);
            let isr = changed.iter().map(|broker| broker.get()).collect();
            reports.in_sync(group.id(), term, isr);
        }
    }

    /// A replica that is none any more has not fallen behind.
    fn count_changes(&mut self) {
        if self.tracker.isr().eq(self.counted.iter().copied()) {
            return;
        }
        let now: BTreeSet<BrokerId> = self.tracker.isr().collect();
        let mut left = self.counted.difference(&now);
        if left.any(|broker| self.tracker.matched(*broker).is_some()) {
            self.shrinks.increment(1);
        }
        if now.difference(&self.counted).next().is_some() {
            self.expands.increment(1);
        }
        self.counted = now;
    }
}
