//! The leader's view of its replicas: who is in sync, and what all of them have flushed.
//!
//! Pure: matched log indexes and monotonic time come in, changes to report come out. It carries
//! no safety (Raft does): it decides when `acks=-1` is answered (ARCHITECTURE.md, "Acks and in-sync
//! replicas"; Kafka's `Partition.maybeExpandIsr` / `maybeShrinkIsr`). Does not know the wire, the
//! metadata group or the records.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::ids::{BrokerId, LogIndex};

/// Too few replicas are in sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotEnoughReplicas {
    /// Nothing was written.
    #[error("{in_sync_count} replicas in sync, {required_count} required")]
    BeforeAppend {
        /// Replicas in sync.
        in_sync_count: usize,
        /// The effective minimum.
        required_count: usize,
    },
    /// The record is in the log, and may be committed, but was not acknowledged.
    #[error("{in_sync_count} replicas in sync after the append, {required_count} required")]
    AfterAppend {
        /// Replicas in sync.
        in_sync_count: usize,
        /// The effective minimum.
        required_count: usize,
    },
}

#[derive(Debug, Clone, Copy)]
struct Replica {
    matched: LogIndex,
    /// Where the leader's log ended when this replica was last heard of, and when that was: once
    /// it has matched that, it was caught up then (Kafka: `Replica.updateFetchState`). Comparing
    /// with the present end would never find a replica caught up under steady load.
    target: LogIndex,
    target_at_ms: u64,
    caught_up_at_ms: u64,
    is_in_sync: bool,
    is_fenced: bool,
}

/// Tracks the replicas of one partition for as long as this broker leads it.
#[derive(Debug, Clone)]
pub struct IsrTracker {
    me: BrokerId,
    replicas: BTreeMap<BrokerId, Replica>,
    leader_last: LogIndex,
    /// The first last entry that was observed: everything that leaders of older terms may have
    /// acknowledged lies below it. `None` until then.
    term_start: Option<LogIndex>,
    lag_time_max_ms: u64,
    min_insync_replicas: usize,
    reported: BTreeSet<BrokerId>,
}

impl IsrTracker {
    /// Starts at the beginning of a term, with the replicas (without the target of a running
    /// reassignment) and the in-sync replicas of the metadata image. The in-sync ones count as
    /// caught up now; the leader itself is always in sync.
    #[must_use]
    pub fn new(
        me: BrokerId,
        replicas: &[BrokerId],
        isr: &[BrokerId],
        lag_time_max_ms: u64,
        now_ms: u64,
    ) -> Self {
        let mut tracker = Self {
            me,
            replicas: BTreeMap::new(),
            leader_last: LogIndex(0),
            term_start: None,
            lag_time_max_ms,
            min_insync_replicas: 1,
            reported: isr.iter().copied().collect(),
        };
        tracker.set_replicas(replicas, now_ms);
        for (broker, replica) in &mut tracker.replicas {
            replica.is_in_sync = *broker == me || isr.contains(broker);
        }
        tracker
    }

    /// Sets `min.insync.replicas` and `replica.lag.time.max.ms`, which may change at any time.
    pub fn configure(&mut self, min_insync_replicas: usize, lag_time_max_ms: u64) {
        self.min_insync_replicas = min_insync_replicas;
        self.lag_time_max_ms = lag_time_max_ms;
    }

    /// Follows a change of the replicas. New ones start out of sync.
    pub fn set_replicas(&mut self, replicas: &[BrokerId], now_ms: u64) {
        let me = self.me;
        self.replicas
            .retain(|broker, _| *broker == me || replicas.contains(broker));
        for broker in replicas.iter().chain([&me]) {
            self.replicas.entry(*broker).or_insert_with(|| Replica {
                matched: LogIndex(0),
                target: self.leader_last,
                target_at_ms: now_ms,
                caught_up_at_ms: now_ms,
                is_in_sync: *broker == me,
                is_fenced: false,
            });
        }
    }

    /// Takes note of the leader's own last entry, flushed or not. Never goes back.
    ///
    /// Until the first call (or the first flush of the leader that is observed) no replica joins
    /// the in-sync ones; it should name the blank entry of the leader's own term, or a later one.
    pub fn observe_leader_last(&mut self, last: LogIndex, now_ms: u64) {
        self.term_start.get_or_insert(last);
        if last <= self.leader_last {
            return;
        }
        // Whoever had everything until now was caught up until now.
        for replica in self.replicas.values_mut() {
            if replica.matched >= self.leader_last {
                replica.caught_up_at_ms = replica.caught_up_at_ms.max(now_ms);
            }
        }
        self.leader_last = last;
    }

    /// Takes note of what a replica has flushed; the leader's own flush comes in here too.
    /// A matched index never goes back within a term, older news is ignored.
    ///
    /// A replica comes (back) into sync once it has everything that may have been acknowledged:
    /// what came before this term, and what a majority and every in-sync replica has flushed
    /// (Kafka: the high watermark and the start of the leader epoch).
    pub fn observe(&mut self, broker: BrokerId, matched: LogIndex, now_ms: u64) {
        if broker == self.me {
            // What is flushed here is in the log here.
            self.observe_leader_last(matched, now_ms);
        }
        let leader_last = self.leader_last;
        let Some(replica) = self.replicas.get_mut(&broker) else {
            return;
        };
        replica.matched = replica.matched.max(matched);
        if replica.matched >= leader_last {
            replica.caught_up_at_ms = replica.caught_up_at_ms.max(now_ms);
        } else if replica.matched >= replica.target {
            replica.caught_up_at_ms = replica.caught_up_at_ms.max(replica.target_at_ms);
        }
        if replica.matched >= replica.target {
            replica.target = leader_last;
            replica.target_at_ms = now_ms;
        }
        let (matched, may_join) = (replica.matched, !replica.is_in_sync && !replica.is_fenced);
        let has_enough = |start| matched >= self.join_floor(start);
        if may_join && self.term_start.is_some_and(has_enough) {
            if let Some(replica) = self.replicas.get_mut(&broker) {
                replica.is_in_sync = true;
                replica.caught_up_at_ms = now_ms;
            }
            tracing::trace!(target: "raftmq::mark", name = "isr_expanded");
        }
    }

