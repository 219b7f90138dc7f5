//! From exchange to exchange: cycles, alternates, several keys, each queue once.

use super::{bind, declare, declare_with, queue, routed, routed_by_key, with_one};
use crate::exchange::{
    Destination, ExchangeId, ExchangeKind, Message, PublishError, Routing, Settings,
};
use crate::ids::GroupNumber;

const fn exchange(number: u64) -> Destination {
    Destination::Exchange(ExchangeId(number))
}

#[test]
fn a_direct_exchange_takes_equal_keys_only() {
    let mut routing = with_one(ExchangeKind::Direct);
    let id = ExchangeId(1);
    bind(&mut routing, id, queue(1), "a");
    bind(&mut routing, id, queue(2), "a");
    bind(&mut routing, id, queue(3), "#");
    assert_eq!(routed_by_key(&routing, "x1", "a"), [1, 2]);
    assert_eq!(routed_by_key(&routing, "x1", "#"), [3]);
    assert_eq!(routed_by_key(&routing, "x1", ""), []);
}

#[test]
fn a_fanout_exchange_ignores_keys() {
    let mut routing = with_one(ExchangeKind::Fanout);
    for number in [3, 1, 2] {
        bind(&mut routing, ExchangeId(1), queue(number), "ignored");
    }
    assert_eq!(routed_by_key(&routing, "x1", "other"), [1, 2, 3]);
}

#[test]
fn the_default_exchange_routes_by_the_name_of_the_queue() {
    let mut routing = Routing::new();
    routing.add_queue("q".into(), GroupNumber(5));
    assert_eq!(routed_by_key(&routing, "", "q"), [5]);
    assert_eq!(routed_by_key(&routing, "", "other"), []);
    assert_eq!(routed(&routing, "", &Message::new(b"\xff")), []);
    assert_eq!(routing.check_publish(""), Ok(()));
    assert_eq!(routing.remove_queue("q"), Some(GroupNumber(5)));
    assert_eq!(routing, Routing::new());
}

#[test]
fn further_keys_count_like_the_first_and_a_queue_is_reached_once() {
    let mut routing = with_one(ExchangeKind::Topic);
    bind(&mut routing, ExchangeId(1), queue(1), "a.#");
    bind(&mut routing, ExchangeId(1), queue(2), "b");
    routing.add_queue("a".into(), GroupNumber(8));
    routing.add_queue("c".into(), GroupNumber(9));
    let message = Message {
        more_keys: &[b"a.x", b"b", b"c"],
        ..Message::new(b"a")
    };
    assert_eq!(routed(&routing, "x1", &message), [1, 2]);
    assert_eq!(routed(&routing, "", &message), [8, 9]);
}

#[test]
fn exchanges_pass_messages_on_and_cycles_end() {
    let mut routing = Routing::new();
    for number in 1..=3 {
        declare(&mut routing, number, ExchangeKind::Fanout);
    }
    // A ring, a chord and a loop.
    for (from, to) in [(1, 2), (2, 3), (3, 1), (1, 3), (2, 2)] {
        bind(&mut routing, ExchangeId(from), exchange(to), "");
    }
    bind(&mut routing, ExchangeId(3), queue(30), "");
    bind(&mut routing, ExchangeId(1), queue(10), "");
    bind(&mut routing, ExchangeId(2), queue(30), "");
    for start in ["x1", "x2", "x3"] {
        assert_eq!(routed_by_key(&routing, start, "k"), [10, 30], "{start}");
    }
}

#[test]
fn the_key_is_matched_again_by_each_exchange() {
    let mut routing = with_one(ExchangeKind::Topic);
    let second = declare(&mut routing, 2, ExchangeKind::Direct);
    bind(&mut routing, ExchangeId(1), exchange(2), "a.*");
    bind(&mut routing, second, queue(1), "a.b");
    assert_eq!(routed_by_key(&routing, "x1", "a.b"), [1]);
    assert_eq!(routed_by_key(&routing, "x1", "a.c"), []);
    assert_eq!(routed_by_key(&routing, "x1", "b"), []);
}

#[test]
fn an_alternate_takes_what_matches_nothing() {
    let mut routing = Routing::new();
    let first = declare_with(&mut routing, 1, ExchangeKind::Direct, Some("x2"));
    bind(&mut routing, first, queue(1), "a");
    assert_eq!(routed_by_key(&routing, "x1", "b"), [], "not there yet");
    let second = declare_with(&mut routing, 2, ExchangeKind::Direct, Some("x3"));
    bind(&mut routing, second, queue(2), "b");
    let third = declare_with(&mut routing, 3, ExchangeKind::Fanout, Some("x1"));
    assert_eq!(routed_by_key(&routing, "x1", "a"), [1]);
    assert_eq!(routed_by_key(&routing, "x1", "b"), [2]);
    assert_eq!(
        routed_by_key(&routing, "x1", "c"),
        [],
        "a cycle of alternates"
    );
    bind(&mut routing, third, queue(3), "");
    assert_eq!(routed_by_key(&routing, "x1", "c"), [3]);
}

#[test]
fn a_match_that_leads_to_no_queue_needs_no_alternate() {
    let mut routing = Routing::new();
    let first = declare_with(&mut routing, 1, ExchangeKind::Fanout, Some("x3"));
    declare(&mut routing, 2, ExchangeKind::Fanout);
    let alternate = declare(&mut routing, 3, ExchangeKind::Fanout);
    bind(&mut routing, alternate, queue(3), "");
    bind(&mut routing, first, exchange(2), "");
    assert_eq!(routed_by_key(&routing, "x1", "k"), []);
}

#[test]
fn the_default_exchange_may_be_an_alternate() {
    let mut routing = Routing::new();
    declare_with(&mut routing, 1, ExchangeKind::Direct, Some(""));
    routing.add_queue("q".into(), GroupNumber(4));
    assert_eq!(routed_by_key(&routing, "x1", "q"), [4]);
}

#[test]
fn clients_publish_to_exchanges_that_are_there_and_not_internal() {
    let mut routing = with_one(ExchangeKind::Fanout);
    let settings = Settings {
        name: "inside".into(),
        kind: ExchangeKind::Fanout,
        is_internal: true,
        alternate: None,
    };
    let id = ExchangeId(2);
    assert!(routing.add_exchange(id, settings));
    bind(&mut routing, ExchangeId(1), Destination::Exchange(id), "");
    bind(&mut routing, id, queue(1), "");
    assert_eq!(routing.check_publish("x1"), Ok(()));
    let refused = routing.check_publish("inside");
    assert_eq!(refused, Err(PublishError::Internal { id }));
    let refused = routing.check_publish("nowhere");
    assert_eq!(refused, Err(PublishError::UnknownExchange));
    assert_eq!(routed_by_key(&routing, "x1", "k"), [1]);
    assert_eq!(routed_by_key(&routing, "nowhere", "k"), []);
}

#[test]
fn kinds_are_named_as_clients_declare_them() {
    for name in ["direct", "fanout", "topic", "headers"] {
        assert_eq!(ExchangeKind::from_name(name).unwrap().name(), name);
    }
    assert_eq!(ExchangeKind::from_name("x-consistent-hash"), None);
}
