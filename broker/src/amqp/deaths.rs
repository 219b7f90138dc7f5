//! The history of a dead letter in its headers: `x-death`, `x-first-death-…`, `x-last-death-…`.
//!
//! Owns their form, RabbitMQ's. What a history means (`Deaths::record`, `is_cycle`) is the core's. A
//! history that a client wrote is replaced. Does not know where a dead letter goes.

use raftmq_amqp_protocol::{
    ArrayBuilder, BasicProperties, Properties, TableBuilder, TableRef, Value,
};
use raftmq_core::queue::{Death, DeathReason, Deaths};

use crate::messages::form::{self, Stored};

/// Deaths that are kept in a message: one of each queue and reason, the most recent ones.
const DEATHS_COUNT_MAX: usize = 64;
const DEATH: &str = "x-death";
const MESSAGE_ID: &str = "x-raftmq-id";
/// Everything that a client may have written, and a broker writes anew.
const LAST: [&str; 3] = [
    "x-last-death-reason",
    "x-last-death-queue",
    "x-last-death-exchange",
];
const FIRST: [&str; 3] = [
    "x-first-death-reason",
    "x-first-death-queue",
    "x-first-death-exchange",
];
const REASONS: [DeathReason; 4] = [
    DeathReason::Rejected,
    DeathReason::Expired,
    DeathReason::MaxLength,
    DeathReason::DeliveryLimit,
];

/// Whether the header `CC` stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cc {
    Kept,
    Removed,
}

/// The death that is to be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obituary<'a> {
    /// The queue it happened in.
    pub(super) queue: &'a str,
    pub(super) reason: DeathReason,
    /// Seconds since 1970.
    pub(super) time_s: u64,
    /// What the message is called from now on, unless it has a name.
    pub(super) id: String,
}

/// Notes a death in a message's properties, and shows the whole history.
pub(super) fn write(stored: &Stored, obituary: &Obituary<'_>, cc: Cc) -> (Properties, Deaths) {
    let message = &stored.message;
    let view = message.properties.view();
    let headers = view.headers.unwrap_or_default();
    let mut history = match stored.deaths {
        form::Deaths::Ours => read(headers),
        form::Deaths::NotOurs => Deaths::default(),
    };
    history.record(Death {
        queue: obituary.queue.to_owned(),
        reason: obituary.reason,
        count: 1,
        exchange: lossy(&message.exchange),
        routing_keys: routing_keys(&message.routing_key, headers),
        time_s: obituary.time_s,
        original_expiration: view.expiration.map(lossy),
    });
    history.deaths.truncate(DEATHS_COUNT_MAX);
    let headers = rewrite(stored, headers, obituary, &history, cc);
    let changed = BasicProperties {
        headers: Some(headers.as_ref()),
        // It must not expire again where it goes.
        expiration: None,
        ..view
    };
    let properties = changed.encode();
    (
        properties.unwrap_or_else(|_| message.properties.clone()),
        history,
    )
}

fn rewrite(
    stored: &Stored,
    headers: TableRef<'_>,
    obituary: &Obituary<'_>,
    history: &Deaths,
    cc: Cc,
) -> raftmq_amqp_protocol::Table {
    let is_first = stored.deaths == form::Deaths::NotOurs;
    let mut gone: Vec<&str> = [DEATH].into_iter().chain(LAST).collect();
    if is_first {
        gone.extend(FIRST);
    }
    if cc == Cc::Removed {
        gone.push("CC");
    }
    let mut table = headers.to_table();
    for name in gone {
        let without = TableBuilder::from_table_without(table.as_ref(), name).finish();
        table = without.unwrap_or_default();
    }
    let exchange = &stored.message.exchange;
    let values = [
        Value::LongString(obituary.reason.name().as_bytes()),
        Value::LongString(obituary.queue.as_bytes()),
        Value::LongString(exchange),
    ];
    let deaths = array_of(history);
    let mut builder = TableBuilder::from_table(table.as_ref());
    builder = builder.with(DEATH, Value::Array(deaths.as_array()));
    for (name, value) in LAST.into_iter().zip(values) {
        builder = builder.with(name, value);
    }
    if is_first {
        for (name, value) in FIRST.into_iter().zip(values) {
            builder = builder.with(name, value);
        }
    }
    if headers.get(MESSAGE_ID).is_none() {
        builder = builder.with(MESSAGE_ID, Value::LongString(obituary.id.as_bytes()));
    }
    builder.finish().unwrap_or(table)
}

