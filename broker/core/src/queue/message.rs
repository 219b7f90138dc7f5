//! A message as it stands in an entry of the queue's log, and the names by which it is found.
//!
//! Owns `MessageRef`, the position of a body; `ChannelId`; and what the machine must know of a
//! message beside its body. Does not look into a body: exchange, routing key, properties and
//! payload are the front end's bytes.

use std::fmt;

use bytes::Bytes;

use crate::codec::{CodecError, Reader, Writer};
use crate::ids::{BrokerEpoch, BrokerId, GroupNumber, LogIndex};
use crate::limits::SHORT_STRING_BYTES_MAX;

const HAS_TTL: u8 = 1;
const HAS_DELAY: u8 = 1 << 1;
const HAS_DEDUP_ID: u8 = 1 << 2;
const IS_REJECTED: u8 = 1 << 3;
const FLAGS_KNOWN: u8 = HAS_TTL | HAS_DELAY | HAS_DEDUP_ID | IS_REJECTED;

/// Bytes of the smallest message: flags, priority, length of the body.
pub(super) const MESSAGE_BYTES_MIN: usize = 6;

/// Where the body of a message stands: it never moves and is never copied into the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MessageRef {
    /// The entry of the queue's Raft log.
    pub log_index: LogIndex,
    /// Number of the message in the entry, from 0, over all commands of the entry.
    pub position: u32,
}

impl MessageRef {
    /// Tells the message's id (`x-raftmq-id`): unique in the cluster for ever, since groups and log
    /// indexes are never reused. A dead letter keeps the id of its original: the front end writes it
    /// into the message that it publishes, and prefers an id that it finds there.
    #[must_use]
    pub fn id(self, group: GroupNumber) -> String {
        format!("{group}-{}-{}", self.log_index, self.position)
    }
}

/// One AMQP channel (or gRPC stream) as a queue sees it: owner of consumers and deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ChannelId {
    /// The broker that the client is connected to.
    pub broker: BrokerId,
    /// Its registration; a broker that comes back has another one.
    pub broker_epoch: BrokerEpoch,
    /// Unique in that registration of the broker, never reused in it.
    pub number: u64,
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.broker, self.broker_epoch, self.number)
    }
}

impl ChannelId {
    pub(super) fn write(self, writer: &mut Writer) {
        writer.u32(self.broker.0).u64(self.broker_epoch.0);
        writer.u64(self.number);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            broker: BrokerId(reader.u32()?),
            broker_epoch: BrokerEpoch(reader.u64()?),
            number: reader.u64()?,
        })
    }
}

/// What becomes of a message when its entry is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrival {
    /// It is enqueued.
    #[default]
    Enqueue,
    /// It was refused for the queue's length limit, and dies here (`reject-publish-dlx`).
    DeadLetter,
}

/// A message that is published to a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The client's priority; more than the queue has count as its highest.
    pub priority: u8,
    /// The client's `expiration`, milliseconds.
    pub ttl_ms: Option<u64>,
    /// `x-delay`, milliseconds: it is ready only then.
    pub delay_ms: Option<u64>,
    /// What it is deduplicated by, at most 255 bytes.
    pub dedup_id: Option<Bytes>,
    /// Enqueued, or dead at once.
    pub arrival: Arrival,
    /// Everything that consumers get, opaque here.
    pub body: Bytes,
}

impl Message {
    /// Counts the bytes of its body, as the length limit in bytes does.
    #[must_use]
    pub fn size(&self) -> u32 {
        u32::try_from(self.body.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let mut flags = 0;
        for (is_set, flag) in [
            (self.ttl_ms.is_some(), HAS_TTL),
            (self.delay_ms.is_some(), HAS_DELAY),
            (self.dedup_id.is_some(), HAS_DEDUP_ID),
            (self.arrival == Arrival::DeadLetter, IS_REJECTED),
        ] {
            if is_set {
                flags |= flag;
            }
        }
        writer.u8(flags).u8(self.priority);
        for duration_ms in [self.ttl_ms, self.delay_ms].into_iter().flatten() {
            writer.u64(duration_ms);
        }
        if let Some(id) = &self.dedup_id {
            writer.count(id.len()).raw(id);
        }
        writer.count(self.body.len()).raw(&self.body);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        let [flags, priority] = reader.array::<2>()?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(CodecError::UnknownTag {
                what: "message flags".to_owned(),
                tag: flags,
            });
        }
        let has = |flag: u8| flags & flag != 0;
        let ttl_ms = has(HAS_TTL).then(|| reader.u64()).transpose()?;
        let delay_ms = has(HAS_DELAY).then(|| reader.u64()).transpose()?;
        let dedup_id = has(HAS_DEDUP_ID)
            .then(|| read_short(reader, "message id"))
            .transpose()?;
        let body_bytes = reader.u32()? as usize;
        Ok(Self {
            priority,
            ttl_ms,
            delay_ms,
            dedup_id,
            arrival: if has(IS_REJECTED) {
                Arrival::DeadLetter
            } else {
                Arrival::Enqueue
            },
            body: reader.take(body_bytes)?,
        })
    }
}

/// Reads counted bytes of a short string's length.
pub(super) fn read_short(reader: &mut Reader, what: &'static str) -> Result<Bytes, CodecError> {
    let length = reader.count(what, 1, SHORT_STRING_BYTES_MAX)?;
    reader.take(length)
}
