//! Headers of messages in the words of the core.
//!
//! Owns which value of a field table is which of the core's. Does not know what any name means.

use raftmq_amqp_protocol::{TableRef, Value};
use raftmq_core::exchange::{HeaderValue, Headers};

/// The headers of a message, read on demand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageHeaders<'a>(pub(crate) TableRef<'a>);

impl Headers for MessageHeaders<'_> {
    fn value(&self, name: &[u8]) -> Option<HeaderValue<&[u8]>> {
        let values = self.0.iter().filter(|(key, _)| *key == name);
        values.last().map(|(_, value)| header_value(value))
    }
}

/// A value of a table in the words of the core.
pub(crate) fn header_value(value: Value<'_>) -> HeaderValue<&[u8]> {
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

#[cfg(test)]
mod tests {
    use raftmq_amqp_protocol::TableBuilder;

    use super::*;

    #[test]
    fn a_header_that_comes_twice_counts_as_it_comes_last() {
        let table = TableBuilder::new()
            .with("x-max-length", Value::Short(7))
            .with("x-max-length", Value::Int(9))
            .finish()
            .unwrap();
        let headers = MessageHeaders(table.as_ref());
        assert_eq!(
            headers.value(b"x-max-length"),
            Some(HeaderValue::Integer(9))
        );
        assert_eq!(headers.value(b"other"), None);
    }
}
