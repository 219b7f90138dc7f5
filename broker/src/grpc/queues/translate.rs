//! Messages of the wire and AMQP's, which is how they are stored.
//!
//! Owns which property and which type of a header's value is which. Whole numbers are stored with 64 bits,
//! text as `longstr`. Does not know what any of them means.

use bytes::Bytes;
use raftmq_amqp::{Message, Taken, properties_for_consumer, ttl_ms};
use raftmq_amqp_protocol::{
    ArrayBuilder, ArrayRef, BasicProperties, Properties, ShortString, Table, TableBuilder,
    TableRef, Value,
};
use raftmq_proto::v1::header_value::Value as Told;
use raftmq_proto::v1::{
    HeaderArray, HeaderDecimal, HeaderTable, HeaderValue, MessageHeader, QueueDelivery,
    QueueMessage,
};

use super::limits::HEADERS_DEPTH_MAX;

const ID_HEADER: &str = "x-raftmq-id";

/// Turns what a client publishes into a message.
///
/// # Errors
/// What cannot be: for people.
pub(super) fn message(
    exchange: &str,
    routing_key: Bytes,
    told: QueueMessage,
) -> Result<Message, String> {
    let exchange = ShortString::try_from(exchange);
    let exchange = exchange.map_err(|error| format!("name of the exchange: {error}"))?;
    let routing_key = ShortString::try_from(routing_key);
    Ok(Message {
        exchange,
        routing_key: routing_key.map_err(|error| format!("routing key: {error}"))?,
        properties: properties(&told)?,
        body: told.body.into(),
    })
}

fn properties(told: &QueueMessage) -> Result<Properties, String> {
    let headers = table(&told.headers).map_err(|error| format!("headers: {error}"))?;
    let expiration = told.expiration_ms.map(|ms| ms.to_string());
    let octet = |value: Option<u32>, what: &str| {
        let octet = value.map(u8::try_from).transpose();
        octet.map_err(|_| format!("{what} {} is above 255", value.unwrap_or_default()))
    };
    let properties = BasicProperties {
        content_type: given(told.content_type.as_bytes()),
        content_encoding: given(told.content_encoding.as_bytes()),
        headers: (!headers.is_empty()).then(|| headers.as_ref()),
        delivery_mode: octet(told.delivery_mode, "delivery mode")?,
        priority: octet(told.priority, "priority")?,
        correlation_id: given(&told.correlation_id),
        reply_to: given(told.reply_to.as_bytes()),
        expiration: expiration.as_deref().map(str::as_bytes),
        message_id: given(&told.message_id),
        timestamp: told.timestamp_s,
        kind: given(told.kind.as_bytes()),
        user_id: None,
        app_id: given(told.app_id.as_bytes()),
        cluster_id: None,
    };
    let encoded = properties.encode();
    encoded.map_err(|error| format!("a property of the message: {error}"))
}

const fn given(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.is_empty() { None } else { Some(bytes) }
}

fn table(headers: &[MessageHeader]) -> Result<Table, String> {
    let mut builder = TableBuilder::new();
    for MessageHeader { name, value } in headers {
        let mut put = Ok(());
        let mut add = |value: Value<'_>| {
            put = builder.put(name.as_bytes(), value).map(drop);
        };
        match value {
            Some(value) => with_value(value, &mut add)?,
            None => add(Value::Void),
        }
        put.map_err(|error| format!("name of a header: {error}"))?;
    }
    builder.finish().map_err(|error| format!("{error:?}"))
}

/// Shows a value in AMQP's form to `add`; what lies in it lives only so long.
fn with_value(value: &HeaderValue, add: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
    match &value.value {
        None => add(Value::Void),
        Some(Told::Flag(flag)) => add(Value::Bool(*flag)),
        Some(Told::Integer(number)) => add(Value::Long(*number)),
        Some(Told::Real(number)) => add(Value::Double(*number)),
        Some(Told::Text(text)) => add(Value::LongString(text.as_bytes())),
        Some(Told::Binary(bytes)) => add(Value::Binary(bytes)),
        Some(Told::TimestampS(seconds)) => add(Value::Timestamp(*seconds)),
        Some(Told::Decimal(HeaderDecimal { digits, scale })) => add(Value::Decimal {
            scale: u8::try_from(*scale).map_err(|_| format!("scale {scale} is above 255"))?,
            digits: *digits,
        }),
        Some(Told::Array(array)) => {
            let mut builder = ArrayBuilder::new();
            for value in &array.values {
                with_value(value, &mut |value| {
                    builder.push(value);
                })?;
            }
            add(Value::Array(builder.as_array()));
        }
        Some(Told::Table(inner)) => add(Value::Table(table(&inner.entries)?.as_ref())),
    }
    Ok(())
}

