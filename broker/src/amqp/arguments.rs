//! Field tables in the words of the core: arguments of declarations and bindings.
//!
//! Does not know what any name means.

use bytes::Bytes;
use raftmq_amqp_protocol::{Table, Value};
use raftmq_core::exchange::{Argument, Arguments, HeaderValue};

use crate::messages::header_value;

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
}
