//! A scripted client over bytes, and a host that answers as it is told.

use bytes::{BufMut, Bytes, BytesMut};
use raftmq_amqp::{
    Answer, Ask, ChannelKey, Connection, Consume, ConsumerKey, Delivery, Identity, Message, Phase,
    Publish, PublishOutcome, QueueDeclared, Request, Settings, Taken,
};
use raftmq_amqp_protocol::{
    BasicProperties, Body, Destination, Frame, FrameBuffer, FrameKind, LongString, Method,
    PROTOCOL_HEADER, Properties, ShortString, Table, TableBuilder, Text, Value, basic, channel,
    connection, decode_frame, queue,
};
use raftmq_core::queue::MessageRef;
use raftmq_core::{DeliveryId, GroupNumber, LogIndex};

/// The queue that every name stands for.
pub(crate) const QUEUE: GroupNumber = GroupNumber(7);

pub(crate) fn text(value: &str) -> Text {
    Text::try_from(value).unwrap()
}

pub(crate) fn short(value: &str) -> ShortString {
    ShortString::try_from(value).unwrap()
}

/// A client with its connection.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    received: BytesMut,
    /// Frames that the client sends, not yet handed over.
    sent: FrameBuffer,
}

impl Client {
    /// Before the first byte.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            connection: Connection::new(settings),
            received: BytesMut::new(),
            sent: FrameBuffer::new(),
        }
    }

    /// With the virtual host entered, as guest, with every capability.
    pub(crate) fn running() -> Self {
        Self::running_with(Settings::default())
    }

    pub(crate) fn running_with(settings: Settings) -> Self {
        let mut client = Self::new(settings);
        client.open(start_ok(true), 0);
        assert_eq!(client.connection.phase(), Phase::Running);
        client
    }

    /// Goes through the handshake.
    pub(crate) fn open(&mut self, start_ok: connection::StartOk, heartbeat: u16) {
        self.receive(PROTOCOL_HEADER);
        self.send(0, start_ok);
        self.serve();
        let tune_ok = connection::TuneOk {
            channel_max: 10,
            frame_max: 4_096,
            heartbeat,
        };
        self.send(0, tune_ok);
        self.send(0, open("/"));
        self.serve();
        self.methods();
    }

    /// With channel 1 open.
    pub(crate) fn with_channel() -> Self {
        let mut client = Self::running();
        client.open_channel(1);
        client
    }

    pub(crate) fn open_channel(&mut self, number: u16) {
        self.send(number, channel::Open::default());
        assert!(self.serve().is_empty());
        let open_ok = channel::OpenOk::default().into();
        assert_eq!(self.methods(), [(number, open_ok)]);
    }

    /// Hands bytes over.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.connection.input().put_slice(bytes);
    }

    /// Sends a method.
    pub(crate) fn send(&mut self, channel: u16, method: impl Into<Method>) {
        self.sent.put_method(channel, &method.into());
        self.hand_over();
    }

    /// Sends a method with a message, cut for frames of 4096 bytes.
    pub(crate) fn send_content(
        &mut self,
        channel: u16,
        method: impl Into<Method>,
        properties: &BasicProperties<'_>,
        body: &'static [u8],
    ) {
        let to = Destination {
            channel,
            frame_max: 4_096,
        };
        let properties = properties.encode().unwrap();
        let body = Body::from(Bytes::from_static(body));
        self.sent
            .put_content(to, &method.into(), &properties, &body);
        self.hand_over();
    }

    /// Publishes to the default exchange.
    pub(crate) fn publish(&mut self, channel: u16, body: &'static [u8]) {
        self.send_content(channel, publish("q"), &BasicProperties::default(), body);
    }

    fn hand_over(&mut self) {
        for bytes in self.sent.take_segments() {
            self.connection.input().put_slice(&bytes);
        }
    }

    /// Takes what the connection asks for, and answers nothing.
    pub(crate) fn requests(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.connection.next_request()).collect()
    }

    /// Answers everything as a friendly host does, and tells what was asked; not the handshake.
    pub(crate) fn serve(&mut self) -> Vec<Request> {
        let mut asked = Vec::new();
        while let Some(request) = self.connection.next_request() {
            self.answer_friendly(&request);
            if !is_handshake(&request) {
                asked.push(request);
            }
        }
        asked
    }

    pub(crate) fn answer_friendly(&mut self, request: &Request) {
        match request {
            Request::Ask { id, channel, ask } => {
                self.connection.answer(*channel, *id, friendly(ask));
            }
            Request::Publish(publish) => {
                let (channel, number) = (publish.channel, publish.number);
                self.connection
                    .published(channel, number, PublishOutcome::Committed);
            }
            Request::Settle { .. } | Request::Credit { .. } => {}
        }
    }

    /// Answers the one ask there is.
    pub(crate) fn answer(&mut self, answer: Answer) -> Ask {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        let Some(Request::Ask { id, channel, ask }) = requests.pop() else {
            panic!("not an ask");
        };
        self.connection.answer(channel, id, answer);
        ask
    }

    /// Takes the publishes there are.
    pub(crate) fn publishes(&mut self) -> Vec<Publish> {
        let requests = self.requests().into_iter();
        requests
            .map(|request| match request {
                Request::Publish(publish) => *publish,
                other => panic!("no publish: {other:?}"),
            })
            .collect()
    }

    /// Takes what the client is sent.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        let segments: Vec<Bytes> = self.connection.flush().take_segments().collect();
        for bytes in segments {
            self.received.put_slice(&bytes);
        }
        let frames = std::iter::from_fn(|| decode_frame(&mut self.received, 0).unwrap()).collect();
        assert!(self.received.is_empty(), "half a frame");
        frames
    }

    /// Takes the methods that the client is sent; contents are passed over.
    pub(crate) fn methods(&mut self) -> Vec<(u16, Method)> {
        let frames = self.frames().into_iter();
        frames
            .filter(|frame| frame.kind == FrameKind::Method)
            .map(|frame| (frame.channel, Method::decode(frame.payload).unwrap()))
            .collect()
    }

    /// Takes the methods of channel 1, which must be all there are.
    pub(crate) fn on_channel(&mut self) -> Vec<Method> {
        let methods = self.methods().into_iter();
        methods
            .map(|(number, method)| {
                assert_eq!(number, 1);
                method
            })
            .collect()
    }

    /// Starts a consumer on channel 1.
    pub(crate) fn consume(&mut self, tag: &str, no_ack: bool) -> (ChannelKey, Consume) {
        let consume = basic::Consume {
            queue: text("q"),
            consumer_tag: text(tag),
            no_ack,
            ..Default::default()
        };
        self.send(1, consume);
        let mut asked = self.serve();
        let Some(Request::Ask {
            ask: Ask::Consume(consume),
            channel: Some(channel),
            ..
        }) = asked.pop()
        else {
            panic!("no consumer: {asked:?}");
        };
        let consume_ok = basic::ConsumeOk {
            consumer_tag: consume.tag.clone(),
        };
        assert_eq!(self.on_channel(), [Method::from(consume_ok)]);
        (channel, *consume)
    }

    /// Checks that channel 1 was closed, and with what text.
    pub(crate) fn assert_channel_closed(&mut self, code: u16, reply_text: &str) {
        let methods = self.on_channel();
        let Some(Method::Channel(channel::Method::Close(close))) = methods.last() else {
            panic!("not closed: {methods:?}");
        };
        assert_eq!(
            (close.reply_code, close.reply_text.as_str()),
            (code, reply_text)
        );
    }

    /// Checks that the connection was closed, and with what text.
    pub(crate) fn assert_closed(&mut self, code: u16, reply_text: &str) {
        self.serve();
        let methods = self.methods();
        let Some((0, Method::Connection(connection::Method::Close(close)))) = methods.last() else {
            panic!("not closed: {methods:?}");
        };
        assert_eq!(
            (close.reply_code, close.reply_text.as_str()),
            (code, reply_text)
        );
    }
}

