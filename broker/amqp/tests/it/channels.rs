//! The life of a channel: class `channel`, and who waits for whom.

use raftmq_amqp::{Answer, Ask, Kind, Refusal, Request};
use raftmq_amqp_protocol::{Method, basic, channel, connection, exchange, queue, tx};

use crate::support::{Client, declare, open, text};

fn close() -> channel::Close {
    channel::Close {
        reply_code: 200,
        ..Default::default()
    }
}

#[test]
fn a_channel_must_be_opened_once() {
    let mut client = Client::running();
    client.send(1, basic::Qos::default());
    client.assert_closed(504, "CHANNEL_ERROR - expected 'channel.open'");
    let mut client = Client::with_channel();
    client.send(1, channel::Open::default());
    client.assert_closed(504, "CHANNEL_ERROR - second 'channel.open' seen");
}

#[test]
fn no_more_channels_are_opened_than_was_agreed() {
    let mut client = Client::running();
    for number in 1..=10 {
        client.open_channel(number);
    }
    client.send(11, channel::Open::default());
    client.assert_closed(
        530,
        "NOT_ALLOWED - number of channels opened (10) has reached the negotiated channel_max (10)",
    );
}

#[test]
fn a_channel_closes_once_the_host_is_done_and_its_number_is_another_channel_then() {
    let mut client = Client::with_channel();
    client.send(1, close());
    let requests = client.requests();
    let [
        Request::Ask {
            id,
            channel: Some(old),
            ask: Ask::CloseChannel,
        },
    ] = requests[..]
    else {
        panic!("{requests:?}");
    };
    assert_eq!(client.methods(), []);
    client.connection.answer(Some(old), id, Answer::Done);
    assert_eq!(client.on_channel(), [Method::from(channel::CloseOk {})]);
    client.open_channel(1);
    client.send(1, declare("q"));
    let requests = client.requests();
    let [
        Request::Ask {
            channel: Some(new), ..
        },
    ] = &requests[..]
    else {
        panic!("{requests:?}");
    };
    assert_eq!(new.number, old.number);
    assert_ne!(new.opening, old.opening);
}

#[test]
fn after_an_error_everything_is_passed_over_until_the_client_agrees() {
    let mut client = Client::with_channel();
    client.send(1, declare("q"));
    let refusal = Refusal::Unknown(Kind::Queue, text("q"));
    client.answer(Answer::Refused(refusal));
    let methods = client.on_channel();
    let [Method::Channel(channel::Method::Close(close))] = &methods[..] else {
        panic!("{methods:?}");
    };
    assert_eq!(
        close.reply_text.as_str(),
        "NOT_FOUND - no queue 'q' in vhost '/'"
    );
    let blamed = (close.class_id, close.method_id);
    assert_eq!(blamed, (queue::CLASS_ID, queue::Declare::ID.method_id));
    client.publish(1, b"lost");
    client.send(1, declare("q"));
    client.send(1, channel::Open::default());
    let requests = client.serve();
    assert!(matches!(
        requests[..],
        [Request::Ask {
            ask: Ask::CloseChannel,
            ..
        }]
    ));
    assert_eq!(client.methods(), []);
    client.send(1, channel::CloseOk {});
    client.open_channel(1);
}

#[test]
fn when_both_sides_close_at_once_both_are_answered() {
    let mut client = Client::with_channel();
    client.send(
        1,
        basic::Ack {
            delivery_tag: 9,
            multiple: false,
        },
    );
    client.send(1, close());
    client.serve();
    let methods = client.on_channel();
    assert!(matches!(
        methods[..],
        [
            Method::Channel(channel::Method::Close(_)),
            Method::Channel(channel::Method::CloseOk(_))
        ]
    ));
    client.send(1, channel::CloseOk {});
    client.open_channel(1);
}

#[test]
fn a_channel_waits_for_the_host_and_the_others_go_on() {
    let mut client = Client::with_channel();
    client.open_channel(2);
    client.send(1, declare("a"));
    client.publish(1, b"behind");
    client.send(1, declare("b"));
    client.send(2, declare("c"));
    let requests = client.requests();
    let [
        Request::Ask {
            id: first,
            channel,
            ask: _,
        },
        Request::Ask { ask: of_two, .. },
    ] = &requests[..]
    else {
        panic!("{requests:?}");
    };
    assert!(matches!(of_two, Ask::DeclareQueue(declare) if declare.queue == text("c")));
    let declared = raftmq_amqp::QueueDeclared {
        queue: text("a"),
        message_count: 0,
        consumer_count: 0,
    };
    let answer = Answer::QueueDeclared(declared);
    client.connection.answer(*channel, *first, answer);
    let requests = client.requests();
    let [
        Request::Publish(_),
        Request::Ask {
            ask: Ask::DeclareQueue(declare),
            ..
        },
    ] = &requests[..]
    else {
        panic!("{requests:?}");
    };
    assert_eq!(declare.queue, text("b"));
}

