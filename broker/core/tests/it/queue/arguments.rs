//! The arguments of `queue.declare`: meanings, refusals in RabbitMQ's words, equivalence.

use bytes::Bytes;
use raftmq_core::exchange::{Argument, Arguments, HeaderValue};
use raftmq_core::queue::arguments::{Declared, check_equivalence, parse};
use raftmq_core::queue::{DedupSettings, Overflow};

fn argument(name: &'static str, tag: u8, value: HeaderValue) -> Argument {
    Argument {
        name: Bytes::from_static(name.as_bytes()),
        tag,
        value,
    }
}

fn number(name: &'static str, value: i64) -> Argument {
    argument(name, b'l', HeaderValue::Integer(value))
}

fn text(name: &'static str, value: &'static str) -> Argument {
    let value = Bytes::from_static(value.as_bytes());
    argument(name, b'S', HeaderValue::Bytes(value))
}

fn declared(arguments: Vec<Argument>) -> Result<Declared, String> {
    let parsed = parse(&Arguments::new(arguments), "q", "/");
    parsed.map_err(|error| error.to_string())
}

#[test]
fn arguments_become_settings() {
    let declared = declared(vec![
        number("x-message-ttl", 0),
        number("x-expires", 60_000),
        number("x-max-length", 10),
        number("x-max-length-bytes", 1_000),
        number("x-max-priority", 9),
        number("x-delivery-limit", 3),
        number("x-cache-size", 7),
        argument("x-message-deduplication", b't', HeaderValue::Bool(true)),
        argument("x-single-active-consumer", b't', HeaderValue::Bool(true)),
        text("x-overflow", "reject-publish-dlx"),
        text("x-dead-letter-exchange", ""),
        text("x-dead-letter-routing-key", "dead"),
        text("x-queue-type", "quorum"),
        text("x-unknown", "anything"),
    ])
    .unwrap();

    let settings = &declared.settings;
    assert_eq!(settings.message_ttl_ms, Some(0));
    assert_eq!(settings.expires_ms, Some(60_000));
    assert_eq!(
        (settings.length_max, settings.length_bytes_max),
        (Some(10), Some(1_000))
    );
    assert_eq!(
        (settings.priority_max, settings.delivery_limit),
        (9, Some(3))
    );
    assert!(settings.is_single_active_consumer && settings.has_dead_letters);
    assert_eq!(settings.overflow, Overflow::RejectPublishDlx);
    let dedup = DedupSettings {
        window_ms: 600_000,
        ids_count_max: 7,
    };
    assert_eq!(settings.dedup, Some(dedup));
    assert_eq!(declared.dead_letter_exchange.as_deref(), Some(""));
    assert_eq!(declared.dead_letter_routing_key.as_deref(), Some("dead"));
}

#[test]
fn nothing_is_limited_unless_it_was_asked_for() {
    assert_eq!(declared(Vec::new()), Ok(Declared::default()));
    let unlimited = declared(vec![number("x-delivery-limit", -1)]).unwrap();
    assert_eq!(unlimited.settings.delivery_limit, None);
    let only_a_window = declared(vec![number("x-cache-ttl", 5)]).unwrap();
    assert_eq!(only_a_window.settings.dedup, None);
}

#[test]
fn messages_may_live_for_ten_years() {
    let longest = declared(vec![number("x-message-ttl", 315_360_000_000)]).unwrap();
    assert_eq!(longest.settings.message_ttl_ms, Some(315_360_000_000));
}

#[test]
fn refusals_have_the_words_of_rabbitmq() {
    let refused = [
        (text("x-message-ttl", "1"), "{unacceptable_type,longstr}"),
        (number("x-message-ttl", -1), "{value_negative,-1}"),
        (
            number("x-message-ttl", 315_360_000_001),
            "{value_too_large,315360000001}",
        ),
        (number("x-expires", 0), "{value_zero,0}"),
        (number("x-max-length", -5), "{value_negative,-5}"),
        (number("x-max-priority", 256), "{max_value_exceeded,256}"),
        (text("x-overflow", "explode"), "invalid_overflow"),
        (number("x-overflow", 1), "{unacceptable_type,long}"),
        (text("x-queue-type", "stream"), "invalid_queue_type"),
        (
            text("x-single-active-consumer", "yes"),
            "{unacceptable_type,longstr}",
        ),
        (
            text("x-dead-letter-routing-key", "k"),
            "routing_key_but_no_dlx_defined",
        ),
        (
            number("x-cache-size", 100_000_000),
            "{max_value_exceeded,100000000}",
        ),
    ];
    for (argument, problem) in refused {
        let name = String::from_utf8_lossy(&argument.name).into_owned();
        let text = format!("invalid arg '{name}' for queue 'q' in vhost '/': {problem}");
        assert_eq!(declared(vec![argument]), Err(text));
    }
}

#[test]
fn a_second_declaration_must_say_the_same() {
    let check = |current: Vec<Argument>, received: Vec<Argument>| {
        let (current, received) = (Arguments::new(current), Arguments::new(received));
        check_equivalence(&current, &received, "q", "/").map_err(|error| error.to_string())
    };
    let narrow = argument("x-max-length", b'b', HeaderValue::Integer(10));
    assert_eq!(
        check(vec![number("x-max-length", 10)], vec![narrow]),
        Ok(())
    );
    assert_eq!(check(vec![text("x-unknown", "a")], Vec::new()), Ok(()));

    let text = "inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but \
                current is the value '10' of type 'long'";
    assert_eq!(
        check(vec![number("x-max-length", 10)], Vec::new()),
        Err(text.to_owned())
    );
}
