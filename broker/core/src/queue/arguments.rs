//! The arguments of `queue.declare` (`x-…`): what they mean, which are refused, and when a second
//! declaration is equivalent to the first.
//!
//! Texts are RabbitMQ's, because clients parse them (406 PRECONDITION_FAILED). Unknown arguments are
//! kept by the metadata and mean nothing here, as in RabbitMQ. Does not know policies.

use thiserror::Error;

use crate::exchange::{Argument, Arguments, HeaderValue};
use crate::limits::{DEDUP_IDS_COUNT_DEFAULT, DEDUP_IDS_COUNT_MAX};
use crate::queue::settings::{DedupSettings, Overflow, Settings};

/// Longest duration in an argument, milliseconds, inclusive: RabbitMQ's ten years. Celery's delays are
/// queues whose messages live for up to 2²⁷ s, which is four.
pub const DURATION_MS_MAX: i64 = 315_360_000_000;
/// How long ids are remembered when `x-cache-ttl` says nothing, milliseconds.
pub const DEDUP_WINDOW_MS_DEFAULT: u64 = 600_000;

/// What is wrong with an argument, in RabbitMQ's notation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// It has another type.
    #[error("{{unacceptable_type,{found}}}")]
    UnacceptableType {
        /// RabbitMQ's name of the type found.
        found: &'static str,
    },
    /// It is below zero.
    #[error("{{value_negative,{value}}}")]
    Negative {
        /// The value found.
        value: i64,
    },
    /// It is zero where that makes no sense.
    #[error("{{value_zero,0}}")]
    Zero,
    /// It is longer than any duration may be.
    #[error("{{value_too_large,{value}}}")]
    TooLarge {
        /// The value found.
        value: i64,
    },
    /// It is more than the largest allowed.
    #[error("{{max_value_exceeded,{value}}}")]
    MaxExceeded {
        /// The value found.
        value: i64,
    },
    /// `x-overflow` is none of the three.
    #[error("invalid_overflow")]
    UnknownOverflow,
    /// `x-queue-type` is none of ours.
    #[error("invalid_queue_type")]
    UnknownQueueType,
    /// A routing key for dead letters, but no exchange.
    #[error("routing_key_but_no_dlx_defined")]
    RoutingKeyWithoutExchange,
}

/// An argument that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid arg '{name}' for queue '{queue}' in vhost '{vhost}': {problem}")]
pub struct ArgumentError {
    /// The argument.
    pub name: &'static str,
    /// The queue.
    pub queue: String,
    /// Its virtual host.
    pub vhost: String,
    /// What is wrong.
    pub problem: Problem,
}

/// A second declaration that differs from the first.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "inequivalent arg '{name}' for queue '{queue}' in vhost '{vhost}': received {received} but current is {current}"
)]
pub struct Inequivalent {
    /// The argument.
    pub name: &'static str,
    /// The queue.
    pub queue: String,
    /// Its virtual host.
    pub vhost: String,
    /// What the second one says.
    pub received: String,
    /// What the first one said.
    pub current: String,
}

/// What a declaration means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Declared {
    /// What the queue's machine decides by.
    pub settings: Settings,
    /// `x-dead-letter-exchange`.
    pub dead_letter_exchange: Option<String>,
    /// `x-dead-letter-routing-key`: instead of the message's own.
    pub dead_letter_routing_key: Option<String>,
    /// `x-quorum-initial-group-size`: replicas, as far as there are brokers.
    pub replicas_count: Option<u32>,
}

/// Every argument that has a meaning, and must be the same in each declaration.
pub(crate) const KNOWN: [&str; 16] = [
    "x-cache-size",
    "x-cache-ttl",
    "x-consumer-timeout",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-delivery-limit",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-message-deduplication",
    "x-message-ttl",
    "x-overflow",
    "x-queue-type",
    "x-single-active-consumer",
    "x-quorum-initial-group-size",
];

