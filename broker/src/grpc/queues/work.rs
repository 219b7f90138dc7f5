//! What a stream waits for: each piece of work is a future that only waits, and what comes out of it goes back
//! to the stream.
//!
//! Does not know the stream: everything that a piece of work needs is in it.

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use raftmq_core::cluster::amqp::Resource;
use raftmq_core::queue::{Command, Reply};
use raftmq_core::{ConsumerId, GroupNumber};
use raftmq_proto::v1::{Error, ErrorCode, MessagePublished, PublishVerdict};
use tokio::time::sleep;

use super::limits::OVERLOADED_PAUSE;
use crate::grpc::error::{of_queue, of_queue_refusal};
use crate::messages::publish::Plan;
use crate::messages::replies::Sent;
use crate::queues::{Got, Published, QueueError, Queues};

/// What a stream waits for.
pub(super) type Works = FuturesUnordered<BoxFuture<'static, Done>>;

/// What came out of a piece of work.
#[derive(Debug)]
pub(super) enum Done {
    /// A publish has its outcome.
    Published(MessagePublished),
    /// A consumer is started, or not.
    Attached {
        tag: String,
        queue: GroupNumber,
        attached: Result<ConsumerId, Error>,
    },
    /// A consumer is ended.
    Detached { tag: String },
    /// A message was taken, or none.
    Got {
        number: u64,
        queue: GroupNumber,
        got: Result<Got, Error>,
    },
    /// Something that nobody asks about any more.
    Told,
}

pub(super) fn verdict(number: u64, verdict: PublishVerdict) -> MessagePublished {
    MessagePublished {
        number,
        verdict: verdict.into(),
        error: None,
    }
}

pub(super) fn failed(number: u64, error: Error) -> MessagePublished {
    MessagePublished {
        error: Some(error),
        ..verdict(number, PublishVerdict::Failed)
    }
}

/// What the publisher of a message is told that reaches no queue.
pub(super) fn unroutable(number: u64, is_mandatory: bool) -> MessagePublished {
    let told = if is_mandatory {
        PublishVerdict::Unroutable
    } else {
        PublishVerdict::Confirmed
    };
    verdict(number, told)
}

/// What a publisher is told of what the queues said. Queues that are gone are as if they had not been there,
/// unless the message would reach others now: then it is to be published again.
pub(super) fn outcome_of(
    (number, is_mandatory): (u64, bool),
    published: &Result<Published, QueueError>,
    to: &Resource,
    plan_again: impl FnOnce() -> Result<Plan, Error>,
) -> MessagePublished {
    let error = match published {
        Ok(Published::Enqueued) => return verdict(number, PublishVerdict::Confirmed),
        Ok(Published::Refused) => return verdict(number, PublishVerdict::Refused),
        Err(QueueError::Gone) => match plan_again() {
            Ok(Plan::Unroutable) => return unroutable(number, is_mandatory),
            Ok(Plan::Enqueue(..)) => Error::unavailable(format!("{to}: its queues have changed")),
            Err(error) => error,
        },
        // It may have been handed on before.
        Err(QueueError::Stopping) => Error::timed_out(format!("{to}: {}", QueueError::Stopping)),
        Err(error) => of_queue(error, to),
    };
    failed(number, error)
}

/// What the publisher of a reply is told.
pub(super) fn reply_outcome(number: u64, is_mandatory: bool, sent: Sent) -> MessagePublished {
    match sent {
        Sent::Taken => verdict(number, PublishVerdict::Confirmed),
        Sent::Gone => unroutable(number, is_mandatory),
        Sent::Unknown => {
            let reason = "the broker of whoever waits for the reply did not answer";
            failed(number, Error::timed_out(reason))
        }
    }
}

/// Waits for a consumer's start.
pub(super) async fn attach(
    reply: impl Future<Output = Result<Reply, QueueError>> + Send,
    resource: Resource,
    (tag, queue): (String, GroupNumber),
) -> Done {
    let attached = match reply.await {
        Ok(Reply::Attached { consumer }) => Ok(consumer),
        Ok(Reply::Refused(refusal)) => Err(of_queue_refusal(&refusal, &resource)),
        Ok(other) => {
            let reason = format!("{resource}: unexpected reply {other:?}");
            Err(Error::new(ErrorCode::Internal, reason))
        }
        Err(error) => Err(of_queue(&error, &resource)),
    };
    Done::Attached {
        tag,
        queue,
        attached,
    }
}

/// Has a queue do something of which only the end matters: `done`. It takes effect in the order of calls. What
/// found no place in the queue's service is tried again: a settlement must not be lost.
pub(super) fn tell_queue(
    queues: &Queues,
    queue: GroupNumber,
    command: Command,
    done: Done,
) -> BoxFuture<'static, Done> {
    let queues = queues.clone();
    let run = move || queues.run(queue, command.clone());
    let first = run();
    Box::pin(async move {
        let mut replied = first.await;
        while replied == Err(QueueError::Overloaded) {
            sleep(OVERLOADED_PAUSE).await;
            replied = run().await;
        }
        if let Err(error) = replied {
            tracing::debug!(%queue, %error, "a queue was not told");
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use raftmq_core::queue::Message;

    use super::*;

    fn outcome(published: &Result<Published, QueueError>, plan: Plan) -> MessagePublished {
        let to = Resource::queue("/", "q");
        outcome_of((7, true), published, &to, || Ok(plan))
    }

    fn nowhere(published: &Result<Published, QueueError>) -> MessagePublished {
        outcome(published, Plan::Unroutable)
    }

    #[test]
    fn only_what_every_queue_has_is_confirmed() {
        let told = nowhere(&Ok(Published::Enqueued));
        assert_eq!(told, verdict(7, PublishVerdict::Confirmed));
        let told = nowhere(&Ok(Published::Refused));
        assert_eq!(told, verdict(7, PublishVerdict::Refused));
        for (error, code) in [
            (QueueError::OutcomeUnknown, ErrorCode::TimedOut),
            (QueueError::Overloaded, ErrorCode::Throttled),
            (QueueError::Stopping, ErrorCode::TimedOut),
        ] {
            let told = nowhere(&Err(error));
            assert_eq!(told.verdict(), PublishVerdict::Failed);
            let error = told.error.unwrap();
            assert_eq!(error.code(), code);
            assert!(error.message.contains("queue 'q'"), "{}", error.message);
        }
    }

    #[test]
    fn a_message_whose_queues_are_gone_is_unroutable_and_one_that_has_others_now_is_to_be_repeated()
    {
        let told = nowhere(&Err(QueueError::Gone));
        assert_eq!(told, verdict(7, PublishVerdict::Unroutable));
        assert_eq!(unroutable(7, false), verdict(7, PublishVerdict::Confirmed));
        let others = Plan::Enqueue(vec![GroupNumber(1)], Message::default());
        let told = outcome(&Err(QueueError::Gone), others);
        assert_eq!(told.error.unwrap().code(), ErrorCode::Unavailable);
    }

    #[test]
    fn a_reply_whose_asker_is_gone_is_unroutable() {
        let told = |sent| reply_outcome(7, true, sent).verdict();
        assert_eq!(told(Sent::Taken), PublishVerdict::Confirmed);
        assert_eq!(told(Sent::Gone), PublishVerdict::Unroutable);
        assert_eq!(told(Sent::Unknown), PublishVerdict::Failed);
    }
}
