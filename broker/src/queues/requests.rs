//! What a front end asks of a queue, whoever leads it.
//!
//! Everything takes effect in the order of calls; the futures only wait.

use std::time::Duration;

use futures_util::future::{BoxFuture, join_all, ready};
use raftmq_core::ids::{ConsumerId, GroupNumber};
use raftmq_core::queue::{AckMode, ChannelId, Command, Message, Refusal, Reply};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::errands::Errand;
use super::error::QueueError;
use super::submission::{Answer, Ask, MESSAGE_BYTES_MAX, message_bytes};
use super::view::settings_of;
use super::{Counts, Got, Published, Queues};

/// How long the answer to a `Detach` waits for deliveries that came before it.
const DRAINED_WITHIN: Duration = Duration::from_secs(10);
/// Pause before it is asked again whether they have come; doubled each time.
const DRAINED_PAUSE_MIN: Duration = Duration::from_millis(5);
/// The longest one.
const DRAINED_PAUSE_MAX: Duration = Duration::from_millis(200);

type Answered = BoxFuture<'static, Result<Answer, QueueError>>;

impl Queues {
    /// Enqueues a message in several queues. Takes effect in the order of calls, queue by queue; the
    /// future only waits. Not repeated when its outcome is unknown, unless the queue deduplicates it.
    /// A queue that is no more counts only when all are.
    ///
    /// # Errors
    ///
    /// See [`QueueError`]; with several queues some may have it all the same.
    pub fn publish(
        &self,
        queues: &[GroupNumber],
        message: Message,
    ) -> impl Future<Output = Result<Published, QueueError>> + Send + use<> {
        let publish = |message| Ask::Run(Command::Publish(vec![message]));
        let mut sent: Vec<Answered> = Vec::with_capacity(queues.len());
        let is_too_large = message_bytes(&message) > MESSAGE_BYTES_MAX;
        if let Some((last, others)) = queues.split_last().filter(|_| !is_too_large) {
            for queue in others {
                sent.push(self.send(*queue, publish(message.clone())));
            }
            sent.push(self.send(*last, publish(message)));
        }
        async move {
            if is_too_large {
                tracing::trace!(target: "raftmq::mark", name = "message_too_large_refused");
                return Ok(Published::Refused);
            }
            published(join_all(sent).await)
        }
    }

    /// Runs a command at the queue's leader, wherever that is; a refusal is a reply, but for
    /// `Refusal::Gone`. Takes effect in the order of calls (publishes and gets included); the future
    /// only waits. Repeated over moves of the leader: such commands may be. Not for `Publish` and `Get`.
    ///
    /// What a consumer was delivered is in its channel's receiver before the answer to its `Detach`, unless
    /// the channel has had no room for it for ten seconds. What settles, gives credit or ends something is
    /// never `Overloaded`.
    ///
    /// # Errors
    ///
    /// See [`QueueError`].
    pub fn run(
        &self,
        queue: GroupNumber,
        command: Command,
    ) -> impl Future<Output = Result<Reply, QueueError>> + Send + use<> {
        let (mut attaching, mut detaching) = (None, None);
        if let Command::Attach(attach) = &command {
            attaching = Some(Attaching::begin(self, attach.channel, queue));
        } else if let Command::Detach { consumer } = &command {
            detaching = Some(*consumer);
        }
        let sent = self.send(queue, Ask::Run(command));
        let queues = self.clone();
        async move {
            let answer = sent.await;
            let channels = &queues.shared.channels;
            if let (Some(attaching), Ok(Answer::Reply(Reply::Attached { consumer }))) =
                (&mut attaching, &answer)
            {
                attaching.consumer = Some(*consumer);
            }
            // Its deliveries may have come before; from now on it is known whose they are.
            drop(attaching);
            if let (Some(consumer), Ok(answer)) = (detaching, &answer) {
                if *answer == Answer::Draining {
                    queues.until_drained(queue, consumer).await;
                }
                channels.detached(queue, consumer);
            }
            match answer? {
                Answer::Reply(Reply::Refused(Refusal::Gone)) => Err(QueueError::Gone),
                Answer::Reply(reply) => Ok(reply),
                Answer::Draining => Ok(Reply::Done),
                Answer::Full(brokers) => Err(QueueError::Full { brokers }),
                Answer::Got(_) | Answer::Counts(_) => Err(QueueError::OutcomeUnknown),
            }
        }
    }

    /// Takes one message for a channel (`basic.get`). Not repeated when its outcome is unknown: a
    /// message that was taken then returns with the channel.
    ///
    /// # Errors
    ///
    /// See [`QueueError`].
    pub fn get(
        &self,
        queue: GroupNumber,
        channel: ChannelId,
        ack_mode: AckMode,
    ) -> impl Future<Output = Result<Got, QueueError>> + Send + use<> {
        self.shared.channels.touch(channel, queue);
        let sent = self.send(queue, Ask::Run(Command::Get { channel, ack_mode }));
        async move {
            match sent.await? {
                Answer::Got(got) => Ok(got),
                Answer::Reply(Reply::Refused(Refusal::Gone)) => Err(QueueError::Gone),
                Answer::Reply(_) | Answer::Full(_) | Answer::Counts(_) | Answer::Draining => {
                    Err(QueueError::OutcomeUnknown)
                }
            }
        }
    }

    /// Counts what is in a queue, as its leader knows it once everything asked before is done.
    ///
    /// # Errors
    ///
    /// See [`QueueError`].
    pub fn counts(
        &self,
        queue: GroupNumber,
    ) -> impl Future<Output = Result<Counts, QueueError>> + Send + use<> {
        let sent = self.send(queue, Ask::Counts);
        async move {
            match sent.await? {
                Answer::Counts(counts) => Ok(counts),
                Answer::Reply(Reply::Refused(Refusal::Gone)) => Err(QueueError::Gone),
                Answer::Reply(_) | Answer::Full(_) | Answer::Got(_) | Answer::Draining => {
                    Err(QueueError::OutcomeUnknown)
                }
            }
        }
    }