fn array_of(history: &Deaths) -> ArrayBuilder {
    let mut deaths = ArrayBuilder::new();
    for death in &history.deaths {
        let mut keys = ArrayBuilder::new();
        for key in &death.routing_keys {
            keys.push(Value::LongString(key.as_bytes()));
        }
        let count = i64::try_from(death.count).unwrap_or(i64::MAX);
        let mut entry = TableBuilder::new()
            .with("count", Value::Long(count))
            .with("reason", Value::LongString(death.reason.name().as_bytes()))
            .with("queue", Value::LongString(death.queue.as_bytes()))
            .with("time", Value::Timestamp(death.time_s))
            .with("exchange", Value::LongString(death.exchange.as_bytes()))
            .with("routing-keys", Value::Array(keys.as_array()));
        if let Some(expiration) = &death.original_expiration {
            let expiration = Value::LongString(expiration.as_bytes());
            entry = entry.with("original-expiration", expiration);
        }
        if let Ok(entry) = entry.finish() {
            deaths.push(Value::Table(entry.as_ref()));
        }
    }
    deaths
}

/// Reads a history that a broker wrote; what is no death is left out.
fn read(headers: TableRef<'_>) -> Deaths {
    let Some(Value::Array(entries)) = headers.get(DEATH) else {
        return Deaths::default();
    };
    let deaths = entries.iter().filter_map(|entry| {
        let Value::Table(entry) = entry else {
            return None;
        };
        read_one(entry)
    });
    Deaths {
        deaths: deaths.take(DEATHS_COUNT_MAX).collect(),
    }
}

fn read_one(entry: TableRef<'_>) -> Option<Death> {
    let text = |name| {
        let value: Option<&[u8]> = entry.get(name).and_then(Value::as_bytes);
        value.map(lossy)
    };
    let reason = text("reason")?;
    let time_s = match entry.get("time") {
        Some(Value::Timestamp(time_s)) => time_s,
        Some(_) | None => 0,
    };
    let routing_keys = match entry.get("routing-keys") {
        Some(Value::Array(keys)) => keys.iter().filter_map(Value::as_bytes).map(lossy).collect(),
        Some(_) | None => Vec::new(),
    };
    Some(Death {
        queue: text("queue")?,
        reason: REASONS.into_iter().find(|known| known.name() == reason)?,
        count: u64::try_from(entry.get("count")?.as_i64()?).ok()?,
        exchange: text("exchange")?,
        routing_keys,
        time_s,
        original_expiration: text("original-expiration"),
    })
}

