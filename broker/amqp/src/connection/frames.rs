//! The way of a frame: from the input to the connection or to its channel.
//!
//! Owns what stops it: channels that wait, a broker that takes no messages, too much that waits.

use raftmq_amqp_protocol::{
    Frame, FrameKind, Method, MethodId, ReplyCode, WireError, basic, channel, connection,
    connection_method, decode_frame,
};

use crate::channel::Channel;
use crate::connection::Connection;
use crate::connection::close::CloseReason;
use crate::connection::stage::Stage;
use crate::exception::{Exception, channel_error, command_invalid, not_allowed};
use crate::limits::ASSEMBLY_BYTES_MAX;
use crate::request::{Ask, ChannelKey};

impl Connection {
    /// Takes one frame in; `false` if there is none, or it must wait.
    pub(super) fn step(&mut self) -> bool {
        if self.stage == Stage::Closed {
            self.input.clear();
            return false;
        }
        if let Some(number) = self.runnable.first().copied() {
            self.take_waiting_frame(number);
            return true;
        }
        if self.blocked.is_none()
            && let Some(frame) = self.stopped.take()
        {
            self.take_channel_frame(frame);
            return true;
        }
        if self.stage.waits_for_host() || self.is_full() {
            return false;
        }
        if self.stage == Stage::Header {
            return self.take_header();
        }
        match decode_frame(&mut self.input, self.session.frame_max) {
            Ok(None) => false,
            Ok(Some(frame)) => {
                self.take_frame(frame);
                true
            }
            Err(error) => {
                self.fail_on_bytes(&error);
                true
            }
        }
    }

    fn fail_on_bytes(&mut self, error: &WireError) {
        let loses_sync = error.loses_sync();
        self.fail(Exception::from(error.clone()));
        if loses_sync {
            // Nothing behind it can be read, not even a `close-ok`.
            self.stage = Stage::Closed;
        }
    }

    fn take_frame(&mut self, frame: Frame) {
        match self.stage {
            Stage::Running if frame.channel == 0 => self.take_connection_frame(frame),
            Stage::Running if self.blocked.is_some() && is_publish(&frame) => {
                tracing::trace!(target: "raftmq::mark", name = "amqp_publish_stopped");
                self.stopped = Some(frame);
            }
            Stage::Running => self.take_channel_frame(frame),
            Stage::Closing => self.take_frame_while_closing(&frame),
            Stage::StartOk | Stage::TuneOk | Stage::Open if frame.channel == 0 => {
                match connection_method(frame) {
                    Ok(Some(method)) => self.take_handshake(method),
                    Ok(None) => {}
                    Err(error) => self.fail(error.into()),
                }
            }
            Stage::StartOk | Stage::TuneOk | Stage::Open => {
                let error = WireError::UnexpectedFrame {
                    kind: frame.kind.octet(),
                    payload: frame.payload,
                };
                self.fail(error.into());
            }
            Stage::Header
            | Stage::Authenticating(..)
            | Stage::Opening(_)
            | Stage::Ending(_)
            | Stage::Closed => {}
        }
    }

    fn take_frame_while_closing(&mut self, frame: &Frame) {
        if frame.channel != 0 || frame.kind != FrameKind::Method {
            return;
        }
        match MethodId::peek(&frame.payload) {
            Some(connection::CloseOk::ID) => self.stage = Stage::Closed,
            // Both sides closed at once: the client waits for its answer before it gives ours.
            Some(connection::Close::ID) => self.session.send(0, connection::CloseOk {}),
            Some(_) | None => {}
        }
    }

    fn take_connection_frame(&mut self, frame: Frame) {
        let method = match connection_method(frame) {
            Ok(None) => return,
            Ok(Some(method)) => method,
            Err(error) => return self.fail(error.into()),
        };
        let id = method.id();
        match method {
            Method::Connection(connection::Method::Close(close)) => {
                self.close_reason = Some(CloseReason::Client {
                    code: close.reply_code,
                    text: close.reply_text,
                });
                self.end_channels();
                let ask = self.session.ask(None, Ask::CloseConnection);
                self.stage = Stage::Ending(ask);
            }
            Method::Connection(connection::Method::UpdateSecret(_)) => {
                let ask = self.session.ask(None, Ask::RenewSecret);
                self.renewing = Some(ask);
            }
            Method::Connection(_) => {
                let text = "unexpected method in connection state running";
                self.fail(channel_error(text).blame(id));
            }
            // The codec knows the method, but it belongs on a channel.
            Method::Channel(_)
            | Method::Access(_)
            | Method::Exchange(_)
            | Method::Queue(_)
            | Method::Basic(_)
            | Method::Confirm(_)
            | Method::Tx(_) => {
                let text = format!("{} on channel 0", method_name(id));
                self.fail(command_invalid(text).blame(id));
            }
        }
    }

    pub(super) fn take_channel_frame(&mut self, frame: Frame) {
        if self.stage != Stage::Running {
            return;
        }
        let Some(channel) = self.channels.get_mut(&frame.channel) else {
            if let Err(exception) = self.open_channel(frame) {
                self.fail(exception);
            }
            return;
        };
        if channel.must_wait() {
            self.backlog_bytes += channel.put_off(frame);
            return;
        }
        let key = channel.key;
        self.run_frame(key, frame);
    }

    /// Takes a frame of a channel that had to wait before.
    fn take_waiting_frame(&mut self, number: u16) {
        self.runnable.remove(&number);
        let Some(channel) = self.channels.get_mut(&number) else {
            return;
        };
        let key = channel.key;
        if let Some((frame, cost)) = channel.next_frame() {
            self.backlog_bytes -= cost;
            self.run_frame(key, frame);
        }
    }

    fn run_frame(&mut self, key: ChannelKey, frame: Frame) {
        self.on_channel(key, |channel, session| channel.take(frame, session));
        let limit = ASSEMBLY_BYTES_MAX.max(self.session.settings.message_bytes_max);
        if self.assembling_bytes > limit {
            let text = format!("bodies of more than {limit} bytes are coming in at once");
            self.fail(Exception::new(ReplyCode::ResourceError, text));
        }
    }

    fn open_channel(&mut self, frame: Frame) -> Result<(), Exception> {
        let count = self.channels.len();
        let max = self.channel_max;
        if count >= usize::from(max) {
            return Err(not_allowed(format!(
                "number of channels opened ({count}) has reached the negotiated channel_max ({max})"
            )));
        }
        let number = frame.channel;
        if frame.kind != FrameKind::Method {
            return Err(WireError::MethodExpected.into());
        }
        let method = Method::decode(frame.payload)?;
        let Method::Channel(channel::Method::Open(_)) = method else {
            return Err(channel_error("expected 'channel.open'").blame(method.id()));
        };
        self.openings += 1;
        let opening = self.openings;
        let channel = Channel::open(ChannelKey { number, opening }, &mut self.session);
        self.channels.insert(number, channel);
        Ok(())
    }
}

fn is_publish(frame: &Frame) -> bool {
    frame.kind == FrameKind::Method && MethodId::peek(&frame.payload) == Some(basic::Publish::ID)
}

fn method_name(id: MethodId) -> &'static str {
    let info = Method::ALL.iter().find(|info| info.id == id);
    info.map_or("method", |info| info.name)
}
