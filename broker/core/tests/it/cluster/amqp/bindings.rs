//! Commands that add and remove bindings; exchanges that go with their last one.

use raftmq_core::Effect;
use raftmq_core::cluster::Outcome;
use raftmq_core::cluster::amqp::{BindingChange, DeclareExchange};
use raftmq_core::exchange::{Arguments, ExchangeKind};

use super::{
    add_queue, bind, declare_exchange, delete_exchange, delete_queue, exchange, queue,
    refusal_text, routed, seeded, text_argument, to_exchange, to_queue, unbind,
};
use crate::support::cluster::Harness;

#[test]
fn a_binding_is_added_and_removed_and_repetition_changes_nothing() {
    let mut harness = seeded();
    let group = add_queue(&mut harness, queue("q"));
    let change = to_queue("amq.topic", "q", "audit.#");

    let applied = harness.commit(&bind(change.clone()));

    assert_eq!(applied.reply, Ok(Outcome::Done));
    assert_eq!(applied.effects, [Effect::ImageChanged]);
    assert_eq!(routed(&harness, "amq.topic", "audit.a.b"), [group]);
    assert_eq!(harness.commit(&bind(change.clone())).effects, []);
    assert_eq!(harness.image().amqp.bindings_count, 1);

    harness.accept(&unbind(change.clone()));
    assert_eq!(routed(&harness, "amq.topic", "audit.a.b"), []);
    assert_eq!(harness.image().amqp.bindings_count, 0);
    assert_eq!(harness.commit(&unbind(change)).effects, []);
}

#[test]
fn both_ends_must_be_there_and_have_names() {
    let mut harness = seeded();
    add_queue(&mut harness, queue("q"));
    let mut text = |change| refusal_text(&mut harness, &bind(change));

    assert_eq!(
        text(to_queue("nothing", "q", "")),
        "no exchange 'nothing' in vhost '/'"
    );
    assert_eq!(
        text(to_queue("amq.fanout", "nothing", "")),
        "no queue 'nothing' in vhost '/'"
    );
    assert_eq!(
        text(to_exchange("amq.fanout", "nothing", "")),
        "no exchange 'nothing' in vhost '/'"
    );
    let default = "operation not permitted on the default exchange";
    assert_eq!(text(to_queue("", "q", "")), default);
    assert_eq!(text(to_exchange("amq.fanout", "", "")), default);
}

#[test]
fn unbinding_what_is_not_there_succeeds() {
    let mut harness = seeded();

    for change in [
        to_queue("nothing", "q", ""),
        to_queue("amq.fanout", "nothing", ""),
        to_exchange("amq.fanout", "nothing", ""),
    ] {
        let applied = harness.commit(&unbind(change));
        assert_eq!(applied.reply, Ok(Outcome::Done));
        assert_eq!(applied.effects, []);
    }
}

#[test]
fn a_mode_that_headers_exchanges_do_not_know_is_refused() {
    let mut harness = seeded();
    add_queue(&mut harness, queue("q"));

    let refused = refusal_text(
        &mut harness,
        &bind(BindingChange {
            arguments: Arguments::new(vec![text_argument("x-match", "some")]),
            ..to_queue("amq.headers", "q", "")
        }),
    );

    assert_eq!(
        refused,
        "Invalid x-match field value \"some\"; expected all, any, all-with-x, or any-with-x"
    );
}

fn auto_delete(harness: &mut Harness, name: &str) {
    harness.accept(&declare_exchange(DeclareExchange {
        is_auto_delete: true,
        ..exchange(name, ExchangeKind::Fanout)
    }));
}

fn has_exchange(harness: &Harness, name: &str) -> bool {
    let vhost = harness.image().amqp.vhost("/").unwrap();
    vhost.exchange_id(name).is_ok()
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_and_not_before() {
    let mut harness = seeded();
    add_queue(&mut harness, queue("q"));
    auto_delete(&mut harness, "x");
    harness.accept(&bind(to_queue("x", "q", "a")));
    harness.accept(&bind(to_queue("x", "q", "b")));

    harness.accept(&unbind(to_queue("x", "q", "a")));
    assert!(has_exchange(&harness, "x"));
    harness.accept(&unbind(to_queue("x", "q", "never there")));
    assert!(has_exchange(&harness, "x"));
    harness.accept(&unbind(to_queue("x", "q", "b")));

    assert!(!has_exchange(&harness, "x"));
}

#[test]
fn auto_delete_goes_on_from_exchange_to_exchange() {
    let mut harness = seeded();
    let group = add_queue(&mut harness, queue("q"));
    for name in ["a", "b", "c"] {
        auto_delete(&mut harness, name);
    }
    harness.accept(&declare_exchange(exchange("stays", ExchangeKind::Fanout)));
    harness.accept(&bind(to_exchange("stays", "a", "")));
    harness.accept(&bind(to_exchange("a", "b", "")));
    harness.accept(&bind(to_exchange("b", "c", "")));
    harness.accept(&bind(to_queue("c", "q", "")));
    assert_eq!(routed(&harness, "stays", ""), [group]);

    harness.accept(&delete_queue(group));

    for name in ["a", "b", "c"] {
        assert!(!has_exchange(&harness, name), "{name}");
    }
    assert!(has_exchange(&harness, "stays"));
    assert_eq!(harness.image().amqp.bindings_count, 0);
}

#[test]
fn auto_delete_exchanges_in_a_circle_go_together() {
    let mut harness = seeded();
    auto_delete(&mut harness, "a");
    auto_delete(&mut harness, "b");
    harness.accept(&bind(to_exchange("a", "b", "")));
    harness.accept(&bind(to_exchange("b", "a", "")));
    harness.accept(&bind(to_exchange("a", "a", "")));

    harness.accept(&delete_exchange("b", false));

    assert!(has_exchange(&harness, "a"), "it is bound to itself");
    harness.accept(&unbind(to_exchange("a", "a", "")));
    assert!(!has_exchange(&harness, "a"));
    assert_eq!(harness.image().amqp.bindings_count, 0);
}