/// Reads the arguments of a declaration.
///
/// # Errors
/// The first argument, in the order of names, that is refused.
pub fn parse(arguments: &Arguments, queue: &str, vhost: &str) -> Result<Declared, ArgumentError> {
    let mut declared = Declared::default();
    let (mut is_deduplicated, mut dedup) = (
        false,
        DedupSettings {
            window_ms: DEDUP_WINDOW_MS_DEFAULT,
            ids_count_max: DEDUP_IDS_COUNT_DEFAULT,
        },
    );
    for name in KNOWN {
        let Some(argument) = find(arguments, name) else {
            continue;
        };
        let refused = |problem| ArgumentError {
            name,
            queue: queue.to_owned(),
            vhost: vhost.to_owned(),
            problem,
        };
        match name {
            "x-message-deduplication" => is_deduplicated = flag(argument).map_err(refused)?,
            "x-cache-size" => dedup.ids_count_max = ids_count(argument).map_err(refused)?,
            "x-cache-ttl" => dedup.window_ms = positive_ms(argument).map_err(refused)?,
            "x-dead-letter-routing-key" if find(arguments, "x-dead-letter-exchange").is_none() => {
                return Err(refused(Problem::RoutingKeyWithoutExchange));
            }
            name => set(&mut declared, name, argument).map_err(refused)?,
        }
    }
    declared.settings.dedup = is_deduplicated.then_some(dedup);
    Ok(declared)
}

fn set(declared: &mut Declared, name: &str, argument: &Argument) -> Result<(), Problem> {
    let settings = &mut declared.settings;
    match name {
        "x-consumer-timeout" => settings.consumer_timeout_ms = Some(positive_ms(argument)?),
        "x-dead-letter-exchange" => {
            declared.dead_letter_exchange = Some(text(argument)?);
            settings.has_dead_letters = true;
        }
        "x-dead-letter-routing-key" => declared.dead_letter_routing_key = Some(text(argument)?),
        "x-delivery-limit" => settings.delivery_limit = delivery_limit(argument)?,
        "x-expires" => settings.expires_ms = Some(positive_ms(argument)?),
        "x-max-length" => settings.length_max = Some(count(argument)?),
        "x-max-length-bytes" => settings.length_bytes_max = Some(count(argument)?),
        "x-max-priority" => settings.priority_max = priority(argument)?,
        "x-message-ttl" => settings.message_ttl_ms = Some(duration_ms(argument)?),
        "x-overflow" => settings.overflow = overflow(argument)?,
        "x-queue-type" => queue_type(argument)?,
        "x-single-active-consumer" => settings.is_single_active_consumer = flag(argument)?,
        "x-quorum-initial-group-size" => {
            let count = u32::try_from(positive_ms(argument)?);
            declared.replicas_count = Some(count.unwrap_or(u32::MAX));
        }
        _ => {}
    }
    Ok(())
}

/// Checks that a second declaration says the same as the first. Numbers are compared by value,
/// whatever their width.
///
/// # Errors
/// The first argument, in the order of names, that differs.
pub fn check_equivalence(
    current: &Arguments,
    received: &Arguments,
    queue: &str,
    vhost: &str,
) -> Result<(), Box<Inequivalent>> {
    let Some(difference) = first_difference(current, received, &KNOWN) else {
        return Ok(());
    };
    Err(Box::new(Inequivalent {
        name: difference.name,
        queue: queue.to_owned(),
        vhost: vhost.to_owned(),
        received: difference.received,
        current: difference.current,
    }))
}

/// An argument that two declarations do not have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    pub(crate) received: String,
    pub(crate) current: String,
}

/// Finds the first of these arguments, in their order, that differs.
pub(crate) fn first_difference(
    current: &Arguments,
    received: &Arguments,
    names: &[&'static str],
) -> Option<Difference> {
    names.iter().find_map(|name| {
        let (old, new) = (find(current, name), find(received, name));
        let is_same = old.map(|one| &one.value) == new.map(|one| &one.value);
        (!is_same).then(|| Difference {
            name,
            received: describe(new),
            current: describe(old),
        })
    })
}

pub(crate) fn find<'a>(arguments: &'a Arguments, name: &str) -> Option<&'a Argument> {
    let mut all = arguments.as_slice().iter();
    all.find(|argument| argument.name.as_ref() == name.as_bytes())
}

