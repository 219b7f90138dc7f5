//! One stream: reads requests, carries them out (`requests`), takes what came of them and what queues deliver
//! (`outcomes`), and hands responses on.
//!
//! Owns the order of these, and that requests are not read while too much waits. Does not know what a request
//! means.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::stream::StreamExt;
use raftmq_core::exchange::Route;
use raftmq_core::queue::Attempt;
use raftmq_core::{DeliveryId, GroupNumber};
use raftmq_proto::into_status;
use raftmq_proto::v1::channel_request::Request;
use raftmq_proto::v1::channel_response::Response;
use raftmq_proto::v1::{
    ChannelOpened, ChannelRequest, Error, ErrorCode, OpenChannel, PublishMessage,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Status, Streaming};

use super::consumers::Consumers;
use super::limits::{
    EARLY_COUNT_MAX, METADATA_WITHIN, OPEN_WITHIN, PUBLISH_OVERHEAD_BYTES, PUBLISHED_BYTES_MAX,
    PUBLISHES_COUNT_MAX, ROUND_COUNT_MAX, WORKS_COUNT_MAX,
};
use super::outbox::Outbox;
use super::requests::ReplyConsumer;
use super::responses::{Responses, Room};
use super::unsettled::Unsettled;
use super::work::{Done, Works};
use crate::controller::Images;
use crate::grpc::error::of_amqp;
use crate::messages::replies::Reply;
use crate::node::Parts;
use crate::queues::{ChannelEvent, ChannelEvents, QueueChannel};

/// See the module.
pub(super) struct Stream {
    pub(super) parts: Parts,
    pub(super) vhost: Arc<str>,
    pub(super) channel: QueueChannel,
    events: ChannelEvents,
    pub(super) reply_consumer: Option<ReplyConsumer>,
    pub(super) consumers: Consumers,
    pub(super) unsettled: Unsettled,
    /// What came of consumers that are not known yet.
    pub(super) early: Vec<ChannelEvent>,
    /// Tags of consumers that are to end as soon as they are known.
    pub(super) early_cancels: Vec<String>,
    pub(super) works: Works,
    /// Publishes that are not answered.
    pub(super) publishes_count: usize,
    pub(super) outbox: Outbox,
    /// Memory for routing.
    pub(super) route: Route,
    budget: Arc<Semaphore>,
    /// A publish that waits for the budget; behind it nothing is read.
    waiting: Option<Box<PublishMessage>>,
    images: Images,
    /// A request that waits for metadata, and until when; behind it nothing is read.
    ahead: Option<(Box<ChannelRequest>, Instant)>,
    is_open: bool,
}

/// What happened next.
enum Step {
    ClientGone,
    Done(Box<Done>),
    Room(Room),
    Budget(OwnedSemaphorePermit),
    /// The metadata are as new as a request wants them, or it has waited long enough.
    Known,
    Read(Box<Result<Option<ChannelRequest>, Status>>),
    Told(Option<ChannelEvent>),
    Reply(Reply),
}

/// Serves one stream until the client or the broker ends it.
pub(super) async fn serve(
    parts: Parts,
    budget: Arc<Semaphore>,
    mut requests: Streaming<ChannelRequest>,
    responses: Responses,
) {
    let served = async {
        let vhost = opened(&mut requests).await?;
        let stream = Stream::open(parts, budget, &vhost).map_err(into_status)?;
        stream.run(&mut requests, &responses).await
    };
    let ended = served.await;
    if let Err(status) = ended {
        responses.end(status).await;
    }
}

/// The virtual host that the first request names.
async fn opened(requests: &mut Streaming<ChannelRequest>) -> Result<String, Status> {
    let first = timeout(OPEN_WITHIN, requests.message()).await;
    let first = first.map_err(|_| Error::timed_out("nothing was opened"))?;
    match first
        .map_err(|status| unreadable(&status))?
        .and_then(|first| first.request)
    {
        Some(Request::Open(OpenChannel { vhost })) => Ok(vhost),
        Some(_) | None => Err(Error::invalid_request("the first request must be `open`").into()),
    }
}

