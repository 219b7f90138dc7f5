//! What a connection waits for: each piece of work is a future that only waits, and what comes out of it
//! goes back to the machine.
//!
//! Does not know the connection: everything that a piece of work needs is in it.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use raftmq_amqp::{
    Answer, Ask, AskId, ChannelKey, ConsumerKey, Got, Identity, Login, Publish, PublishNumber,
    PublishOutcome, Refusal, ReplyAddress, Taken,
};
use raftmq_core::cluster::amqp::{AmqpCommand, ConnectionId};
use raftmq_core::queue::{Delivery, Reply};
use raftmq_core::{ConsumerId, GroupNumber};
use tokio::time::{sleep, timeout};

use super::context::{Client, Shared};
use super::error::About;
use super::limits::{FAREWELL_PAUSE, LOGIN_PAUSE, OVERLOADED_PAUSE, READY_WAIT, UNFINISHED_WAIT};
use super::login::{self, Entry, Origin};
use super::{exchanges, queues};
use crate::messages::form::{self, FormError};
use crate::messages::publish::Plan;
use crate::messages::replies::Sent;
use crate::queues::{self as service, Published, QueueError};

/// What a connection waits for.
pub(super) type Works = FuturesUnordered<BoxFuture<'static, Done>>;

/// What came out of a piece of work.
#[derive(Debug)]
pub(super) enum Done {
    /// The login was looked at.
    Authenticated {
        id: AskId,
        identity: Result<Identity, Refusal>,
    },
    /// A question of a channel has its answer.
    Answered {
        channel: ChannelKey,
        id: AskId,
        answer: Answer,
    },
    /// A consumer is started, or not.
    Attached {
        channel: ChannelKey,
        id: AskId,
        consumer: ConsumerKey,
        queue: GroupNumber,
        attached: Result<ConsumerId, Refusal>,
    },
    /// A consumer is ended.
    Detached {
        channel: ChannelKey,
        id: AskId,
        consumer: ConsumerKey,
    },
    /// A publish has its outcome.
    Published {
        channel: ChannelKey,
        number: PublishNumber,
        outcome: PublishOutcome,
        /// What it counted, bytes; 0 = it was not for queues.
        bytes: usize,
    },
    /// Something that nobody asks about any more.
    Told,
    /// The metadata know that the connection is over.
    Left { id: AskId },
    /// The end of the connection waits no longer for what was begun before.
    OutOfPatience,
}

/// Looks at a login as soon as this broker can.
pub(super) async fn authenticate(
    shared: Arc<Shared>,
    id: AskId,
    login: Login,
    origin: Origin,
) -> Done {
    let mut standing = shared.standing.subscribe();
    let becoming_ready = standing.wait_for(|standing| standing.is_ready);
    let is_ready = timeout(READY_WAIT, becoming_ready.map(|ready| ready.is_ok())).await;
    let identity = if is_ready == Ok(true) {
        let loopback_users = &shared.config.loopback_users;
        let entry = Entry {
            origin,
            loopback_users,
        };
        login::authenticate(&shared.image(), &login, entry)
    } else {
        Err(Refusal::Internal("the broker is not in service".to_owned()))
    };
    if identity == Err(Refusal::Login) {
        shared.metrics.refused_logins.increment(1);
        // Guessing takes its time.
        sleep(LOGIN_PAUSE).await;
    }
    Done::Authenticated { id, identity }
}

/// Carries a question out that needs nothing of the channel but its client.
pub(super) async fn topology(
    client: Arc<Client>,
    channel: ChannelKey,
    id: AskId,
    ask: Ask,
) -> Done {
    let answered = match ask {
        Ask::DeclareExchange(declare) => exchanges::declare(&client, &declare).await.map(done),
        Ask::DeleteExchange {
            exchange,
            if_unused,
        } => exchanges::delete(&client, exchange, if_unused)
            .await
            .map(done),
        Ask::Bind(binding) => exchanges::bind(&client, *binding).await.map(done),
        Ask::Unbind(binding) => exchanges::unbind(&client, *binding).await.map(done),
        Ask::DeclareQueue(declare) => queues::declare(&client, *declare).await,
        Ask::DeleteQueue {
            queue,
            if_unused,
            if_empty,
        } => queues::delete(&client, queue, if_unused, if_empty).await,
        Ask::PurgeQueue { queue } => queues::purge(&client, queue).await,
        Ask::ProbeReply { to } => probe(&client, to).await,
        Ask::Authenticate(_)
        | Ask::OpenVhost { .. }
        | Ask::RenewSecret
        | Ask::Consume(_)
        | Ask::Cancel { .. }
        | Ask::Get { .. }
        | Ask::CloseChannel
        | Ask::CloseConnection => Err(misplaced()),
    };
    Done::Answered {
        channel,
        id,
        answer: answered.unwrap_or_else(Answer::Refused),
    }
}

