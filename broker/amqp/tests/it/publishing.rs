//! `basic.publish`, confirms and returns.

use raftmq_amqp::{PublishNumber, PublishOutcome, PublishTo, Refusal, Request, Settings};
use raftmq_amqp_protocol::{
    ArrayBuilder, BasicProperties, Method, TableBuilder, Value, basic, channel, confirm,
};

use crate::support::{Client, ack, nack, publish, short, text};

/// A client that waits for confirms.
fn confirming() -> Client {
    let mut client = Client::with_channel();
    client.send(1, confirm::Select::default());
    assert!(client.serve().is_empty());
    assert_eq!(client.on_channel(), [Method::from(confirm::SelectOk {})]);
    client
}

/// Publishes so many messages, and returns what the host is asked.
fn publish_some(client: &mut Client, count: usize) -> Vec<raftmq_amqp::Publish> {
    for _ in 0..count {
        client.publish(1, b"body");
    }
    let publishes = client.publishes();
    assert_eq!(publishes.len(), count);
    publishes
}

fn settle(client: &mut Client, publish: &raftmq_amqp::Publish, outcome: PublishOutcome) {
    let (channel, number) = (publish.channel, publish.number);
    client.connection.published(channel, number, outcome);
}

#[test]
fn a_publish_is_put_together_from_its_frames_and_handed_to_the_host() {
    let mut client = Client::with_channel();
    let properties = BasicProperties {
        content_type: Some(b"text/plain"),
        expiration: Some(b"60000"),
        ..Default::default()
    };
    let method = basic::Publish {
        exchange: short("logs"),
        mandatory: true,
        ..publish("audit")
    };
    let body: &'static [u8] = Box::leak(vec![7; 10_000].into_boxed_slice());
    client.send_content(1, method, &properties, body);
    let [publish] = &client.publishes()[..] else {
        panic!("one publish");
    };
    assert_eq!(publish.number, PublishNumber(1));
    assert_eq!((publish.is_mandatory, publish.is_confirmed), (true, false));
    assert_eq!(
        (publish.ttl_ms, &publish.to),
        (Some(60_000), &PublishTo::Exchange)
    );
    assert_eq!(publish.message.exchange, short("logs"));
    assert_eq!(publish.message.routing_key, short("audit"));
    assert_eq!(publish.message.properties, properties.encode().unwrap());
    assert_eq!(publish.message.body.clone().into_bytes(), body);
    settle(&mut client, publish, PublishOutcome::Committed);
    assert_eq!(client.methods(), [], "nobody waits for a confirm");
}

#[test]
fn confirms_are_put_together_and_a_failed_publish_is_told() {
    let mut client = confirming();
    let publishes = publish_some(&mut client, 6);
    assert!(publishes.iter().all(|publish| publish.is_confirmed));
    for at in [2, 0, 1, 5] {
        settle(&mut client, &publishes[at], PublishOutcome::Committed);
    }
    assert_eq!(client.on_channel(), [ack(3, true), ack(6, false)]);
    assert_eq!(client.methods(), [], "each once");
    settle(&mut client, &publishes[3], PublishOutcome::Failed);
    settle(&mut client, &publishes[4], PublishOutcome::Committed);
    settle(&mut client, &publishes[4], PublishOutcome::Failed);
    assert_eq!(client.on_channel(), [nack(4, false, false), ack(5, false)]);
}

#[test]
fn a_message_that_cannot_be_routed_comes_back_before_its_confirm() {
    let mut client = confirming();
    let publishes = publish_some(&mut client, 2);
    settle(&mut client, &publishes[0], PublishOutcome::Committed);
    let message = Box::new(publishes[1].message.clone());
    settle(
        &mut client,
        &publishes[1],
        PublishOutcome::Unroutable(message),
    );
    let returned = basic::Return {
        reply_code: 312,
        reply_text: short("NO_ROUTE"),
        exchange: short(""),
        routing_key: short("q"),
    };
    let frames = client.frames();
    assert_eq!(&frames[2].payload[..], b"body");
    let methods: Vec<Method> = [&frames[0], &frames[3]]
        .map(|frame| Method::decode(frame.payload.clone()).unwrap())
        .into();
    assert_eq!(methods, [returned.into(), ack(2, true)]);
}

#[test]
fn a_publish_that_is_refused_closes_the_channel_and_what_is_confirmed_is_said_before() {
    let mut client = confirming();
    let publishes = publish_some(&mut client, 2);
    settle(&mut client, &publishes[0], PublishOutcome::Committed);
    let refusal = Refusal::Unknown(raftmq_amqp::Kind::Exchange, text("x"));
    settle(&mut client, &publishes[1], PublishOutcome::Refused(refusal));
    let methods = client.on_channel();
    assert_eq!(methods[..2], [ack(1, false), nack(2, false, false)]);
    let Method::Channel(channel::Method::Close(close)) = &methods[2] else {
        panic!("{methods:?}");
    };
    let reply_text = "NOT_FOUND - no exchange 'x' in vhost '/'";
    assert_eq!(
        (close.reply_code, close.reply_text.as_str()),
        (404, reply_text)
    );
    assert_eq!((close.class_id, close.method_id), (60, 40));
}

