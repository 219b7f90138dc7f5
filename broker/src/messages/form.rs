//! The storage form of a message: what stands in the log as a queue's opaque body, and travels to the
//! broker of a consumer.
//!
//! Owns the bytes, and nothing of what they mean: envelope, properties and body stay as the client
//! wrote them. Reading shares the bytes instead of copying them. Versions are append-only: a broker
//! answers a version that it does not know with an error.
//!
//! Version 1: version (1 byte), flags (1 byte), exchange and routing key (each a length of 1 byte, then
//! bytes), length of the properties (4 bytes, big endian), the properties with their own flags, the
//! body.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raftmq_amqp::Message;
use raftmq_amqp_protocol::{Properties, ShortString, TooLong};
use thiserror::Error;

/// The version that is written.
const VERSION: u8 = 1;
/// The header `x-death` is a broker's.
const HAS_DEATHS: u8 = 1;
const FLAGS_KNOWN: u8 = HAS_DEATHS;
/// Bytes of everything but the strings, the properties and the body.
const FIXED_BYTES: usize = 8;

/// Who wrote the header `x-death` of a message, if there is one. A client's means nothing (RabbitMQ 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deaths {
    /// Nobody, or a client.
    NotOurs,
    /// A broker: the message is a dead letter.
    Ours,
}

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) message: Message,
    pub(crate) deaths: Deaths,
}

/// Bytes that no broker of this version wrote.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FormError {
    /// They end too early.
    #[error("a stored message ends after {remaining} bytes, {needed} were due")]
    Truncated {
        /// Bytes that were due.
        needed: usize,
        /// Bytes that are left.
        remaining: usize,
    },
    /// A later broker wrote them, or nobody.
    #[error("a stored message has version {version}, expected {VERSION}")]
    UnknownVersion {
        /// The version found.
        version: u8,
    },
    /// A later broker noted something that this one cannot read.
    #[error("a stored message has unknown flags {flags:#04x}")]
    UnknownFlags {
        /// The flags found.
        flags: u8,
    },
    /// Its properties are none.
    #[error("a stored message has bad properties at {property}")]
    Properties {
        /// Which one.
        property: &'static str,
    },
    /// A string is longer than one octet can say: cannot be, but is not worth a panic.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// Writes a message down; its body is copied once.
pub(crate) fn encode(message: &Message, deaths: Deaths) -> Bytes {
    let properties = message.properties.raw();
    let size = FIXED_BYTES
        + message.exchange.len()
        + message.routing_key.len()
        + properties.len()
        + message.body.len();
    let mut form = BytesMut::with_capacity(size);
    form.put_u8(VERSION);
    form.put_u8(match deaths {
        Deaths::NotOurs => 0,
        Deaths::Ours => HAS_DEATHS,
    });
    for string in [&message.exchange, &message.routing_key] {
        // A short string has at most 255 bytes.
        form.put_u8(u8::try_from(string.len()).unwrap_or(u8::MAX));
        form.put_slice(string);
    }
    form.put_u32(u32::try_from(properties.len()).unwrap_or(u32::MAX));
    form.put_slice(properties);
    for segment in message.body.segments() {
        form.put_slice(segment);
    }
    form.freeze()
}

/// Reads a message; everything in it shares `form`.
///
/// # Errors
/// See [`FormError`].
pub(crate) fn decode(mut form: Bytes) -> Result<Stored, FormError> {
    let version = take(&mut form, 1)?.get_u8();
    if version != VERSION {
        return Err(FormError::UnknownVersion { version });
    }
    let flags = take(&mut form, 1)?.get_u8();
    if flags & !FLAGS_KNOWN != 0 {
        return Err(FormError::UnknownFlags { flags });
    }
    let exchange = take_short(&mut form)?;
    let routing_key = take_short(&mut form)?;
    let properties_bytes = take(&mut form, 4)?.get_u32();
    let properties = take(&mut form, properties_bytes as usize)?;
    let properties = Properties::validate(properties)
        .map_err(|(property, _cause)| FormError::Properties { property })?;
    let message = Message {
        exchange,
        routing_key,
        properties,
        body: form.into(),
    };
    let deaths = if flags & HAS_DEATHS == 0 {
        Deaths::NotOurs
    } else {
        Deaths::Ours
    };
    Ok(Stored { message, deaths })
}

