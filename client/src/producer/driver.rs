//! The producer's one task: waits for something to happen, and passes it on.
//!
//! Owns all batches that were sent, the streams to leaders, and the producer ids. What can be sent
//! is decided in `dispatch.rs`; what an answer means for a partition in `partition.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use raftmq_proto::v1::{InitProducerIdRequest, ProduceResponse};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::delivery::{BatchAck, BatchState};
use super::leader::{Leader, LeaderEvent};
use super::partition::{Finished, Identity, Partition};
use super::{Commands, Core};
use crate::connection::broker_client;
use crate::error::{Error, Result};
use crate::limits::{
    EVENTS_MAX, METADATA_PAUSE_MIN, REDIRECTS_AT_ONCE_MAX, REFUSED_METADATA_FAILURES,
};
use crate::metadata::follows_hint;

/// What the producer's handle asks of its driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// Send everything now, and tell which batches that are.
    Flush(oneshot::Sender<Vec<Arc<BatchState>>>),
    /// Fail what is left, and end.
    Close,
}

/// Results of the driver's own calls.
#[derive(Debug)]
pub(super) enum CallEvent {
    Metadata(Result<()>),
    ProducerId(Result<Identity>),
}

/// The task's state.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(super) core: Arc<Core>,
    pub(super) partitions: Vec<Partition>,
    /// Slots with batches under way.
    pub(super) active: BTreeSet<usize>,
    pub(super) leaders: BTreeMap<Arc<str>, Leader>,
    pub(super) next_leader_id: u64,
    pub(super) tasks: JoinSet<()>,
    pub(super) leader_events: mpsc::Sender<(u64, Arc<str>, LeaderEvent)>,
    call_events: mpsc::Sender<CallEvent>,
    /// What partitions without an identity get.
    pub(super) identity: Option<Identity>,
    is_asking_identity: bool,
    identity_failures: u32,
    pub(super) identity_retry_at: Option<Instant>,
    is_refreshing: bool,
    /// Where the next round begins, so that no partition is always last.
    pub(super) first_slot: usize,
}

/// Shortest wait for a timer: tokio's own granularity.
const WAKE_PAUSE_MIN: Duration = Duration::from_millis(1);

/// The receiving ends, apart from the state so that both can be borrowed.
#[derive(Debug)]
struct Inbox {
    leaders: mpsc::Receiver<(u64, Arc<str>, LeaderEvent)>,
    calls: mpsc::Receiver<CallEvent>,
    commands: Commands,
}

/// Runs a producer until its handle is gone.
pub(crate) async fn run(core: Arc<Core>, commands: Commands) {
    let (leader_events, leaders) = mpsc::channel(EVENTS_MAX);
    let (call_events, calls) = mpsc::channel(EVENTS_MAX);
    let mut inbox = Inbox {
        leaders,
        calls,
        commands,
    };
    let mut driver = Driver {
        core,
        partitions: Vec::new(),
        active: BTreeSet::new(),
        leaders: BTreeMap::new(),
        next_leader_id: 0,
        tasks: JoinSet::new(),
        leader_events,
        call_events,
        identity: None,
        is_asking_identity: false,
        identity_failures: 0,
        identity_retry_at: None,
        is_refreshing: false,
        first_slot: 0,
    };
    while driver.step(&mut inbox).await {}
    driver.shut_down();
}

impl Driver {
    /// Sends what can be sent, then waits for the next event; false when the producer is gone.
    async fn step(&mut self, inbox: &mut Inbox) -> bool {
        // A timer that is due already would never let simulated time go on.
        let wake_at = self.dispatch().max(Instant::now() + WAKE_PAUSE_MIN);
        let news = Arc::clone(&self.core.news);
        tokio::select! {
            biased;
            command = inbox.commands.recv() => match command {
                Some(Command::Flush(reply)) => {
                    // The caller may have given up.
                    let _ = reply.send(self.flush());
                }
                Some(Command::Close) | None => return false,
            },
            Some((id, endpoint, event)) = inbox.leaders.recv() => {
                self.on_leader(id, &endpoint, event);
                while let Ok((id, endpoint, event)) = inbox.leaders.try_recv() {
                    self.on_leader(id, &endpoint, event);
                }
            }
            Some(event) = inbox.calls.recv() => self.on_call(event),
            () = news.notified() => {}
            () = tokio::time::sleep_until(wake_at) => {}
            Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
        }
        true
    }