fn is_handshake(request: &Request) -> bool {
    matches!(
        request,
        Request::Ask {
            ask: Ask::Authenticate(_) | Ask::OpenVhost { .. },
            ..
        }
    )
}

/// The answer that gives the client what it wants.
pub(crate) fn friendly(ask: &Ask) -> Answer {
    match ask {
        Ask::Authenticate(login) => Answer::Authenticated(Identity {
            user: text(std::str::from_utf8(&login.user).unwrap_or("guest")),
            may_impersonate: false,
        }),
        Ask::DeclareQueue(declare) => Answer::QueueDeclared(QueueDeclared {
            queue: if declare.queue.is_empty() {
                text("amq.gen-1")
            } else {
                declare.queue.clone()
            },
            message_count: 3,
            consumer_count: 2,
        }),
        Ask::DeleteQueue { .. } | Ask::PurgeQueue { .. } => Answer::Removed { message_count: 5 },
        Ask::Consume(_) => Answer::Consuming { queue: QUEUE },
        Ask::Get { .. } => Answer::Got(None),
        Ask::OpenVhost { .. }
        | Ask::RenewSecret
        | Ask::DeclareExchange(_)
        | Ask::DeleteExchange { .. }
        | Ask::Bind(_)
        | Ask::Unbind(_)
        | Ask::Cancel { .. }
        | Ask::ProbeReply { .. }
        | Ask::CloseChannel
        | Ask::CloseConnection => Answer::Done,
    }
}

