//! The classes `exchange` and `queue`, and the texts of refusals.

use raftmq_amqp::{Answer, Ask, BindTo, Kind, Permission, Refusal};
use raftmq_amqp_protocol::{Method, Value, access, exchange, queue};

use crate::support::{Client, declare, table, text};

#[test]
fn exchanges_are_declared_bound_and_deleted() {
    let mut client = Client::with_channel();
    let arguments = table(&[("alternate-exchange", Value::LongString(b"lost"))]);
    let declare = exchange::Declare {
        exchange: text("logs"),
        kind: text("topic"),
        durable: true,
        internal: true,
        arguments: arguments.clone(),
        ..Default::default()
    };
    client.send(1, declare);
    let ask = client.answer(Answer::Done);
    let Ask::DeclareExchange(declare) = ask else {
        panic!("{ask:?}");
    };
    assert_eq!(
        (declare.exchange.as_str(), declare.kind.as_str()),
        ("logs", "topic")
    );
    assert_eq!(declare.arguments, arguments);
    let flags = (
        declare.is_passive,
        declare.is_durable,
        declare.is_auto_delete,
    );
    assert_eq!((flags, declare.is_internal), ((false, true, false), true));
    assert_eq!(client.on_channel(), [Method::from(exchange::DeclareOk {})]);

    let bind = exchange::Bind {
        source: text("logs"),
        destination: text("audit"),
        routing_key: text("audit.#"),
        ..Default::default()
    };
    client.send(1, bind);
    let ask = client.answer(Answer::Done);
    let Ask::Bind(binding) = ask else {
        panic!("{ask:?}");
    };
    assert_eq!(binding.destination, BindTo::Exchange(text("audit")));
    assert_eq!(client.on_channel(), [Method::from(exchange::BindOk {})]);

    let unbind = exchange::Unbind {
        source: text("logs"),
        destination: text("audit"),
        ..Default::default()
    };
    client.send(1, unbind);
    assert!(matches!(client.answer(Answer::Done), Ask::Unbind(_)));
    assert_eq!(client.on_channel(), [Method::from(exchange::UnbindOk {})]);

    let delete = exchange::Delete {
        exchange: text("logs"),
        if_unused: true,
        ..Default::default()
    };
    client.send(1, delete);
    let ask = Ask::DeleteExchange {
        exchange: text("logs"),
        if_unused: true,
    };
    assert_eq!(client.answer(Answer::Done), ask);
    assert_eq!(client.on_channel(), [Method::from(exchange::DeleteOk {})]);
}

#[test]
fn queues_are_declared_bound_purged_and_deleted() {
    let mut client = Client::with_channel();
    client.send(1, declare("q"));
    client.serve();
    let declare_ok = queue::DeclareOk {
        queue: text("q"),
        message_count: 3,
        consumer_count: 2,
    };
    assert_eq!(client.on_channel(), [Method::from(declare_ok)]);
    // Without names, both are the queue that was declared last.
    client.send(
        1,
        queue::Bind {
            exchange: text("logs"),
            ..Default::default()
        },
    );
    let ask = client.answer(Answer::Done);
    let Ask::Bind(binding) = ask else {
        panic!("{ask:?}");
    };
    assert_eq!(binding.destination, BindTo::Queue(text("q")));
    assert_eq!(binding.routing_key, text("q"));
    assert_eq!(client.on_channel(), [Method::from(queue::BindOk {})]);
    client.send(
        1,
        queue::Unbind {
            exchange: text("logs"),
            ..Default::default()
        },
    );
    assert!(matches!(client.answer(Answer::Done), Ask::Unbind(_)));
    assert_eq!(client.on_channel(), [Method::from(queue::UnbindOk {})]);
    client.send(1, queue::Purge::default());
    client.serve();
    assert_eq!(
        client.on_channel(),
        [Method::from(queue::PurgeOk { message_count: 5 })]
    );
    client.send(
        1,
        queue::Delete {
            queue: text("q"),
            if_empty: true,
            ..Default::default()
        },
    );
    client.serve();
    assert_eq!(
        client.on_channel(),
        [Method::from(queue::DeleteOk { message_count: 5 })]
    );
}

