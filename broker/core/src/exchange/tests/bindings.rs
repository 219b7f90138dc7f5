//! Which bindings there are: identity, repetition, removal, and what goes with an exchange or queue.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{bind, declare, queue, routed_by_key, with_one};
use crate::exchange::{
    Argument, Arguments, BINDING_KEY_BYTES_MAX, BindError, Binding, Bound, Destination, ExchangeId,
    ExchangeKind, HeaderValue, Routing, Settings,
};
use crate::ids::GroupNumber;

const KINDS: [ExchangeKind; 4] = [
    ExchangeKind::Direct,
    ExchangeKind::Fanout,
    ExchangeKind::Topic,
    ExchangeKind::Headers,
];

fn with_argument(number: u64, key: &str, value: i64) -> Binding {
    let argument = Argument {
        name: Bytes::from_static(b"x-arg"),
        tag: b'l',
        value: HeaderValue::Integer(value),
    };
    Binding {
        arguments: Arguments::new(vec![argument]),
        ..Binding::new(queue(number), key.as_bytes())
    }
}

#[test]
fn a_binding_is_its_source_destination_key_and_arguments() {
    for kind in KINDS {
        let mut routing = with_one(kind);
        let source = ExchangeId(1);
        assert_eq!(bind(&mut routing, source, queue(1), "k"), Bound::Added);
        let once = routing.clone();
        assert_eq!(bind(&mut routing, source, queue(1), "k"), Bound::Existed);
        assert_eq!(routing, once);
        let other = routing.bind(source, with_argument(1, "k", 1));
        assert_eq!(other, Ok(Bound::Added));
        assert_eq!(routed_by_key(&routing, "x1", "k"), [1]);

        // The queue stays bound until the last of its bindings goes.
        assert!(routing.unbind(source, &Binding::new(queue(1), b"k")));
        assert_eq!(routed_by_key(&routing, "x1", "k"), [1], "{kind:?}");
        assert!(!routing.unbind(source, &with_argument(1, "k", 2)));
        assert!(routing.unbind(source, &with_argument(1, "k", 1)));
        assert_eq!(routed_by_key(&routing, "x1", "k"), []);
        assert_eq!(routing, with_one(kind));
    }
}

#[test]
fn bindings_are_shown_from_any_of_them_on() {
    let mut routing = with_one(ExchangeKind::Topic);
    let source = ExchangeId(1);
    for key in ["a", "b", "c"] {
        bind(&mut routing, source, queue(1), key);
    }
    let gone = Binding::new(queue(1), b"b");
    for _ in 0..2 {
        let exchange = routing.exchange(source).unwrap();
        let behind: Vec<&Binding> = exchange.bindings_after(&gone).collect();
        assert_eq!(behind, [&Binding::new(queue(1), b"c")]);
        routing.unbind(source, &gone);
    }
    let exchange = routing.exchange(source).unwrap();
    let last = Binding::new(queue(2), b"");
    assert_eq!(exchange.bindings_after(&last).next(), None);
}

#[test]
fn the_order_of_arguments_tells_no_bindings_apart() {
    let argument = |name: &'static str| Argument {
        name: Bytes::from_static(name.as_bytes()),
        tag: b'V',
        value: HeaderValue::Void,
    };
    let one = Arguments::new(vec![argument("a"), argument("b")]);
    let other = Arguments::new(vec![argument("b"), argument("a")]);
    assert_eq!(one, other);
    assert_eq!(Arguments::new(Vec::new()), Arguments::NONE);
}

#[test]
fn refused_bindings_change_nothing() {
    let before = with_one(ExchangeKind::Topic);
    let mut routing = before.clone();
    let (source_id, destination_id) = (ExchangeId(9), ExchangeId(8));
    let refused = routing.bind(source_id, Binding::new(queue(1), b"k"));
    assert_eq!(refused, Err(BindError::UnknownSource { source_id }));
    let nowhere = Binding::new(Destination::Exchange(destination_id), b"k");
    let refused = routing.bind(ExchangeId(1), nowhere.clone());
    assert_eq!(
        refused,
        Err(BindError::UnknownDestination { destination_id })
    );
    let actual = BINDING_KEY_BYTES_MAX + 1;
    let refused = routing.bind(ExchangeId(1), Binding::new(queue(1), &vec![b'k'; actual]));
    assert_eq!(refused, Err(BindError::KeyTooLong { actual }));
    assert!(!routing.unbind(ExchangeId(1), &nowhere));
    assert!(!routing.unbind(source_id, &nowhere));
    assert!(!routing.remove_exchange(source_id));
    assert_eq!(routing.remove_queue("none"), None);
    assert_eq!(routing, before);
}

