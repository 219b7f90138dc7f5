//! What a queue's leader does about messages that died, and about the queue's end: publishes the ones, and
//! has the other taken out of the metadata.
//!
//! Where a dead letter goes is the router's decision; when, and what is tried again, `posting`'s. Lives as
//! long as a term; a letter whose publication the queue has not heard of is published again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use raftmq_core::cluster::{self, AmqpCommand};
use raftmq_core::ids::{DeadLetterId, GroupNumber};
use raftmq_core::queue::{Command, DeadLetter, Message};
use tokio::time::{Instant, sleep, sleep_until};

use super::dead_letters::DeadMessage;
use super::error::QueueError;
use super::posting::Posting;
use super::replica::QueueReplica;
use super::submission::Ask;
use super::{Published, Queues};

/// Pause after something was not possible.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long the metadata group may take for a deletion, until it is asked again.
const DELETE_WITHIN: Duration = Duration::from_secs(5);
/// Letters are looked for this often, whether somebody says that there are some or not.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Which letter, to which target, and whether it is there.
type Outcome = (DeadLetterId, GroupNumber, bool);
type UnderWay = FuturesUnordered<BoxFuture<'static, Outcome>>;

/// Works as long as the term lasts.
pub(super) async fn run(replica: Arc<QueueReplica>) {
    let mut posting = Posting::default();
    let mut under_way = UnderWay::new();
    loop {
        if begin(&replica, &mut posting) && under_way.is_empty() {
            let is_done = delete(&replica).await;
            sleep(if is_done { LOOK_INTERVAL } else { RETRY_PAUSE }).await;
            continue;
        }
        publish_due(&replica, &mut posting, &mut under_way).await;
        let done = posting.take_done();
        if !done.is_empty() {
            let is_told = tell(&replica, &done).await;
            posting.told(done, is_told);
            if !is_told {
                sleep(RETRY_PAUSE).await;
            }
            continue;
        }
        let look_at = Instant::now() + LOOK_INTERVAL;
        let wakes_at = posting.wakes_at().map_or(look_at, |at| at.min(look_at));
        tokio::select! {
            biased;
            Some(outcome) = under_way.next(), if !under_way.is_empty() => {
                note(&mut posting, outcome);
                while let Some(Some(outcome)) = under_way.next().now_or_never() {
                    note(&mut posting, outcome);
                }
            }
            () = replica.outgoing().letters.notified() => {}
            () = sleep_until(wakes_at) => {}
        }
    }
}

/// Takes in letters that are not known yet; says whether the queue has ended and has none.
fn begin(replica: &QueueReplica, posting: &mut Posting) -> bool {
    let state = replica.machine().read();
    if let Some(first) = state.dead_letters(DeadLetterId(0), 1).first() {
        let (from, count) = posting.room(first.id);
        posting.begin(first.id, state.dead_letters(from, count));
    }
    state.is_finished()
}

fn note(posting: &mut Posting, (letter, target, is_there): Outcome) {
    posting.outcome((letter, target), is_there, Instant::now());
}

/// Takes the queue out of the metadata; the group goes with it.
async fn delete(replica: &QueueReplica) -> bool {
    let group = replica.queue();
    let Some(queues) = replica.queues() else {
        return true;
    };
    let controller = queues.controller();
    if controller.images().current().partition(group).is_none() {
        return true;
    }
    let command = cluster::Command::Amqp(AmqpCommand::DeleteQueue { group });
    let deleted = controller.propose(&command, DELETE_WITHIN).await;
    match deleted {
        Ok(_) => tracing::info!(raft_group = group.get(), "the queue has ended"),
        Err(ref error) => {
            tracing::warn!(raft_group = group.get(), %error, "an ended queue is not deleted yet");
        }
    }
    deleted.is_ok()
}

/// Begins to publish what is due, in order.
async fn publish_due(replica: &QueueReplica, posting: &mut Posting, under_way: &mut UnderWay) {
    for letter in posting.due(Instant::now()) {
        let Some((queues, mut messages)) = messages_of(replica, &letter).await else {
            posting.put_off(Instant::now());
            continue;
        };
        let targets: BTreeSet<GroupNumber> = messages.keys().copied().collect();
        for target in posting.route(letter.id, &targets, Instant::now()) {
            let Some(message) = messages.remove(&target) else {
                continue;
            };
            let published = queues.publish(&[target], message);
            let id = letter.id;
            let published = published.map(move |outcome| (id, target, is_there(&outcome)));
            under_way.push(published.boxed());
        }
    }
}

/// What each target of a letter is to get. `None`: it is not known now.
async fn messages_of(
    replica: &QueueReplica,
    letter: &DeadLetter,
) -> Option<(Queues, BTreeMap<GroupNumber, Message>)> {
    let body = match replica.bodies().read(letter.message).await {
        Ok(body) => body,
        Err(error) => {
            let raft_group = replica.id().0;
            tracing::error!(raft_group, letter = letter.id.0, %error, "a dead letter has no body");
            return None;
        }
    };
    let queues = replica.queues()?;
    let image = queues.controller().images().current();
    let Some(queue) = image.amqp.queues.get(&replica.queue()) else {
        // Nobody can tell where it should go.
        return Some((queues, BTreeMap::new()));
    };
    let dead = DeadMessage {
        image: &image,
        queue,
        letter: *letter,
        body: &body,
        now_ms: replica.now_ms(),
    };
    let messages = queues.router().targets(&dead).into_iter().collect();
    Some((queues, messages))
}

/// Tells the queue which letters are where they should be.
async fn tell(replica: &QueueReplica, done: &[DeadLetterId]) -> bool {
    let asks = vec![Ask::Run(Command::DeadLettersPublished(done.to_vec()))];
    let is_told = match replica.submit(None, asks) {
        Ok(answers) => answers.await.is_ok_and(|answer| answer.is_ok()),
        Err(_not_taken) => false,
    };
    if is_told {
        metrics::counter!("raftmq_queue_dead_letters_total").increment(done.len() as u64);
    }
    is_told
}

/// A full target is tried until it has room: the letter waits in its queue.
const fn is_there(outcome: &Result<Published, QueueError>) -> bool {
    matches!(outcome, Ok(Published::Enqueued) | Err(QueueError::Gone))
}
