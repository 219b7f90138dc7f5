//! Field tables in the words of the core: arguments of declarations and bindings, headers of messages.
//!
//! Owns which value of a table is which of the core's. Does not know what any name means.

use bytes::Bytes;
use raftmq_amqp_protocol::{Table, TableRef, Value};
use raftmq_core::exchange::{Argument, Arguments, HeaderValue, Headers};

/// Turns a table into arguments: copies, because they are kept while what was read goes.
pub(super) fn arguments(table: &Table) -> Arguments {
    let all = table.iter().map(|(name, value)| argument(name, value));
    Arguments::new(all.collect())
}

/// One argument.
pub(super) fn argument(name: &[u8], value: Value<'_>) -> Argument {
    Argument {
        name: Bytes::copy_from_slice(name),
        tag: value.tag(),
        value: to_owned(header_value(value)),
    }
}

/// The headers of a message, read on demand.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageHeaders<'a>(pub(super) TableRef<'a>);

impl Headers for MessageHeaders<'_> {
    fn value(&self, name: &[u8]) -> Option<HeaderValue<&[u8]>> {
        let values = self.0.iter().filter(|(key, _)| *key == name);
        values.last().map(|(_, value)| header_value(value))
    }
}

fn header_value(value: Value<'_>) -> HeaderValue<&[u8]> {
    if let Some(number) = value.as_i64() {
        return HeaderValue::Integer(number);
    }
    match value {
        Value::Bool(value) => HeaderValue::Bool(value),
        Value::Float(number) => HeaderValue::Float(f64::from(number).to_bits()),
        Value::Double(number) => HeaderValue::Float(number.to_bits()),
        Value::Decimal { scale, digits } => HeaderValue::Decimal(scale, digits),
        Value::LongString(bytes) | Value::Binary(bytes) => HeaderValue::Bytes(bytes),
        Value::Array(array) => HeaderValue::Nested(array.raw()),
        Value::Table(table) => HeaderValue::Nested(table.raw()),
        Value::Timestamp(seconds) => HeaderValue::Timestamp(seconds),
        Value::Void
        | Value::Byte(_)
        | Value::UnsignedByte(_)
        | Value::Short(_)
        | Value::UnsignedShort(_)
        | Value::Int(_)
        | Value::UnsignedInt(_)
        | Value::Long(_) => HeaderValue::Void,
    }
}

fn to_owned(value: HeaderValue<&[u8]>) -> HeaderValue {
    match value {
        HeaderValue::Void => HeaderValue::Void,
        HeaderValue::Bool(value) => HeaderValue::Bool(value),
        HeaderValue::Integer(number) => HeaderValue::Integer(number),
        HeaderValue::Float(bits) => HeaderValue::Float(bits),
        HeaderValue::Decimal(scale, digits) => HeaderValue::Decimal(scale, digits),
        HeaderValue::Timestamp(seconds) => HeaderValue::Timestamp(seconds),
        HeaderValue::Bytes(bytes) => HeaderValue::Bytes(Bytes::copy_from_slice(bytes)),
        HeaderValue::Nested(bytes) => HeaderValue::Nested(Bytes::copy_from_slice(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use raftmq_amqp_protocol::TableBuilder;

    use super::*;

    fn table() -> Table {
        TableBuilder::new()
            .with("x-max-length", Value::Short(7))
            .with("x-overflow", Value::LongString(b"drop-head"))
            .with("half", Value::Float(0.5))
            .with("void", Value::Void)
            .with("x-max-length", Value::Int(9))
            .finish()
            .unwrap()
    }

    #[test]
    fn numbers_keep_their_value_and_their_type() {
        let arguments = arguments(&table());
        let find = |name: &str| {
            let mut all = arguments.as_slice().iter();
            all.find(|one| one.name.as_ref() == name.as_bytes())
                .map(|one| (one.tag, one.value.clone()))
        };
        assert_eq!(
            find("x-max-length"),
            Some((b'I', HeaderValue::Integer(9))),
            "sorted by name, then type"
        );
        let half = HeaderValue::Float(0.5_f64.to_bits());
        assert_eq!(find("half"), Some((b'f', half)));
        assert_eq!(find("void"), Some((b'V', HeaderValue::Void)));
        let text = HeaderValue::Bytes(Bytes::from_static(b"drop-head"));
        assert_eq!(find("x-overflow"), Some((b'S', text)));
        assert_eq!(super::arguments(&Table::default()), Arguments::NONE);
    }

    #[test]
    fn a_header_that_comes_twice_counts_as_it_comes_last() {
        let table = table();
        let headers = MessageHeaders(table.as_ref());
        assert_eq!(
            headers.value(b"x-max-length"),
            Some(HeaderValue::Integer(9))
        );
        assert_eq!(headers.value(b"other"), None);
    }
}