#[test]
fn an_exchange_has_its_name_and_id_alone() {
    let mut routing = with_one(ExchangeKind::Topic);
    let before = routing.clone();
    let named = |name: &str| Settings {
        name: name.into(),
        kind: ExchangeKind::Direct,
        is_internal: false,
        alternate: None,
    };
    assert!(!routing.add_exchange(ExchangeId(2), named("x1")));
    assert!(!routing.add_exchange(ExchangeId(1), named("other")));
    assert!(!routing.add_exchange(ExchangeId(2), named("")));
    assert_eq!(routing, before);
    assert_eq!(routing.exchange_id("x1"), Some(ExchangeId(1)));
    let kinds: Vec<_> = routing
        .exchanges()
        .map(|(_, x)| x.settings().kind)
        .collect();
    assert_eq!(kinds, [ExchangeKind::Topic]);
}

#[test]
fn a_queue_goes_with_its_bindings() {
    let mut routing = Routing::new();
    for (number, kind) in (1..).zip(KINDS) {
        let id = declare(&mut routing, number, kind);
        bind(&mut routing, id, queue(2), "other");
    }
    let without = routing.clone();
    routing.add_queue("q".into(), GroupNumber(1));
    for number in 1..=4 {
        for key in ["a", "b"] {
            bind(&mut routing, ExchangeId(number), queue(1), key);
        }
    }
    let listed: Vec<_> = routing.bindings_to(queue(1)).collect();
    assert_eq!(listed.len(), 8);
    assert_eq!((listed[0].0, &*listed[0].1.key), (ExchangeId(1), &b"a"[..]));
    assert_eq!(routing.remove_queue("q"), Some(GroupNumber(1)));
    assert_eq!(routing.bindings_to(queue(1)).count(), 0);
    assert_eq!(routing, without);
}

#[test]
fn an_exchange_goes_with_its_bindings_on_both_sides() {
    let mut routing = with_one(ExchangeKind::Fanout);
    bind(&mut routing, ExchangeId(1), queue(1), "");
    let without = routing.clone();
    let gone = declare(&mut routing, 2, ExchangeKind::Fanout);
    bind(&mut routing, gone, queue(1), "");
    bind(&mut routing, gone, Destination::Exchange(gone), "");
    bind(&mut routing, gone, Destination::Exchange(ExchangeId(1)), "");
    bind(&mut routing, ExchangeId(1), Destination::Exchange(gone), "");
    assert!(routing.remove_exchange(gone));
    assert_eq!(routing, without);
    assert_eq!(routed_by_key(&routing, "x1", ""), [1]);
}

/// One step: which source and destination (0 to 2 are exchanges, others queues), which key, bind
/// or unbind.
type Step = (u64, u64, u8, bool);

fn destination(number: u64) -> Destination {
    match number {
        0..=2 => Destination::Exchange(ExchangeId(number)),
        _ => queue(number),
    }
}

proptest! {
    #[test]
    fn the_list_of_bindings_is_what_was_bound_and_not_unbound(
        steps in vec((0_u64..3, 0_u64..8, 0_u8..3, any::<bool>()), 0..80),
    ) {
        let mut routing = Routing::new();
        for (number, kind) in (0..3).zip(KINDS) {
            declare(&mut routing, number, kind);
        }
        let empty = routing.clone();
        let mut model = std::collections::BTreeSet::<Step>::new();
        for (source, to, key, is_bind) in steps {
            let binding = Binding::new(destination(to), &[b'a' + key]);
            let id = (source, to, key, true);
            if is_bind {
                let is_new = model.insert(id);
                let bound = routing.bind(ExchangeId(source), binding).unwrap();
                prop_assert_eq!(bound == Bound::Added, is_new);
            } else {
                prop_assert_eq!(routing.unbind(ExchangeId(source), &binding), model.remove(&id));
            }
        }
        for to in 0..8 {
            let listed = routing.bindings_to(destination(to));
            let listed: Vec<_> = listed.map(|(id, to)| (id.0, to.key[0] - b'a')).collect();
            let expected = model.iter().filter(|step| step.1 == to);
            let expected: Vec<_> = expected.map(|step| (step.0, step.2)).collect();
            prop_assert_eq!(listed, expected);
        }
        for (source, to, key, _) in model {
            let binding = Binding::new(destination(to), &[b'a' + key]);
            prop_assert!(routing.unbind(ExchangeId(source), &binding));
        }
        prop_assert!(routing == empty);
    }
}
