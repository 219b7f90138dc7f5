//! Commands that declare and delete exchanges.

use raftmq_core::Effect;
use raftmq_core::cluster::amqp::DeclareExchange;
use raftmq_core::cluster::{ClusterError, Outcome};
use raftmq_core::exchange::{Argument, Arguments, ExchangeKind, HeaderValue};

use super::{
    add_queue, bind, declare_exchange, delete_exchange, exchange, number_argument, queue, refusal,
    refusal_text, routed, seeded, text_argument, to_exchange, to_queue,
};

#[test]
fn an_exchange_is_declared_and_repetition_changes_nothing() {
    let mut harness = seeded();
    let declare = declare_exchange(DeclareExchange {
        is_auto_delete: true,
        is_internal: true,
        is_durable: false,
        ..exchange("x", ExchangeKind::Topic)
    });

    let applied = harness.commit(&declare);

    assert_eq!(applied.reply, Ok(Outcome::Done));
    assert_eq!(applied.effects, [Effect::ImageChanged]);
    let vhost = harness.image().amqp.vhost("/").unwrap().clone();
    let id = vhost.exchange_id("x").unwrap();
    let settings = vhost.routing.exchange(id).unwrap().settings().clone();
    assert_eq!(
        (settings.kind, settings.is_internal),
        (ExchangeKind::Topic, true)
    );
    let info = &vhost.exchanges[&id];
    assert!(info.is_auto_delete && !info.is_durable && !info.is_delayed);
    assert_eq!(harness.commit(&declare).effects, []);
}

/// The texts are RabbitMQ's: clients parse them.
#[test]
fn another_declaration_is_refused_with_the_first_difference() {
    let mut harness = seeded();
    let with_alternate = |name: &str| DeclareExchange {
        arguments: Arguments::new(vec![text_argument("alternate-exchange", name)]),
        ..exchange("x", ExchangeKind::Fanout)
    };
    harness.accept(&declare_exchange(with_alternate("ae")));
    let mut text = |declare| refusal_text(&mut harness, &declare_exchange(declare));
    let of = |what: &str| format!("inequivalent arg '{what}' for exchange 'x' in vhost '/': ");

    assert_eq!(
        text(exchange("x", ExchangeKind::Direct)),
        of("type") + "received 'direct' but current is 'fanout'"
    );
    assert_eq!(
        text(DeclareExchange {
            is_durable: false,
            ..with_alternate("ae")
        }),
        of("durable") + "received 'false' but current is 'true'"
    );
    assert_eq!(
        text(DeclareExchange {
            is_auto_delete: true,
            ..with_alternate("ae")
        }),
        of("auto_delete") + "received 'true' but current is 'false'"
    );
    assert_eq!(
        text(DeclareExchange {
            is_internal: true,
            ..with_alternate("ae")
        }),
        of("internal") + "received 'true' but current is 'false'"
    );
    assert_eq!(
        text(exchange("x", ExchangeKind::Fanout)),
        of("alternate-exchange") + "received none but current is the value 'ae' of type 'longstr'"
    );
    assert_eq!(
        text(DeclareExchange {
            is_delayed: true,
            ..with_alternate("ae")
        }),
        of("type") + "received 'x-delayed-message' but current is 'fanout'"
    );
}

#[test]
fn unknown_arguments_make_no_difference() {
    let mut harness = seeded();
    harness.accept(&declare_exchange(exchange("x", ExchangeKind::Direct)));

    let again = declare_exchange(DeclareExchange {
        arguments: Arguments::new(vec![number_argument("mine", 1)]),
        ..exchange("x", ExchangeKind::Direct)
    });

    assert_eq!(harness.commit(&again).effects, []);
}

#[test]
fn names_and_arguments_that_cannot_be_are_refused() {
    let mut harness = seeded();
    let mut text = |declare| refusal_text(&mut harness, &declare_exchange(declare));

    assert_eq!(
        text(exchange("", ExchangeKind::Direct)),
        "operation not permitted on the default exchange"
    );
    assert_eq!(
        text(exchange("amq.mine", ExchangeKind::Direct)),
        "exchange name 'amq.mine' contains reserved prefix 'amq.*'"
    );
    assert_eq!(
        text(DeclareExchange {
            vhost: "nowhere".to_owned(),
            ..exchange("x", ExchangeKind::Direct)
        }),
        "vhost 'nowhere' not found"
    );
    let alternate = Argument {
        name: "alternate-exchange".into(),
        tag: b't',
        value: HeaderValue::Bool(true),
    };
    assert_eq!(
        text(DeclareExchange {
            arguments: Arguments::new(vec![alternate]),
            ..exchange("x", ExchangeKind::Direct)
        }),
        "invalid type 'bool' for arg 'alternate-exchange' in exchange 'x' in vhost '/'"
    );
}