const fn done(_nothing: ()) -> Answer {
    Answer::Done
}

/// A bug of ours must not become a panic.
pub(super) fn misplaced() -> Refusal {
    Refusal::Internal("a question in the wrong place".to_owned())
}

async fn probe(client: &Client, to: ReplyAddress) -> Result<Answer, Refusal> {
    let about = About::queue(to.to_text());
    match client.shared.parts.replies.send(to, None).await {
        Sent::Taken => Ok(Answer::Done),
        Sent::Gone | Sent::Unknown => Err(about.unknown()),
    }
}

/// Waits for a consumer's start.
pub(super) fn attach(
    reply: impl Future<Output = Result<Reply, QueueError>> + Send + 'static,
    about: About,
    (channel, id, consumer, queue): (ChannelKey, AskId, ConsumerKey, GroupNumber),
) -> BoxFuture<'static, Done> {
    let waiting = async move {
        let attached = match reply.await {
            Ok(Reply::Attached { consumer }) => Ok(consumer),
            Ok(Reply::Refused(refusal)) => Err(about.refuse_machine(refusal)),
            Ok(other) => Err(Refusal::Internal(format!("unexpected reply {other:?}"))),
            Err(error) => Err(about.refuse_queue(&error)),
        };
        Done::Attached {
            channel,
            id,
            consumer,
            queue,
            attached,
        }
    };
    waiting.boxed()
}

/// Waits for what `basic.get` takes.
pub(super) fn get(
    got: impl Future<Output = Result<service::Got, QueueError>> + Send + 'static,
    client: Arc<Client>,
    about: About,
    (channel, id, queue): (ChannelKey, AskId, GroupNumber),
) -> BoxFuture<'static, Done> {
    let waiting = async move {
        let answered = match got.await {
            Ok(got) => read_got(&client, queue, got),
            Err(error) => Err(about.refuse_queue(&error)),
        };
        Done::Answered {
            channel,
            id,
            answer: answered.unwrap_or_else(Answer::Refused),
        }
    };
    waiting.boxed()
}

fn read_got(client: &Client, queue: GroupNumber, got: service::Got) -> Result<Answer, Refusal> {
    let Some((delivery, body)) = got.message else {
        return Ok(Answer::Got(None));
    };
    let taken = taken(queue, &delivery, body).map_err(|error| {
        client.shared.metrics.unreadable.increment(1);
        tracing::error!(%queue, %error, "a message cannot be read");
        Refusal::Internal(error.to_string())
    })?;
    client.shared.metrics.got.increment(1);
    let ready_count = got.ready_count;
    Ok(Answer::Got(Some(Box::new(Got { taken, ready_count }))))
}

/// A message as it comes from a queue, read.
pub(super) fn taken(
    queue: GroupNumber,
    delivery: &Delivery,
    body: bytes::Bytes,
) -> Result<Taken, FormError> {
    Ok(Taken {
        queue,
        id: delivery.id,
        is_settled: delivery.is_settled,
        is_redelivered: delivery.is_redelivered,
        attempts: delivery.attempts,
        stored_at: delivery.message,
        message: form::decode(body)?.message,
    })
}

/// What a publisher is told of what the queues said. Queues that are gone are as if they had not been there,
/// as in RabbitMQ, unless the message would reach others now: then it is to be published again.
pub(super) fn outcome_of(
    publish: Box<Publish>,
    published: &Result<Published, QueueError>,
    plan_again: impl FnOnce(&Publish) -> Result<Plan, Refusal>,
) -> PublishOutcome {
    match published {
        Ok(Published::Enqueued) => PublishOutcome::Committed,
        Err(QueueError::Gone) => match plan_again(&publish) {
            Ok(Plan::Unroutable) => unroutable(publish),
            Ok(Plan::Enqueue(..)) | Err(_) => PublishOutcome::Failed,
        },
        Ok(Published::Refused) | Err(_) => PublishOutcome::Failed,
    }
}

