//! The way from this broker to the leader of one queue: sends what clients ask for in their order, finds
//! the leader again when it moves, and repeats what may be repeated.
//!
//! What is repeated, and in which order, is decided in `raftmq_core::queue::link`. Lives until the queue
//! is no more.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::BoxFuture;
use raftmq_core::ids::{BrokerEpoch, GroupNumber};
use raftmq_core::queue::Command;
use raftmq_core::queue::link::{Fate, Item, Outbox, Place};
use raftmq_store::GroupId;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::Queues;
use super::error::QueueError;
use super::submission::{Answer, Ask, NotDone, decode_answers, encode_asks};
use crate::controller::Images;
use crate::planted::{Bug, is_planted};
use crate::raft::transport::{Lane, Method, PeerError, Refusal};

/// Things that wait on one way.
const ITEMS_WAITING_MAX: usize = 8_192;
/// Bytes after which a batch is sent.
const BATCH_BYTES_TARGET: usize = 1 << 20;
/// Things in one batch.
const BATCH_ITEMS_MAX: usize = 4_096;
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

/// One thing on its way.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) ask: Ask,
    pub(super) reply: oneshot::Sender<Result<Answer, QueueError>>,
    pub(super) since: Instant,
    /// May be sent again although nobody knows whether it was carried out.
    pub(super) is_repeatable: bool,
    /// Its part of the budget, until it is done with.
    pub(super) _permit: Option<OwnedSemaphorePermit>,
}

impl Item for Errand {
    fn bytes(&self) -> usize {
        self.ask.bytes()
    }

    fn is_repeatable(&self) -> bool {
        let is_settle = matches!(self.ask, Ask::Run(Command::Settle { .. }));
        self.is_repeatable && !(is_settle && is_planted(Bug::QueueSettleNotRepeated))
    }
}

impl Errand {
    /// Whether its client is told when nobody leads the queue for too long; the others must arrive.
    fn may_be_given_up(&self) -> bool {
        !matches!(
            self.ask,
            Ask::Run(
                Command::Settle { .. }
                    | Command::Credit { .. }
                    | Command::Detach { .. }
                    | Command::CloseChannel { .. }
            )
        )
    }

    fn fail(self, error: QueueError) {
        let _ = self.reply.send(Err(error));
    }
}

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
    inbox: mpsc::Receiver<Errand>,
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
    pub(super) fn start(queues: Queues, queue: GroupNumber) -> mpsc::Sender<Errand> {
        let (errands, inbox) = mpsc::channel(ITEMS_WAITING_MAX);
        let images = queues.controller().images();
        let way = Self {
            queues,
            queue,
            images,
            seen_version: 0,
            inbox,
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
                errand = self.inbox.recv(), if has_room => match errand {
                    Some(errand) => self.take(errand),
                    None => break,
                },
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
        for _ in 1..BATCH_ITEMS_MAX {
            let Ok(errand) = self.inbox.try_recv() else {
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
            let batch = self.outbox.next_batch(BATCH_BYTES_TARGET, BATCH_ITEMS_MAX);
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
        for lost in std::mem::take(&mut self.under_way) {
            self.settle(lost.number, Err(NotDone::Unknown));
        }
        self.retry_at = None;
    }

    /// Tells clients that have waited for too long.
    fn give_late_up(&mut self) {
        if !self.under_way.is_empty() {
            return;
        }
        for errand in self.outbox.take_waiting() {
            let is_late = errand.since.elapsed() >= UNAVAILABLE_AFTER;
            if is_late && errand.may_be_given_up() {
                let within = UNAVAILABLE_AFTER;
                errand.fail(QueueError::Unavailable { within });
            } else {
                self.outbox.push(errand);
            }
        }
    }

    /// Answers everybody: nothing will be carried out any more.
    fn end(mut self, error: &QueueError) {
        for under_way in std::mem::take(&mut self.under_way) {
            self.settle(under_way.number, Err(NotDone::Unknown));
        }
        self.inbox.close();
        while let Ok(errand) = self.inbox.try_recv() {
            self.outbox.push(errand);
        }
        for errand in self.outbox.take_waiting() {
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
    Box::pin(async move { submitted?.await.unwrap_or(Err(NotDone::Unknown)) })
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