#[test]
fn what_waits_for_the_host_is_bounded() {
    let mut client = Client::with_channel();
    client.send(1, declare("a"));
    assert_eq!(client.requests().len(), 1);
    let mut sent: usize = 0;
    while client.connection.wants_input() {
        client.send(1, channel::Flow { active: true });
        sent += 1;
        assert!(client.requests().is_empty() && sent < 100_000);
    }
    assert!(sent > 1_000, "{sent}");
}

#[test]
fn channels_that_are_opened_and_fail_again_and_again_wait_for_the_host() {
    let mut client = Client::running();
    let mut asks = Vec::new();
    while client.connection.wants_input() {
        client.send(1, channel::Open::default());
        client.send(1, basic::Reject::default());
        client.send(1, channel::CloseOk {});
        asks.extend(client.requests());
        assert!(asks.len() < 1_000);
        client.methods();
    }
    client.answer_friendly(&asks[0]);
    assert!(client.connection.wants_input());
}

#[test]
fn an_answer_that_nobody_waits_for_does_nothing() {
    let mut client = Client::with_channel();
    client.send(1, declare("a"));
    let requests = client.requests();
    let [Request::Ask { id, channel, .. }] = requests[..] else {
        panic!("{requests:?}");
    };
    client.send(1, channel::Flow { active: true });
    client
        .connection
        .answer(channel, raftmq_amqp::AskId(999), Answer::Done);
    client.connection.answer(None, id, Answer::Done);
    assert!(client.requests().is_empty());
    assert_eq!(client.methods(), []);
}

#[test]
fn an_answer_of_another_kind_is_our_bug_and_ends_the_connection() {
    let mut client = Client::with_channel();
    client.send(1, declare("a"));
    client.answer(Answer::Done);
    client.assert_closed(
        541,
        "INTERNAL_ERROR - unexpected answer of the broker: done",
    );
}

#[test]
fn a_client_cannot_stop_the_flow_nor_use_transactions_nor_talk_like_a_server() {
    let cases: [(Method, u16, &str); 5] = [
        (
            channel::Flow { active: false }.into(),
            540,
            "NOT_IMPLEMENTED - active=false",
        ),
        (
            tx::Select {}.into(),
            540,
            "NOT_IMPLEMENTED - tx.select is not supported",
        ),
        (
            exchange::DeclareOk {}.into(),
            503,
            "COMMAND_INVALID - unimplemented method",
        ),
        (
            tx::CommitOk {}.into(),
            503,
            "COMMAND_INVALID - unimplemented method",
        ),
        (
            open("/").into(),
            503,
            "COMMAND_INVALID - unimplemented method",
        ),
    ];
    for (method, code, reply_text) in cases {
        let mut client = Client::with_channel();
        client.send(1, method);
        client.assert_closed(code, reply_text);
    }
}

#[test]
fn an_error_of_the_connection_names_the_method_and_ends_every_channel() {
    let mut client = Client::with_channel();
    client.open_channel(2);
    client.send(1, tx::Select {});
    client.send(2, declare("q"));
    let requests = client.serve();
    assert!(matches!(
        requests[..],
        [Request::Ask {
            ask: Ask::CloseConnection,
            channel: None,
            ..
        }]
    ));
    let methods = client.methods();
    let [(0, Method::Connection(connection::Method::Close(close)))] = &methods[..] else {
        panic!("{methods:?}");
    };
    assert_eq!((close.class_id, close.method_id), (90, 10));
}

#[test]
fn unknown_methods_and_broken_fields_end_the_connection() {
    let mut client = Client::with_channel();
    client.receive(&[1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 200, 0xCE]);
    client.assert_closed(503, "COMMAND_INVALID - unknown method {60,200}");
    let mut client = Client::with_channel();
    client.receive(&[1, 0, 1, 0, 0, 0, 5, 0, 60, 0, 80, 1, 0xCE]);
    client.assert_closed(502, "SYNTAX_ERROR - delivery_tag: 8 bytes needed, 1 remain");
}
