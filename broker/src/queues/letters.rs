//! What a queue's leader does about messages that died, and about the queue's end: publishes the ones, and
//! has the other taken out of the metadata.
//!
//! Where a dead letter goes is the router's decision. Lives as long as a term; a letter whose publication
//! the queue has not heard of is published again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all, ready};
use raftmq_core::cluster::{self, AmqpCommand};
use raftmq_core::ids::DeadLetterId;
use raftmq_core::queue::{Command, DeadLetter};
use tokio::time::{sleep, timeout};

use super::Published;
use super::dead_letters::DeadMessage;
use super::error::QueueError;
use super::replica::QueueReplica;
use super::submission::Ask;

/// Letters that are published at the same time.
const LETTERS_AT_ONCE: usize = 256;
/// Pause after something was not possible.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long the metadata group may take for a deletion, until it is asked again.
const DELETE_WITHIN: Duration = Duration::from_secs(5);
/// Letters are looked for this often, whether somebody says that there are some or not.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Works as long as the term lasts.
pub(super) async fn run(replica: Arc<QueueReplica>) {
    loop {
        let (letters, is_finished) = {
            let state = replica.machine().read();
            let letters = state.dead_letters(DeadLetterId(0), LETTERS_AT_ONCE);
            (letters, state.is_finished())
        };
        let is_done = if is_finished {
            delete(&replica).await
        } else {
            publish_all(&replica, &letters).await
        };
        if !is_done {
            sleep(RETRY_PAUSE).await;
        } else if letters.is_empty() {
            let news = replica.outgoing().letters.notified();
            let _ = timeout(LOOK_INTERVAL, news).await;
        }
    }
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

/// Publishes letters in order, and tells the queue which are done with. False: one was not possible now.
async fn publish_all(replica: &QueueReplica, letters: &[DeadLetter]) -> bool {
    let mut published = Vec::with_capacity(letters.len());
    for letter in letters {
        published.push(publish(replica, letter).await);
    }
    let published: Vec<Option<DeadLetterId>> = join_all(published).await;
    let is_done = published.iter().all(Option::is_some);
    let ids: Vec<DeadLetterId> = published.into_iter().flatten().collect();
    if ids.is_empty() {
        return is_done;
    }
    metrics::counter!("raftmq_queue_dead_letters_total").increment(ids.len() as u64);
    let asks = vec![Ask::Run(Command::DeadLettersPublished(ids))];
    match replica.submit(None, asks) {
        Ok(answers) => answers.await.is_ok_and(|answer| answer.is_ok()) && is_done,
        Err(_not_taken) => false,
    }
}

type Publication = BoxFuture<'static, Option<DeadLetterId>>;

/// Sends a letter to every target, and then waits for its id: it comes once all have it, or none is left.
async fn publish(replica: &QueueReplica, letter: &DeadLetter) -> Publication {
    let body = match replica.bodies().read(letter.message).await {
        Ok(body) => body,
        Err(error) => {
            let raft_group = replica.id().0;
            tracing::error!(raft_group, letter = letter.id.0, %error, "a dead letter has no body");
            return Box::pin(ready(None));
        }
    };
    let Some(queues) = replica.queues() else {
        return Box::pin(ready(None));
    };
    let image = queues.controller().images().current();
    let Some(queue) = image.amqp.queues.get(&replica.queue()) else {
        // Nobody can tell where it should go.
        return Box::pin(ready(Some(letter.id)));
    };
    let dead = DeadMessage {
        image: &image,
        queue,
        letter: *letter,
        body: &body,
        now_ms: replica.now_ms(),
    };
    let targets = queues.router().targets(&dead).into_iter();
    let sent = targets.map(|(target, message)| queues.publish(&[target], message));
    let sent = join_all(sent.collect::<Vec<_>>());
    let id = letter.id;
    Box::pin(async move { sent.await.iter().all(is_there).then_some(id) })
}

/// A full target is tried until it has room: the letter waits in its queue.
const fn is_there(outcome: &Result<Published, QueueError>) -> bool {
    matches!(outcome, Ok(Published::Enqueued) | Err(QueueError::Gone))
}
