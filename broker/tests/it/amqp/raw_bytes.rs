//! Bytes that no client sends: the broker answers with RabbitMQ's codes, closes, and serves the others.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::{Buf, BytesMut};
use raftmq_amqp_protocol::{
    Frame, FrameBuffer, FrameKind, Method, PROTOCOL_HEADER, ShortString, Table, Text, basic,
    channel, connection, connection_method, decode_frame, queue, tx,
};

use super::client::{Client, broker, consume, declare, next, publish, text};
use crate::support::PATIENCE;

/// A socket with what came and was not looked at.
struct Raw {
    stream: TcpStream,
    input: BytesMut,
}

impl Raw {
    fn connect(endpoint: &str) -> Self {
        let stream = TcpStream::connect(endpoint).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Self {
            stream,
            input: BytesMut::new(),
        }
    }

    /// As far as `connection.open-ok`, without heartbeats.
    fn logged_in(endpoint: &str) -> Self {
        Self::logged_in_with(endpoint, 0)
    }

    /// As [`Self::logged_in`]; `heartbeat` in seconds.
    fn logged_in_with(endpoint: &str, heartbeat: u16) -> Self {
        let mut raw = Self::connect(endpoint);
        raw.send(PROTOCOL_HEADER);
        assert!(matches!(raw.method(), connection::Method::Start(_)));
        raw.send_method(connection::StartOk {
            client_properties: Table::default(),
            mechanism: Text::from_static("PLAIN"),
            response: "\0guest\0guest".into(),
            locale: Text::from_static("en_US"),
        });
        let connection::Method::Tune(tune) = raw.method() else {
            panic!("a login is followed by tune");
        };
        raw.send_method(connection::TuneOk {
            channel_max: tune.channel_max,
            frame_max: tune.frame_max,
            heartbeat,
        });
        raw.send_method(connection::Open {
            virtual_host: Text::from_static("/"),
            ..connection::Open::default()
        });
        assert!(matches!(raw.method(), connection::Method::OpenOk(_)));
        raw
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is written");
    }

    /// As far as `channel.open-ok` of channel 1.
    fn with_channel(endpoint: &str, heartbeat: u16) -> Self {
        let mut raw = Self::logged_in_with(endpoint, heartbeat);
        raw.send_on(1, channel::Open::default());
        let opened = raw.answer();
        assert!(matches!(
            opened,
            Method::Channel(channel::Method::OpenOk(_))
        ));
        raw
    }

    fn send_method(&mut self, method: impl Into<Method>) {
        self.send_on(0, method);
    }

    fn send_on(&mut self, channel: u16, method: impl Into<Method>) {
        let mut frames = FrameBuffer::new();
        frames.put_method(channel, &method.into());
        let bytes = frames.copy_to_bytes(frames.remaining());
        self.send(&bytes);
    }

    /// The next method of the connection.
    fn method(&mut self) -> connection::Method {
        let frame = self.frame();
        let method = connection_method(frame).expect("a method");
        match method {
            Some(Method::Connection(method)) => method,
            other => panic!("no method of a connection: {other:?}"),
        }
    }

    /// The next method of any channel; heartbeats are passed over.
    fn answer(&mut self) -> Method {
        loop {
            let frame = self.frame();
            if frame.kind == FrameKind::Method {
                return Method::decode(frame.payload).expect("a method");
            }
            assert_eq!(frame.kind, FrameKind::Heartbeat, "{frame:?}");
        }
    }

    fn frame(&mut self) -> Frame {
        loop {
            let frame = decode_frame(&mut self.input, u32::MAX).expect("a frame");
            if let Some(frame) = frame {
                return frame;
            }
            let mut bytes = [0; 4_096];
            let read = self.stream.read(&mut bytes).expect("more bytes");
            assert!(read > 0, "the connection ended");
            self.input.extend_from_slice(&bytes[..read]);
        }
    }

    /// Everything until the broker closes.
    fn rest(mut self) -> Vec<u8> {
        let mut rest = self.input.to_vec();
        self.stream.read_to_end(&mut rest).expect("an end");
        rest
    }

    /// The code and text with which the broker closes the connection.
    fn refusal(&mut self) -> (u16, String) {
        let connection::Method::Close(close) = self.method() else {
            panic!("it is not closed");
        };
        self.send_method(connection::CloseOk {});
        (close.reply_code, close.reply_text.to_string())
    }
}

#[test]
fn another_protocol_is_told_which_one_is_spoken_here() {
    let broker = broker();
    for header in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"AMQP\x00\x01\x00\x00",
        b"AMQP\x01\x01\x09\x02",
    ] {
        let mut raw = Raw::connect(&broker.amqp());
        raw.send(header);
        assert_eq!(raw.rest(), PROTOCOL_HEADER, "{header:?}");
    }
}