/// What the publisher of a message is told that reaches no queue.
pub(super) fn unroutable(publish: Box<Publish>) -> PublishOutcome {
    if publish.is_mandatory {
        return PublishOutcome::Unroutable(Box::new(publish.message));
    }
    PublishOutcome::Committed
}

/// Waits until a queue has done something of which only the end matters: `done`. What found no place in the
/// queue's service is tried again: a settlement must not be lost.
pub(super) async fn until_taken<F>(first: F, again: impl Fn() -> F, done: Done) -> Done
where
    F: Future<Output = Result<Reply, QueueError>>,
{
    let mut replied = first.await;
    while replied == Err(QueueError::Overloaded) {
        sleep(OVERLOADED_PAUSE).await;
        replied = again().await;
    }
    if let Err(error) = replied {
        tracing::debug!(%error, "a queue was not told");
    }
    done
}

/// How long the end of a connection waits for what was begun before.
pub(super) async fn patience() -> Done {
    sleep(UNFINISHED_WAIT).await;
    Done::OutOfPatience
}

/// Tells the metadata that a connection is over until they know: its exclusive queues go.
pub(super) async fn leave(shared: Arc<Shared>, connection: ConnectionId, id: AskId) -> Done {
    let command = AmqpCommand::CloseConnection { connection };
    while let Err(error) = shared.propose(command.clone()).await {
        tracing::debug!(%error, "exclusive queues of a closed connection are still there");
        sleep(FAREWELL_PAUSE).await;
    }
    Done::Left { id }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;

    use raftmq_amqp::{Message, PublishTo};
    use raftmq_core::queue;

    use super::*;

    const CHANNEL: ChannelKey = ChannelKey {
        number: 1,
        opening: 1,
    };

    fn publish(is_mandatory: bool) -> Box<Publish> {
        Box::new(Publish {
            channel: CHANNEL,
            number: PublishNumber(1),
            to: PublishTo::Exchange,
            is_mandatory,
            is_confirmed: true,
            ttl_ms: None,
            more_keys: Vec::new(),
            message: Message::default(),
        })
    }

    #[test]
    fn a_message_whose_queues_are_gone_is_unroutable_and_one_that_has_others_now_has_failed() {
        let gone = Err(QueueError::Gone);
        let outcome = |is_mandatory, plan| outcome_of(publish(is_mandatory), &gone, |_| Ok(plan));
        assert_eq!(outcome(false, Plan::Unroutable), PublishOutcome::Committed);
        let returned = PublishOutcome::Unroutable(Box::default());
        assert_eq!(outcome(true, Plan::Unroutable), returned);
        let others = Plan::Enqueue(vec![GroupNumber(1)], queue::Message::default());
        assert_eq!(outcome(true, others), PublishOutcome::Failed);
    }

    #[test]
    fn only_what_every_queue_has_is_confirmed() {
        let never = |_: &Publish| -> Result<Plan, Refusal> { panic!("nobody asked for a plan") };
        for (published, expected) in [
            (Ok(Published::Enqueued), PublishOutcome::Committed),
            (Ok(Published::Refused), PublishOutcome::Failed),
            (Err(QueueError::OutcomeUnknown), PublishOutcome::Failed),
            (Err(QueueError::Overloaded), PublishOutcome::Failed),
            (Err(QueueError::Stopping), PublishOutcome::Failed),
        ] {
            assert_eq!(outcome_of(publish(true), &published, never), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_found_no_place_is_tried_again_until_it_does() {
        let tries = Cell::new(0);
        let run = || {
            tries.set(tries.get() + 1);
            let replied = match tries.get() {
                4 => Ok(Reply::Done),
                _ => Err(QueueError::Overloaded),
            };
            ready(replied)
        };
        let done = until_taken(run(), run, Done::Told).await;
        assert!(matches!(done, Done::Told));
        assert_eq!(tries.get(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_done_is_not_tried_again() {
        let run = || ready(Err(QueueError::Gone));
        let again = || -> std::future::Ready<_> { panic!("it was tried again") };
        let done = until_taken(run(), again, Done::Told).await;
        assert!(matches!(done, Done::Told));
    }
}