#[test]
fn messages_that_need_no_exchange_to_be_wrong_close_the_channel() {
    let cases: [(BasicProperties<'_>, &str); 3] = [
        (
            BasicProperties {
                user_id: Some(b"eve"),
                ..Default::default()
            },
            "PRECONDITION_FAILED - user_id property set to 'eve' but authenticated user was 'guest'",
        ),
        (
            BasicProperties {
                expiration: Some(b"soon"),
                ..Default::default()
            },
            "PRECONDITION_FAILED - invalid expiration 'soon': no_integer",
        ),
        (
            BasicProperties {
                reply_to: Some(b"amq.rabbitmq.reply-to"),
                ..Default::default()
            },
            "PRECONDITION_FAILED - fast reply consumer does not exist",
        ),
    ];
    for (properties, reply_text) in cases {
        let mut client = Client::with_channel();
        client.send_content(1, publish("q"), &properties, b"x");
        client.serve();
        client.assert_channel_closed(406, reply_text);
    }
    let mut client = Client::with_channel();
    let immediate = basic::Publish {
        immediate: true,
        ..publish("q")
    };
    client.send_content(1, immediate, &BasicProperties::default(), b"x");
    client.assert_closed(540, "NOT_IMPLEMENTED - immediate=true");
}

#[test]
fn a_message_that_is_too_large_closes_its_channel_alone() {
    let settings = Settings {
        message_bytes_max: 10,
        ..Settings::default()
    };
    let mut client = Client::running_with(settings);
    client.open_channel(1);
    client.publish(1, b"0123456789a");
    client.serve();
    client.assert_channel_closed(
        406,
        "PRECONDITION_FAILED - message size 11 is larger than configured max size 10",
    );
    client.open_channel(2);
}

#[test]
fn further_routing_keys_are_read_and_bcc_is_seen_by_nobody() {
    let mut client = Client::with_channel();
    let mut keys = ArrayBuilder::new();
    keys.extend([Value::LongString(b"b"), Value::Int(1)]);
    let headers = TableBuilder::new()
        .with("CC", Value::Array(keys.as_array()))
        .with("BCC", Value::Array(keys.as_array()))
        .with("x", Value::Int(1))
        .finish()
        .unwrap();
    let properties = BasicProperties {
        headers: Some(headers.as_ref()),
        ..Default::default()
    };
    client.send_content(1, publish("a"), &properties, b"x");
    let [publish_to] = &client.publishes()[..] else {
        panic!("one publish");
    };
    assert_eq!(publish_to.more_keys, [short("b"), short("b")]);
    let headers = publish_to.message.properties.headers();
    assert!(headers.get("BCC").is_none());
    assert_eq!(headers.get("x"), Some(Value::Int(1)));
    assert!(headers.get("CC").is_some());

    let headers = TableBuilder::new().with("CC", Value::LongString(b"b"));
    let headers = headers.finish().unwrap();
    let properties = BasicProperties {
        headers: Some(headers.as_ref()),
        ..Default::default()
    };
    client.send_content(1, publish("a"), &properties, b"x");
    client.serve();
    client.assert_channel_closed(
        406,
        "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}",
    );
}

#[test]
fn publishes_that_the_host_has_not_answered_are_bounded() {
    let mut client = Client::with_channel();
    let body: &'static [u8] = Box::leak(vec![1; 8 * 1024 * 1024].into_boxed_slice());
    let mut waiting = Vec::new();
    while client.connection.wants_input() {
        client.send_content(1, publish("q"), &BasicProperties::default(), body);
        waiting.extend(client.publishes());
        assert!(waiting.len() <= 8, "64 MiB");
    }
    assert_eq!(waiting.len(), 8);
    client.publish(1, b"behind");
    assert!(client.publishes().is_empty());
    settle(&mut client, &waiting[3], PublishOutcome::Failed);
    assert!(client.connection.wants_input());
    assert_eq!(client.publishes().len(), 1);
}

#[test]
fn frames_in_the_wrong_order_end_the_connection() {
    let frames: [(&[u8], &str); 3] = [
        (
            &[
                2, 0, 1, 0, 0, 0, 14, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xCE,
            ],
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            &[
                1, 0, 1, 0, 0, 0, 9, 0, 60, 0, 40, 0, 0, 0, 0, 0, 0xCE, 3, 0, 1, 0, 0, 0, 0, 0xCE,
            ],
            "UNEXPECTED_FRAME - expected content header for class 60, got non content header \
             frame instead",
        ),
        (
            &[3, 0, 1, 0, 0, 0, 1, 0, 0xCE],
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
    ];
    for (bytes, reply_text) in frames {
        let mut client = Client::with_channel();
        client.receive(bytes);
        client.assert_closed(505, reply_text);
    }
}

#[test]
fn a_closing_channel_says_its_last_confirms() {
    let mut client = confirming();
    client.publish(1, b"x");
    client.send(
        1,
        channel::Close {
            reply_code: 200,
            ..Default::default()
        },
    );
    let requests = client.serve();
    assert!(matches!(requests[0], Request::Publish(_)));
    assert_eq!(
        client.on_channel(),
        [ack(1, false), channel::CloseOk {}.into()]
    );
}