impl Stream {
    fn open(parts: Parts, budget: Arc<Semaphore>, vhost: &str) -> Result<Self, Error> {
        let image = parts.controller.images().current();
        image.amqp.vhost(vhost).map_err(|error| of_amqp(&error))?;
        let opened = parts.queues.open_channel();
        let (channel, events) = opened.map_err(|error| Error::unavailable(error.to_string()))?;
        let images = parts.controller.images();
        let mut outbox = Outbox::default();
        outbox.push(Response::Opened(ChannelOpened {}));
        Ok(Self {
            parts,
            vhost: vhost.into(),
            channel,
            events,
            reply_consumer: None,
            consumers: Consumers::default(),
            unsettled: Unsettled::default(),
            early: Vec::new(),
            early_cancels: Vec::new(),
            works: Works::new(),
            publishes_count: 0,
            outbox,
            route: Route::new(),
            budget,
            waiting: None,
            images,
            ahead: None,
            is_open: true,
        })
    }

    async fn run(
        mut self,
        requests: &mut Streaming<ChannelRequest>,
        responses: &Responses,
    ) -> Result<(), Status> {
        loop {
            self.hand_on(responses);
            if self.is_finished() {
                return Ok(());
            }
            let step = self.next_step(requests, responses).await;
            if matches!(step, Step::ClientGone) {
                return Ok(());
            }
            let taken = self.take(step);
            if let Err(status) = taken {
                return Err(self.give_up(status));
            }
        }
    }

    /// Whether everything that a client asked for before it ended its side is done.
    fn is_finished(&self) -> bool {
        let is_waiting = self.waiting.is_some() || self.ahead.is_some();
        let is_idle = !is_waiting && self.works.is_empty();
        !self.is_open && is_idle && self.outbox.is_empty()
    }

    /// What returns because the broker is out of service did not fail.
    fn give_up(self, status: Status) -> Status {
        let attempt = if status.code() == Code::Unavailable {
            Attempt::CountsNot
        } else {
            Attempt::Counts
        };
        self.channel.close(attempt);
        status
    }

    async fn next_step(
        &mut self,
        requests: &mut Streaming<ChannelRequest>,
        responses: &Responses,
    ) -> Step {
        let may_read = self.may_read();
        let may_tell = self.may_tell();
        let ahead = self.ahead.as_ref();
        let ahead = ahead.map(|(request, until)| (request.metadata_version, *until));
        let next_bytes = self.outbox.next_bytes();
        let wanted = self.waiting.as_deref().map(budget_bytes);
        let replies = self.reply_consumer.as_mut();
        tokio::select! {
            biased;
            () = responses.closed() => Step::ClientGone,
            Some(done) = self.works.next() => Step::Done(Box::new(done)),
            room = responses.room(next_bytes.unwrap_or_default()), if next_bytes.is_some() => {
                Step::Room(room)
            }
            Ok(permit) = Arc::clone(&self.budget).acquire_many_owned(wanted.unwrap_or_default()),
                if wanted.is_some() => Step::Budget(permit),
            () = known(&mut self.images, ahead), if ahead.is_some() => Step::Known,
            read = requests.message(), if may_read => Step::Read(Box::new(read)),
            event = self.events.recv(), if may_tell => Step::Told(event),
            reply = next_reply(replies), if may_tell => Step::Reply(reply),
        }
    }

    fn may_read(&self) -> bool {
        let has_room = self.publishes_count < PUBLISHES_COUNT_MAX
            && self.works.len() < WORKS_COUNT_MAX
            && !self.outbox.is_full();
        let is_waiting = self.waiting.is_some() || self.ahead.is_some();
        self.is_open && !is_waiting && has_room
    }

    fn may_tell(&self) -> bool {
        self.is_open && !self.outbox.is_full() && self.early.len() < EARLY_COUNT_MAX
    }

    fn take(&mut self, step: Step) -> Result<(), Status> {
        match step {
            Step::ClientGone => {}
            Step::Done(done) => {
                self.finish(*done);
                self.finish_more();
            }
            Step::Room(room) => {
                if let Some(response) = self.outbox.pop() {
                    room.send(response);
                }
            }
            Step::Budget(permit) => {
                if let Some(publish) = self.waiting.take() {
                    self.publish(*publish, permit);
                }
            }
            Step::Known => {
                if let Some((request, _)) = self.ahead.take() {
                    self.take_request(*request)?;
                }
            }
            Step::Read(read) => self.take_read(*read)?,
            Step::Told(Some(event)) => {
                self.hear(event);
                self.hear_more();
            }
            Step::Told(None) => {
                return Err(Error::unavailable("the broker was out of service").into());
            }
            Step::Reply(Reply { message, .. }) => self.hear_reply(*message),
        }
        Ok(())
    }

