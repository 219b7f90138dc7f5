//! One connection: bytes in, frames and requests out.
//!
//! Owns the way of a frame to its channel, the channels, and everything that bounds a client as a
//! whole. The files beside this one own its beginning and its end. Does not know sockets: the host
//! reads into [`Connection::input`], takes [`Connection::next_request`] until there is none, and
//! writes what [`Connection::flush`] gives. Sources: AMQP 0-9-1, 2.2.4 and 4.2; class `connection`.

mod close;
mod frames;
mod handshake;
mod login;
mod stage;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use raftmq_amqp_protocol::{FRAME_MAX_INITIAL, Frame, FrameBuffer, Text};

pub use self::close::CloseReason;
pub use self::stage::{Phase, Timing};

use self::stage::Stage;
use crate::answer::Answer;
use crate::channel::{Channel, State};
use crate::exception::Exception;
use crate::limits::{
    ASKS_OF_CLOSED_COUNT_MAX, BACKLOG_BYTES_MAX, IN_FLIGHT_BYTES_MAX, OUTPUT_BYTES_MAX,
};
use crate::reply_to::CONNECTION_ID_BYTES_MAX;
use crate::request::{AskId, ChannelKey, Request};
use crate::session::Session;
use crate::settings::Settings;

/// See the module.
#[derive(Debug)]
pub struct Connection {
    stage: Stage,
    session: Session,
    input: BytesMut,
    channels: BTreeMap<u16, Channel>,
    /// Channels that were ever opened.
    openings: u64,
    /// Highest number of open channels.
    channel_max: u16,
    heartbeat_s: u16,
    /// Channels with frames that waited and can be taken now.
    runnable: BTreeSet<u16>,
    /// Channels with confirms or credit that were put off.
    unflushed: BTreeSet<u16>,
    /// Frames that wait, bytes.
    backlog_bytes: usize,
    /// Bodies that are coming in, bytes.
    assembling_bytes: u64,
    /// Why the broker takes no messages, if so.
    blocked: Option<Text>,
    /// The publish that came while it took none.
    stopped: Option<Frame>,
    /// A question about a running connection as a whole (`connection.update-secret`).
    renewing: Option<AskId>,
    close_reason: Option<CloseReason>,
}

impl Connection {
    /// Starts before the client's first byte.
    #[must_use]
    pub fn new(mut settings: Settings) -> Self {
        let is_fine = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        let id = settings.connection_id.chars().filter(is_fine);
        settings.connection_id = id.take(CONNECTION_ID_BYTES_MAX).collect();
        Self {
            stage: Stage::Header,
            session: Session::new(settings, FRAME_MAX_INITIAL),
            input: BytesMut::new(),
            channels: BTreeMap::new(),
            openings: 0,
            channel_max: 0,
            heartbeat_s: 0,
            runnable: BTreeSet::new(),
            unflushed: BTreeSet::new(),
            backlog_bytes: 0,
            assembling_bytes: 0,
            blocked: None,
            stopped: None,
            renewing: None,
            close_reason: None,
        }
    }

    /// Where the host puts what it reads, behind what is there. Bodies share this memory.
    pub const fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Whether the host should read. If not, it asks again after any other call; meanwhile the
    /// client's silence means nothing.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        !self.stage.waits_for_host() && self.stage != Stage::Closed && !self.is_full()
    }

    /// Whether the host should pass deliveries on. Those that it passes on all the same are taken.
    #[must_use]
    pub fn wants_deliveries(&self) -> bool {
        self.session.out.len() < OUTPUT_BYTES_MAX
    }

    /// Takes the next thing to do; frames are taken in as far as that needs it. `None` when more
    /// bytes or answers are needed.
    pub fn next_request(&mut self) -> Option<Request> {
        loop {
            if let Some(request) = self.session.requests.pop_front() {
                return Some(request);
            }
            if !self.step() {
                return None;
            }
        }
    }

    /// Adds the frames that were put off, so that they could be put together, and shows everything
    /// that is to be written. There may be new requests afterwards.
    pub fn flush(&mut self) -> &mut FrameBuffer {
        if self.wants_deliveries() {
            for number in std::mem::take(&mut self.unflushed) {
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.flush(&mut self.session);
                    if channel.wants_flush() {
                        self.unflushed.insert(number);
                    }
                }
            }
        }
        &mut self.session.out
    }

    /// Takes the answer to a `Request::Ask`. One that nobody waits for any more does nothing.
    pub fn answer(&mut self, channel: Option<ChannelKey>, id: AskId, answer: Answer) {
        if !self.session.unanswered.remove(&id) {
            return;
        }
        match channel {
            Some(key) => {
                self.on_channel(key, |channel, session| channel.answer(id, answer, session));
            }
            None => self.answer_connection(id, answer),
        }
    }

    /// Why the connection ended or is about to; `None` while it lives.
    #[must_use]
    pub const fn close_reason(&self) -> Option<&CloseReason> {
        self.close_reason.as_ref()
    }

    /// Whether too much waits to take in more.
    fn is_full(&self) -> bool {
        self.stopped.is_some()
            || self.renewing.is_some()
            || self.session.unanswered.len() > self.channels.len() + ASKS_OF_CLOSED_COUNT_MAX
            || self.backlog_bytes >= BACKLOG_BYTES_MAX
            || self.session.in_flight_bytes >= IN_FLIGHT_BYTES_MAX
            || self.session.out.len() >= OUTPUT_BYTES_MAX
    }

    /// Does something to a channel if that opening of it is still there.
    fn on_channel(
        &mut self,
        key: ChannelKey,
        act: impl FnOnce(&mut Channel, &mut Session) -> Result<(), Exception>,
    ) {
        let Some(channel) = self.channels.get_mut(&key.number) else {
            return;
        };
        if channel.key != key {
            return;
        }
        let assembling_bytes = channel.assembling_bytes();
        let fatal = match act(channel, &mut self.session) {
            Ok(()) => None,
            Err(exception) if exception.code.closes_connection() => Some(exception),
            Err(exception) => {
                channel.fail(exception, &mut self.session);
                None
            }
        };
        self.assembling_bytes -= assembling_bytes;
        self.assembling_bytes += channel.assembling_bytes();
        if channel.wants_flush() {
            self.unflushed.insert(key.number);
        }
        if channel.is_runnable() {
            self.runnable.insert(key.number);
        } else {
            self.runnable.remove(&key.number);
        }
        if channel.state() == State::Closed {
            self.remove_channel(key.number);
        }
        if let Some(exception) = fatal {
            self.fail(exception);
        }
    }

    /// Forgets a channel that is closed. What waited behind its end belongs to a new one.
    fn remove_channel(&mut self, number: u16) {
        let Some(mut channel) = self.channels.remove(&number) else {
            return;
        };
        self.runnable.remove(&number);
        self.unflushed.remove(&number);
        self.session.in_flight_bytes -= channel.in_flight_bytes();
        let waiting: Vec<_> = std::iter::from_fn(|| channel.next_frame()).collect();
        for (frame, cost) in waiting {
            self.backlog_bytes = self.backlog_bytes.saturating_sub(cost);
            self.take_channel_frame(frame);
        }
    }
}
