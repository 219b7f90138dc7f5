//! What the producer's driver can send now, and when to look again.
//!
//! Groups due batches of many partitions by leader into requests. It decides nothing about order
//! or retries (`partition.rs` does) and waits for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use raftmq_proto::v1::{PartitionBatch, ProduceRequest};
use tokio::time::Instant;

use super::accumulator::Take;
use super::builder::Acks;
use super::delivery::{BatchAck, UNKNOWN_OFFSET};
use super::driver::Driver;
use super::leader::{Leader, SentRequest};
use super::partition::{Batch, Finished, Partition, Readiness};
use crate::error::Error;
use crate::limits::{IDLE_WAKE, IN_FLIGHT_PER_PARTITION_MAX, REQUEST_BYTES, STALL};

/// Failures that the pause of a partition without a leader counts as.
const LEADERLESS_FAILURES: u32 = 2;
/// The broker answers TIMED_OUT after this share of the client's own deadline, so that its answer
/// comes before the client gives the stream up.
const BROKER_TIMEOUT_SHARE: f64 = 0.8;

/// The earliest instant at which something is to be done.
#[derive(Debug, Clone, Copy)]
struct Wake(Instant);

impl Wake {
    fn no_later_than(&mut self, at: Instant) {
        self.0 = self.0.min(at);
    }
}

/// A request that is being put together.
#[derive(Debug)]
struct Draft {
    batches: Vec<PartitionBatch>,
    sent: SentRequest,
    size_bytes: usize,
}

type Drafts = BTreeMap<Arc<str>, Draft>;

impl Driver {
    /// Sends everything that is due and has room; returns when to look again.
    pub(super) fn dispatch(&mut self) -> Instant {
        let now = Instant::now();
        let mut wake = Wake(now + IDLE_WAKE);
        self.adopt_slots();
        self.watch_leaders(now, &mut wake);
        self.expire(now, &mut wake);
        while self.round(now, &mut wake) {}
        wake.0
    }

    /// Gives every new slot of the accumulator its partition.
    fn adopt_slots(&mut self) {
        let accumulator = self.core.accumulator.lock();
        let is_idempotent = self.core.settings.is_idempotent;
        let known = self.partitions.len();
        for (topic, partition) in accumulator.slots_from(known) {
            self.partitions
                .push(Partition::new(topic, partition, is_idempotent));
        }
    }

    /// Gives up leaders that are silent for too long, and looks for news of those that stall.
    fn watch_leaders(&mut self, now: Instant, wake: &mut Wake) {
        let mut late = Vec::new();
        let mut is_stalled = false;
        for (endpoint, leader) in &self.leaders {
            let (Some(deadline), Some(sent_at)) = (leader.deadline(), leader.oldest_sent_at())
            else {
                continue;
            };
            if deadline <= now {
                late.push(Arc::clone(endpoint));
            }
            wake.no_later_than(deadline.max(now));
            is_stalled |= sent_at + STALL <= now;
            wake.no_later_than((sent_at + STALL).max(now + STALL / 2));
        }
        for endpoint in late {
            let error = Error::TimedOut {
                operation: "produce request",
                timeout: self.core.client.timeouts.request,
                last_error: None,
            };
            self.give_up_leader(&endpoint, &error);
        }
        let timeouts = &self.core.client.timeouts;
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

    /// Fails what has waited for longer than the delivery timeout.
    fn expire(&mut self, now: Instant, wake: &mut Wake) {
        let timeout = self.core.settings.delivery_timeout;
        let Some(created_before) = now.checked_sub(timeout) else {
            return;
        };
        let timed_out = |last_error| Error::TimedOut {
            operation: "delivery",
            timeout,
            last_error,
        };
        let mut finished = Finished::new();
        let mut oldest: Option<Instant> = None;
        for slot in &self.active {
            if let Some(partition) = self.partitions.get_mut(*slot) {
                partition.expire(created_before, timed_out, &mut finished);
                oldest = earlier(oldest, partition.oldest());
            }
        }
        let mut accumulator = self.core.accumulator.lock();
        let waiting: Vec<_> = accumulator.waiting().collect();
        for slot in waiting {
            while let Some(batch) = accumulator.take_expired(slot, created_before) {
                finished.push((Batch::from(batch), Err(timed_out(None))));
            }
            oldest = earlier(oldest, accumulator.oldest(slot));
        }
        drop(accumulator);
        if let Some(oldest) = oldest {
            wake.no_later_than(oldest + timeout);
        }
        self.finish(finished);
    }

    /// Sends at most one batch of each partition; false when there was nothing to send.
    fn round(&mut self, now: Instant, wake: &mut Wake) -> bool {
        let mut drafts = Drafts::new();
        let mut finished = Finished::new();
        for slot in self.slots_to_visit() {
            self.pick(slot, now, wake, (&mut drafts, &mut finished));
        }
        let has_sent = !drafts.is_empty() || !finished.is_empty();
        self.finish(finished);
        for (endpoint, draft) in drafts {
            self.send(&endpoint, draft);
        }
        has_sent
    }

    /// Slots that have something to send or under way, beginning at another one each time.
    fn slots_to_visit(&mut self) -> Vec<usize> {
        let partitions = &self.partitions;
        self.active.retain(|slot| {
            partitions
                .get(*slot)
                .is_some_and(|partition| !partition.is_idle())
        });
        let mut slots: Vec<_> = self.core.accumulator.lock().waiting().collect();
        slots.extend(&self.active);
        slots.sort_unstable();
        slots.dedup();
        self.first_slot = self.first_slot.wrapping_add(1);
        if !slots.is_empty() {
            let first = self.first_slot % slots.len();
            slots.rotate_left(first);
        }
        slots
    }

    /// Adds the next batch of a partition to its leader's draft, if it may go.
    fn pick(
        &mut self,
        slot: usize,
        now: Instant,
        wake: &mut Wake,
        (drafts, finished): (&mut Drafts, &mut Finished),
    ) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        if let Some(retry_at) = partition.retry_at.filter(|retry_at| *retry_at > now) {
            wake.no_later_than(retry_at);
            return;
        }
        let metadata = &self.core.client.metadata;
        let Some(leader) = metadata.leader(&partition.topic, partition.partition) else {
            let retry_at = now + self.core.client.random.backoff(LEADERLESS_FAILURES);
            partition.retry_at = Some(retry_at);
            partition.tried = None;
            wake.no_later_than(retry_at);
            self.refresh_metadata();
            return;
        };
        let has_room = self
            .leaders
            .get(&leader.endpoint)
            .is_none_or(Leader::has_room);
        let is_full = drafts
            .get(&leader.endpoint)
            .is_some_and(|draft| draft.size_bytes >= REQUEST_BYTES);
        if !has_room || is_full {
            return;
        }
        let Some(batch) = self.next_batch(slot, now, wake) else {
            return;
        };
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let batch_id = batch.state.id;
        let Some(record_batch) = partition.send(batch, finished) else {
            return;
        };
        partition.tried = Some(Arc::clone(&leader.endpoint));
        let deadline = now + self.core.client.timeouts.request;
        let draft = drafts.entry(leader.endpoint).or_insert_with(|| Draft {
            batches: Vec::new(),
            sent: SentRequest {
                batches: Vec::new(),
                sent_at: now,
                deadline,
            },
            size_bytes: 0,
        });
        draft.size_bytes += record_batch.len();
        draft.sent.batches.push((slot, batch_id));
        draft.batches.push(PartitionBatch {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            record_batch,
        });
        self.active.insert(slot);
    }