    /// The metadata group fenced a broker: it is out of sync at once. Not for the leader itself.
    pub fn fence(&mut self, broker: BrokerId) {
        if broker == self.me {
            return;
        }
        if let Some(replica) = self.replicas.get_mut(&broker) {
            replica.is_fenced = true;
            replica.is_in_sync = false;
        }
    }

    /// The broker is back; it is in sync again once it has caught up.
    pub fn unfence(&mut self, broker: BrokerId) {
        if let Some(replica) = self.replicas.get_mut(&broker) {
            replica.is_fenced = false;
        }
    }

    /// Takes out replicas that have lagged for longer than `replica.lag.time.max.ms`.
    pub fn tick(&mut self, now_ms: u64) {
        for (broker, replica) in &mut self.replicas {
            if replica.matched >= self.leader_last {
                replica.caught_up_at_ms = replica.caught_up_at_ms.max(now_ms);
            }
            let lag_ms = now_ms.saturating_sub(replica.caught_up_at_ms);
            if *broker != self.me && replica.is_in_sync && lag_ms > self.lag_time_max_ms {
                replica.is_in_sync = false;
                tracing::trace!(target: "raftmq::mark", name = "isr_shrunk");
            }
        }
    }

    /// Returns the replicas in sync, in ascending order; the leader is always among them.
    pub fn isr(&self) -> impl Iterator<Item = BrokerId> {
        self.replicas
            .iter()
            .filter(|(_, replica)| replica.is_in_sync)
            .map(|(broker, _)| *broker)
    }

    /// Counts the replicas in sync.
    #[must_use]
    pub fn in_sync_count(&self) -> usize {
        self.isr().count()
    }

    /// Returns the in-sync replicas when they differ from what the metadata group knows.
    #[must_use]
    pub fn change_to_report(&self) -> Option<Vec<BrokerId>> {
        let differs = !self.isr().eq(self.reported.iter().copied());
        differs.then(|| self.isr().collect())
    }

    /// The metadata group now has this list: nothing to report until it changes again.
    pub fn reported(&mut self, isr: &[BrokerId]) {
        self.reported = isr.iter().copied().collect();
    }

    /// Returns the last log index that every in-sync replica has flushed, the leader included:
    /// `acks=-1` is answered for committed entries up to here.
    #[must_use]
    pub fn all_in_sync_flushed_up_to(&self) -> LogIndex {
        let in_sync = self.replicas.values().filter(|replica| replica.is_in_sync);
        in_sync
            .map(|replica| replica.matched)
            .min()
            .unwrap_or(LogIndex(0))
    }

    /// Returns what a replica must have flushed to come into sync.
    fn join_floor(&self, term_start: LogIndex) -> LogIndex {
        let acknowledged_max = self
            .all_in_sync_flushed_up_to()
            .min(self.majority_matched());
        acknowledged_max.max(term_start)
    }

    /// Returns the last log index that a majority of the replicas has flushed.
    fn majority_matched(&self) -> LogIndex {
        let mut matched: Vec<LogIndex> = self
            .replicas
            .values()
            .map(|replica| replica.matched)
            .collect();
        matched.sort_unstable();
        matched
            .get((matched.len() - 1) / 2)
            .copied()
            .unwrap_or(LogIndex(0))
    }

    /// Returns what a broker is known to have flushed.
    #[must_use]
    pub fn matched(&self, broker: BrokerId) -> Option<LogIndex> {
        self.replicas.get(&broker).map(|replica| replica.matched)
    }

    /// Returns how many replicas must be in sync for `acks=-1`: the larger of
    /// `min.insync.replicas` and a majority of the replicas.
    #[must_use]
    pub fn effective_minimum(&self) -> usize {
        let majority = self.replicas.len() / 2 + 1;
        self.min_insync_replicas.max(majority)
    }

    /// Checks before an `acks=-1` write is proposed.
    ///
    /// # Errors
    /// `BeforeAppend` when too few replicas are in sync.
    pub fn check_before_write(&self) -> Result<(), NotEnoughReplicas> {
        let (in_sync_count, required_count) = (self.in_sync_count(), self.effective_minimum());
        if in_sync_count >= required_count {
            return Ok(());
        }
        Err(NotEnoughReplicas::BeforeAppend {
            in_sync_count,
            required_count,
        })
    }

    /// Tells whether an `acks=-1` write at `log_index` (committed, as the caller knows) may be
    /// acknowledged now: `false` means wait on.
    ///
    /// # Errors
    /// `AfterAppend` when the replicas in sync became too few in between.
    pub fn check_after_append(&self, log_index: LogIndex) -> Result<bool, NotEnoughReplicas> {
        let (in_sync_count, required_count) = (self.in_sync_count(), self.effective_minimum());
        if in_sync_count < required_count {
            return Err(NotEnoughReplicas::AfterAppend {
                in_sync_count,
                required_count,
            });
        }
        Ok(self.all_in_sync_flushed_up_to() >= log_index)
    }
}
