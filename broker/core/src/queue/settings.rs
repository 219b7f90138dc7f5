//! What a queue was declared with, as far as its machine decides by it.
//!
//! Comes from the arguments of `queue.declare` and from policies, which the metadata group holds;
//! the queue's leader proposes what differs. Does not know exchanges: where dead letters go is
//! looked up when they are published.

use crate::codec::{CodecError, Reader, Writer};
use crate::limits::DEDUP_IDS_COUNT_MAX;

const VERSION: u8 = 1;
const OPTIONS_COUNT: u32 = 8;

/// What happens when a queue is as long as it may be (`x-overflow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The message at the head goes (`drop-head`).
    #[default]
    DropHead,
    /// The new one is refused: `basic.nack` for its publisher (`reject-publish`).
    RejectPublish,
    /// The new one is refused and dead-lettered (`reject-publish-dlx`).
    RejectPublishDlx,
}

/// The window in which a message id counts as seen (`x-message-deduplication`). An id leaves by
/// time or by count, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupSettings {
    /// How long an id is remembered, milliseconds of replicated time, at least 1.
    pub window_ms: u64,
    /// How many ids are remembered, at least 1.
    pub ids_count_max: u32,
}

/// Settings of one queue. The default is a plain queue without any limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `x-message-ttl`, milliseconds; 0 = expires unless delivered at once.
    pub message_ttl_ms: Option<u64>,
    /// `x-expires`, milliseconds without consumers, gets and declares; at least 1.
    pub expires_ms: Option<u64>,
    /// `x-max-length`: ready messages.
    pub length_max: Option<u64>,
    /// `x-max-length-bytes`: bodies of ready messages.
    pub length_bytes_max: Option<u64>,
    /// `x-overflow`.
    pub overflow: Overflow,
    /// Whether messages that die are kept until they are published elsewhere.
    pub has_dead_letters: bool,
    /// `x-delivery-limit`: failed deliveries after which a message dies with the next one.
    pub delivery_limit: Option<u32>,
    /// `x-max-priority`: 0 = all messages are equal.
    pub priority_max: u8,
    /// `x-single-active-consumer`.
    pub is_single_active_consumer: bool,
    /// `x-consumer-timeout`, milliseconds; none unless configured.
    pub consumer_timeout_ms: Option<u64>,
    /// The queue ends with its last consumer, once it had one (`auto-delete`).
    pub is_auto_delete: bool,
    /// The deduplication window, if there is one.
    pub dedup: Option<DedupSettings>,
    /// Payload between two checkpoints, bytes; 0 = the default.
    pub segment_bytes: u64,
}

impl Settings {
    /// The TTL of a message: the shorter one of the queue's and its own.
    #[must_use]
    pub fn ttl_ms(&self, message_ttl_ms: Option<u64>) -> Option<u64> {
        match (self.message_ttl_ms, message_ttl_ms) {
            (Some(queue_ms), Some(own_ms)) => Some(queue_ms.min(own_ms)),
            (queue_ms, own_ms) => queue_ms.or(own_ms),
        }
    }

    /// Whether so many ready messages and bytes are more than the queue may hold.
    #[must_use]
    pub fn is_over(&self, count: u64, bytes: u64) -> bool {
        self.length_max.is_some_and(|max| count > max)
            || self.length_bytes_max.is_some_and(|max| bytes > max)
    }

    const fn options(&self) -> [Option<u64>; OPTIONS_COUNT as usize] {
        let (window_ms, ids_count_max) = match self.dedup {
            Some(dedup) => (Some(dedup.window_ms), Some(dedup.ids_count_max as u64)),
            None => (None, None),
        };
        let delivery_limit = match self.delivery_limit {
            Some(limit) => Some(limit as u64),
            None => None,
        };
        [
            self.message_ttl_ms,
            self.expires_ms,
            self.length_max,
            self.length_bytes_max,
            delivery_limit,
            self.consumer_timeout_ms,
            window_ms,
            ids_count_max,
        ]
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let options = self.options();
        let present = (0_u32..).zip(&options).fold(0_u16, |bits, (bit, option)| {
            bits | (u16::from(option.is_some()) << bit)
        });
        writer.u8(VERSION).u16(present);
        for option in options.into_iter().flatten() {
            writer.u64(option);
        }
        writer.u8(match self.overflow {
            Overflow::DropHead => 1,
            Overflow::RejectPublish => 2,
            Overflow::RejectPublishDlx => 3,
        });
        writer.flag(self.has_dead_letters).u8(self.priority_max);
        writer.flag(self.is_single_active_consumer);
        writer.flag(self.is_auto_delete).u64(self.segment_bytes);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        reader.version("queue settings", VERSION)?;
        let present = reader.u16()?;
        let mut options = [None; OPTIONS_COUNT as usize];
        for (bit, option) in (0_u32..).zip(&mut options) {
            if present & (1 << bit) != 0 {
                *option = Some(reader.u64()?);
            }
        }
        if present >> OPTIONS_COUNT != 0 {
            return Err(CodecError::UnknownTag {
                what: "queue setting".to_owned(),
                tag: u8::try_from(present >> OPTIONS_COUNT).unwrap_or(u8::MAX),
            });
        }
        let [ttl, expires, length, bytes, limit, timeout, window_ms, ids] = options;
        let dedup = match (window_ms, ids) {
            (Some(window_ms), Some(ids)) => Some(DedupSettings {
                window_ms,
                ids_count_max: u32::try_from(ids)
                    .unwrap_or(DEDUP_IDS_COUNT_MAX)
                    .clamp(1, DEDUP_IDS_COUNT_MAX),
            }),
            (Some(_), None) | (None, Some(_) | None) => None,
        };
        Ok(Self {
            message_ttl_ms: ttl,
            expires_ms: expires,
            length_max: length,
            length_bytes_max: bytes,
            overflow: read_overflow(reader)?,
            has_dead_letters: reader.flag("dead letters")?,
            delivery_limit: limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
            priority_max: reader.u8()?,
            is_single_active_consumer: reader.flag("single active consumer")?,
            consumer_timeout_ms: timeout,
            is_auto_delete: reader.flag("auto-delete")?,
            dedup,
            segment_bytes: reader.u64()?,
        })
    }
}

fn read_overflow(reader: &mut Reader) -> Result<Overflow, CodecError> {
    match reader.u8()? {
        1 => Ok(Overflow::DropHead),
        2 => Ok(Overflow::RejectPublish),
        3 => Ok(Overflow::RejectPublishDlx),
        tag => Err(CodecError::UnknownTag {
            what: "overflow".to_owned(),
            tag,
        }),
    }
}
