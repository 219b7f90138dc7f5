//! Carries what a queue's leader has for channels to the brokers of their clients: to each broker one push
//! at a time, in order, again until it is taken.
//!
//! Reads bodies only when they are sent. Lives as long as a term; the next leader begins with what the
//! state says that channels hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use raftmq_core::ids::BrokerId;
use raftmq_core::queue::{ChannelId, QueueEvent};
use tokio::time::{Instant, sleep_until};

use super::push::{Push, encode_pushes};
use super::replica::QueueReplica;
use crate::raft::transport::{Lane, Method};

/// Bytes of bodies after which a push is sent.
const PUSH_BYTES_TARGET: usize = 1 << 20;
/// Events in one push.
const PUSH_EVENTS_MAX: usize = 4_096;
/// Pause before a channel without room is tried again.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(5);
/// Pause before a broker out of reach is tried again.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(50);

/// How a push to a broker has ended.
enum Pushed {
    /// Everything was taken.
    All,
    /// Some channel has no room.
    NoRoom,
    /// The broker did not answer.
    Unreachable,
}

type UnderWay = FuturesUnordered<BoxFuture<'static, (BrokerId, Pushed)>>;

/// Pushes as long as the term lasts.
pub(super) async fn run(replica: Arc<QueueReplica>, term: u64) {
    let mut under_way = UnderWay::new();
    // `None`: a push is under way.
    let mut resting: BTreeMap<BrokerId, Option<Instant>> = BTreeMap::new();
    loop {
        resting.retain(|_, until| until.is_none_or(|until| until > Instant::now()));
        for broker in replica.outgoing().brokers(term) {
            if let std::collections::btree_map::Entry::Vacant(free) = resting.entry(broker) {
                free.insert(None);
                under_way.push(Box::pin(push_to(replica.clone(), term, broker)));
            }
        }
        if under_way.is_empty() && replica.outgoing().is_empty() {
            replica.bodies().clear();
        }
        let next = resting.values().flatten().min().copied();
        tokio::select! {
            biased;
            Some((broker, pushed)) = under_way.next(), if !under_way.is_empty() => {
                let pause = match pushed {
                    Pushed::All => None,
                    Pushed::NoRoom => Some(NO_ROOM_PAUSE),
                    Pushed::Unreachable => Some(UNREACHABLE_PAUSE),
                };
                match pause {
                    Some(pause) => resting.insert(broker, Some(Instant::now() + pause)),
                    None => resting.remove(&broker),
                };
            }
            () = replica.outgoing().pushes.notified() => {}
            () = sleep_until_some(next) => {}
        }
    }
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Events on their way, and how many of the queue's events lie before each.
struct Batch {
    pushes: Vec<Push>,
    before: Vec<usize>,
    /// Events looked at.
    count: usize,
}

async fn push_to(replica: Arc<QueueReplica>, term: u64, broker: BrokerId) -> (BrokerId, Pushed) {
    let batch = collect(&replica, term, broker).await;
    let pushes_count = batch.pushes.len();
    let taken = if pushes_count == 0 {
        Some(0)
    } else {
        send(&replica, broker, batch.pushes).await
    };
    let Some(taken) = taken else {
        return (broker, Pushed::Unreachable);
    };
    let done = batch.before.get(taken).copied().unwrap_or(batch.count);
    replica.outgoing().done(term, broker, done);
    let pushed = if taken < pushes_count {
        tracing::trace!(target: "raftmq::mark", name = "push_waits_for_room");
        Pushed::NoRoom
    } else {
        Pushed::All
    };
    (broker, pushed)
}

/// Puts a push together. What is for channels that are gone with their broker is passed over.
async fn collect(replica: &QueueReplica, term: u64, broker: BrokerId) -> Batch {
    let view = replica.view();
    let mut batch = Batch {
        pushes: Vec::new(),
        before: Vec::new(),
        count: 0,
    };
    let mut bytes = 0;
    for event in replica.outgoing().peek(term, broker, PUSH_EVENTS_MAX) {
        if bytes >= PUSH_BYTES_TARGET {
            break;
        }
        let is_over = channel_of(&event).is_none_or(|channel| view.is_over(channel));
        let push = if is_over {
            None
        } else {
            push_of(replica, &event).await
        };
        if let Some(push) = push {
            if let Push::Delivered(_, body) = &push {
                bytes += body.len();
            }
            batch.pushes.push(push);
            batch.before.push(batch.count);
        }
        batch.count += 1;
    }
    batch
}

const fn channel_of(event: &QueueEvent) -> Option<ChannelId> {
    match event {
        QueueEvent::Delivered(delivery) => Some(delivery.channel),
        QueueEvent::TakenBack { channel, .. } | QueueEvent::ConsumerCancelled { channel, .. } => {
            Some(*channel)
        }
        QueueEvent::DeadLettered(_) | QueueEvent::Dropped { .. } | QueueEvent::Ended { .. } => None,
    }
}

async fn push_of(replica: &QueueReplica, event: &QueueEvent) -> Option<Push> {
    match event {
        QueueEvent::Delivered(delivery) => match replica.bodies().read(delivery.message).await {
            Ok(body) => Some(Push::Delivered(*delivery, body)),
            Err(error) => {
                // The store has failed, and the broker stops because of that; or it is a bug, and
                // the message stays with its channel until that closes.
                let (raft_group, delivery) = (replica.id().0, delivery.id.0);
                tracing::error!(raft_group, delivery, %error, "a delivery has no body");
                None
            }
        },
        QueueEvent::TakenBack { channel, delivery } => Some(Push::TakenBack(*channel, *delivery)),
        QueueEvent::ConsumerCancelled { channel, consumer } => {
            Some(Push::Cancelled(*channel, *consumer))
        }
        QueueEvent::DeadLettered(_) | QueueEvent::Dropped { .. } | QueueEvent::Ended { .. } => None,
    }
}

/// Hands events to a broker; says how many it took.
async fn send(replica: &QueueReplica, broker: BrokerId, pushes: Vec<Push>) -> Option<usize> {
    let queues = replica.queues()?;
    if broker == queues.broker_id() {
        return Some(queues.take_pushes(replica.queue(), pushes));
    }
    let body = encode_pushes(&pushes);
    let (to, group) = (broker.get(), replica.id());
    let transport = queues.transport();
    let call = transport.call(to, Lane::Queues, group, Method::QueuePush, body);
    let answer = call.await.ok()?;
    let taken = answer.as_ref().try_into().ok().map(u32::from_be_bytes)?;
    usize::try_from(taken).ok()
}