#[test]
fn who_wants_no_answer_gets_none_and_still_waits_its_turn() {
    let mut client = Client::with_channel();
    client.send(
        1,
        queue::Declare {
            no_wait: true,
            ..declare("q")
        },
    );
    client.send(
        1,
        queue::Delete {
            no_wait: true,
            ..Default::default()
        },
    );
    let asked = client.serve();
    assert_eq!(asked.len(), 2);
    assert_eq!(client.methods(), []);
}

#[test]
fn the_default_exchange_and_system_exchanges_are_not_touched() {
    let refused = "ACCESS_REFUSED - operation not permitted on the default exchange";
    let methods: [Method; 4] = [
        exchange::Declare::default().into(),
        exchange::Delete::default().into(),
        queue::Bind {
            queue: text("q"),
            ..Default::default()
        }
        .into(),
        exchange::Bind {
            source: text("logs"),
            ..Default::default()
        }
        .into(),
    ];
    for method in methods {
        let mut client = Client::with_channel();
        client.send(1, method);
        client.serve();
        client.assert_channel_closed(403, refused);
    }
    let mut client = Client::with_channel();
    client.send(
        1,
        exchange::Delete {
            exchange: text("amq.topic"),
            ..Default::default()
        },
    );
    client.serve();
    client.assert_channel_closed(
        403,
        "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed",
    );
}

#[test]
fn an_ancient_client_gets_a_ticket() {
    let mut client = Client::with_channel();
    client.send(1, access::Request::default());
    assert!(client.serve().is_empty());
    assert_eq!(
        client.on_channel(),
        [Method::from(access::RequestOk { ticket: 1 })]
    );
}

#[test]
fn refusals_have_the_codes_and_texts_that_clients_parse() {
    let q = || text("q");
    let inequivalent = Refusal::Inequivalent {
        name: "durable".to_owned(),
        kind: Kind::Queue,
        of: q(),
        received: "'false'".to_owned(),
        current: "'true'".to_owned(),
    };
    let cases = [
        (
            Refusal::Unknown(Kind::Queue, q()),
            404,
            "NOT_FOUND - no queue 'q' in vhost '/'",
        ),
        (
            Refusal::Denied(Permission::Configure, Kind::Queue, q()),
            403,
            "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'guest'",
        ),
        (
            Refusal::ReservedName(Kind::Queue, text("amq.x")),
            403,
            "ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'",
        ),
        (
            inequivalent,
            406,
            "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received \
             'false' but current is 'true'",
        ),
        (
            Refusal::Locked(q()),
            405,
            "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It \
             could be originally declared on another connection or the exclusive property value \
             does not match that of the original declaration.",
        ),
        (
            Refusal::InUse(Kind::Queue, q()),
            406,
            "PRECONDITION_FAILED - queue 'q' in vhost '/' in use",
        ),
        (
            Refusal::NotEmpty(q()),
            406,
            "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty",
        ),
    ];
    for (refusal, code, reply_text) in cases {
        let mut client = Client::with_channel();
        client.send(1, declare("q"));
        client.answer(Answer::Refused(refusal));
        client.assert_channel_closed(code, reply_text);
    }
}

#[test]
fn a_text_that_is_too_long_is_cut() {
    let mut client = Client::with_channel();
    client.send(1, declare("q"));
    client.answer(Answer::Refused(Refusal::BadArgument("é".repeat(300))));
    let methods = client.on_channel();
    let [Method::Channel(raftmq_amqp_protocol::channel::Method::Close(close))] = &methods[..]
    else {
        panic!("{methods:?}");
    };
    assert!(close.reply_text.len() <= 255 && close.reply_text.ends_with('é'));
}