/// Turns a message of a queue into a delivery.
pub(super) fn delivery(mut taken: Taken, tag: u64, consumer_tag: &str) -> QueueDelivery {
    let properties = properties_for_consumer(&taken);
    let headers = properties.view().headers.unwrap_or_default();
    let id = headers.get(ID_HEADER).and_then(Value::as_bytes);
    let raftmq_id = id.map(text).unwrap_or_default();
    taken.message.properties = properties;
    QueueDelivery {
        redelivered: taken.is_redelivered,
        raftmq_id,
        failed_attempts: taken.attempts,
        ..reply(taken.message, tag, consumer_tag)
    }
}

/// Turns a reply, which comes from no queue, into a delivery.
pub(super) fn reply(message: Message, tag: u64, consumer_tag: &str) -> QueueDelivery {
    QueueDelivery {
        delivery_tag: tag,
        consumer_tag: consumer_tag.to_owned(),
        exchange: text(&message.exchange),
        routing_key: message.routing_key.clone().into_bytes(),
        message: Some(told(message)),
        ..QueueDelivery::default()
    }
}

fn told(message: Message) -> QueueMessage {
    let view = message.properties.view();
    let text_of = |bytes: Option<&[u8]>| bytes.map(text).unwrap_or_default();
    let copied = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice).unwrap_or_default();
    let headers = view.headers.unwrap_or_default();
    QueueMessage {
        content_type: text_of(view.content_type),
        content_encoding: text_of(view.content_encoding),
        headers: entries(headers, HEADERS_DEPTH_MAX),
        delivery_mode: view.delivery_mode.map(u32::from),
        priority: view.priority.map(u32::from),
        correlation_id: copied(view.correlation_id),
        reply_to: text_of(view.reply_to),
        // It was checked when it was published.
        expiration_ms: ttl_ms(&view).ok().flatten(),
        message_id: copied(view.message_id),
        timestamp_s: view.timestamp,
        kind: text_of(view.kind),
        user_id: text_of(view.user_id),
        app_id: text_of(view.app_id),
        body: message.body.into_bytes(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn entries(table: TableRef<'_>, depth: usize) -> Vec<MessageHeader> {
    let entry = |(name, value): (&[u8], Value<'_>)| MessageHeader {
        name: text(name),
        value: Some(header_value(value, depth)),
    };
    table.iter().map(entry).collect()
}

fn values(array: ArrayRef<'_>, depth: usize) -> Vec<HeaderValue> {
    let values = array.iter();
    values.map(|value| header_value(value, depth)).collect()
}

/// `depth`: how much deeper tables and arrays may go.
fn header_value(value: Value<'_>, depth: usize) -> HeaderValue {
    if let Some(number) = value.as_i64() {
        let value = Some(Told::Integer(number));
        return HeaderValue { value };
    }
    let inner = depth.checked_sub(1);
    let told = match value {
        Value::Bool(flag) => Some(Told::Flag(flag)),
        Value::Float(number) => Some(Told::Real(number.into())),
        Value::Double(number) => Some(Told::Real(number)),
        Value::Decimal { scale, digits } => Some(Told::Decimal(HeaderDecimal {
            digits,
            scale: scale.into(),
        })),
        Value::LongString(bytes) => Some(match std::str::from_utf8(bytes) {
            Ok(text) => Told::Text(text.to_owned()),
            Err(_) => binary(bytes),
        }),
        Value::Binary(bytes) => Some(binary(bytes)),
        Value::Array(array) => Some(inner.map_or_else(
            || binary(array.raw()),
            |depth| {
                let values = values(array, depth);
                Told::Array(HeaderArray { values })
            },
        )),
        Value::Table(table) => Some(inner.map_or_else(
            || binary(table.raw()),
            |depth| {
                let entries = entries(table, depth);
                Told::Table(HeaderTable { entries })
            },
        )),
        Value::Timestamp(seconds) => Some(Told::TimestampS(seconds)),
        Value::Void
        | Value::Byte(_)
        | Value::UnsignedByte(_)
        | Value::Short(_)
        | Value::UnsignedShort(_)
        | Value::Int(_)
        | Value::UnsignedInt(_)
        | Value::Long(_) => None,
    };
    HeaderValue { value: told }
}

fn binary(bytes: &[u8]) -> Told {
    Told::Binary(Bytes::copy_from_slice(bytes))
}

#[cfg(test)]
mod tests {
    use raftmq_core::queue::MessageRef;
    use raftmq_core::{DeliveryId, GroupNumber, LogIndex};

    use super::*;

    fn header(name: &str, value: Option<Told>) -> MessageHeader {
        MessageHeader {
            name: name.to_owned(),
            value: Some(HeaderValue { value }),
        }
    }

    fn full() -> QueueMessage {
        let inner = HeaderTable {
            entries: vec![header("deep", Some(Told::Integer(-7)))],
        };
        let array = HeaderArray {
            values: vec![HeaderValue {
                value: Some(Told::Table(inner.clone())),
            }],
        };
        let decimal = HeaderDecimal {
            digits: 314,
            scale: 2,
        };
        QueueMessage {
            body: Bytes::from_static(b"body"),
            content_type: "text/plain".to_owned(),
            content_encoding: "gzip".to_owned(),
            headers: vec![
                header("void", None),
                header("flag", Some(Told::Flag(true))),
                header("real", Some(Told::Real(0.5))),
                header("text", Some(Told::Text("t".to_owned()))),
                header("bytes", Some(Told::Binary(Bytes::from_static(b"\xff")))),
                header("time", Some(Told::TimestampS(9))),
                header("decimal", Some(Told::Decimal(decimal))),
                header("array", Some(Told::Array(array))),
                header("table", Some(Told::Table(inner))),
            ],
            delivery_mode: Some(2),
            priority: Some(0),
            correlation_id: Bytes::from_static(b"\x00\xff"),
            reply_to: "answers".to_owned(),
            expiration_ms: Some(60_000),
            message_id: Bytes::from_static(b"m-1"),
            timestamp_s: Some(1_700_000_000),
            kind: "order".to_owned(),
            user_id: String::new(),
            app_id: "shop".to_owned(),
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let key = Bytes::from_static(b"k\xff");
        let message = message("logs", key.clone(), full()).unwrap();

        let read = reply(message, 3, "c");

        assert_eq!(read.message, Some(full()));
        assert_eq!((&read.exchange[..], &read.routing_key), ("logs", &key));
        assert_eq!((read.delivery_tag, &read.consumer_tag[..]), (3, "c"));
        assert_eq!(read.raftmq_id, "");
    }

    #[test]
    fn what_a_message_cannot_carry_is_told() {
        let long = "x".repeat(256);
        let refused = |told: QueueMessage| message("", Bytes::new(), told).unwrap_err();
        assert!(message(&long, Bytes::new(), full()).is_err());
        assert!(message("", Bytes::from(long.clone()), full()).is_err());
        let loud = QueueMessage {
            priority: Some(256),
            ..full()
        };
        assert_eq!(refused(loud), "priority 256 is above 255");
        let named = QueueMessage {
            headers: vec![header(&long, None)],
            ..full()
        };
        assert!(refused(named).starts_with("headers: name of a header"));
        let typed = QueueMessage {
            kind: long,
            ..full()
        };
        assert!(refused(typed).starts_with("a property of the message"));
    }

    #[test]
    fn headers_that_are_too_deep_for_a_reader_come_as_bytes() {
        let mut table = TableBuilder::new().finish().unwrap();
        for _ in 0..HEADERS_DEPTH_MAX + 1 {
            let outer = TableBuilder::new().with("in", Value::Table(table.as_ref()));
            table = outer.finish().unwrap();
        }
        let mut entries = entries(table.as_ref(), HEADERS_DEPTH_MAX);
        let mut depth = 0;
        while let Some(Told::Table(inner)) = entries[0].value.take().and_then(|one| one.value) {
            entries = inner.entries;
            depth += 1;
        }
        assert_eq!(depth, HEADERS_DEPTH_MAX);
    }

    #[test]
    fn a_delivery_carries_the_messages_id_and_how_often_it_failed() {
        let message = message("", Bytes::from_static(b"q"), QueueMessage::default()).unwrap();
        let taken = Taken {
            queue: GroupNumber(5),
            id: DeliveryId(1),
            is_settled: false,
            is_redelivered: true,
            attempts: 2,
            stored_at: MessageRef {
                log_index: LogIndex(7),
                position: 3,
            },
            message,
        };
        let read = delivery(taken, 1, "c");
        assert_eq!(read.raftmq_id, "5-7-3");
        assert_eq!((read.failed_attempts, read.redelivered), (2, true));
        let headers = read.message.unwrap().headers;
        assert!(
            headers
                .iter()
                .any(|header| header.name == "x-delivery-count")
        );
    }
}
