//! Methods: the commands of AMQP 0-9-1, each class a module.
//!
//! Owns the parts that all methods share; `schema.rs` lists them, `declare.rs` turns a line of the
//! list into a type with its codec. Does not know which method may come when.

mod declare;
mod schema;

use std::fmt;

use bytes::{Bytes, BytesMut};

pub use self::schema::{Method, access, basic, channel, confirm, connection, exchange, queue, tx};

use crate::error::WireError;
use crate::reader::Reader;
use crate::writer::Writer;

/// The numbers that name a method on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodId {
    /// Its class.
    pub class_id: u16,
    /// Its number in the class.
    pub method_id: u16,
}

impl MethodId {
    /// Stands in a close for "no method is to blame".
    pub const NONE: Self = Self {
        class_id: 0,
        method_id: 0,
    };

    /// Reads the numbers of a method frame without decoding it: a closing channel looks for its
    /// `close-ok` and for nothing else.
    #[must_use]
    pub fn peek(payload: &[u8]) -> Option<Self> {
        let (class_id, rest) = payload.split_first_chunk()?;
        let (method_id, _) = rest.split_first_chunk()?;
        Some(Self {
            class_id: u16::from_be_bytes(*class_id),
            method_id: u16::from_be_bytes(*method_id),
        })
    }
}

/// Writes the numbers as RabbitMQ's texts do.
impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{},{}}}", self.class_id, self.method_id)
    }
}

/// Who sends a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Only clients.
    Client,
    /// Only servers.
    Server,
    /// Either side.
    Both,
}

/// One line of the list of methods, for documents and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodInfo {
    /// Its numbers.
    pub id: MethodId,
    /// Its name: `basic.publish`.
    pub name: &'static str,
    /// Who sends it.
    pub sender: Sender,
    /// Whether a content header and bodies follow it.
    pub has_content: bool,
    /// Names and types of its fields, in wire order.
    pub fields: &'static [(&'static str, &'static str)],
}

impl Method {
    /// Reads a method frame's payload.
    ///
    /// # Errors
    /// `UnknownMethod`; `Field` when a field does not decode or bytes are left over.
    pub fn decode(payload: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        let (class_id, method_id) = match (reader.u16(), reader.u16()) {
            (Ok(class_id), Ok(method_id)) => (class_id, method_id),
            (class_id, _) => {
                let method = MethodId {
                    class_id: class_id.unwrap_or(0),
                    method_id: 0,
                };
                return Err(WireError::UnknownMethod { method });
            }
        };
        let method = MethodId {
            class_id,
            method_id,
        };
        let decoded = Self::decode_fields(method, &mut reader)?;
        reader.finish().map_err(|cause| WireError::Field {
            method,
            field: "end",
            cause,
        })?;
        Ok(decoded)
    }

    /// Appends a method frame's payload.
    pub fn encode(&self, buffer: &mut BytesMut) {
        let mut writer = Writer::new(buffer);
        let id = self.id();
        writer.u16(id.class_id);
        writer.u16(id.method_id);
        self.encode_fields(&mut writer);
    }

    /// Tells whether a client may send the method.
    #[must_use]
    pub const fn is_from_client(&self) -> bool {
        match self.sender() {
            Sender::Client | Sender::Both => true,
            Sender::Server => false,
        }
    }
}