    fn flush(&mut self) -> Vec<Arc<BatchState>> {
        let mut states = self.core.accumulator.lock().close_all();
        for slot in &self.active {
            if let Some(partition) = self.partitions.get(*slot) {
                states.extend(partition.states().cloned());
            }
        }
        states
    }

    fn on_leader(&mut self, id: u64, endpoint: &Arc<str>, event: LeaderEvent) {
        let is_current = self
            .leaders
            .get(endpoint)
            .is_some_and(|leader| leader.id == id);
        if !is_current {
            return;
        }
        match event {
            LeaderEvent::Response(response) => self.on_response(endpoint, response),
            LeaderEvent::Broken(error) => self.give_up_leader(endpoint, &error),
        }
    }

    fn on_response(&mut self, endpoint: &Arc<str>, response: ProduceResponse) {
        let Some(leader) = self.leaders.get_mut(endpoint) else {
            return;
        };
        let Some(sent) = leader.take(response.correlation_id) else {
            return;
        };
        if response.results.len() != sent.batches.len() {
            let error = Error::ConnectionLost {
                endpoint: endpoint.to_string(),
                reason: format!(
                    "{} results for {} batches",
                    response.results.len(),
                    sent.batches.len()
                ),
            };
            self.settle_all(sent.batches.into_iter(), &error);
            self.give_up_leader(endpoint, &error);
            return;
        }
        for ((slot, batch_id), result) in sent.batches.into_iter().zip(response.results) {
            let outcome = match result.error {
                None => Ok(BatchAck {
                    base_offset: result.base_offset,
                    log_append_time_ms: result.log_append_time_ms,
                }),
                Some(error) => Err(error.into()),
            };
            self.settle(slot, batch_id, outcome);
        }
    }

    /// Closes the stream to a leader; everything without an answer is retried.
    pub(super) fn give_up_leader(&mut self, endpoint: &Arc<str>, error: &Error) {
        let Some(leader) = self.leaders.remove(endpoint) else {
            return;
        };
        tracing::debug!(endpoint = &**endpoint, %error, "produce stream given up");
        let unanswered = leader.abandon();
        self.settle_all(unanswered, error);
        self.refresh_metadata();
    }

    pub(super) fn settle_all(
        &mut self,
        batches: impl Iterator<Item = (usize, u64)>,
        error: &Error,
    ) {
        for (slot, batch_id) in batches {
            self.settle(slot, batch_id, Err(error.clone()));
        }
    }

    /// Gives a partition the outcome of one batch, and acts on what it says.
    fn settle(&mut self, slot: usize, batch_id: u64, outcome: Result<BatchAck>) {
        let mut finished = Finished::new();
        let retries_max = self.core.settings.retries_max;
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let retried = partition.settle(batch_id, outcome, retries_max, &mut finished);
        if let Some(error) = retried {
            let (topic, number) = (&partition.topic, partition.partition);
            tracing::debug!(topic = &**topic, partition = number, %error, "batch is sent again");
            let failures = partition.failures;
            let pause = self.core.client.random.backoff_after(&error, failures);
            partition.retry_at = Some(Instant::now() + pause);
            match error.leader_endpoint() {
                Some(leader) if follows_hint(failures) => {
                    self.core.client.metadata.hint(topic, number, leader);
                    if failures <= REDIRECTS_AT_ONCE_MAX {
                        partition.retry_at = None;
                    }
                }
                Some(_) | None => {
                    if error.wants_metadata() {
                        self.refresh_metadata();
                    }
                }
            }
        }
        self.finish(finished);
    }

    /// Completes batches and gives their buffer space back.
    pub(super) fn finish(&self, finished: Finished) {
        for (batch, outcome) in finished {
            if let Err(error) = &outcome {
                tracing::debug!(partition = batch.state.partition, %error, "batch failed");
            }
            self.core.release(batch.reserved_bytes);
            batch.state.complete(outcome);
        }
    }

