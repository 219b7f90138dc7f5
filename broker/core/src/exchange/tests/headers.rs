//! Headers exchanges: the four modes of `x-match`, values, refusals.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{queue, routed, with_one};
use crate::exchange::{
    ARGUMENTS_COUNT_MAX, Argument, Arguments, BindError, Binding, ExchangeId, ExchangeKind,
    HeaderValue, Headers, Message, Routing,
};

const ID: ExchangeId = ExchangeId(1);

/// Headers as a test writes them.
struct Known(BTreeMap<&'static str, HeaderValue>);

impl Headers for Known {
    fn value(&self, name: &[u8]) -> Option<HeaderValue<&[u8]>> {
        let name = std::str::from_utf8(name).ok()?;
        self.0.get(name).map(HeaderValue::as_ref)
    }
}

const fn text(value: &'static str) -> HeaderValue {
    HeaderValue::Bytes(Bytes::from_static(value.as_bytes()))
}

fn binding(number: u64, arguments: &[(&'static str, HeaderValue)]) -> Binding {
    let arguments = arguments.iter().map(|(name, value)| Argument {
        name: Bytes::from_static(name.as_bytes()),
        tag: b'?',
        value: value.clone(),
    });
    Binding {
        arguments: Arguments::new(arguments.collect()),
        ..Binding::new(queue(number), b"ignored")
    }
}

fn bound(arguments: &[(&'static str, HeaderValue)]) -> Routing {
    let mut routing = with_one(ExchangeKind::Headers);
    routing
        .bind(ID, binding(7, arguments))
        .expect("a good binding");
    routing
}

fn is_routed(routing: &Routing, headers: &[(&'static str, HeaderValue)]) -> bool {
    let headers = Known(headers.iter().cloned().collect());
    let message = Message {
        headers: &headers,
        ..Message::new(b"whatever")
    };
    match routed(routing, "x1", &message)[..] {
        [] => false,
        [7] => true,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn all_is_the_default_and_needs_every_header() {
    for mode in [None, Some(("x-match", text("all")))] {
        let mut arguments = vec![("a", text("1")), ("b", HeaderValue::Integer(2))];
        arguments.extend(mode);
        let routing = bound(&arguments);
        let (a, b) = (("a", text("1")), ("b", HeaderValue::Integer(2)));
        assert!(is_routed(
            &routing,
            &[a.clone(), b.clone(), ("c", text("3"))]
        ));
        assert!(!is_routed(&routing, std::slice::from_ref(&a)));
        assert!(!is_routed(&routing, &[a, ("b", HeaderValue::Integer(3))]));
        assert!(!is_routed(&routing, &[]));
    }
}

#[test]
fn any_needs_one_header() {
    let routing = bound(&[("x-match", text("any")), ("a", text("1")), ("b", text("2"))]);
    assert!(is_routed(&routing, &[("b", text("2"))]));
    assert!(is_routed(&routing, &[("a", text("1")), ("b", text("9"))]));
    assert!(!is_routed(&routing, &[("a", text("9"))]));
    assert!(!is_routed(&routing, &[]));
}

#[test]
fn names_with_x_count_in_the_modes_that_say_so() {
    let condition = ("x-user", text("me"));
    let met = [condition.clone(), ("a", text("1"))];
    let unmet = [("a", text("1"))];
    let arguments = |mode| [("x-match", text(mode)), condition.clone(), ("a", text("1"))];
    assert!(is_routed(&bound(&arguments("all")), &unmet));
    assert!(!is_routed(&bound(&arguments("all-with-x")), &unmet));
    assert!(is_routed(&bound(&arguments("all-with-x")), &met));

    let only_x = |mode| [("x-match", text(mode)), condition.clone()];
    assert!(!is_routed(&bound(&only_x("any")), &met));
    assert!(is_routed(&bound(&only_x("any-with-x")), &met));
}

#[test]
fn without_a_condition_all_matches_and_any_does_not() {
    assert!(is_routed(&bound(&[]), &[]));
    assert!(is_routed(
        &bound(&[("x-match", text("all"))]),
        &[("a", text("1"))]
    ));
    assert!(is_routed(&bound(&[("x-match", text("all-with-x"))]), &[]));
    assert!(!is_routed(
        &bound(&[("x-match", text("any"))]),
        &[("a", text("1"))]
    ));
    // `x-match` itself is never a condition.
    let any = bound(&[("x-match", text("any-with-x"))]);
    assert!(!is_routed(&any, &[("x-match", text("any-with-x"))]));
}

#[test]
fn a_void_argument_asks_for_presence_and_a_void_header_equals_nothing_else() {
    let presence = bound(&[("a", HeaderValue::Void)]);
    for value in [
        HeaderValue::Void,
        text(""),
        HeaderValue::Nested(Bytes::new()),
    ] {
        assert!(is_routed(&presence, &[("a", value)]));
    }
    assert!(!is_routed(&presence, &[("b", HeaderValue::Void)]));
    assert!(!is_routed(
        &bound(&[("a", text(""))]),
        &[("a", HeaderValue::Void)]
    ));
}

#[test]
fn values_of_different_kinds_are_never_equal() {
    let one = f64::to_bits(1.0);
    let values = [
        HeaderValue::Bool(true),
        HeaderValue::Integer(1),
        HeaderValue::Float(one),
        HeaderValue::Decimal(0, 1),
        HeaderValue::Timestamp(1),
        text("1"),
        HeaderValue::Nested(Bytes::from_static(b"1")),
    ];
    for (at, value) in values.iter().enumerate() {
        let routing = bound(&[("a", value.clone())]);
        for (other_at, other) in values.iter().enumerate() {
            let is_same = at == other_at;
            assert_eq!(is_routed(&routing, &[("a", other.clone())]), is_same);
        }
    }
}

#[test]
fn an_unknown_mode_is_refused_and_changes_nothing() {
    let before = with_one(ExchangeKind::Headers);
    let mut routing = before.clone();
    let refused = routing.bind(ID, binding(7, &[("x-match", text("some"))]));
    let value = "some".to_owned();
    let error = BindError::UnknownMatch { value };
    assert_eq!(
        error.to_string(),
        "Invalid x-match field value \"some\"; expected all, any, all-with-x, or any-with-x"
    );
    assert_eq!(refused, Err(error));
    let refused = routing.bind(ID, binding(7, &[("x-match", HeaderValue::Integer(1))]));
    assert_eq!(refused, Err(BindError::MatchNotText));
    assert_eq!(routing, before);
}

#[test]
fn too_many_arguments_are_refused_and_change_nothing() {
    let before = with_one(ExchangeKind::Direct);
    let mut routing = before.clone();
    let many = vec![("a", HeaderValue::Void); ARGUMENTS_COUNT_MAX + 1];
    let refused = routing.bind(ID, binding(7, &many));
    let actual = ARGUMENTS_COUNT_MAX + 1;
    assert_eq!(refused, Err(BindError::TooManyArguments { actual }));
    assert_eq!(routing, before);
}