#[test]
fn broken_frames_close_the_connection_with_rabbitmqs_codes() {
    let broker = broker();
    for (bytes, code, name) in [
        // A frame that does not end where it says.
        (
            &b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a\xff"[..],
            501,
            "FRAME_ERROR",
        ),
        // Larger than was agreed.
        (b"\x01\0\x01\x7f\xff\xff\xff", 501, "FRAME_ERROR"),
        // A channel that was never opened.
        (
            b"\x01\0\x05\0\0\0\x0b\0\x3c\0\x0a\0\0\0\0\0\x01\0\xce",
            504,
            "CHANNEL_ERROR",
        ),
        // A method that does not exist.
        (
            b"\x01\0\0\0\0\0\x04\0\x0a\0\x63\xce",
            503,
            "COMMAND_INVALID",
        ),
    ] {
        let mut raw = Raw::logged_in(&broker.amqp());
        raw.send(bytes);
        let (found, text) = raw.refusal();
        assert_eq!(found, code, "{text}");
        assert!(text.starts_with(&format!("{name} - ")), "{text}");
    }
    // The others are served.
    Raw::logged_in(&broker.amqp());
}

#[test]
fn frames_out_of_order_and_fields_that_cannot_be_read_have_their_codes() {
    let broker = broker();
    let publish = basic::Publish {
        routing_key: ShortString::from_static("nowhere"),
        ..basic::Publish::default()
    };
    let body = b"\x03\0\x01\0\0\0\x01x\xce";
    for (methods, bytes, code, name) in [
        // A body without a message, and one without a header.
        (&[][..], &body[..], 505, "UNEXPECTED_FRAME"),
        (&[Method::from(publish)], body, 505, "UNEXPECTED_FRAME"),
        // A queue with an argument of a type that is none.
        (
            &[],
            b"\x01\0\x01\0\0\0\x0f\0\x32\0\x0a\0\0\0\0\0\0\0\x03\x01a?\xce",
            502,
            "SYNTAX_ERROR",
        ),
        // A limit that ends too soon.
        (
            &[],
            b"\x01\0\x01\0\0\0\x05\0\x3c\0\x0a\0\xce",
            502,
            "SYNTAX_ERROR",
        ),
    ] {
        let mut raw = Raw::with_channel(&broker.amqp(), 0);
        for method in methods {
            raw.send_on(1, Method::clone(method));
        }
        raw.send(bytes);
        let (found, text) = raw.refusal();
        assert_eq!(found, code, "{text}");
        assert!(text.starts_with(&format!("{name} - ")), "{text}");
    }
}

#[test]
fn what_is_not_served_ends_the_connection_and_says_so() {
    let broker = broker();
    let methods: [Method; 5] = [
        tx::Select {}.into(),
        channel::Flow { active: false }.into(),
        basic::Recover { requeue: false }.into(),
        basic::RecoverAsync { requeue: false }.into(),
        basic::Qos {
            prefetch_size: 1,
            ..basic::Qos::default()
        }
        .into(),
    ];
    for method in methods {
        let mut raw = Raw::with_channel(&broker.amqp(), 0);
        raw.send_on(1, method.clone());
        let (code, text) = raw.refusal();
        assert_eq!(code, 540, "{method:?}: {text}");
        assert!(text.starts_with("NOT_IMPLEMENTED - "), "{text}");
    }
}

#[test]
fn a_consumer_tag_belongs_to_one_consumer_of_a_channel() {
    let broker = broker();
    let mut raw = Raw::with_channel(&broker.amqp(), 0);
    raw.send_on(
        1,
        queue::Declare {
            exclusive: true,
            ..queue::Declare::default()
        },
    );
    assert!(matches!(
        raw.answer(),
        Method::Queue(queue::Method::DeclareOk(_))
    ));
    let consume = basic::Consume {
        consumer_tag: Text::from_static("mine"),
        ..basic::Consume::default()
    };
    raw.send_on(1, consume.clone());
    assert!(matches!(
        raw.answer(),
        Method::Basic(basic::Method::ConsumeOk(_))
    ));
    raw.send_on(1, consume);
    let words = "NOT_ALLOWED - attempt to reuse consumer tag 'mine'";
    assert_eq!(raw.refusal(), (530, words.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_falls_silent_is_given_up_and_what_it_held_returns() {
    const HEARTBEAT_SECONDS: u16 = 1;
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare(&client.channel, "silent").await;
    publish(&client.channel, "", "silent", b"held").await;
    let mut raw = Raw::with_channel(&broker.amqp(), HEARTBEAT_SECONDS);
    raw.send_on(
        1,
        basic::Get {
            queue: Text::from_static("silent"),
            ..basic::Get::default()
        },
    );
    assert!(matches!(
        raw.answer(),
        Method::Basic(basic::Method::GetOk(_))
    ));

    // It reads, and says nothing more.
    raw.rest();

    let mut consumer = consume(&client.channel, "silent", "c").await;
    let again = next(&mut consumer).await;
    assert_eq!((text(&again).as_str(), again.redelivered), ("held", true));
    client.close().await;
}

#[test]
fn random_bytes_after_the_login_end_the_connection_and_nothing_else() {
    let broker = broker();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    for _ in 0..20 {
        let mut raw = Raw::logged_in(&broker.amqp());
        let bytes: Vec<u8> = (0..256).map(|_| random()).collect();
        // The broker may have closed before everything is written.
        let _ = raw.stream.write_all(&bytes);
        let _ = raw.stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = raw.stream.read_to_end(&mut rest);
    }
    Raw::logged_in(&broker.amqp());
}
