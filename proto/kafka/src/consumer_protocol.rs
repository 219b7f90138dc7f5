//! What the members of a classic consumer group say to each other in JoinGroup and SyncGroup: a
//! 16-bit version, then the message. To a broker they are bytes, except where it describes a group,
//! deletes offsets of a topic, or hands a group over to KIP-848.
//!
//! As in Kafka, a version above the newest is read as the newest: what a later version adds stands
//! behind.

use bytes::{Bytes, BytesMut};

use crate::error::{DecodeError, EncodeError};
use crate::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use crate::reader::Reader;
use crate::sink::Sink;
use crate::version::Encoding;
use crate::wire::Message;

/// A message that stands behind its own version in a member's metadata or assignment.
pub trait Versioned: Message {
    /// Reads the version and the message; what trails it is left unread.
    ///
    /// # Errors
    /// [`DecodeError::Version`] for a version below 0, else what is wrong with the bytes.
    fn decode_versioned(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.enter(Self::NAME, 0, Encoding::Classic);
        let version: i16 = reader.get("Version")?;
        Self::decode(&mut reader, version.min(Self::VERSIONS.max))
    }

    /// The version and the message in it.
    ///
    /// # Errors
    /// Those of [`Message::encode`].
    fn encode_versioned(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut bytes = BytesMut::new();
        bytes.put(&version.to_be_bytes());
        self.encode(version, &mut bytes)?;
        Ok(bytes.freeze())
    }
}

impl Versioned for ConsumerProtocolSubscription {}
impl Versioned for ConsumerProtocolAssignment {}