    /// Waits until everything that a consumer was delivered has come, or will not come soon: its channel
    /// has no room. Asks again and again, because an answer that is held back at the leader would hold back
    /// those of all others on this way.
    async fn until_drained(&self, queue: GroupNumber, consumer: ConsumerId) {
        tracing::trace!(target: "raftmq::mark", name = "detach_waits_for_deliveries");
        let drained = async {
            let mut pause = DRAINED_PAUSE_MIN;
            loop {
                sleep(pause).await;
                pause = DRAINED_PAUSE_MAX.min(pause * 2);
                match self.send(queue, Ask::Drained(consumer)).await {
                    Ok(Answer::Draining) | Err(QueueError::Overloaded) => {}
                    Ok(_) | Err(_) => return,
                }
            }
        };
        let _ = timeout(DRAINED_WITHIN, drained).await;
    }

    /// Sends something on the way to a queue, at once.
    pub(super) fn send(&self, queue: GroupNumber, ask: Ask) -> Answered {
        let permit = match self.permit_for(&ask) {
            Ok(permit) => permit,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        let way = match self.way(queue) {
            Ok(way) => way,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        let (errand, answer) = self.errand(queue, ask, permit);
        match way.push(errand) {
            Ok(()) => Box::pin(async move { answer.await.unwrap_or(Err(QueueError::Stopping)) }),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    /// Sends something that nobody waits for and that must arrive.
    pub(super) fn send_surely(&self, queue: GroupNumber, command: Command) {
        let Ok(way) = self.way(queue) else {
            // The queue is no more, or the broker stops: then it is fenced.
            return;
        };
        let (errand, _) = self.errand(queue, Ask::Run(command), None);
        // A way that has ended has ended with the queue, or with the broker.
        let _ = way.push(errand);
    }

    fn errand(
        &self,
        queue: GroupNumber,
        ask: Ask,
        permit: Option<OwnedSemaphorePermit>,
    ) -> (Errand, oneshot::Receiver<Result<Answer, QueueError>>) {
        let (reply, answer) = oneshot::channel();
        let errand = Errand {
            is_repeatable: self.is_repeatable(queue, &ask),
            ask,
            reply,
            since: Instant::now(),
            is_repeated: false,
            _permit: permit,
        };
        (errand, answer)
    }

    fn permit_for(&self, ask: &Ask) -> Result<Option<OwnedSemaphorePermit>, QueueError> {
        if !matches!(ask, Ask::Run(Command::Publish(_))) {
            return Ok(None);
        }
        // One message larger than the whole budget must still get through, alone.
        let bytes = ask.bytes().clamp(1, self.shared.publish_budget_bytes);
        let permits = u32::try_from(bytes).map_err(|_| QueueError::Overloaded)?;
        let budget = self.shared.publish_budget.clone();
        let permit = budget.try_acquire_many_owned(permits);
        permit.map(Some).map_err(|_| QueueError::Overloaded)
    }

    /// A message that the queue deduplicates may be sent again; what a get takes would be taken twice.
    fn is_repeatable(&self, queue: GroupNumber, ask: &Ask) -> bool {
        match ask {
            Ask::Run(Command::Get { .. }) => false,
            Ask::Run(Command::Publish(messages)) => {
                messages.iter().all(|message| message.dedup_id.is_some())
                    && self.deduplicates(queue)
            }
            Ask::Run(_) | Ask::Counts | Ask::Drained(_) => true,
        }
    }

    fn deduplicates(&self, queue: GroupNumber) -> bool {
        let image = self.controller().images().current();
        let queue = image.amqp.queues.get(&queue);
        let settings = queue.and_then(settings_of);
        settings.is_some_and(|settings| settings.dedup.is_some())
    }
}

/// A consumer that is being attached, until the answer is there or nobody waits for it any more.
struct Attaching {
    queues: Queues,
    channel: ChannelId,
    queue: GroupNumber,
    consumer: Option<ConsumerId>,
}

impl Attaching {
    fn begin(queues: &Queues, channel: ChannelId, queue: GroupNumber) -> Self {
        queues.shared.channels.attaching(channel, queue);
        Self {
            queues: queues.clone(),
            channel,
            queue,
            consumer: None,
        }
    }
}

impl Drop for Attaching {
    fn drop(&mut self) {
        let channels = &self.queues.shared.channels;
        channels.attached(self.channel, self.queue, self.consumer);
    }
}

fn published(answers: Vec<Result<Answer, QueueError>>) -> Result<Published, QueueError> {
    let (mut is_refused, mut is_anywhere) = (false, answers.is_empty());
    for answer in answers {
        match answer {
            Ok(Answer::Reply(Reply::Published(published))) => {
                is_refused |= !published.refused.is_empty();
                is_anywhere = true;
            }
            Ok(Answer::Reply(Reply::Refused(_))) | Err(QueueError::Gone) => {}
            Ok(Answer::Full(brokers)) => return Err(QueueError::Full { brokers }),
            Ok(Answer::Reply(_) | Answer::Got(_) | Answer::Counts(_) | Answer::Draining) => {
                return Err(QueueError::OutcomeUnknown);
            }
            Err(error) => return Err(error),
        }
    }
    match (is_anywhere, is_refused) {
        (false, _) => Err(QueueError::Gone),
        (true, true) => Ok(Published::Refused),
        (true, false) => Ok(Published::Enqueued),
    }
}
