//! One channel: its frames, its state, and what it waits for.
//!
//! Owns the order of things on a channel: while it waits for the host, its frames wait, too. Each
//! class of methods has a file beside this one. Does not know the other channels. Sources: AMQP
//! 0-9-1 class `channel`, 4.2.6; RabbitMQ's extensions.

mod answers;
mod consumers;
mod deliver;
mod exchanges;
mod publish;
mod publishes;
mod qos;
mod queues;
mod settle;
mod subscribe;
mod unsettled;

use std::collections::VecDeque;

use raftmq_amqp_protocol::{
    Assembler, Command, Frame, FrameKind, LongString, Method, MethodId, Text, access, basic,
    channel, confirm,
};

use self::answers::{Then, Waiting};
use self::consumers::Consumers;
use self::publishes::Publishes;
use self::unsettled::Unsettled;
use crate::answer::Delivery;
use crate::exception::{Exception, channel_error, command_invalid, not_implemented};
use crate::limits::BACKLOG_FRAME_BYTES;
use crate::planted::{Bug, is_planted};
use crate::request::{Ask, ChannelKey};
use crate::session::Session;

/// Where a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It works.
    Open,
    /// We sent `close`: everything is passed over until the client's `close-ok`.
    Closing,
    /// The client sent `close`: `close-ok` follows once the host is done.
    Ending,
    /// It is no more.
    Closed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) key: ChannelKey,
    state: State,
    assembler: Assembler,
    /// Bytes of the body that is coming in.
    assembling_bytes: u64,
    backlog: VecDeque<Frame>,
    waiting: Option<Waiting>,
    /// The queue that an empty name stands for.
    declared_queue: Text,
    publishes: Publishes,
    unsettled: Unsettled,
    consumers: Consumers,
    /// The tag of the consumer of `amq.rabbitmq.reply-to`.
    reply_consumer: Option<Text>,
    /// Limit of new consumers; 0 = none.
    prefetch: u16,
    /// Limit of all consumers together; 0 = none.
    global_prefetch: u16,
    /// Deliveries that the limit of all consumers holds back.
    held_back: VecDeque<Delivery>,
    /// What consumers are told behind the answer to `queue.delete`.
    late_cancels: Vec<basic::Cancel>,
    tags_made: u64,
}

