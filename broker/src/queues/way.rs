//! The way from this broker to the leader of one queue: sends what clients ask for in their order, finds
//! the leader again when it moves, and repeats what may be repeated.
//!
//! What is repeated, and in which order, is decided in `raftmq_core::queue::link`. Lives until the queue
//! is no more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use raftmq_core::ids::{BrokerEpoch, GroupNumber};
use raftmq_core::queue::link::{Fate, Outbox, Place};
use raftmq_store::GroupId;
use tokio::time::{Instant, sleep_until, timeout};

use super::Queues;
use super::errands::{Errand, Errands, ITEMS_WAITING_MAX};
use super::error::QueueError;
use super::submission::{
    ANSWER_WITHIN, ASKS_COUNT_MAX, Answer, Ask, NotDone, SUBMISSION_BYTES_TARGET, decode_answers,
    encode_asks,
};
use crate::controller::Images;
use crate::raft::transport::{Lane, Method, PeerError, Refusal};

/// Batches under way.
const BATCHES_IN_FLIGHT_MAX: usize = 8;
/// Pause after a batch was not taken, unless the image shows another leader before.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Time in which a leader that was replaced may still answer: one that handed over has answered before.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_millis(500);
/// Time after which clients are told that nobody leads the queue.
const UNAVAILABLE_AFTER: Duration = Duration::from_secs(30);
/// How often it is looked for things that wait for too long.
const PATIENCE_TICK: Duration = Duration::from_secs(1);

type Outcome = Result<Vec<Answer>, NotDone>;

struct UnderWay {
    number: u64,
    to: u32,
    outcome: BoxFuture<'static, Outcome>,
}

/// See the module.
pub(super) struct Way {
    queues: Queues,
    queue: GroupNumber,
    images: Images,
    seen_version: u64,
    errands: Arc<Errands>,
    outbox: Outbox<Errand>,
    under_way: VecDeque<UnderWay>,
    /// Whom the last batch went to.
    last_to: Option<u32>,
    retry_at: Option<Instant>,
    /// The leader that batches are under way to has been replaced: when nobody waits for it any more.
    give_up_at: Option<Instant>,
}

impl Way {
    /// Starts the way to a queue, which ends by itself; what is sent into it is carried out in order.
    pub(super) fn start(queues: Queues, queue: GroupNumber) -> Arc<Errands> {
        let errands = Arc::new(Errands::default());
        let images = queues.controller().images();
        let way = Self {
            queues,
            queue,
            images,
            seen_version: 0,
            errands: errands.clone(),
            outbox: Outbox::new(1),
            under_way: VecDeque::new(),
            last_to: None,
            retry_at: None,
            give_up_at: None,
        };
        tokio::spawn(way.run());
        errands
    }

