//! The eight octets that open a connection (AMQP 0-9-1, 4.2.2), and who is refused.
//!
//! Whoever is refused is sent [`PROTOCOL_HEADER`], and the connection is closed. Does not know
//! what comes next.

use bytes::{Buf, BytesMut};
use thiserror::Error;

/// What a client opens with, and what a refused one is answered.
pub const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// Which protocol a client opened with; both are served alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolHeader {
    /// AMQP 0-9-1.
    Amqp091,
    /// AMQP 0-9, close enough to be treated as 0-9-1, as RabbitMQ does; `connection.start` names 0-9.
    Amqp09,
}

/// Why a client's first octets are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderRefusal {
    /// Another version of AMQP.
    #[error("AMQP {class} {instance} {major} {minor} is not served, only 0 0 9 1")]
    Version {
        /// The fifth octet: the protocol's class or id.
        class: u8,
        /// The sixth octet.
        instance: u8,
        /// The seventh octet.
        major: u8,
        /// The last octet.
        minor: u8,
    },
    /// Somebody speaks HTTP.
    #[error("the client speaks HTTP, not AMQP")]
    Http,
    /// Somebody opens TLS on a plain port.
    #[error("the client opens TLS on a plain port")]
    Tls,
    /// Something else.
    #[error("not a protocol header: {octets:?}")]
    NotAmqp {
        /// What came.
        octets: [u8; 8],
    },
}

impl ProtocolHeader {
    /// Takes the eight octets from the front of a buffer; `None` until they are there.
    ///
    /// # Errors
    /// Why the client is refused; the octets stay.
    pub fn parse(buffer: &mut BytesMut) -> Result<Option<Self>, HeaderRefusal> {
        let Some(octets) = buffer.first_chunk::<8>() else {
            return Ok(None);
        };
        let header = match *octets {
            [b'A', b'M', b'Q', b'P', 0, 0, 9, 1] => Self::Amqp091,
            [b'A', b'M', b'Q', b'P', 1, 1, 0, 9] => Self::Amqp09,
            [b'A', b'M', b'Q', b'P', class, instance, major, minor] => {
                return Err(HeaderRefusal::Version {
                    class,
                    instance,
                    major,
                    minor,
                });
            }
            [b'G', b'E', b'T', b' ', ..] => return Err(HeaderRefusal::Http),
            // A TLS record with a client hello.
            [0x16, 0x03, _, _, _, 0x01, ..] => return Err(HeaderRefusal::Tls),
            octets => return Err(HeaderRefusal::NotAmqp { octets }),
        };
        buffer.advance(octets.len());
        Ok(Some(header))
    }
}
