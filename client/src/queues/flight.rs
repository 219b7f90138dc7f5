//! The publishes of a session that are not answered: what is to be sent, what is under way, and what becomes of
//! each when an answer comes, the stream is lost, or its time is over.
//!
//! Pure: time comes in. Owns the rule of who may be repeated. Does not know streams.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raftmq_proto::v1::{ErrorCode, MessagePublished, PublishMessage, PublishVerdict, QueueMessage};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::message::{Message, Repeat};
use crate::error::{Error, Result};

/// What a publisher waits for.
pub(super) type Told = oneshot::Sender<Result<()>>;

/// A publish on its way.
#[derive(Debug)]
pub(super) struct Publish {
    exchange: String,
    routing_key: String,
    is_mandatory: bool,
    repeat: Repeat,
    message: QueueMessage,
    told: Told,
    deadline: Instant,
    /// How often it was refused.
    failures: u32,
    /// Whether some queue may have it.
    is_doubtful: bool,
    last_error: Option<Error>,
    /// Its part of what may be under way.
    _permits: [OwnedSemaphorePermit; 2],
}

impl Publish {
    pub(super) fn new(
        (exchange, routing_key): (String, String),
        message: Message,
        told: Told,
        deadline: Instant,
        permits: [OwnedSemaphorePermit; 2],
    ) -> Self {
        Self {
            is_mandatory: message.is_mandatory || exchange.is_empty(),
            repeat: message.repeat,
            failures: 0,
            is_doubtful: false,
            exchange,
            routing_key,
            message: message.into_wire(),
            told,
            deadline,
            last_error: None,
            _permits: permits,
        }
    }

    /// Ends it: nobody may wait any more.
    fn tell(self, result: Result<()>) {
        let _ = self.told.send(result);
    }

    /// What its publisher is told when it is given up for this error.
    fn give_up(self, error: Error) {
        let told = if self.is_doubtful {
            Error::OutcomeUnknown {
                cause: Box::new(error),
            }
        } else {
            error
        };
        self.tell(Err(told));
    }

    fn unroutable(&self) -> Error {
        Error::Unroutable {
            exchange: self.exchange.clone(),
            routing_key: self.routing_key.clone(),
        }
    }