    async fn run(mut self) {
        let mut patience = tokio::time::interval(PATIENCE_TICK);
        patience.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stopping = self.queues.stopping();
        loop {
            self.send_what_waits();
            let has_room = self.outbox.waiting_count() < ITEMS_WAITING_MAX;
            let is_busy = !self.outbox.is_empty();
            let (retry_at, give_up_at) = (self.retry_at, self.give_up_at);
            let seen = self.seen_version;
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                (number, outcome) = next_outcome(&mut self.under_way) => {
                    self.settle(number, outcome);
                }
                image = self.images.newer_than(seen) => {
                    self.seen_version = image.version;
                    if self.queues.is_gone(self.queue) {
                        break;
                    }
                    self.retry_at = None;
                    self.look_for_another_leader();
                }
                errand = self.errands.next(), if has_room => self.take(errand),
                () = sleep_until_some(retry_at) => self.retry_at = None,
                () = sleep_until_some(give_up_at) => self.give_lost_leader_up(),
                _ = patience.tick(), if is_busy => self.give_late_up(),
            }
        }
        let error = if stopping.is_cancelled() {
            QueueError::Stopping
        } else {
            QueueError::Gone
        };
        self.queues.forget_way(self.queue);
        self.end(&error);
    }

    fn take(&mut self, errand: Errand) {
        self.outbox.push(errand);
        for _ in 1..ASKS_COUNT_MAX {
            let Some(errand) = self.errands.try_next() else {
                return;
            };
            self.outbox.push(errand);
        }
    }

    fn send_what_waits(&mut self) {
        while self.retry_at.is_none() && self.outbox.in_flight_count() < BATCHES_IN_FLIGHT_MAX {
            let Some(to) = self.queues.leader_of(self.queue) else {
                return;
            };
            // A stream goes to one leader; the next one begins when all of it is settled.
            if self.under_way.back().is_some_and(|last| last.to != to) {
                return;
            }
            if self.last_to.replace(to).is_some_and(|last| last != to) {
                self.outbox.begin_stream();
            }
            let batch = self
                .outbox
                .next_batch(SUBMISSION_BYTES_TARGET, ASKS_COUNT_MAX);
            let Some((stream, number, errands)) = batch else {
                return;
            };
            let asks = errands.iter().map(|errand| &errand.ask);
            let outcome = if to == self.queues.broker_id().get() {
                let broker_epoch = BrokerEpoch(self.queues.broker_epoch());
                let place = Place {
                    broker_epoch,
                    stream,
                    number,
                };
                submit_here(&self.queues, self.queue, place, asks.cloned().collect())
            } else {
                let body = encode_asks((stream, number), asks);
                submit_to(&self.queues, self.queue, to, body)
            };
            self.under_way.push_back(UnderWay {
                number,
                to,
                outcome,
            });
        }
    }

    fn settle(&mut self, number: u64, outcome: Outcome) {
        let (fate, answers) = match outcome {
            Ok(answers) => (Fate::Answered, answers),
            Err(NotDone::NotTaken) => (Fate::NotTaken, Vec::new()),
            Err(NotDone::Unknown) => (Fate::Unknown, Vec::new()),
        };
        if fate == Fate::Unknown {
            // Everything under way was sent behind it, and is repeated behind it.
            self.under_way.clear();
        }
        if fate != Fate::Answered {
            tracing::trace!(target: "raftmq::mark", name = "submission_repeated");
            metrics::counter!("raftmq_queue_submissions_failed_total").increment(1);
            self.retry_at = Some(Instant::now() + RETRY_PAUSE);
        }
        if self.under_way.is_empty() {
            self.give_up_at = None;
        }
        let settled = self.outbox.settle(number, fate);
        for lost in settled.lost {
            lost.fail(QueueError::OutcomeUnknown);
        }
        let mut answers = answers.into_iter();
        for errand in settled.answered {
            let answer = answers.next().ok_or(QueueError::OutcomeUnknown);
            let _ = errand.reply.send(answer);
        }
        if fate != Fate::Answered {
            self.give_late_up();
        }
    }

    fn look_for_another_leader(&mut self) {
        let leader = self.queues.leader_of(self.queue);
        let is_replaced = |under_way: &UnderWay| leader.is_some_and(|id| id != under_way.to);
        self.give_up_at = if self.under_way.front().is_some_and(is_replaced) {
            let until = Instant::now() + LAST_ANSWERS_WITHIN;
            self.give_up_at.or(Some(until))
        } else {
            None
        };
    }

    /// The leader has been replaced, and does not answer any more: it may hang.
    fn give_lost_leader_up(&mut self) {
        self.give_up_at = None;
        if let Some(oldest) = self.under_way.pop_front() {
            self.settle(oldest.number, Err(NotDone::Unknown));
        }
        self.retry_at = None;
    }

    /// Tells clients that have waited for too long, unless a leader may still answer.
    fn give_late_up(&mut self) {
        if !self.under_way.is_empty() {
            return;
        }
        for errand in self.outbox.take_waiting() {
            if errand.must_arrive() || errand.since.elapsed() < UNAVAILABLE_AFTER {
                self.outbox.push(errand);
                continue;
            }
            let within = UNAVAILABLE_AFTER;
            let error = if errand.is_repeated {
                QueueError::OutcomeUnknown
            } else {
                QueueError::Unavailable { within }
            };
            errand.fail(error);
        }
    }

    /// Answers everybody: nothing will be carried out any more.
    fn end(mut self, error: &QueueError) {
        if let Some(oldest) = self.under_way.pop_front() {
            self.settle(oldest.number, Err(NotDone::Unknown));
        }
        let waiting = self.outbox.take_waiting().into_iter();
        for errand in waiting.chain(self.errands.close()) {
            errand.fail(error.clone());
        }
    }
}

async fn next_outcome(under_way: &mut VecDeque<UnderWay>) -> (u64, Outcome) {
    let Some(front) = under_way.front_mut() else {
        return std::future::pending().await;
    };
    let outcome = (&mut front.outcome).await;
    let number = front.number;
    under_way.pop_front();
    (number, outcome)
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn submit_here(
    queues: &Queues,
    queue: GroupNumber,
    place: Place,
    asks: Vec<Ask>,
) -> BoxFuture<'static, Outcome> {
    let me = queues.broker_id();
    let replica = queues.replica(GroupId(queue.get()));
    let submitted = replica.map_or(Err(NotDone::NotTaken), |replica| {
        replica.submit(Some((me, place)), asks)
    });
    Box::pin(async move {
        let answers = timeout(ANSWER_WITHIN, submitted?).await;
        let answers = answers.map_err(|_elapsed| NotDone::Unknown)?;
        answers.unwrap_or(Err(NotDone::Unknown))
    })
}

fn submit_to(
    queues: &Queues,
    queue: GroupNumber,
    to: u32,
    body: bytes::Bytes,
) -> BoxFuture<'static, Outcome> {
    let (group, method) = (GroupId(queue.get()), Method::QueueSubmit);
    let call = queues
        .transport()
        .call(to, Lane::Queues, group, method, body);
    Box::pin(async move {
        match call.await {
            Ok(body) => decode_answers(body).map_err(|_malformed| NotDone::Unknown),
            Err(error) => Err(not_done(&error)),
        }
    })
}

/// Whether a call may have been carried out although it failed.
fn not_done(error: &PeerError) -> NotDone {
    match error {
        PeerError::UnknownBroker(_) | PeerError::NoConnection { .. } | PeerError::Overloaded(_) => {
            NotDone::NotTaken
        }
        PeerError::Unreachable { .. } | PeerError::TimedOut(_) => NotDone::Unknown,
        PeerError::Refused { refusal, .. } => match refusal {
            Refusal::NotTaken
            | Refusal::UnknownGroup
            | Refusal::Fenced
            | Refusal::ForeignCluster
            | Refusal::Malformed
            | Refusal::NotController
            | Refusal::DiskFull => NotDone::NotTaken,
            Refusal::OutcomeUnknown | Refusal::Stopped | Refusal::Failed => NotDone::Unknown,
        },
    }
}