/// A login as guest, with capabilities or without any.
pub(crate) fn start_ok(has_capabilities: bool) -> connection::StartOk {
    let mut capabilities = TableBuilder::new();
    for name in [
        "authentication_failure_close",
        "consumer_cancel_notify",
        "connection.blocked",
    ] {
        capabilities = capabilities.with(name, Value::Bool(has_capabilities));
    }
    let capabilities = capabilities.finish().unwrap();
    let client_properties = TableBuilder::new()
        .with("product", Value::LongString(b"test"))
        .with("capabilities", Value::Table(capabilities.as_ref()))
        .finish()
        .unwrap();
    connection::StartOk {
        client_properties,
        mechanism: text("PLAIN"),
        response: LongString::from("\0guest\0secret"),
        locale: text("en_US"),
    }
}

pub(crate) fn open(vhost: &str) -> connection::Open {
    connection::Open {
        virtual_host: text(vhost),
        ..Default::default()
    }
}

/// A publish to a queue through the default exchange.
pub(crate) fn publish(queue: &str) -> basic::Publish {
    basic::Publish {
        routing_key: short(queue),
        ..Default::default()
    }
}

pub(crate) fn declare(queue: &str) -> queue::Declare {
    queue::Declare {
        queue: text(queue),
        ..Default::default()
    }
}

pub(crate) fn ack(delivery_tag: u64, multiple: bool) -> Method {
    basic::Ack {
        delivery_tag,
        multiple,
    }
    .into()
}

pub(crate) fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> Method {
    basic::Nack {
        delivery_tag,
        multiple,
        requeue,
    }
    .into()
}

/// A message from the queue.
pub(crate) fn taken(id: u64) -> Taken {
    Taken {
        queue: QUEUE,
        id: DeliveryId(id),
        is_settled: false,
        is_redelivered: false,
        attempts: 0,
        stored_at: MessageRef {
            log_index: LogIndex(90 + id),
            position: 0,
        },
        message: Message {
            exchange: short("logs"),
            routing_key: short("audit"),
            properties: Properties::default(),
            body: Body::from(Bytes::from_static(b"body")),
        },
    }
}

pub(crate) fn delivery(channel: ChannelKey, consumer: ConsumerKey, id: u64) -> Delivery {
    Delivery {
        channel,
        consumer,
        taken: taken(id),
    }
}

/// The delivery tags of the deliveries among methods.
pub(crate) fn delivery_tags(methods: &[Method]) -> Vec<u64> {
    let tags = methods.iter().filter_map(|method| match method {
        Method::Basic(basic::Method::Deliver(deliver)) => Some(deliver.delivery_tag),
        Method::Basic(basic::Method::GetOk(get_ok)) => Some(get_ok.delivery_tag),
        _ => None,
    });
    tags.collect()
}

/// The properties of the first message among frames.
pub(crate) fn first_properties(frames: &[Frame]) -> Properties {
    let mut headers = frames
        .iter()
        .filter(|frame| frame.kind == FrameKind::Header);
    let header = headers.next().unwrap();
    Properties::validate(header.payload.slice(12..)).unwrap()
}

pub(crate) fn table(entries: &[(&'static str, Value<'_>)]) -> Table {
    let builder = entries
        .iter()
        .fold(TableBuilder::new(), |builder, (name, value)| {
            builder.with(name, *value)
        });
    builder.finish().unwrap()
}
