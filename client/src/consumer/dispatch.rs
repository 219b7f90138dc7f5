//! What the consumer's driver can ask for now, and when to look again.
//!
//! Groups partitions by leader into requests, within the bytes that may be fetched ahead.

use std::collections::BTreeMap;
use std::sync::Arc;

use raftmq_proto::v1::{FetchPartition, FetchRequest};
use tokio::time::Instant;

use super::driver::Driver;
use super::fetcher::{Asked, Fetcher, OpenFetch};
use super::position::Need;
use crate::admin::OffsetAt;
use crate::error::Error;
use crate::limits::{IDLE_WAKE, STALL};

/// Failures that the pause of a partition without a leader counts as.
const LEADERLESS_FAILURES: u32 = 2;

#[derive(Debug, Default)]
struct Plan {
    lookups: Vec<(Asked, OffsetAt)>,
    fetches: Vec<(Asked, FetchPartition)>,
}

impl Driver {
    /// Asks for everything that is due and has room; returns when to look again.
    pub(super) fn dispatch(&mut self) -> Instant {
        let now = Instant::now();
        let mut wake_at = now + IDLE_WAKE;
        for (slot, generation, wish) in self.core.buffer.take_wishes() {
            if let Some(position) = self.positions.get_mut(slot) {
                position.apply(generation, wish);
            }
        }
        self.watch_fetchers(now, &mut wake_at);
        let plans = self.plan(now, &mut wake_at);
        let leaders_count = plans.len().max(1);
        for (endpoint, plan) in plans {
            if !plan.lookups.is_empty() {
                self.look_up(Arc::clone(&endpoint), plan.lookups);
            }
            if !plan.fetches.is_empty() {
                self.fetch(&endpoint, plan.fetches, (now, leaders_count));
            }
        }
        wake_at
    }

    /// Gives up leaders that are silent for too long, and looks for news of those that stall.
    fn watch_fetchers(&mut self, now: Instant, wake_at: &mut Instant) {
        let mut late = Vec::new();
        let mut is_stalled = false;
        for (endpoint, fetcher) in &self.fetchers {
            let Some(open) = &fetcher.open else {
                continue;
            };
            if open.deadline <= now {
                late.push(Arc::clone(endpoint));
            }
            is_stalled |= open.stalls_at <= now;
            let look_at = open.stalls_at.max(now + STALL / 2);
            *wake_at = (*wake_at).min(open.deadline.max(now)).min(look_at);
        }
        let timeouts = self.core.client.timeouts;
        for endpoint in late {
            let error = Error::TimedOut {
                operation: "fetch request",
                timeout: timeouts.request,
                last_error: None,
            };
            self.give_up_fetcher(&endpoint, &error);
        }
        let age_max = if is_stalled {
            STALL
        } else {
            timeouts.metadata_age_max
        };
        let refreshed_at = self.core.client.metadata.refreshed_at();
        if refreshed_at.is_none_or(|refreshed_at| refreshed_at + age_max <= now) {
            self.refresh_metadata();
        }
    }