fn routing_keys(routing_key: &[u8], headers: TableRef<'_>) -> Vec<String> {
    let mut keys = vec![lossy(routing_key)];
    if let Some(Value::Array(more)) = headers.get("CC") {
        keys.extend(more.iter().filter_map(Value::as_bytes).map(lossy));
    }
    keys
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use raftmq_amqp::Message;
    use raftmq_amqp_protocol::{Body, ShortString};

    use super::*;

    fn stored(headers: TableBuilder, deaths: form::Deaths) -> Stored {
        let headers = headers.finish().unwrap();
        let properties = BasicProperties {
            headers: Some(headers.as_ref()),
            expiration: Some(b"500"),
            priority: Some(3),
            ..BasicProperties::default()
        };
        let message = Message {
            exchange: ShortString::from_static("jobs"),
            routing_key: ShortString::from_static("a.b"),
            properties: properties.encode().unwrap(),
            body: Body::default(),
        };
        Stored { message, deaths }
    }

    fn obituary(queue: &'static str, reason: DeathReason) -> Obituary<'static> {
        Obituary {
            queue,
            reason,
            time_s: 77,
            id: "4-7-0".to_owned(),
        }
    }

    fn header(properties: &Properties, name: &str) -> Option<String> {
        let headers = properties.view().headers?;
        headers.get(name)?.as_bytes().map(lossy)
    }

    #[test]
    fn a_first_death_is_written_as_rabbitmq_writes_it() {
        let table = TableBuilder::new()
            .with("mine", Value::Int(1))
            .with("x-death", Value::LongString(b"a client's"));
        let stored = stored(table, form::Deaths::NotOurs);

        let (properties, history) =
            write(&stored, &obituary("work", DeathReason::Expired), Cc::Kept);

        let view = properties.view();
        assert_eq!((view.expiration, view.priority), (None, Some(3)));
        let headers = view.headers.unwrap();
        assert_eq!(headers.get("mine"), Some(Value::Int(1)));
        assert_eq!(
            headers
                .iter()
                .filter(|(name, _)| *name == b"x-death")
                .count(),
            1
        );
        let expected = Death {
            queue: "work".to_owned(),
            reason: DeathReason::Expired,
            count: 1,
            exchange: "jobs".to_owned(),
            routing_keys: vec!["a.b".to_owned()],
            time_s: 77,
            original_expiration: Some("500".to_owned()),
        };
        assert_eq!(read(headers).deaths, [expected]);
        assert_eq!(read(headers), history);
        for name in ["x-first-death-reason", "x-last-death-reason"] {
            assert_eq!(header(&properties, name).as_deref(), Some("expired"));
        }
        assert_eq!(header(&properties, "x-raftmq-id").as_deref(), Some("4-7-0"));
    }

    #[test]
    fn a_second_death_counts_up_and_the_first_one_stays_the_first() {
        let first = stored(TableBuilder::new(), form::Deaths::NotOurs);
        let (properties, _) = write(&first, &obituary("work", DeathReason::Rejected), Cc::Kept);
        let second = Stored {
            message: Message {
                exchange: ShortString::from_static("dead"),
                properties,
                ..first.message
            },
            deaths: form::Deaths::Ours,
        };
        let mut later = obituary("retry", DeathReason::Expired);
        later.id = "9-9-9".to_owned();
        let (properties, _) = write(&second, &later, Cc::Kept);
        let third = Stored {
            message: Message {
                properties,
                ..second.message
            },
            deaths: form::Deaths::Ours,
        };
        let (properties, history) =
            write(&third, &obituary("work", DeathReason::Rejected), Cc::Kept);

        let deaths: Vec<_> = history
            .deaths
            .iter()
            .map(|one| (&*one.queue, one.count))
            .collect();
        assert_eq!(deaths, [("work", 2), ("retry", 1)]);
        let named = |name| header(&properties, name);
        assert_eq!(named("x-first-death-exchange").as_deref(), Some("jobs"));
        assert_eq!(named("x-last-death-exchange").as_deref(), Some("dead"));
        assert_eq!(
            named("x-raftmq-id").as_deref(),
            Some("4-7-0"),
            "kept for life"
        );
    }

    #[test]
    fn copies_are_noted_and_go_where_the_queue_names_a_key_of_its_own() {
        let mut keys = ArrayBuilder::new();
        keys.push(Value::LongString(b"also"));
        let table = TableBuilder::new().with("CC", Value::Array(keys.as_array()));
        let stored = stored(table, form::Deaths::NotOurs);
        let obituary = obituary("work", DeathReason::MaxLength);

        let (removed, history) = write(&stored, &obituary, Cc::Removed);
        assert_eq!(history.deaths[0].routing_keys, ["a.b", "also"]);
        assert!(removed.view().headers.unwrap().get("CC").is_none());
        let (kept, _) = write(&stored, &obituary, Cc::Kept);
        assert!(kept.view().headers.unwrap().get("CC").is_some());
    }
}
