//! One connection: reads, drives the machine, carries out what it wants (`requests`), brings what came of
//! it and what queues deliver back (`outcomes`), writes.
//!
//! Owns the order of these. Bytes, frames, states of channels and error texts are the machine's
//! (`raftmq_amqp`), and so is every bound on what waits. Does not know what a request means.

use std::sync::Arc;

use bytes::BytesMut;
use futures_util::future::FutureExt;
use futures_util::stream::StreamExt;
use raftmq_amqp::{AskId, ChannelKey, CloseReason, Event, Phase, Settings};
use raftmq_amqp_protocol::Text;
use raftmq_core::cluster::amqp::ConnectionId;
use raftmq_core::exchange::Route;
use raftmq_core::queue::Attempt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::channels::{Channels, Told};
use super::clocks::{Clocks, Due};
use super::context::{Client, Shared};
use super::limits::{LAST_WRITE_WAIT, READ_BYTES, ROUND_COUNT_MAX};
use super::load::Own;
use super::login::Origin;
use super::standing::Standing;
use super::work::{Done, Works};
use crate::env::BoxedIo;
use crate::messages::replies::{Inbox, Reply};

/// What the client is told of a full disk, in RabbitMQ's words.
const SHORT_OF_ROOM: &str = "low on disk";

/// See the module.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) machine: raftmq_amqp::Connection,
    pub(super) origin: Origin,
    pub(super) id: ConnectionId,
    /// Who logged in.
    pub(super) user: Text,
    /// Who entered a virtual host.
    pub(super) client: Option<Arc<Client>>,
    pub(super) channels: Channels,
    pub(super) works: Works,
    /// What it has published and not been answered.
    pub(super) own: Own,
    /// Pieces of work that the end of the connection waits for.
    pub(super) unfinished_count: usize,
    /// Whether a queue may be this connection's own.
    pub(super) may_own_queues: bool,
    /// How far the connection's end is carried out.
    pub(super) leaving: Leaving,
    /// Whether deliveries that return at the end count as failed.
    pub(super) attempt: Attempt,
    /// Memory for routing.
    pub(super) route: Route,
    address: String,
    standing: watch::Receiver<Standing>,
    seen: Standing,
    inbox: Inbox,
    clocks: Clocks,
}

/// How far the end of a connection is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It lives.
    NotYet,
    /// What was begun before is waited for; then the question is answered.
    Wanted(AskId),
    /// The metadata are told.
    Going,
    /// Nothing of it is left.
    Gone,
}

/// What happened next.
enum Step {
    Standing,
    Reply(Reply),
    Done(Box<Done>),
    Written(std::io::Result<usize>),
    Read(std::io::Result<usize>),
    Told(Box<Told>),
    /// There may be room for publishes again.
    Room,
    Due(Due),
}