    /// Takes the batch that a partition is to send next, if it is due and may be numbered.
    fn next_batch(&mut self, slot: usize, now: Instant, wake: &mut Wake) -> Option<Batch> {
        let partition = self.partitions.get_mut(slot)?;
        let mut readiness = partition.readiness(IN_FLIGHT_PER_PARTITION_MAX);
        if readiness == Readiness::NeedsIdentity {
            let is_set = self
                .identity
                .is_some_and(|identity| partition.set_identity(identity));
            if !is_set {
                self.identity = None;
                self.ask_identity(now);
                if let Some(retry_at) = self.identity_retry_at {
                    wake.no_later_than(retry_at);
                }
                return None;
            }
            readiness = partition.readiness(IN_FLIGHT_PER_PARTITION_MAX);
        }
        match readiness {
            Readiness::Held | Readiness::NeedsIdentity => None,
            Readiness::Resend => partition.take_resend(),
            Readiness::New => {
                let is_forced = self.core.has_waiters();
                match self.core.accumulator.lock().take(slot, now, is_forced) {
                    Take::Batch(batch) => Some(Batch::from(*batch)),
                    Take::NotBefore(due) => {
                        wake.no_later_than(due);
                        None
                    }
                    Take::Empty => None,
                }
            }
        }
    }

    fn send(&mut self, endpoint: &Arc<str>, draft: Draft) {
        if !self.leaders.contains_key(endpoint) {
            self.open_leader(endpoint);
        }
        let Some(leader) = self.leaders.get_mut(endpoint) else {
            return;
        };
        let acks = self.core.settings.acks;
        let broker_timeout = self
            .core
            .client
            .timeouts
            .request
            .mul_f64(BROKER_TIMEOUT_SHARE);
        let request = ProduceRequest {
            correlation_id: 0,
            acks: acks.to_wire().into(),
            timeout_ms: u32::try_from(broker_timeout.as_millis()).unwrap_or(u32::MAX),
            batches: draft.batches,
        };
        let unanswered = match acks {
            Acks::None => draft.sent.batches.clone(),
            Acks::Leader | Acks::All => Vec::new(),
        };
        match leader.send(request, draft.sent, acks != Acks::None) {
            // With acks=0 a batch counts as delivered when it is handed to the stream.
            Ok(()) => self.acknowledge_blindly(unanswered),
            Err(sent) => {
                let error = Error::ConnectionLost {
                    endpoint: endpoint.to_string(),
                    reason: "the stream is closed".to_owned(),
                };
                self.settle_all(sent.batches.into_iter(), &error);
            }
        }
    }

    fn acknowledge_blindly(&mut self, batches: Vec<(usize, u64)>) {
        let mut finished = Finished::new();
        for (slot, batch_id) in batches {
            if let Some(partition) = self.partitions.get_mut(slot) {
                let ack = BatchAck {
                    base_offset: UNKNOWN_OFFSET,
                    log_append_time_ms: -1,
                };
                partition.settle(batch_id, Ok(ack), 0, &mut finished);
            }
        }
        self.finish(finished);
    }

    fn open_leader(&mut self, endpoint: &Arc<str>) {
        self.next_leader_id += 1;
        let leader = Leader::open(
            &self.core.client,
            &mut self.tasks,
            (self.next_leader_id, Arc::clone(endpoint)),
            self.leader_events.clone(),
            Arc::clone(&self.core.news),
        );
        self.leaders.insert(Arc::clone(endpoint), leader);
    }
}

fn earlier(left: Option<Instant>, right: Option<Instant>) -> Option<Instant> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (one, None) | (None, one) => one,
    }
}
