//! What the properties of a message say to a broker, and what a broker writes into them.
//!
//! Owns `expiration`, `user-id`, `reply-to`, the headers `CC` and `BCC`, `x-raftmq-id` and
//! `x-delivery-count`. Leaves every other byte as the client wrote it.

use raftmq_amqp_protocol::{
    BasicProperties, Properties, ShortString, TableBuilder, TableRef, Value,
};

use crate::answer::{Identity, Taken};
use crate::exception::{Exception, precondition_failed};
use crate::limits::{EXPIRATION_MS_MAX, MORE_KEYS_COUNT_MAX};

/// Checks that a message carries nobody else's name.
pub(crate) fn check_user_id(
    properties: &BasicProperties<'_>,
    identity: &Identity,
) -> Result<(), Exception> {
    let user = identity.user.as_str();
    match properties.user_id {
        Some(claimed) if claimed != user.as_bytes() && !identity.may_impersonate => {
            let claimed = String::from_utf8_lossy(claimed);
            Err(precondition_failed(format!(
                "user_id property set to '{claimed}' but authenticated user was '{user}'"
            )))
        }
        Some(_) | None => Ok(()),
    }
}

/// Reads `expiration`: milliseconds, as decimal text.
///
/// # Errors
/// 406: it is no number from 0 to [`EXPIRATION_MS_MAX`].
pub fn ttl_ms(properties: &BasicProperties<'_>) -> Result<Option<u64>, Exception> {
    let Some(bytes) = properties.expiration else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(bytes);
    parse_ttl(&text)
        .map(Some)
        .map_err(|problem| precondition_failed(format!("invalid expiration '{text}': {problem}")))
}

/// Reads a number as RabbitMQ does; the error is in its notation.
fn parse_ttl(text: &str) -> Result<u64, String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits_end = unsigned
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(unsigned.len());
    let (digits, leftover) = unsigned.split_at(digits_end);
    if digits.is_empty() {
        return Err("no_integer".to_owned());
    }
    if !leftover.is_empty() {
        return Err(format!("{{leftover_string,\"{leftover}\"}}"));
    }
    let number = digits.trim_start_matches('0');
    if text.starts_with('-') && !number.is_empty() {
        return Err(format!("{{value_negative,-{number}}}"));
    }
    match digits.parse() {
        Ok(ms) if ms <= EXPIRATION_MS_MAX => Ok(ms),
        Ok(_) | Err(_) => Err(format!("{{value_too_large,{number}}}")),
    }
}

/// Reads the further routing keys of a message: its headers `CC` and `BCC`.
///
/// # Errors
/// 406: a header is no array, or there are more than [`MORE_KEYS_COUNT_MAX`] keys.
pub fn more_keys(headers: TableRef<'_>) -> Result<Vec<ShortString>, Exception> {
    let mut keys = Vec::new();
    for name in ["CC", "BCC"] {
        let values = match headers.get(name) {
            None => continue,
            Some(Value::Array(values)) => values,
            Some(other) => {
                let found = other.type_name();
                return Err(precondition_failed(format!(
                    "invalid message: {{unacceptable_type_in_header,\"{name}\",{found}}}"
                )));
            }
        };
        // Values that are no text, or too long for a routing key, match nothing, as in RabbitMQ.
        let texts = values.iter().filter_map(Value::as_str);
        keys.extend(texts.filter_map(|text| ShortString::try_from(text).ok()));
    }
    if keys.len() > MORE_KEYS_COUNT_MAX {
        let count = keys.len();
        return Err(precondition_failed(format!(
            "invalid message: {count} routing keys in CC and BCC, more than {MORE_KEYS_COUNT_MAX}"
        )));
    }
    Ok(keys)
}

/// Removes the header `BCC`, which nobody but the broker may see.
#[must_use]
pub fn without_bcc(properties: &Properties) -> Properties {
    let view = properties.view();
    let Some(headers) = view.headers else {
        return properties.clone();
    };
    if headers.get("BCC").is_none() {
        return properties.clone();
    }
    with_headers(properties, TableBuilder::from_table_without(headers, "BCC"))
}

/// Puts another address into `reply-to`.
#[must_use]
pub fn with_reply_to(properties: &Properties, address: &str) -> Properties {
    let changed = BasicProperties {
        reply_to: Some(address.as_bytes()),
        ..properties.view()
    };
    changed.encode().unwrap_or_else(|_| properties.clone())
}

/// The properties with which a message goes to a consumer: with `x-raftmq-id`, which stays what it
/// was if the message has one (a dead letter), and after failed deliveries with their number.
#[must_use]
pub fn properties_for_consumer(taken: &Taken) -> Properties {
    const ID: &str = "x-raftmq-id";
    const COUNT: &str = "x-delivery-count";
    let properties = &taken.message.properties;
    let headers = properties.view().headers.unwrap_or_default();
    let has_id = headers.get(ID).is_some();
    if has_id && taken.attempts == 0 {
        return properties.clone();
    }
    let mut builder = match taken.attempts {
        0 => TableBuilder::from_table(headers),
        _ => TableBuilder::from_table_without(headers, COUNT)
            .with(COUNT, Value::Long(taken.attempts.into())),
    };
    if !has_id {
        let id = taken.stored_at.id(taken.queue);
        builder = builder.with(ID, Value::LongString(id.as_bytes()));
    }
    with_headers(properties, builder)
}

fn with_headers(properties: &Properties, headers: TableBuilder) -> Properties {
    let Ok(table) = headers.finish() else {
        return properties.clone();
    };
    let changed = BasicProperties {
        headers: Some(table.as_ref()),
        ..properties.view()
    };
    changed.encode().unwrap_or_else(|_| properties.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiration_is_read_as_rabbitmq_reads_it() {
        assert_eq!(parse_ttl("0"), Ok(0));
        assert_eq!(parse_ttl("+60000"), Ok(60_000));
        assert_eq!(parse_ttl("315360000000"), Ok(EXPIRATION_MS_MAX));
        for (text, problem) in [
            ("", "no_integer"),
            ("abc", "no_integer"),
            ("10s", "{leftover_string,\"s\"}"),
            ("-5", "{value_negative,-5}"),
            ("315360000001", "{value_too_large,315360000001}"),
            (
                "99999999999999999999",
                "{value_too_large,99999999999999999999}",
            ),
        ] {
            assert_eq!(parse_ttl(text), Err(problem.to_owned()), "{text}");
        }
    }
}