#[test]
fn the_exchanges_of_a_virtual_host_can_be_declared_as_they_are_and_never_deleted() {
    let mut harness = seeded();
    let same = declare_exchange(exchange("amq.topic", ExchangeKind::Topic));

    assert_eq!(harness.commit(&same).effects, []);
    assert_eq!(
        refusal_text(&mut harness, &delete_exchange("amq.topic", false)),
        "deletion of system exchange 'amq.topic' in vhost '/' not allowed"
    );
    assert_eq!(
        refusal_text(&mut harness, &delete_exchange("", false)),
        "operation not permitted on the default exchange"
    );
}

#[test]
fn a_deleted_exchange_takes_its_bindings_along_and_repetition_changes_nothing() {
    let mut harness = seeded();
    let group = add_queue(&mut harness, queue("q"));
    for name in ["x", "y"] {
        harness.accept(&declare_exchange(exchange(name, ExchangeKind::Fanout)));
    }
    harness.accept(&bind(to_exchange("x", "y", "")));
    harness.accept(&bind(to_exchange("y", "y", "")));
    harness.accept(&bind(to_queue("y", "q", "")));
    assert_eq!(routed(&harness, "x", ""), [group]);
    assert_eq!(harness.image().amqp.bindings_count, 3);

    harness.accept(&delete_exchange("y", false));

    assert_eq!(routed(&harness, "x", ""), []);
    assert_eq!(harness.image().amqp.bindings_count, 0);
    assert_eq!(harness.commit(&delete_exchange("y", false)).effects, []);
    // A new one of the same name has nothing of the old one.
    harness.accept(&declare_exchange(exchange("y", ExchangeKind::Fanout)));
    assert_eq!(routed(&harness, "x", ""), []);
    assert_eq!(routed(&harness, "y", ""), []);
}

#[test]
fn an_exchange_in_use_is_not_deleted_if_unused() {
    let mut harness = seeded();
    add_queue(&mut harness, queue("q"));
    harness.accept(&declare_exchange(exchange("x", ExchangeKind::Fanout)));
    harness.accept(&declare_exchange(exchange("end", ExchangeKind::Fanout)));
    harness.accept(&bind(to_queue("x", "q", "")));
    harness.accept(&bind(to_exchange("x", "end", "")));

    assert_eq!(
        refusal_text(&mut harness, &delete_exchange("x", true)),
        "exchange 'x' in vhost '/' in use"
    );
    // Being a destination is no use.
    harness.accept(&delete_exchange("end", true));
}

#[test]
fn an_alternate_exchange_takes_what_matches_nothing() {
    let mut harness = seeded();
    let group = add_queue(&mut harness, queue("unrouted"));
    harness.accept(&declare_exchange(exchange("ae", ExchangeKind::Fanout)));
    harness.accept(&bind(to_queue("ae", "unrouted", "")));

    harness.accept(&declare_exchange(DeclareExchange {
        arguments: Arguments::new(vec![text_argument("alternate-exchange", "ae")]),
        ..exchange("x", ExchangeKind::Direct)
    }));

    assert_eq!(routed(&harness, "x", "nothing"), [group]);
}

#[test]
fn a_declaration_that_names_too_much_is_refused() {
    let mut harness = seeded();
    let declare = exchange(&"x".repeat(256), ExchangeKind::Direct);
    let bytes = declare_exchange(declare).encode();
    assert!(raftmq_core::cluster::Command::decode(&bytes).is_err());

    // What did not come as bytes is measured, too.
    let declare = declare_exchange(exchange(&"x".repeat(256), ExchangeKind::Direct));
    let refused = harness.cluster.preview(declare).unwrap_err();
    assert!(matches!(refused, ClusterError::LimitExceeded { .. }));
    let missing = declare_exchange(DeclareExchange {
        vhost: String::new(),
        ..exchange("x", ExchangeKind::Direct)
    });
    assert_eq!(
        refusal(&mut harness, &missing).to_string(),
        "vhost '' not found"
    );
}
