//! The bytes of arguments and bindings, in commands and rows alike.
//!
//! An argument: name, the octet of its type on the wire, then a kind of ours and the value. Does not
//! know what an argument means. Kinds are never reused.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::codec::{CodecError, Reader, Writer};
use crate::exchange::{
    ARGUMENTS_COUNT_MAX, Argument, Arguments, BINDING_KEY_BYTES_MAX, Binding, Destination,
    ExchangeId, ExchangeKind, HeaderValue,
};
use crate::ids::GroupNumber;
use crate::limits::{
    AMQP_ARGUMENTS_BYTES_MAX, NAME_BYTES_MAX, PASSWORD_BYTES_MAX, SHORT_STRING_BYTES_MAX,
    USER_TAGS_COUNT_MAX,
};

const VOID: u8 = 0;
const BOOL: u8 = 1;
const INTEGER: u8 = 2;
const FLOAT: u8 = 3;
const DECIMAL: u8 = 4;
const TIMESTAMP: u8 = 5;
const BYTES: u8 = 6;
const NESTED: u8 = 7;

/// Bytes of the smallest argument: length of its name, type, kind.
const ARGUMENT_BYTES_MIN: usize = 6;

const TO_QUEUE: u8 = 1;
const TO_EXCHANGE: u8 = 2;

pub(super) fn write_arguments(writer: &mut Writer, arguments: &Arguments) {
    let arguments = arguments.as_slice();
    writer.count(arguments.len());
    for Argument { name, tag, value } in arguments {
        write_bytes(writer, name);
        writer.u8(*tag);
        match value {
            HeaderValue::Void => writer.u8(VOID),
            HeaderValue::Bool(value) => writer.u8(BOOL).flag(*value),
            HeaderValue::Integer(number) => writer.u8(INTEGER).i64(*number),
            HeaderValue::Float(bits) => writer.u8(FLOAT).u64(*bits),
            HeaderValue::Decimal(scale, digits) => writer.u8(DECIMAL).u8(*scale).u32(*digits),
            HeaderValue::Timestamp(seconds) => writer.u8(TIMESTAMP).u64(*seconds),
            HeaderValue::Bytes(bytes) => write_bytes(writer.u8(BYTES), bytes),
            HeaderValue::Nested(bytes) => write_bytes(writer.u8(NESTED), bytes),
        };
    }
}

/// # Errors
/// `OverLimit` for more than `AMQP_ARGUMENTS_BYTES_MAX` in all; as any reading.
pub(super) fn read_arguments(reader: &mut Reader) -> Result<Arguments, CodecError> {
    let before = reader.remaining();
    let count = reader.count("arguments", ARGUMENT_BYTES_MIN, ARGUMENTS_COUNT_MAX)?;
    let mut arguments = Vec::with_capacity(count);
    for _ in 0..count {
        arguments.push(Argument {
            name: read_bytes(reader, "argument", SHORT_STRING_BYTES_MAX)?,
            tag: reader.u8()?,
            value: read_value(reader)?,
        });
        let actual = before - reader.remaining();
        if actual > AMQP_ARGUMENTS_BYTES_MAX {
            return Err(CodecError::OverLimit {
                what: "bytes of arguments".to_owned(),
                actual,
                limit: AMQP_ARGUMENTS_BYTES_MAX,
            });
        }
    }
    Ok(Arguments::new(arguments))
}

fn read_value(reader: &mut Reader) -> Result<HeaderValue, CodecError> {
    let what = "value of an argument";
    Ok(match reader.u8()? {
        VOID => HeaderValue::Void,
        BOOL => HeaderValue::Bool(reader.flag(what)?),
        INTEGER => HeaderValue::Integer(reader.i64()?),
        FLOAT => HeaderValue::Float(reader.u64()?),
        DECIMAL => HeaderValue::Decimal(reader.u8()?, reader.u32()?),
        TIMESTAMP => HeaderValue::Timestamp(reader.u64()?),
        BYTES => HeaderValue::Bytes(read_bytes(reader, what, AMQP_ARGUMENTS_BYTES_MAX)?),
        NESTED => HeaderValue::Nested(read_bytes(reader, what, AMQP_ARGUMENTS_BYTES_MAX)?),
        tag => return Err(unknown(what, tag)),
    })
}

/// The bytes of a binding and its source, which are the rest of its row's key.
pub(super) fn write_binding(writer: &mut Writer, source: ExchangeId, binding: &Binding) {
    writer.u64(source.0);
    match binding.destination {
        Destination::Queue(group) => writer.u8(TO_QUEUE).u64(group.0),
        Destination::Exchange(id) => writer.u8(TO_EXCHANGE).u64(id.0),
    };
    write_bytes(writer, &binding.key);
    write_arguments(writer, &binding.arguments);
}

pub(super) fn read_binding(reader: &mut Reader) -> Result<(ExchangeId, Binding), CodecError> {
    let source = ExchangeId(reader.u64()?);
    let destination = match reader.u8()? {
        TO_QUEUE => Destination::Queue(GroupNumber(reader.u64()?)),
        TO_EXCHANGE => Destination::Exchange(ExchangeId(reader.u64()?)),
        tag => return Err(unknown("destination", tag)),
    };
    let binding = Binding {
        destination,
        key: read_key(reader)?,
        arguments: read_arguments(reader)?,
    };
    Ok((source, binding))
}

pub(super) fn read_key(reader: &mut Reader) -> Result<std::sync::Arc<[u8]>, CodecError> {
    let key = read_bytes(reader, "binding key", BINDING_KEY_BYTES_MAX)?;
    Ok(key[..].into())
}

pub(super) fn write_kind(writer: &mut Writer, kind: ExchangeKind) {
    writer.u8(match kind {
        ExchangeKind::Direct => 1,
        ExchangeKind::Fanout => 2,
        ExchangeKind::Topic => 3,
        ExchangeKind::Headers => 4,
    });
}

pub(super) fn read_kind(reader: &mut Reader) -> Result<ExchangeKind, CodecError> {
    match reader.u8()? {
        1 => Ok(ExchangeKind::Direct),
        2 => Ok(ExchangeKind::Fanout),
        3 => Ok(ExchangeKind::Topic),
        4 => Ok(ExchangeKind::Headers),
        tag => Err(unknown("exchange kind", tag)),
    }
}

pub(super) fn write_tags(writer: &mut Writer, tags: &BTreeSet<String>) {
    writer.count(tags.len());
    for tag in tags {
        writer.text(tag);
    }
}

pub(super) fn read_tags(reader: &mut Reader) -> Result<BTreeSet<String>, CodecError> {
    let count = reader.count("tags", 4, USER_TAGS_COUNT_MAX)?;
    let tags = (0..count).map(|_| reader.text("tag", NAME_BYTES_MAX));
    tags.collect()
}

pub(super) fn read_password(reader: &mut Reader) -> Result<Bytes, CodecError> {
    read_bytes(reader, "password hash", PASSWORD_BYTES_MAX)
}

pub(super) fn write_bytes<'a>(writer: &'a mut Writer, bytes: &[u8]) -> &'a mut Writer {
    writer.count(bytes.len()).raw(bytes)
}

fn read_bytes(reader: &mut Reader, what: &'static str, limit: usize) -> Result<Bytes, CodecError> {
    let length = reader.count(what, 1, limit)?;
    // A copy: what is kept must not keep the whole entry.
    Ok(Bytes::copy_from_slice(&reader.take(length)?))
}

pub(super) fn unknown(what: &str, tag: u8) -> CodecError {
    CodecError::UnknownTag {
        what: what.to_owned(),
        tag,
    }
}