    fn refused(&self) -> Error {
        Error::MessageRefused {
            exchange: self.exchange.clone(),
            routing_key: self.routing_key.clone(),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Flight {
    all: BTreeMap<u64, Publish>,
    /// Those that are to be sent, in the order in which they came.
    unsent: BTreeSet<u64>,
    /// Those that were refused, by when they are to be sent again.
    resting: BTreeSet<(Instant, u64)>,
    last_number: u64,
}

impl Flight {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn push(&mut self, publish: Publish) {
        self.last_number += 1;
        self.all.insert(self.last_number, publish);
        self.unsent.insert(self.last_number);
    }

    /// Whether something is to be sent now.
    pub(super) fn may_send(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Takes what is to be sent next.
    pub(super) fn next(&mut self) -> Option<PublishMessage> {
        let number = self.unsent.pop_first()?;
        let publish = self.all.get(&number)?;
        Some(PublishMessage {
            number,
            exchange: publish.exchange.clone(),
            routing_key: publish.routing_key.clone().into(),
            mandatory: publish.is_mandatory,
            message: Some(publish.message.clone()),
        })
    }

    /// Takes an answer; one to what is not under way is ignored. `pause` gives the pause after so many
    /// refusals.
    pub(super) fn answered(
        &mut self,
        answer: MessagePublished,
        now: Instant,
        pause: impl Fn(u32) -> Duration,
    ) {
        let number = answer.number;
        let is_resting = self.resting.iter().any(|(_, resting)| *resting == number);
        if is_resting || self.unsent.contains(&number) {
            return;
        }
        let Some(mut publish) = self.all.remove(&number) else {
            return;
        };
        let error: Error = match answer.verdict() {
            PublishVerdict::Confirmed => return publish.tell(Ok(())),
            PublishVerdict::Unroutable => {
                let error = publish.unroutable();
                return publish.give_up(error);
            }
            PublishVerdict::Refused => {
                let error = publish.refused();
                return publish.give_up(error);
            }
            PublishVerdict::Failed | PublishVerdict::Unspecified => {
                answer.error.unwrap_or_default().into()
            }
        };
        let is_harmless = publish.is_harmless(&error);
        publish.is_doubtful |= !is_harmless;
        let is_repeated = is_harmless || publish.repeat != Repeat::Never;
        if !error.is_retriable() || !is_repeated || publish.deadline <= now {
            return publish.give_up(error);
        }
        publish.last_error = Some(error);
        publish.failures += 1;
        self.resting.insert((now + pause(publish.failures), number));
        self.all.insert(number, publish);
    }

    /// The stream is lost: what may be repeated is to be sent again, in its old order.
    pub(super) fn lost(&mut self, error: &Error) {
        let resting = std::mem::take(&mut self.resting).into_iter();
        self.unsent.extend(resting.map(|(_, number)| number));
        for (number, mut publish) in std::mem::take(&mut self.all) {
            let is_sent = self.unsent.insert(number);
            publish.is_doubtful |= is_sent;
            if is_sent && publish.repeat == Repeat::Never {
                self.unsent.remove(&number);
                publish.give_up(error.clone());
            } else {
                self.all.insert(number, publish);
            }
        }
    }

    /// Nothing can be published at all.
    pub(super) fn fail_all(&mut self, error: &Error) {
        self.unsent.clear();
        self.resting.clear();
        for publish in std::mem::take(&mut self.all).into_values() {
            publish.give_up(error.clone());
        }
    }

    /// When something is to be done that nobody asks for.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        // All have the same time, so the oldest one's is over first.
        let deadline = self.all.first_key_value().map(|(_, first)| first.deadline);
        let rested = self.resting.first().map(|(until, _)| *until);
        deadline.into_iter().chain(rested).min()
    }

    /// Sends again what has rested, and gives up what has no time left. `timeout` is the time that each had.
    pub(super) fn expire(&mut self, now: Instant, timeout: Duration) {
        while let Some((until, number)) = self.resting.first().copied()
            && until <= now
        {
            self.resting.pop_first();
            self.unsent.insert(number);
        }
        while let Some(oldest) = self.all.first_entry()
            && oldest.get().deadline <= now
        {
            let (number, mut publish) = oldest.remove_entry();
            let was_resting = self.resting.len();
            self.resting.retain(|(_, resting)| *resting != number);
            let was_sent = !self.unsent.remove(&number) && was_resting == self.resting.len();
            publish.is_doubtful |= was_sent;
            let last_error = publish.last_error.take().map(Box::new);
            publish.give_up(Error::TimedOut {
                operation: "publish",
                timeout,
                last_error,
            });
        }
    }
}

impl Publish {
    /// Whether an error says that no queue has the message. One of several may have it all the same.
    fn is_harmless(&self, error: &Error) -> bool {
        let may_reach_several = !self.exchange.is_empty() || self.message_has_more_keys();
        match error.code() {
            Some(ErrorCode::Unavailable | ErrorCode::Throttled | ErrorCode::StorageFull) => {
                !may_reach_several
            }
            // It was looked at, and not begun.
            Some(ErrorCode::InvalidRequest | ErrorCode::UnknownVhost | ErrorCode::UnknownQueue) => {
                true
            }
            Some(_) | None => false,
        }
    }

    fn message_has_more_keys(&self) -> bool {
        let mut headers = self.message.headers.iter();
        headers.any(|header| header.name == "CC" || header.name == "BCC")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raftmq_proto::v1;
    use tokio::sync::Semaphore;
    use tokio::sync::oneshot::Receiver;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn permits() -> [OwnedSemaphorePermit; 2] {
        let one = || {
            let permit = Arc::new(Semaphore::new(1)).try_acquire_owned();
            permit.expect("it is free")
        };
        [one(), one()]
    }

    fn push(flight: &mut Flight, exchange: &str, message: Message) -> Receiver<Result<()>> {
        let (told, outcome) = oneshot::channel();
        let to = (exchange.to_owned(), "key".to_owned());
        let deadline = Instant::now() + TIMEOUT;
        flight.push(Publish::new(to, message, told, deadline, permits()));
        outcome
    }

    fn numbers(flight: &mut Flight) -> Vec<u64> {
        let sent = std::iter::from_fn(|| flight.next());
        sent.map(|publish| publish.number).collect()
    }

    fn answer(flight: &mut Flight, number: u64, code: Option<ErrorCode>) {
        let verdict = match code {
            None => PublishVerdict::Confirmed,
            Some(_) => PublishVerdict::Failed,
        };
        let answer = MessagePublished {
            number,
            verdict: verdict.into(),
            error: code.map(|code| v1::Error::new(code, "scripted")),
        };
        flight.answered(answer, Instant::now(), |_| Duration::ZERO);
    }

    fn lost() -> Error {
        Error::ConnectionLost {
            endpoint: "one:1".to_owned(),
            reason: "reset".to_owned(),
        }
    }

    fn is_unknown(outcome: &mut Receiver<Result<()>>) -> bool {
        matches!(outcome.try_recv(), Ok(Err(Error::OutcomeUnknown { .. })))
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_goes_to_its_publish_in_any_order() {
        let mut flight = Flight::default();
        let mut first = push(&mut flight, "", Message::new("1"));
        let mut second = push(&mut flight, "", Message::new("2"));
        assert_eq!(numbers(&mut flight), [1, 2]);
        answer(&mut flight, 2, None);
        assert_eq!(second.try_recv(), Ok(Ok(())));
        assert!(first.try_recv().is_err(), "it waits");
        answer(&mut flight, 2, None);
        answer(&mut flight, 1, None);
        assert_eq!(first.try_recv(), Ok(Ok(())));
        assert!(flight.is_empty() && flight.wakes_at().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_repeated_is_sent_again_in_its_order_and_the_rest_is_unknown() {
        let mut flight = Flight::default();
        let mut outcomes: Vec<_> = [
            Message::new("1").deduplicated_by("d"),
            Message::new("2"),
            Message::new("3").at_least_once(),
        ]
        .into_iter()
        .map(|message| push(&mut flight, "", message))
        .collect();
        assert_eq!(numbers(&mut flight), [1, 2, 3]);
        let mut unsent = push(&mut flight, "", Message::new("4"));

        flight.lost(&lost());

        assert!(is_unknown(&mut outcomes[1]));
        assert!(unsent.try_recv().is_err(), "nothing is unknown of it");
        assert_eq!(numbers(&mut flight), [1, 3, 4]);
        for number in [1, 3, 4] {
            answer(&mut flight, number, None);
        }
        assert_eq!(outcomes[0].try_recv(), Ok(Ok(())));
        assert!(flight.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_queue_has_is_repeated_and_what_some_queue_may_have_is_not() {
        let mut flight = Flight::default();
        let mut to_queue = push(&mut flight, "", Message::new("1"));
        let mut to_exchange = push(&mut flight, "logs", Message::new("2"));
        let mut doubtful = push(&mut flight, "", Message::new("3"));
        assert_eq!(numbers(&mut flight), [1, 2, 3]);
        answer(&mut flight, 1, Some(ErrorCode::Throttled));
        answer(&mut flight, 2, Some(ErrorCode::Throttled));
        answer(&mut flight, 3, Some(ErrorCode::TimedOut));
        assert!(is_unknown(&mut to_exchange) && is_unknown(&mut doubtful));
        assert!(to_queue.try_recv().is_err());
        flight.expire(Instant::now(), TIMEOUT);
        assert_eq!(numbers(&mut flight), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_rests_and_holds_up_nothing_else() {
        let mut flight = Flight::default();
        let _outcome = push(&mut flight, "", Message::new("1"));
        assert_eq!(numbers(&mut flight), [1]);
        let error = v1::Error::new(ErrorCode::Unavailable, "no leader");
        let refusal = MessagePublished {
            number: 1,
            verdict: PublishVerdict::Failed.into(),
            error: Some(error),
        };
        let pause = Duration::from_millis(100);
        flight.answered(refusal.clone(), Instant::now(), |_| pause);
        flight.answered(refusal, Instant::now(), |_| pause);
        let _other = push(&mut flight, "", Message::new("2"));
        assert_eq!(numbers(&mut flight), [2]);
        assert_eq!(flight.wakes_at(), Some(Instant::now() + pause));
        tokio::time::advance(pause).await;
        flight.expire(Instant::now(), TIMEOUT);
        assert_eq!(numbers(&mut flight), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_or_unroutable_is_told_so_at_once() {
        let mut flight = Flight::default();
        let mut outcomes: Vec<_> = ["", "logs"]
            .map(|exchange| push(&mut flight, exchange, Message::new("b").at_least_once()))
            .into();
        assert_eq!(numbers(&mut flight), [1, 2]);
        for (number, verdict) in [
            (1, PublishVerdict::Unroutable),
            (2, PublishVerdict::Refused),
        ] {
            let answer = MessagePublished {
                number,
                verdict: verdict.into(),
                error: None,
            };
            flight.answered(answer, Instant::now(), |_| Duration::ZERO);
        }
        let unroutable = outcomes[0].try_recv().expect("told");
        assert!(matches!(unroutable, Err(Error::Unroutable { .. })));
        let refused = outcomes[1].try_recv().expect("told");
        assert!(matches!(refused, Err(Error::MessageRefused { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_time_left_is_given_up_and_doubt_is_told() {
        let mut flight = Flight::default();
        let mut sent = push(&mut flight, "", Message::new("1"));
        assert_eq!(numbers(&mut flight), [1]);
        let mut unsent = push(&mut flight, "", Message::new("2"));
        tokio::time::advance(TIMEOUT).await;
        flight.expire(Instant::now(), TIMEOUT);
        assert!(is_unknown(&mut sent));
        let told = unsent.try_recv().expect("told");
        assert!(matches!(told, Err(Error::TimedOut { .. })));
        assert!(flight.is_empty());
    }
}
