//! The task of a session: keeps a stream open while something needs one, and brings what is asked to it and
//! what comes to whoever waits.
//!
//! Owns reconnecting, to whichever broker answers: publishes by `flight`'s rule, consumers always. Does not
//! know what applications do with messages.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use raftmq_proto::v1::channel_request::Request;
use raftmq_proto::v1::channel_response::Response;
use raftmq_proto::v1::{CancelConsumer, ChannelRequest, ConsumerEnded, GetMessage, MessageGot};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::channel::Channel;
use super::consuming::{Consuming, Heard};
use super::delivery::QueueDelivery;
use super::flight::Flight;
use super::session::{Command, WeakSession};
use crate::client::{Candidates, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::URGENT_COUNT_MAX;

type GotTo = oneshot::Sender<Result<Option<QueueDelivery>>>;

/// See the module.
pub(super) struct Driver {
    shared: Arc<Shared>,
    vhost: String,
    own: WeakSession,
    commands: mpsc::Receiver<Command>,
    consuming: Option<Consuming>,
    flight: Flight,
    /// What is to be asked before any publish.
    urgent: VecDeque<Request>,
    gets: BTreeMap<u64, (GetMessage, GotTo)>,
    last_get: u64,
    /// Streams that were opened.
    streams_count: u64,
    candidates: Candidates,
    /// Failures in a row, and since when a virtual host or queue was not found.
    failures: u32,
    missing_since: Option<Instant>,
    /// Nobody has the session any more.
    is_closing: bool,
}

/// Why a stream is used no more.
enum End {
    /// Nobody needs it.
    Done,
    Lost(Error),
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        vhost: String,
        (own, commands): (WeakSession, mpsc::Receiver<Command>),
        consuming: Option<Consuming>,
    ) -> Self {
        Self {
            candidates: Candidates::new(&shared),
            shared,
            vhost,
            own,
            commands,
            consuming,
            flight: Flight::default(),
            urgent: VecDeque::new(),
            gets: BTreeMap::new(),
            last_get: 0,
            streams_count: 0,
            failures: 0,
            missing_since: None,
            is_closing: false,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            while !self.wants_stream() {
                if self.is_closing {
                    return;
                }
                let command = self.commands.recv().await;
                self.take(command);
            }
            let Some(mut channel) = self.connect().await else {
                continue;
            };
            match self.serve(&mut channel).await {
                End::Done => return channel.finish(self.shared.timeouts.connect).await,
                End::Lost(error) => {
                    tracing::debug!(vhost = self.vhost, %error, "stream of queues was lost");
                    self.lose(&error);
                    self.note_failure(&error);
                    self.pause().await;
                }
            }
        }
    }

    fn wants_stream(&self) -> bool {
        let is_consuming = self.consuming.as_ref().is_some_and(Consuming::is_alive);
        let is_asked = !self.flight.is_empty() || !self.gets.is_empty();
        is_asked || (is_consuming && !self.is_closing)
    }

    /// Tries one broker. What is asked meanwhile waits.
    async fn connect(&mut self) -> Option<Channel> {
        let endpoint = self.candidates.next(&self.shared);
        let shared = Arc::clone(&self.shared);
        let vhost = self.vhost.clone();
        let opening = async move { Channel::open(&shared, endpoint, vhost).await };
        let mut opening = Box::pin(opening);
        let opened = loop {
            let wakes_at = self.flight.wakes_at();
            tokio::select! {
                biased;
                opened = &mut opening => break opened,
                command = self.commands.recv(), if self.may_take() => self.take(command),
                () = reached(wakes_at) => self.expire(),
            }
        };
        match opened {
            Ok(channel) => {
                self.streams_count += 1;
                self.own.set_stream(self.streams_count);
                Some(channel)
            }
            Err(error) => {
                tracing::debug!(vhost = self.vhost, %error, "no stream of queues");
                self.note_failure(&error);
                self.pause().await;
                None
            }
        }
    }

    /// Takes note that nothing can be done now, and ends what never will be.
    fn note_failure(&mut self, error: &Error) {
        self.failures += 1;
        let now = Instant::now();
        let is_hopeless = if error.kind() == ErrorKind::NotFound {
            let since = *self.missing_since.get_or_insert(now);
            now.duration_since(since) >= self.shared.timeouts.topic_wait
        } else {
            // A broker that is lost, or leaves the cluster, is no reason to end.
            error.code().is_some() && !error.is_retriable()
        };
        if is_hopeless {
            self.missing_since = None;
            self.flight.fail_all(error);
            for (_, told) in std::mem::take(&mut self.gets).into_values() {
                let _ = told.send(Err(error.clone()));
            }
            if let Some(consuming) = &mut self.consuming {
                consuming.end(error.clone());
            }
        }
    }

    /// Waits before the next try; what is asked meanwhile waits, too.
    async fn pause(&mut self) {
        let until = Instant::now() + self.shared.random.backoff(self.failures);
        while Instant::now() < until {
            let wakes_at = self.flight.wakes_at();
            tokio::select! {
                biased;
                () = sleep_until(until) => {}
                () = Consuming::hand_on(&mut self.consuming, &self.own) => self.cancel_if_left(),
                command = self.commands.recv(), if self.may_take() => self.take(command),
                () = reached(wakes_at) => self.expire(),
            }
        }
    }

    async fn serve(&mut self, channel: &mut Channel) -> End {
        if let Some(consuming) = &self.consuming
            && let Some(consume) = consuming.request()
        {
            self.urgent.push_back(Request::Consume(consume));
        }
        for (get, _) in self.gets.values() {
            self.urgent.push_back(Request::Get(get.clone()));
        }
        let requests = channel.requests.clone();
        loop {
            self.write(&requests);
            if self.is_closing && self.is_idle() {
                return End::Done;
            }
            let may_read = self.consuming.as_ref().is_none_or(Consuming::has_room);
            let wants_write = self.wants_write();
            let (may_take, wakes_at) = (self.may_take(), self.flight.wakes_at());
            tokio::select! {
                biased;
                Ok(room) = requests.reserve(), if wants_write => {
                    if let Some(request) = self.next_request() {
                        room.send(request);
                    }
                }
                command = self.commands.recv(), if may_take => self.take(command),
                () = Consuming::hand_on(&mut self.consuming, &self.own) => self.cancel_if_left(),
                response = channel.next(), if may_read => {
                    let heard = match response {
                        Ok(response) => self.hear(response, channel),
                        Err(error) => Err(error),
                    };
                    if let Err(error) = heard {
                        return End::Lost(error);
                    }
                }
                () = reached(wakes_at) => self.expire(),
            }
        }
    }

    /// Nobody takes messages any more: the consumer ends, and what is unsettled can still be settled.
    fn cancel_if_left(&mut self) {
        if let Some(consumer_tag) = self.consuming.as_mut().and_then(Consuming::leave) {
            self.urgent
                .push_back(Request::Cancel(CancelConsumer { consumer_tag }));
        }
    }

    /// Whether everything that was asked is sent, and answered where an answer comes.
    fn is_idle(&self) -> bool {
        self.flight.is_empty() && self.gets.is_empty() && self.urgent.is_empty()
    }

    /// Whether another command may be taken: publishes and gets are bounded by who asks.
    fn may_take(&self) -> bool {
        !self.is_closing && self.urgent.len() < URGENT_COUNT_MAX
    }

    fn wants_write(&self) -> bool {
        !self.urgent.is_empty() || self.flight.may_send()
    }

    fn next_request(&mut self) -> Option<ChannelRequest> {
        let request = match self.urgent.pop_front() {
            Some(urgent) => urgent,
            None => Request::Publish(self.flight.next()?),
        };
        Some(ChannelRequest {
            request: Some(request),
            metadata_version: self.shared.metadata_seen(),
        })
    }

    /// Sends what there is room for.
    fn write(&mut self, requests: &mpsc::Sender<ChannelRequest>) {
        while self.wants_write() {
            let Ok(room) = requests.try_reserve() else {
                return;
            };
            if let Some(request) = self.next_request() {
                room.send(request);
            }
        }
    }

    fn take(&mut self, command: Option<Command>) {
        match command {
            None => self.is_closing = true,
            Some(Command::Publish(publish)) => self.flight.push(*publish),
            Some(Command::Get(get, told)) => {
                self.last_get += 1;
                let number = self.last_get;
                let get = GetMessage { number, ..get };
                self.gets.insert(number, (get.clone(), told));
                // A stream that is opened later asks for all.
                if self.own.is_open() {
                    self.urgent.push_back(Request::Get(get));
                }
            }
            Some(Command::Settle(stream, settle)) => {
                if stream == self.streams_count && self.own.is_open() {
                    self.urgent.push_back(Request::Settle(settle));
                }
            }
        }
    }

    fn hear(&mut self, response: Response, channel: &Channel) -> Result<()> {
        match response {
            Response::Published(answer) => {
                self.note_success();
                let random = &self.shared.random;
                let pause = |failures| random.backoff(failures);
                self.flight.answered(answer, Instant::now(), pause);
                return Ok(());
            }
            Response::Got(got) => {
                self.note_success();
                self.got(got);
                return Ok(());
            }
            Response::Opened(_) => return Err(channel.against_protocol(&response)),
            Response::Started(_) | Response::Ended(_) | Response::Delivery(_) => {}
        }
        let Some(consuming) = &mut self.consuming else {
            return Err(channel.against_protocol(&response));
        };
        match response {
            Response::Started(started) => {
                if let Some(error) = started.error {
                    return Err(error.into());
                }
                consuming.started();
                self.note_success();
            }
            Response::Delivery(delivery) => {
                consuming.heard(Heard::Delivered(Box::new(delivery), self.streams_count));
            }
            Response::Ended(ConsumerEnded { queue_is_gone, .. }) => {
                if queue_is_gone {
                    consuming.end(queue_gone(consuming.queue()));
                }
            }
            Response::Opened(_) | Response::Published(_) | Response::Got(_) => {}
        }
        Ok(())
    }

    fn note_success(&mut self) {
        self.failures = 0;
        self.missing_since = None;
    }

    fn got(&mut self, got: MessageGot) {
        let Some((get, told)) = self.gets.remove(&got.number) else {
            return;
        };
        let result = match (got.error, got.delivery) {
            (Some(error), _) => Err(error.into()),
            (None, None) => Ok(None),
            (None, Some(delivery)) => {
                let session = self.own.upgrade().filter(|_| !get.no_ack);
                let settling = session.map(|session| (session, self.streams_count));
                let mut delivery = QueueDelivery::new(delivery, settling);
                delivery.ready_messages = got.ready_messages;
                Ok(Some(delivery))
            }
        };
        // Who waits no more leaves it unsettled: it returns with the stream.
        let _ = told.send(result);
    }

    fn expire(&mut self) {
        let timeout = self.shared.timeouts.request;
        self.flight.expire(Instant::now(), timeout);
        self.gets.retain(|_, (_, told)| !told.is_closed());
    }

    /// Everything of the stream is over.
    fn lose(&mut self, error: &Error) {
        self.own.set_stream(0);
        self.urgent.clear();
        self.flight.lost(error);
        // What a get took returns to its queue with the stream, so it is asked again.
        self.gets.retain(|_, (_, told)| !told.is_closed());
        if let Some(consuming) = &mut self.consuming {
            consuming.lost(error);
        }
    }
}

fn queue_gone(queue: &str) -> Error {
    let reason = format!("queue '{queue}' is no more");
    raftmq_proto::v1::Error::new(raftmq_proto::v1::ErrorCode::UnknownQueue, reason).into()
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