type Halves = (ReadHalf<BoxedIo>, WriteHalf<BoxedIo>);

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, number: u64, address: String) -> Self {
        let inbox = shared.parts.replies.open(number);
        let standing = shared.standing.subscribe();
        let id = ConnectionId {
            broker: shared.me(),
            number,
            ..ConnectionId::default()
        };
        Self {
            machine: raftmq_amqp::Connection::new(settings(&shared, number)),
            origin: Origin::of(&address),
            id,
            user: Text::default(),
            client: None,
            channels: Channels::default(),
            works: Works::new(),
            own: Own::default(),
            unfinished_count: 0,
            may_own_queues: false,
            leaving: Leaving::NotYet,
            attempt: Attempt::Counts,
            route: Route::new(),
            address,
            standing,
            seen: Standing::default(),
            inbox,
            clocks: Clocks::new(Instant::now()),
            shared,
        }
    }

    /// Serves the client until it goes, or must; then gives back what was its.
    pub(super) async fn run(mut self, io: BoxedIo) {
        self.shared.metrics.connections.increment(1.0);
        self.serve(io).await;
        self.log_end();
        while matches!(self.leaving, Leaving::Wanted(_) | Leaving::Going) {
            let Some(done) = self.works.next().await else {
                break;
            };
            self.finish(done);
            self.advance();
        }
        self.close_channels();
        self.shared.metrics.connections.decrement(1.0);
    }

    async fn serve(&mut self, io: BoxedIo) {
        let mut halves = tokio::io::split(io);
        self.look_at_standing();
        loop {
            self.advance();
            if self.machine.phase() == Phase::Closed {
                break;
            }
            let step = self.next_step(&mut halves).await;
            self.take(step);
        }
        if self.machine.close_reason() != Some(&CloseReason::Lost) {
            let _ = timeout(LAST_WRITE_WAIT, self.write_last(&mut halves.1)).await;
        }
    }

    /// Has the machine go on as far as it can, and begins what it wants.
    pub(super) fn advance(&mut self) {
        loop {
            let mut is_idle = true;
            while self.may_begin() {
                let Some(request) = self.machine.next_request() else {
                    break;
                };
                self.carry_out(request);
                is_idle = false;
            }
            self.machine.flush();
            if is_idle {
                return;
            }
        }
    }

    /// Whether a further request may be taken: a connection that ends always goes on.
    fn may_begin(&self) -> bool {
        self.machine.phase() != Phase::Running || self.shared.load.lets_on(self.own)
    }

    async fn next_step(&mut self, (reading, writing): &mut Halves) -> Step {
        let load = self.shared.load.clone();
        // Made before it is looked: what happens in between is not missed.
        let room = load.room();
        let may_begin = self.may_begin();
        let may_read = may_begin && self.machine.wants_input();
        let may_tell = self.machine.wants_deliveries();
        let has_output = !self.machine.flush().is_empty();
        let sides = (may_read, has_output);
        let due = self.clocks.next(&self.machine, sides, Instant::now());
        // Lent, so that the frames that wait can be written meanwhile.
        let mut input = std::mem::take(self.machine.input());
        if may_read {
            input.reserve(READ_BYTES);
        }
        let output = self.machine.flush();
        let step = tokio::select! {
            biased;
            Ok(()) = self.standing.changed() => Step::Standing,
            Some(done) = self.works.next() => Step::Done(Box::new(done)),
            written = writing.write_buf(output), if has_output => Step::Written(written),
            read = reading.read_buf(&mut input), if may_read => Step::Read(read),
            Some(reply) = self.inbox.replies.recv(), if may_tell => Step::Reply(reply),
            Some(told) = self.channels.events.next(), if may_tell => Step::Told(Box::new(told)),
            () = room, if !may_begin => Step::Room,
            due = reached(due) => Step::Due(due),
        };
        self.give_back(input);
        step
    }

    fn give_back(&mut self, input: BytesMut) {
        *self.machine.input() = input;
    }

    fn take(&mut self, step: Step) {
        let now = Instant::now();
        match step {
            Step::Standing => self.look_at_standing(),
            Step::Reply(Reply { channel, message }) => {
                self.machine.tell(Event::Reply { channel, message });
            }
            Step::Done(done) => {
                self.finish(*done);
                self.finish_more();
            }
            Step::Written(Ok(1..)) => self.clocks.note_written(now),
            Step::Read(Ok(1..)) => {
                self.clocks.note_read(now);
                // A client that sends without a pause still gets what is there for it.
                self.hear_more();
            }
            Step::Written(_) | Step::Read(_) | Step::Due(Due::Lost) => {
                self.machine.tell(Event::Lost);
            }
            Step::Told(told) => {
                self.hear(*told);
                self.hear_more();
            }
            // The next turn looks again.
            Step::Room => {}
            Step::Due(Due::Heartbeat) => self.machine.send_heartbeat(),
        }
    }

    /// Takes what else has come out, so that confirms are put together.
    fn finish_more(&mut self) {
        for _ in 0..ROUND_COUNT_MAX {
            let Some(Some(done)) = self.works.next().now_or_never() else {
                return;
            };
            self.finish(done);
        }
    }

    /// Takes what else was told, as far as the client takes it off.
    pub(super) fn hear_more(&mut self) {
        for _ in 0..ROUND_COUNT_MAX {
            if !self.machine.wants_deliveries() || !self.hear_one() {
                return;
            }
        }
    }

    /// Takes everything that a channel was told already, whether the client takes anything off or not: no
    /// more than may wait for a channel.
    pub(super) fn hear_all_of(&mut self, channel: ChannelKey) {
        while let Some(event) = self.channels.next_of(channel) {
            self.hear((channel, Some(event)));
        }
    }

    fn hear_one(&mut self) -> bool {
        let Some(Some(told)) = self.channels.events.next().now_or_never() else {
            return false;
        };
        self.hear(told);
        true
    }

    /// Tells the machine what has changed about this broker.
    fn look_at_standing(&mut self) {
        let standing = *self.standing.borrow_and_update();
        let before = std::mem::replace(&mut self.seen, standing);
        match (before.is_short_of_room, standing.is_short_of_room) {
            (false, true) => self.machine.tell(Event::Blocked {
                reason: Text::from_static(SHORT_OF_ROOM),
            }),
            (true, false) => self.machine.tell(Event::Unblocked),
            (true, true) | (false, false) => {}
        }
        if standing.is_stopping {
            self.force_close("broker forced connection closure with reason 'shutdown'");
        } else if self.client.is_some() && standing.broker_epoch != self.id.broker_epoch.get() {
            self.force_close("the broker was out of service");
        }
    }

    /// Closes the connection for a reason of ours: what returns did not fail.
    pub(super) fn force_close(&mut self, reason: &str) {
        self.attempt = Attempt::CountsNot;
        let reason = reason.to_owned();
        self.machine.tell(Event::ForcedClose { reason });
    }

    /// Forgets every channel; what they held returns.
    pub(super) fn close_channels(&mut self) {
        let count = self.channels.len();
        #[expect(clippy::cast_precision_loss, reason = "a gauge takes floats")]
        self.shared.metrics.channels.decrement(count as f64);
        self.channels.close_all(self.attempt);
    }

    async fn write_last(&mut self, writing: &mut WriteHalf<BoxedIo>) -> std::io::Result<()> {
        writing.write_all_buf(self.machine.flush()).await?;
        writing.shutdown().await
    }

    fn log_end(&self) {
        let (address, user) = (&self.address, self.user.as_str());
        match self.machine.close_reason() {
            Some(CloseReason::Exception(exception)) => {
                self.shared.metrics.errors.increment(1);
                tracing::info!(address, user, text = %exception.text, "AMQP connection closed");
            }
            reason => tracing::debug!(address, user, ?reason, "AMQP connection ended"),
        }
    }
}

async fn reached(due: Option<(Instant, Due)>) -> Due {
    match due {
        Some((at, due)) => {
            sleep_until(at).await;
            due
        }
        None => std::future::pending().await,
    }
}

fn settings(shared: &Shared, number: u64) -> Settings {
    let config = &shared.config;
    let image = shared.image();
    Settings {
        connection_id: shared.parts.replies.connection_id(number),
        cluster_name: image.cluster_id.as_deref().unwrap_or("raftmq").to_owned(),
        channel_max: config.channel_max,
        frame_max: config.frame_bytes_max,
        heartbeat_s: config.heartbeat_s,
        message_bytes_max: config.message_bytes_max,
        ..Settings::default()
    }
}