    /// Asks for fresh metadata, once at a time.
    pub(super) fn refresh_metadata(&mut self) {
        if std::mem::replace(&mut self.is_refreshing, true) {
            return;
        }
        let client = Arc::clone(&self.core.client);
        let events = self.call_events.clone();
        self.tasks.spawn(async move {
            if let Some(refreshed_at) = client.metadata.refreshed_at() {
                tokio::time::sleep_until(refreshed_at + METADATA_PAUSE_MIN).await;
            }
            let refreshed = client.refresh_metadata().await;
            if refreshed.is_err() {
                // Refused at once, perhaps: do not ask as fast as brokers can refuse.
                let pause = client.random.backoff(REFUSED_METADATA_FAILURES);
                tokio::time::sleep(pause).await;
            }
            // Nobody listens any more only when the producer is gone.
            let _ = events.send(CallEvent::Metadata(refreshed)).await;
        });
    }

    /// Asks for a new producer id, once at a time.
    pub(super) fn ask_identity(&mut self, now: Instant) {
        let is_too_early = self
            .identity_retry_at
            .is_some_and(|retry_at| retry_at > now);
        if is_too_early || std::mem::replace(&mut self.is_asking_identity, true) {
            return;
        }
        self.identity_retry_at = None;
        let client = Arc::clone(&self.core.client);
        let events = self.call_events.clone();
        self.tasks.spawn(async move {
            let answered = client
                .call("producer id request", |channel| async move {
                    broker_client(channel)
                        .init_producer_id(InitProducerIdRequest {})
                        .await
                })
                .await;
            let identity = answered.map(|answer| Identity {
                producer_id: answer.producer_id,
                epoch: i16::try_from(answer.producer_epoch).unwrap_or(0),
            });
            // Nobody listens any more only when the producer is gone.
            let _ = events.send(CallEvent::ProducerId(identity)).await;
        });
    }

    fn on_call(&mut self, event: CallEvent) {
        match event {
            CallEvent::Metadata(refreshed) => {
                self.is_refreshing = false;
                match refreshed {
                    Ok(()) => {
                        self.leave_moved();
                        self.end_pauses();
                    }
                    Err(error) => {
                        tracing::warn!(%error, "metadata could not be refreshed");
                    }
                }
            }
            CallEvent::ProducerId(Ok(identity)) => {
                self.is_asking_identity = false;
                self.identity_failures = 0;
                self.identity_retry_at = None;
                self.identity = Some(identity);
            }
            CallEvent::ProducerId(Err(error)) => {
                tracing::warn!(%error, "no producer id");
                self.is_asking_identity = false;
                self.identity_failures += 1;
                let pause = self.core.client.random.backoff(self.identity_failures);
                self.identity_retry_at = Some(Instant::now() + pause);
            }
        }
    }

    /// Stops waiting for leaders that lead no more: one that hangs would hold its partitions until
    /// the request timeout.
    fn leave_moved(&mut self) {
        let mut moved = Vec::new();
        for (endpoint, leader) in &mut self.leaders {
            let taken = leader.take_moved(|slot| {
                let partition = self.partitions.get(slot);
                let now_at = partition.and_then(|partition| {
                    let metadata = &self.core.client.metadata;
                    metadata.leader(&partition.topic, partition.partition)
                });
                now_at.is_some_and(|leader| leader.endpoint != *endpoint)
            });
            moved.extend(taken.into_iter().map(|batch| (Arc::clone(endpoint), batch)));
        }
        for (endpoint, batch) in moved {
            let error = Error::ConnectionLost {
                endpoint: endpoint.to_string(),
                reason: "the partition is led elsewhere by now".to_owned(),
            };
            self.settle_all(std::iter::once(batch), &error);
        }
    }

    /// Lets go what was paused for want of a leader, or because of one, and has another by now.
    fn end_pauses(&mut self) {
        let metadata = &self.core.client.metadata;
        let is_led_elsewhere = |partition: &Partition| {
            let leader = metadata.leader(&partition.topic, partition.partition);
            leader.is_some_and(|leader| partition.tried.as_ref() != Some(&leader.endpoint))
        };
        for partition in &mut self.partitions {
            if partition.retry_at.is_some() && is_led_elsewhere(partition) {
                partition.retry_at = None;
            }
        }
    }

    /// Fails everything that is left.
    fn shut_down(mut self) {
        let mut finished = Finished::new();
        for partition in &mut self.partitions {
            partition.fail_all(&Error::Closed, &mut finished);
        }
        self.finish(finished);
        self.core.fail_waiting();
    }
}