impl Channel {
    pub(crate) fn open(key: ChannelKey, session: &mut Session) -> Self {
        session.send(
            key.number,
            channel::OpenOk {
                channel_id: LongString::default(),
            },
        );
        Self {
            key,
            state: State::Open,
            assembler: Assembler::new(session.settings.message_bytes_max),
            assembling_bytes: 0,
            backlog: VecDeque::new(),
            waiting: None,
            declared_queue: Text::default(),
            publishes: Publishes::default(),
            unsettled: Unsettled::default(),
            consumers: Consumers::default(),
            reply_consumer: None,
            prefetch: 0,
            global_prefetch: 0,
            held_back: VecDeque::new(),
            late_cancels: Vec::new(),
            tags_made: 0,
        }
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// Whether a frame that comes now must wait.
    pub(crate) fn must_wait(&self) -> bool {
        !self.backlog.is_empty() || !self.can_go_on()
    }

    /// Whether a frame that waits can be taken.
    pub(crate) fn is_runnable(&self) -> bool {
        !self.backlog.is_empty() && self.can_go_on()
    }

    fn can_go_on(&self) -> bool {
        self.state != State::Open || (self.waiting.is_none() && !self.publishes.is_full())
    }

    /// Bytes of the body that is coming in.
    pub(crate) const fn assembling_bytes(&self) -> u64 {
        self.assembling_bytes
    }

    /// Bodies that wait for the host, bytes.
    pub(crate) const fn in_flight_bytes(&self) -> u64 {
        self.publishes.waiting_bytes()
    }

    /// Keeps a frame for later and returns its cost, bytes.
    pub(crate) fn put_off(&mut self, frame: Frame) -> usize {
        let cost = cost_of(&frame);
        self.backlog.push_back(frame);
        cost
    }

    /// Takes a frame that waited, with its cost, bytes.
    pub(crate) fn next_frame(&mut self) -> Option<(Frame, usize)> {
        let frame = self.backlog.pop_front()?;
        let cost = cost_of(&frame);
        Some((frame, cost))
    }

    /// Takes a frame of the channel.
    pub(crate) fn take(&mut self, frame: Frame, session: &mut Session) -> Result<(), Exception> {
        match self.state {
            State::Open => {}
            State::Closing => {
                self.take_while_closing(&frame, session);
                return Ok(());
            }
            State::Ending | State::Closed => return Ok(()),
        }
        let body_bytes = match frame.kind {
            FrameKind::Body => frame.payload.len() as u64,
            FrameKind::Method | FrameKind::Header | FrameKind::Heartbeat => 0,
        };
        let command = self.assembler.push(frame)?;
        self.assembling_bytes = if self.assembler.is_in_content() {
            self.assembling_bytes + body_bytes
        } else {
            0
        };
        command.map_or(Ok(()), |command| {
            let method = command.method.id();
            let done = self.run(command, session);
            done.map_err(|exception| exception.blame(method))
        })
    }

    fn take_while_closing(&mut self, frame: &Frame, session: &mut Session) {
        if frame.kind != FrameKind::Method {
            return;
        }
        match MethodId::peek(&frame.payload) {
            Some(channel::CloseOk::ID) => self.state = State::Closed,
            // Both sides closed at once: the client waits for its answer before it gives ours.
            Some(channel::Close::ID) => session.send(self.key.number, channel::CloseOk {}),
            Some(_) | None => {}
        }
    }

    fn run(&mut self, command: Command, session: &mut Session) -> Result<(), Exception> {
        let Command { method, content } = command;
        if !method.is_from_client() {
            return Err(command_invalid("unimplemented method"));
        }
        match method {
            Method::Connection(_) => Err(command_invalid("unimplemented method")),
            Method::Channel(method) => self.run_channel(method, session),
            Method::Access(access::Method::Request(_)) => {
                session.send(self.key.number, access::RequestOk { ticket: 1 });
                Ok(())
            }
            Method::Access(access::Method::RequestOk(_)) => {
                Err(command_invalid("unimplemented method"))
            }
            Method::Exchange(method) => self.run_exchange(method, session),
            Method::Queue(method) => self.run_queue(method, session),
            Method::Basic(method) => self.run_basic(method, content, session),
            Method::Confirm(method) => self.run_confirm(&method, session),
            // Deviation: RabbitMQ's classic queues have transactions of a channel; quorum queues
            // have none, and nothing that they promise survives a failover.
            Method::Tx(method) => Err(not_implemented(format!(
                "{} is not supported",
                method.name()
            ))),
        }
    }

    fn run_channel(
        &mut self,
        method: channel::Method,
        session: &mut Session,
    ) -> Result<(), Exception> {
        match method {
            channel::Method::Open(_) => Err(channel_error("second 'channel.open' seen")),
            channel::Method::Flow(flow) if flow.active => {
                session.send(self.key.number, channel::FlowOk { active: true });
                Ok(())
            }
            channel::Method::Flow(_) => Err(not_implemented("active=false")),
            channel::Method::Close(_) => {
                let id = session.ask(Some(self.key), Ask::CloseChannel);
                self.end(State::Ending);
                self.wait(id, Then::Close, channel::Close::ID);
                Ok(())
            }
            channel::Method::OpenOk(_)
            | channel::Method::FlowOk(_)
            | channel::Method::CloseOk(_) => Err(command_invalid("unimplemented method")),
        }
    }

    fn run_confirm(
        &mut self,
        method: &confirm::Method,
        session: &mut Session,
    ) -> Result<(), Exception> {
        match method {
            confirm::Method::Select(select) => {
                self.publishes.select();
                if !select.no_wait {
                    session.send(self.key.number, confirm::SelectOk {});
                }
                Ok(())
            }
            confirm::Method::SelectOk(_) => Err(command_invalid("unimplemented method")),
        }
    }

    /// Closes the channel for an error of the client's.
    pub(crate) fn fail(&mut self, exception: Exception, session: &mut Session) {
        if self.state != State::Open {
            return;
        }
        self.flush(session);
        session.ask(Some(self.key), Ask::CloseChannel);
        session.send(self.key.number, close_of(exception));
        if !is_planted(Bug::ClosedChannelWorks) {
            self.end(State::Closing);
        }
    }

    /// Says what is confirmed already, before the connection ends.
    pub(crate) fn send_last_confirms(&mut self, session: &mut Session) {
        self.send_confirms(session);
    }

    /// Lets go of everything but the publishes in flight, whose outcomes are still to come.
    fn end(&mut self, state: State) {
        self.state = state;
        self.waiting = None;
        self.assembling_bytes = 0;
        self.unsettled = Unsettled::default();
        self.consumers = Consumers::default();
        self.reply_consumer = None;
        self.held_back = VecDeque::new();
    }

    /// Sends what was put off: confirms, credit.
    pub(crate) fn flush(&mut self, session: &mut Session) {
        self.send_confirms(session);
        self.give_credit(session);
    }

    /// Whether `flush` has something to do.
    pub(crate) fn wants_flush(&self) -> bool {
        self.publishes.has_confirms() || self.consumers.wants_credit()
    }
}

fn cost_of(frame: &Frame) -> usize {
    frame.payload.len() + BACKLOG_FRAME_BYTES
}

fn close_of(exception: Exception) -> channel::Close {
    channel::Close {
        reply_code: exception.code.code(),
        reply_text: exception.text,
        class_id: exception.method.class_id,
        method_id: exception.method.method_id,
    }
}