    fn take_read(&mut self, read: Result<Option<ChannelRequest>, Status>) -> Result<(), Status> {
        let Some(request) = read.map_err(|status| unreadable(&status))? else {
            self.is_open = false;
            return Ok(());
        };
        if request.metadata_version > self.images.current().version {
            let until = Instant::now() + METADATA_WITHIN;
            self.ahead = Some((Box::new(request), until));
            return Ok(());
        }
        self.take_request(request)?;
        // A client that sends without a pause still gets what is there for it.
        self.hear_more();
        Ok(())
    }

    fn take_request(&mut self, request: ChannelRequest) -> Result<(), Status> {
        match request.request {
            Some(Request::Publish(publish)) => {
                let bytes = budget_bytes(&publish);
                match Arc::clone(&self.budget).try_acquire_many_owned(bytes) {
                    Ok(permit) => self.publish(publish, permit),
                    Err(_) => self.waiting = Some(Box::new(publish)),
                }
                Ok(())
            }
            Some(other) => self.carry_out(other).map_err(into_status),
            None => Err(Error::invalid_request("a request without content").into()),
        }
    }

    /// Hands on what there is room for.
    fn hand_on(&mut self, responses: &Responses) {
        while let Some(bytes) = self.outbox.next_bytes() {
            let Some(room) = responses.try_room(bytes) else {
                return;
            };
            if let Some(response) = self.outbox.pop() {
                room.send(response);
            }
        }
    }

    fn finish_more(&mut self) {
        for _ in 0..ROUND_COUNT_MAX {
            let Some(Some(done)) = self.works.next().now_or_never() else {
                return;
            };
            self.finish(done);
        }
    }

    fn hear_more(&mut self) {
        for _ in 0..ROUND_COUNT_MAX {
            if !self.may_tell() || !self.hear_one() {
                return;
            }
        }
    }

    /// Takes everything that was told already: no more than may wait for a channel.
    pub(super) fn hear_all(&mut self) {
        while self.hear_one() {}
    }

    fn hear_one(&mut self) -> bool {
        let event = self.events.try_recv();
        // The end of the events is seen when they are waited for.
        event.map(|event| self.hear(event)).is_ok()
    }

    /// The deliveries of a queue that it took back.
    pub(super) fn forget(&mut self, queue: GroupNumber, ids: Vec<DeliveryId>) {
        let ids: BTreeSet<DeliveryId> = ids.into_iter().collect();
        self.unsettled.mark_gone(queue, &ids);
    }
}

/// Completes when the metadata are as new as wanted, or when that takes too long.
async fn known(images: &mut Images, wanted: Option<(u64, Instant)>) {
    let (version, until) = wanted.unwrap_or_else(|| (0, Instant::now()));
    let newer = images.newer_than(version.saturating_sub(1));
    // Whoever named a version that does not come goes on with what is known.
    let _ = timeout_at(until, newer).await;
}

async fn next_reply(consumer: Option<&mut ReplyConsumer>) -> Reply {
    if let Some(consumer) = consumer
        && let Some(reply) = consumer.inbox.replies.recv().await
    {
        return reply;
    }
    std::future::pending().await
}

/// What a publish takes of the budget; one larger than all of it goes alone.
fn budget_bytes(publish: &PublishMessage) -> u32 {
    let body = publish.message.as_ref().map_or(0, |told| told.body.len());
    let bytes = (body + PUBLISH_OVERHEAD_BYTES).min(PUBLISHED_BYTES_MAX);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What a client is told of bytes that are no request.
fn unreadable(status: &Status) -> Status {
    // How tonic says that a message is longer than the listener takes.
    let is_too_large = matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted);
    let code = if is_too_large {
        ErrorCode::RecordTooLarge
    } else {
        ErrorCode::InvalidRequest
    };
    Error::new(
        code,
        format!("a request cannot be read: {}", status.message()),
    )
    .into()
}