fn take_short(form: &mut Bytes) -> Result<ShortString, FormError> {
    let length = take(form, 1)?.get_u8();
    Ok(ShortString::try_from(take(form, length.into())?)?)
}

fn take(form: &mut Bytes, needed: usize) -> Result<Bytes, FormError> {
    let remaining = form.len();
    if remaining < needed {
        return Err(FormError::Truncated { needed, remaining });
    }
    Ok(form.split_to(needed))
}

#[cfg(test)]
mod tests {
    use raftmq_amqp_protocol::{BasicProperties, Body};

    use super::*;

    fn message() -> Message {
        let properties = BasicProperties {
            content_type: Some(b"text/plain"),
            delivery_mode: Some(2),
            ..BasicProperties::default()
        };
        Message {
            exchange: ShortString::from_static("logs"),
            routing_key: ShortString::from_static("audit.x"),
            properties: properties.encode().unwrap(),
            body: Body::from(Bytes::from_static(b"hello")),
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written_and_shares_its_bytes() {
        for deaths in [Deaths::NotOurs, Deaths::Ours] {
            let form = encode(&message(), deaths);
            let read = decode(form.clone()).unwrap();
            assert_eq!((&read.message, read.deaths), (&message(), deaths));
            let body = read.message.body.into_bytes();
            let whole = form.as_ptr_range();
            assert!(whole.contains(&body.as_ptr()), "the body was copied");
        }
        let empty = decode(encode(&Message::default(), Deaths::NotOurs));
        assert_eq!(empty.unwrap().message, Message::default());
    }

    #[test]
    fn the_bytes_of_version_1_stay_what_they_are() {
        let golden = b"\x01\x01\x04logs\x07audit.x\x00\x00\x00\x0e\x90\x00\x0atext/plain\x02hello";
        assert_eq!(encode(&message(), Deaths::Ours)[..], golden[..]);
    }

    #[test]
    fn every_cut_of_the_envelope_is_an_error_and_every_cut_of_the_body_a_shorter_one() {
        let form = encode(&message(), Deaths::NotOurs);
        let body_start = form.len() - 5;
        for end in 0..body_start {
            let cut = decode(form.slice(..end));
            assert!(
                matches!(cut, Err(FormError::Truncated { .. })),
                "{end}: {cut:?}"
            );
        }
        for end in body_start..=form.len() {
            let read = decode(form.slice(..end)).unwrap().message;
            assert_eq!(read.body.len(), end - body_start);
        }
    }

    #[test]
    fn unknown_versions_unknown_flags_and_bad_properties_are_errors() {
        let read = |bytes: &'static [u8]| decode(Bytes::from_static(bytes)).unwrap_err();
        let version = FormError::UnknownVersion { version: 2 };
        assert_eq!(read(b"\x02\0\0\0\0\0\0\x02\0\0"), version);
        let flags = FormError::UnknownFlags { flags: 3 };
        assert_eq!(read(b"\x01\x03\0\0\0\0\0\x02\0\0"), flags);
        // Flags that announce a content type which is not there.
        let property = "content_type";
        assert_eq!(
            read(b"\x01\0\0\0\0\0\0\x02\x80\0"),
            FormError::Properties { property }
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>) {
            if let Ok(Stored { message, deaths }) = decode(Bytes::from(bytes.clone())) {
                proptest::prop_assert_eq!(&encode(&message, deaths)[..], &bytes[..]);
            }
        }
    }
}
