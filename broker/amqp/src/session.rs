//! What all channels of a connection share: who the client is, what goes out, what is asked.
//!
//! Channels write frames and requests here, in the order in which they happen.

use std::collections::{BTreeSet, VecDeque};

use raftmq_amqp_protocol::{Destination, FrameBuffer, Method, Table, Text, Value};

use crate::answer::Identity;
use crate::refusal::Place;
use crate::request::{Ask, AskId, ChannelKey, ConsumerKey, Message, Request};
use crate::settings::Settings;

/// What the client says it understands (`connection.start-ok`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) authentication_failure_close: bool,
    pub(crate) consumer_cancel_notify: bool,
    pub(crate) blocked: bool,
}

impl Capabilities {
    pub(crate) fn read(client_properties: &Table) -> Self {
        let capabilities = client_properties.get("capabilities");
        let has = |name| {
            let Some(Value::Table(table)) = capabilities else {
                return false;
            };
            table.get(name) == Some(Value::Bool(true))
        };
        Self {
            authentication_failure_close: has("authentication_failure_close"),
            consumer_cancel_notify: has("consumer_cancel_notify"),
            blocked: has("connection.blocked"),
        }
    }
}

/// Copies a text that is kept: a slice would keep everything that was read with it.
pub(crate) fn owned(text: &Text) -> Text {
    Text::try_from(text.as_str()).unwrap_or_default()
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) capabilities: Capabilities,
    pub(crate) identity: Identity,
    pub(crate) vhost: Text,
    /// Largest frame, bytes, with the eight around a payload.
    pub(crate) frame_max: u32,
    pub(crate) out: FrameBuffer,
    pub(crate) requests: VecDeque<Request>,
    /// Bodies of publishes that the host has not answered, bytes.
    pub(crate) in_flight_bytes: u64,
    /// Questions that the host has not answered.
    pub(crate) unanswered: BTreeSet<AskId>,
    last_ask: u64,
    last_consumer: u64,
}

impl Session {
    pub(crate) fn new(settings: Settings, frame_max: u32) -> Self {
        Self {
            settings,
            capabilities: Capabilities::default(),
            identity: Identity {
                user: Text::default(),
                may_impersonate: false,
            },
            vhost: Text::default(),
            frame_max,
            out: FrameBuffer::new(),
            requests: VecDeque::new(),
            in_flight_bytes: 0,
            unanswered: BTreeSet::new(),
            last_ask: 0,
            last_consumer: 0,
        }
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            user: &self.identity.user,
            vhost: &self.vhost,
        }
    }

    pub(crate) fn ask(&mut self, channel: Option<ChannelKey>, ask: Ask) -> AskId {
        self.last_ask += 1;
        let id = AskId(self.last_ask);
        self.unanswered.insert(id);
        self.requests.push_back(Request::Ask { id, channel, ask });
        id
    }

    pub(crate) const fn next_consumer(&mut self) -> ConsumerKey {
        self.last_consumer += 1;
        ConsumerKey(self.last_consumer)
    }

    /// Sends a method without content.
    pub(crate) fn send(&mut self, channel: u16, method: impl Into<Method>) {
        self.out.put_method(channel, &method.into());
    }

    /// Sends a method with a message; a large body is cut into frames.
    pub(crate) fn send_content(
        &mut self,
        channel: u16,
        method: impl Into<Method>,
        message: &Message,
    ) {
        let to = Destination {
            channel,
            frame_max: self.frame_max,
        };
        let (properties, body) = (&message.properties, &message.body);
        self.out.put_content(to, &method.into(), properties, body);
    }
}
