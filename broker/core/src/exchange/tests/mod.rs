//! Routing, one file for each kind of question, through the public API.

mod bindings;
mod headers;
mod topic;
mod walk;

use std::collections::BTreeSet;

use crate::exchange::{
    Binding, Bound, Destination, ExchangeId, ExchangeKind, Message, Route, Routing, Settings,
};
use crate::ids::GroupNumber;

/// A queue's group.
const fn queue(number: u64) -> Destination {
    Destination::Queue(GroupNumber(number))
}

/// Declares an exchange named by its number, `x1` and so on.
fn declare(routing: &mut Routing, number: u64, kind: ExchangeKind) -> ExchangeId {
    declare_with(routing, number, kind, None)
}

fn declare_with(
    routing: &mut Routing,
    number: u64,
    kind: ExchangeKind,
    alternate: Option<&str>,
) -> ExchangeId {
    let settings = Settings {
        name: format!("x{number}").into(),
        kind,
        is_internal: false,
        alternate: alternate.map(Into::into),
    };
    assert!(routing.add_exchange(ExchangeId(number), settings));
    ExchangeId(number)
}

/// A table with one exchange, `x1`.
fn with_one(kind: ExchangeKind) -> Routing {
    let mut routing = Routing::new();
    declare(&mut routing, 1, kind);
    routing
}

/// Binds without arguments.
fn bind(routing: &mut Routing, source: ExchangeId, to: Destination, key: &str) -> Bound {
    let binding = Binding::new(to, key.as_bytes());
    routing.bind(source, binding).expect("a good binding")
}

/// The queues of a message, by the name of its exchange.
fn routed(routing: &Routing, exchange: &str, message: &Message<'_>) -> Vec<u64> {
    let mut route = Route::new();
    routing.route(exchange, message, &mut route);
    let queues: Vec<u64> = route.queues().iter().map(|group| group.0).collect();
    let distinct: BTreeSet<u64> = queues.iter().copied().collect();
    assert!(
        queues.iter().eq(&distinct),
        "ascending and each once: {queues:?}"
    );
    queues
}

/// The queues of a message with one key.
fn routed_by_key(routing: &Routing, exchange: &str, key: &str) -> Vec<u64> {
    routed(routing, exchange, &Message::new(key.as_bytes()))
}
