//! Carries what a queue's leader has for channels to the brokers of their clients: to each broker one push
//! at a time, in order for each channel, again until it is taken.
//!
//! Reads bodies only when they are sent. Lives as long as a term; the next leader begins with what the
//! state says that channels hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use raftmq_core::ids::BrokerId;
use raftmq_core::queue::{ChannelId, QueueEvent};
use tokio::time::{Instant, sleep_until};

use super::lines::Took;
use super::push::{Push, decode_refused, encode_pushes};
use super::replica::QueueReplica;
use crate::raft::transport::{Lane, Method};

/// Bytes of bodies after which a push is sent.
const PUSH_BYTES_TARGET: usize = 1 << 20;
/// Events in one push.
const PUSH_EVENTS_MAX: usize = 4_096;
/// Pause before a broker out of reach is tried again.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(50);

/// How a push to a broker has ended.
enum Pushed {
    /// Its channels have taken what they had room for.
    Answered,
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
        let now = Instant::now();
        resting.retain(|_, until| until.is_none_or(|until| until > now));
        let mut next = resting.values().flatten().min().copied();
        for (broker, ready_at) in replica.outgoing().ready_at(term, now) {
            if resting.contains_key(&broker) {
                continue;
            }
            if ready_at > now {
                // Its channels have no room.
                next = Some(next.map_or(ready_at, |next| next.min(ready_at)));
                continue;
            }
            resting.insert(broker, None);
            under_way.push(Box::pin(push_to(replica.clone(), term, broker)));
        }
        if under_way.is_empty() {
            replica.bodies().clear();
        }
        tokio::select! {
            biased;
            Some((broker, pushed)) = under_way.next(), if !under_way.is_empty() => {
                match pushed {
                    Pushed::Answered => resting.remove(&broker),
                    Pushed::Unreachable => {
                        resting.insert(broker, Some(Instant::now() + UNREACHABLE_PAUSE))
                    }
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

/// Events on their way.
#[derive(Debug, Default)]
struct Batch {
    pushes: Vec<Push>,
    /// Every event that was looked at: whose it is, and the number of its push, if it is worth one.
    looked_at: Vec<(ChannelId, Option<usize>)>,
}

impl Batch {
    /// What each channel is done with when some pushes were refused, in order of their turns.
    fn took(&self, refused: &BTreeSet<usize>) -> Vec<(ChannelId, Took)> {
        let mut took: Vec<(ChannelId, Took)> = Vec::new();
        for (channel, number) in &self.looked_at {
            if took.last().is_none_or(|(last, _)| last != channel) {
                took.push((*channel, Took::default()));
            }
            let Some((_, took)) = took.last_mut() else {
                continue;
            };
            took.is_full |= number.is_some_and(|number| refused.contains(&number));
            // Behind one that was refused everything comes again.
            took.count += usize::from(!took.is_full);
        }
        took
    }
}

async fn push_to(replica: Arc<QueueReplica>, term: u64, broker: BrokerId) -> (BrokerId, Pushed) {
    let mut batch = collect(&replica, term, broker).await;
    let pushes = std::mem::take(&mut batch.pushes);
    let refused = if pushes.is_empty() {
        Some(BTreeSet::new())
    } else {
        send(&replica, broker, pushes).await
    };
    let Some(refused) = refused else {
        return (broker, Pushed::Unreachable);
    };
    if !refused.is_empty() {
        tracing::trace!(target: "raftmq::mark", name = "push_waits_for_room");
    }
    let took = batch.took(&refused);
    replica.outgoing().done(term, &took, Instant::now());
    (broker, Pushed::Answered)
}

/// Puts a push together. What is for channels that are gone with their broker is passed over.
async fn collect(replica: &QueueReplica, term: u64, broker: BrokerId) -> Batch {
    let view = replica.view();
    let mut batch = Batch::default();
    let mut bytes = 0;
    let now = Instant::now();
    for event in replica.outgoing().peek(term, broker, now, PUSH_EVENTS_MAX) {
        if bytes >= PUSH_BYTES_TARGET {
            break;
        }
        let Some(channel) = channel_of(&event) else {
            continue;
        };
        let push = if view.is_over(channel) {
            None
        } else {
            push_of(replica, &event).await
        };
        let number = push.is_some().then_some(batch.pushes.len());
        batch.looked_at.push((channel, number));
        if let Some(Push::Delivered(_, body)) = &push {
            bytes += body.len();
        }
        batch.pushes.extend(push);
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

/// Hands events to a broker; says which of them it did not take.
async fn send(
    replica: &QueueReplica,
    broker: BrokerId,
    pushes: Vec<Push>,
) -> Option<BTreeSet<usize>> {
    let queues = replica.queues()?;
    if broker == queues.broker_id() {
        let refused = queues.take_pushes(replica.queue(), pushes);
        return Some(refused.into_iter().collect());
    }
    let body = encode_pushes(&pushes);
    let (to, group) = (broker.get(), replica.id());
    let transport = queues.transport();
    let call = transport.call(to, Lane::Queues, group, Method::QueuePush, body);
    decode_refused(call.await.ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(number: u64) -> ChannelId {
        ChannelId {
            number,
            ..ChannelId::default()
        }
    }

    fn took(count: usize, is_full: bool) -> Took {
        Took { count, is_full }
    }

    #[test]
    fn a_channel_that_refuses_keeps_what_is_behind_and_the_others_are_done() {
        let batch = Batch {
            pushes: Vec::new(),
            looked_at: vec![
                (channel(1), Some(0)),
                (channel(1), None),
                (channel(1), Some(1)),
                (channel(1), None),
                (channel(1), Some(2)),
                (channel(2), Some(3)),
                (channel(3), None),
            ],
        };

        let all = batch.took(&BTreeSet::new());
        let expected = [
            (channel(1), took(5, false)),
            (channel(2), took(1, false)),
            (channel(3), took(1, false)),
        ];
        assert_eq!(all, expected);

        let some = batch.took(&BTreeSet::from([1, 2, 99]));
        let expected = [
            (channel(1), took(2, true)),
            (channel(2), took(1, false)),
            (channel(3), took(1, false)),
        ];
        assert_eq!(some, expected);
    }
}