fn describe(argument: Option<&Argument>) -> String {
    let Some(argument) = argument else {
        return "none".to_owned();
    };
    let value = match &argument.value {
        HeaderValue::Void => "undefined".to_owned(),
        HeaderValue::Bool(value) => value.to_string(),
        HeaderValue::Integer(number) => number.to_string(),
        HeaderValue::Float(bits) => f64::from_bits(*bits).to_string(),
        HeaderValue::Decimal(scale, digits) => format!("{digits}e-{scale}"),
        HeaderValue::Timestamp(seconds) => seconds.to_string(),
        HeaderValue::Bytes(bytes) | HeaderValue::Nested(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
    };
    format!("the value '{value}' of type '{}'", type_name(argument.tag))
}

/// RabbitMQ's name of a type octet.
pub(crate) const fn type_name(tag: u8) -> &'static str {
    match tag {
        b'A' => "array",
        b'B' => "unsignedbyte",
        b'D' => "decimal",
        b'F' => "table",
        b'I' => "signedint",
        b'S' => "longstr",
        b'T' => "timestamp",
        b'b' => "byte",
        b'd' => "double",
        b'f' => "float",
        b'i' => "unsignedint",
        b'l' | b'L' => "long",
        b's' => "short",
        b't' => "bool",
        b'u' => "unsignedshort",
        b'x' => "binary",
        _ => "void",
    }
}

const fn unacceptable(argument: &Argument) -> Problem {
    Problem::UnacceptableType {
        found: type_name(argument.tag),
    }
}

fn integer(argument: &Argument) -> Result<i64, Problem> {
    if let HeaderValue::Integer(value) = argument.value {
        return Ok(value);
    }
    Err(unacceptable(argument))
}

fn flag(argument: &Argument) -> Result<bool, Problem> {
    if let HeaderValue::Bool(value) = argument.value {
        return Ok(value);
    }
    Err(unacceptable(argument))
}

pub(crate) fn text(argument: &Argument) -> Result<String, Problem> {
    if let (HeaderValue::Bytes(bytes), b'S') = (&argument.value, argument.tag) {
        return Ok(String::from_utf8_lossy(bytes).into_owned());
    }
    Err(unacceptable(argument))
}

fn count(argument: &Argument) -> Result<u64, Problem> {
    let value = integer(argument)?;
    u64::try_from(value).map_err(|_| Problem::Negative { value })
}

fn duration_ms(argument: &Argument) -> Result<u64, Problem> {
    let value = integer(argument)?;
    if value > DURATION_MS_MAX {
        return Err(Problem::TooLarge { value });
    }
    count(argument)
}

fn positive_ms(argument: &Argument) -> Result<u64, Problem> {
    match duration_ms(argument)? {
        0 => Err(Problem::Zero),
        value => Ok(value),
    }
}

fn ids_count(argument: &Argument) -> Result<u32, Problem> {
    let value = integer(argument)?;
    let count = u32::try_from(positive_ms(argument)?).unwrap_or(u32::MAX);
    if count > DEDUP_IDS_COUNT_MAX {
        return Err(Problem::MaxExceeded { value });
    }
    Ok(count)
}

fn priority(argument: &Argument) -> Result<u8, Problem> {
    let value = integer(argument)?;
    count(argument)?;
    u8::try_from(value).map_err(|_| Problem::MaxExceeded { value })
}

/// -1 = no limit. Deviation: without the argument there is none either (RabbitMQ 4: 20), because
/// nothing may be deleted before it is acknowledged unless somebody asked for it.
fn delivery_limit(argument: &Argument) -> Result<Option<u32>, Problem> {
    if integer(argument)? == -1 {
        return Ok(None);
    }
    Ok(Some(u32::try_from(count(argument)?).unwrap_or(u32::MAX)))
}

fn overflow(argument: &Argument) -> Result<Overflow, Problem> {
    match text(argument)?.as_str() {
        "drop-head" => Ok(Overflow::DropHead),
        "reject-publish" => Ok(Overflow::RejectPublish),
        "reject-publish-dlx" => Ok(Overflow::RejectPublishDlx),
        _ => Err(Problem::UnknownOverflow),
    }
}

/// What we store is replicated and flushed in either case.
fn queue_type(argument: &Argument) -> Result<(), Problem> {
    match text(argument)?.as_str() {
        "classic" | "quorum" => Ok(()),
        _ => Err(Problem::UnknownQueueType),
    }
}
