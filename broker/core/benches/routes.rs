//! Routes per second on one core: topic exchanges of 10,000 bindings, and the other kinds.
//!
//! `cargo bench -p raftmq-core --bench routes --profile dev`. Target: 1,000,000 routes/s with
//! 10,000 topic bindings.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures wall-clock time"
)]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::expect_used, reason = "a benchmark stops at any error")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

use std::hint::black_box;
use std::time::Instant;

use raftmq_core::GroupNumber;
use raftmq_core::exchange::{
    Argument, Arguments, Binding, Destination, ExchangeId, ExchangeKind, HeaderValue, Headers,
    Message, Route, Routing, Settings,
};

const BINDINGS_COUNT: u64 = 10_000;
const KEYS_COUNT: usize = 4_096;
const ROUTES_COUNT: usize = 1_000_000;
const ID: ExchangeId = ExchangeId(1);

/// Splitmix64: the same keys in each run.
struct Random(u64);

impl Random {
    const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn routing(kind: ExchangeKind) -> Routing {
    let mut routing = Routing::new();
    let settings = Settings {
        name: "x".into(),
        kind,
        is_internal: false,
        alternate: None,
    };
    assert!(routing.add_exchange(ID, settings), "a new exchange");
    routing
}

fn queue(number: u64) -> Destination {
    Destination::Queue(GroupNumber(number))
}

/// `tenant.service.event`: 100 x 50 x 20 of them.
fn key(random: &mut Random) -> String {
    let (tenant, service) = (random.below(100), random.below(50));
    format!("tenant{tenant}.service{service}.event{}", random.below(20))
}

/// Routes over and over; prints the rate, the best of five rounds.
fn measure(name: &str, routing: &Routing, messages: &[Message<'_>]) {
    let (mut route, mut reached) = (Route::new(), 0);
    let best = (0..5)
        .map(|_| {
            reached = 0;
            let started = Instant::now();
            for message in messages.iter().cycle().take(ROUTES_COUNT) {
                routing.route("x", black_box(message), &mut route);
                reached += route.queues().len();
            }
            started.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    println!(
        "{name:<44} {:>6.2} M routes/s, {:>7.2} queues each",
        ROUTES_COUNT as f64 / best / 1e6,
        reached as f64 / ROUTES_COUNT as f64
    );
}

fn with_keys(name: &str, routing: &Routing, mut key: impl FnMut() -> String) {
    let keys: Vec<String> = (0..KEYS_COUNT).map(|_| key()).collect();
    let messages = keys.iter().map(|key| Message::new(key.as_bytes()));
    measure(name, routing, &messages.collect::<Vec<_>>());
}

fn bound(kind: ExchangeKind, mut pattern: impl FnMut(u64) -> String) -> Routing {
    let mut routing = routing(kind);
    for number in 0..BINDINGS_COUNT {
        let binding = Binding::new(queue(number), pattern(number).as_bytes());
        routing.bind(ID, binding).expect("a binding");
    }
    routing
}

fn topics() {
    let mut random = Random(1);
    let exact = bound(ExchangeKind::Topic, |_| key(&mut random));
    with_keys("topic, 10,000 without wildcards", &exact, || {
        key(&mut random)
    });

    // What people bind: mostly whole keys, some `*`, some `prefix.#`.
    let mixed = bound(ExchangeKind::Topic, |number| {
        let (tenant, service) = (random.below(100), random.below(50));
        let event = random.below(20);
        match number % 10 {
            0 => format!("tenant{tenant}.service{service}.*"),
            1 => format!("tenant{tenant}.*.event{event}"),
            2 => format!("tenant{tenant}.service{service}.event{event}.#"),
            3 if number % 100 == 3 => format!("tenant{tenant}.#"),
            _ => key(&mut random),
        }
    });
    with_keys("topic, 10,000 mixed (60% whole keys)", &mixed, || {
        key(&mut random)
    });

    let wild = bound(ExchangeKind::Topic, |_| {
        let (service, event) = (random.below(50), random.below(20));
        format!("#.service{service}.#.event{event}.#")
    });
    with_keys("topic, 10,000 of #.word.#.word.#", &wild, || {
        key(&mut random)
    });

    let one_level = bound(ExchangeKind::Topic, |number| format!("key{number}"));
    with_keys("topic, 10,000 of one word", &one_level, || {
        format!("key{}", random.below(BINDINGS_COUNT))
    });
}

/// One header, `tenant`.
struct Tenant(String);

impl Headers for Tenant {
    fn value(&self, name: &[u8]) -> Option<HeaderValue<&[u8]>> {
        (name == b"tenant").then_some(HeaderValue::Bytes(self.0.as_bytes()))
    }
}

fn headers() {
    let mut routing = routing(ExchangeKind::Headers);
    for number in 0..100 {
        let tenant = Argument {
            name: "tenant".into(),
            tag: b'S',
            value: HeaderValue::Bytes(format!("tenant{number}").into()),
        };
        let binding = Binding {
            arguments: Arguments::new(vec![tenant]),
            ..Binding::new(queue(number), b"")
        };
        routing.bind(ID, binding).expect("a binding");
    }
    let tenants: Vec<Tenant> = (0..100).map(|n| Tenant(format!("tenant{n}"))).collect();
    let messages = tenants.iter().map(|headers| Message {
        headers,
        ..Message::new(b"")
    });
    measure("headers, 100", &routing, &messages.collect::<Vec<_>>());
}

/// Binds and unbinds on a table that somebody else holds a clone of, as the published image does.
fn churn() {
    let mut random = Random(2);
    let mut routing = bound(ExchangeKind::Topic, |_| key(&mut random));
    let changes_count = 20_000;
    let started = Instant::now();
    for number in 0..changes_count {
        let published = routing.clone();
        let binding = Binding::new(queue(BINDINGS_COUNT + number), key(&mut random).as_bytes());
        routing.bind(ID, binding.clone()).expect("a binding");
        routing.unbind(ID, &binding);
        black_box(published);
    }
    let micros = started.elapsed().as_micros() as f64 / changes_count as f64;
    println!("topic, bind and unbind beside a clone        {micros:>6.2} µs a pair");
}

fn main() {
    let mut random = Random(3);
    topics();
    let direct = bound(ExchangeKind::Direct, |number| format!("key{number}"));
    with_keys("direct, 10,000", &direct, || {
        format!("key{}", random.below(BINDINGS_COUNT))
    });
    let mut fanout = routing(ExchangeKind::Fanout);
    for number in 0..10 {
        let binding = Binding::new(queue(number), b"");
        fanout.bind(ID, binding).expect("a binding");
    }
    with_keys("fanout, 10", &fanout, String::new);
    headers();
    churn();
}