    /// Sorts what every partition needs by leader.
    fn plan(&mut self, now: Instant, wake_at: &mut Instant) -> BTreeMap<Arc<str>, Plan> {
        let mut plans: BTreeMap<Arc<str>, Plan> = BTreeMap::new();
        let mut is_leaderless = false;
        let count = self.positions.len();
        for step in 0..count {
            let slot = (self.first_slot + step) % count;
            let Some(position) = self.positions.get_mut(slot) else {
                continue;
            };
            if position.need == Need::Nothing || matches!(position.need, Need::LookingUp(_)) {
                continue;
            }
            if let Some(retry_at) = position.retry_at.filter(|retry_at| *retry_at > now) {
                *wake_at = (*wake_at).min(retry_at);
                continue;
            }
            let client = &self.core.client;
            let Some(leader) = client.metadata.leader(&position.topic, position.partition) else {
                let retry_at = now + client.random.backoff(LEADERLESS_FAILURES);
                position.retry_at = Some(retry_at);
                *wake_at = (*wake_at).min(retry_at);
                is_leaderless = true;
                continue;
            };
            let current_leader_epoch = position.epoch_for(&leader);
            let mut asked = Asked {
                slot,
                generation: position.generation,
                offset: 0,
            };
            let plan = plans.entry(leader.endpoint).or_default();
            match position.need {
                Need::Nothing | Need::LookingUp(_) => {}
                Need::Lookup(at) => {
                    position.need = Need::LookingUp(at);
                    plan.lookups.push((asked, at));
                }
                Need::Records(offset) => {
                    asked.offset = offset;
                    let wanted = FetchPartition {
                        topic: position.topic.to_string(),
                        partition: position.partition,
                        fetch_offset: offset,
                        max_bytes: self.core.settings.partition_fetch_bytes,
                        current_leader_epoch,
                    };
                    plan.fetches.push((asked, wanted));
                }
            }
        }
        if is_leaderless {
            self.refresh_metadata();
        }
        plans
    }

    /// Sends a fetch to a leader that has none open, if there is room for its answer.
    fn fetch(
        &mut self,
        endpoint: &Arc<str>,
        wanted: Vec<(Asked, FetchPartition)>,
        (now, leaders_count): (Instant, usize),
    ) {
        let open = self
            .fetchers
            .get(endpoint)
            .and_then(|fetcher| fetcher.open.as_ref());
        if let Some(open) = open {
            let is_covered = wanted.iter().all(|(asked, _)| open.asked.contains(asked));
            if is_covered {
                return;
            }
            // A seek or a new partition must not wait behind a request that waits for records;
            // nothing of its answer was read, so it is dropped with its stream.
            self.fetchers.remove(endpoint);
        }
        let settings = self.core.settings;
        // Every leader has its share of the buffer, so that none waits for another's records.
        let share_bytes = u32::try_from(settings.prefetch_bytes / leaders_count);
        let max_bytes = settings
            .fetch_bytes
            .min(share_bytes.unwrap_or(u32::MAX).max(1));
        let answer_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        if !self.has_room(answer_bytes) {
            return;
        }
        self.first_slot = self.first_slot.wrapping_add(1) % self.positions.len().max(1);
        self.next_id += 1;
        let correlation_id = self.next_id;
        let (asked, partitions) = wanted.into_iter().unzip();
        let request = FetchRequest {
            correlation_id,
            min_bytes: settings.min_bytes,
            max_bytes,
            max_wait_ms: u32::try_from(settings.max_wait.as_millis()).unwrap_or(u32::MAX),
            partitions,
        };
        let open = OpenFetch {
            asked,
            max_bytes: answer_bytes,
            stalls_at: now + settings.max_wait + STALL,
            deadline: now + settings.max_wait + self.core.client.timeouts.request,
            correlation_id,
        };
        if !self.fetchers.contains_key(endpoint) {
            let fetcher = Fetcher::open(
                &self.core.client,
                &mut self.tasks,
                (correlation_id, Arc::clone(endpoint)),
                self.fetch_events.clone(),
            );
            self.fetchers.insert(Arc::clone(endpoint), fetcher);
        }
        if let Some(fetcher) = self.fetchers.get_mut(endpoint) {
            fetcher.send(request, open);
        }
    }

    /// Whether another answer of `max_bytes` may come; with nothing buffered, always.
    fn has_room(&self, max_bytes: usize) -> bool {
        let buffered_bytes = self.core.buffer.buffered_bytes();
        let open = self
            .fetchers
            .values()
            .filter_map(|fetcher| fetcher.open.as_ref());
        let open_bytes: usize = open.map(|open| open.max_bytes).sum();
        let used_bytes = buffered_bytes + open_bytes + max_bytes;
        buffered_bytes == 0 || used_bytes <= self.core.settings.prefetch_bytes
    }
}
