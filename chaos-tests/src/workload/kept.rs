//! Writes to a topic from which records go, makes them go, moves its replicas, and reads what is left.
//!
//! One task for each such topic; it does not judge.

use std::rc::Rc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use super::{Phase, Workload};
use crate::faults::FaultClass;
use crate::history::{Cleanup, Outcome, StartEvent};
use crate::seed::{Stream, stream};
use crate::system::{Clients, Keeper, SendFailure};

const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Keys of a topic: few, so that most records become obsolete.
const KEYS_COUNT: u32 = 12;
const BURST_MAX: u32 = 6;
const PAUSE_MS: std::ops::RangeInclusive<u64> = 20..=120;
/// Bursts between two chores, on average.
const BURSTS_PER_CHORE: u32 = 25;
/// The streams of random numbers of these tasks.
const STREAMS: u64 = 1_000;

/// Writes and cleans until the load ends.
pub(super) async fn run(workload: Workload, clients: Rc<dyn Clients>, cleanup: Cleanup) {
    let part = STREAMS + cleanup as u64;
    let mut writer = Writer {
        rng: stream(workload.options.seed, Stream::Workload, part),
        in_flight: JoinSet::new(),
        workload,
        cleanup,
    };
    while !writer.workload.has_reached(Phase::Quiesce) {
        match clients.keeper(cleanup).await {
            Ok(keeper) => writer.session(&*keeper).await,
            Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
    while writer.in_flight.join_next().await.is_some() {}
}

/// Reads what is left, once nobody writes any more. Never gives up; the run does.
pub(super) async fn drain(workload: &Workload, clients: &dyn Clients, cleanup: Cleanup) {
    loop {
        if let Ok(keeper) = clients.keeper(cleanup).await
            && let Ok((log_start, _)) = keeper.bounds().await
            && let Ok(records) = keeper.read().await
            // A deletion that nobody waits for any more may come late.
            && keeper.bounds().await.is_ok_and(|(now, _)| now == log_start)
        {
            workload.kept.change(cleanup, |topic| {
                topic.starts.push(StartEvent::Seen(log_start));
                topic.drained = Some((log_start, records));
            });
            return;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

struct Writer {
    workload: Workload,
    cleanup: Cleanup,
    rng: StdRng,
    in_flight: JoinSet<bool>,
}

impl Writer {
    /// Writes with one producer until it fails for good or the load ends.
    async fn session(&mut self, keeper: &dyn Keeper) {
        while !self.workload.has_reached(Phase::Quiesce) {
            for _ in 0..self.rng.random_range(1..=BURST_MAX) {
                if !self.send(keeper).await {
                    return;
                }
            }
            while let Some(ended) = self.in_flight.try_join_next() {
                if matches!(ended, Ok(true)) {
                    return;
                }
            }
            if self.rng.random_ratio(1, BURSTS_PER_CHORE) {
                self.chore(keeper).await;
            }
            let pause_ms = self.rng.random_range(PAUSE_MS);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    /// One send; false if the producer is of no more use.
    async fn send(&mut self, keeper: &dyn Keeper) -> bool {
        let (key, value) = (
            self.rng.random_range(0..KEYS_COUNT),
            self.workload.next_value(),
        );
        let (kept, cleanup) = (self.workload.kept.clone(), self.cleanup);
        let place = kept.send(cleanup, key, value);
        let delivery = match keeper.send(key, value).await {
            Ok(delivery) => delivery,
            Err(failure) => {
                kept.change(cleanup, |topic| {
                    topic.sends[place].outcome = failure.outcome;
                });
                return !failure.is_fatal;
            }
        };
        self.in_flight.spawn_local(async move {
            let result = delivery.await;
            kept.change(cleanup, |topic| match &result {
                Ok(offset) => {
                    topic.sends[place].outcome = Outcome::Ok;
                    topic.sends[place].offset = *offset;
                }
                Err(failure) => topic.sends[place].outcome = failure.outcome,
            });
            matches!(result, Err(SendFailure { is_fatal: true, .. }))
        });
        true
    }

    /// Deletes, reads everything or moves the replicas. What fails is not tried again.
    async fn chore(&mut self, keeper: &dyn Keeper) {
        let choice = self.rng.random_range(0..10);
        match (self.cleanup, choice) {
            (_, 0..2) => self.reassign(keeper).await,
            (Cleanup::Compact, _) | (Cleanup::Delete, 2..5) => self.read(keeper).await,
            (Cleanup::Delete, _) => self.delete(keeper).await,
        }
    }

    async fn delete(&mut self, keeper: &dyn Keeper) {
        let Ok((start, end)) = keeper.bounds().await else {
            return;
        };
        self.note(StartEvent::Seen(start));
        if start >= end {
            return;
        }
        let before = self.rng.random_range(start..=end);
        self.note(StartEvent::Asked(before));
        if let Ok(start) = keeper.delete_before(before).await {
            self.note(StartEvent::Deleted(start));
            self.workload.effects.add(FaultClass::Cleanup, 1);
        }
    }

    fn note(&self, event: StartEvent) {
        self.workload
            .kept
            .change(self.cleanup, |topic| topic.starts.push(event));
    }

    async fn read(&self, keeper: &dyn Keeper) {
        let Ok(records) = keeper.read().await else {
            return;
        };
        let has_gap = |pair: &[crate::history::KeptRecord]| pair[0].offset + 1 < pair[1].offset;
        if self.cleanup == Cleanup::Compact && records.windows(2).any(has_gap) {
            tracing::trace!(target: "raftmq::mark", name = "compacted_log_was_read");
            self.workload.effects.add(FaultClass::Cleanup, 1);
        }
        self.workload
            .kept
            .change(self.cleanup, |topic| topic.reads.push(records));
    }

    /// To two brokers or three, so that replicas are made anew. Two of which one is damaged are no majority:
    /// where disks rot it is always three.
    async fn reassign(&mut self, keeper: &dyn Keeper) {
        let brokers_count = self.workload.options.brokers_count;
        let first = self.rng.random_range(0..brokers_count);
        let count = self.rng.random_range(2..=3);
        let may_rot = self.workload.options.faults.contains(&FaultClass::BitRot);
        let count = if may_rot { 3 } else { count };
        let replicas = (first..first + count).map(|step| step % brokers_count + 1);
        // Like a move that the nemesis orders: forgotten when the cluster does not take it.
        let _ = keeper.reassign(replicas.collect()).await;
    }
}
