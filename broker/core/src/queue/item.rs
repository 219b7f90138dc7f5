//! What is held of a message while it waits, and its packed form: about three bytes a message.
//!
//! Packed, an item says only how it differs from the one before: most stand in the next position of
//! the same entry, or first in the next entry. Formats are append-only. Knows no queue.

use crate::codec::CodecError;
use crate::ids::LogIndex;
use crate::queue::event::DeathReason;
use crate::queue::message::MessageRef;

/// A message without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) message: MessageRef,
    /// Bytes of the body.
    pub(super) size: u32,
    /// Failed deliveries.
    pub(super) attempts: u32,
    /// When it expires, milliseconds of replicated time.
    pub(super) expires_at_ms: Option<i64>,
    /// Why it died, if it did.
    pub(super) reason: Option<DeathReason>,
}

/// The position is the next one in the same entry.
const NEXT_POSITION: u8 = 1;
/// It is the first one in the next entry.
const NEXT_ENTRY: u8 = 1 << 1;
const SAME_SIZE: u8 = 1 << 2;
const SAME_EXPIRY: u8 = 1 << 3;
const HAS_EXPIRY: u8 = 1 << 4;
const HAS_ATTEMPTS: u8 = 1 << 5;
const HAS_REASON: u8 = 1 << 6;

const START: Item = Item {
    message: MessageRef {
        log_index: LogIndex(0),
        position: 0,
    },
    size: 0,
    attempts: 0,
    expires_at_ms: None,
    reason: None,
};

/// Packs items; gives the same bytes for the same items.
pub(super) fn pack(items: impl Iterator<Item = Item>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut before = START;
    for item in items {
        pack_one(&mut bytes, &before, &item);
        before = item;
    }
    bytes
}

fn pack_one(bytes: &mut Vec<u8>, before: &Item, item: &Item) {
    let (at, last) = (item.message, before.message);
    let mut tag = 0;
    if at.log_index == last.log_index && Some(at.position) == last.position.checked_add(1) {
        tag |= NEXT_POSITION;
    } else if Some(at.log_index.0) == last.log_index.0.checked_add(1) && at.position == 0 {
        tag |= NEXT_ENTRY;
    }
    for (is_set, flag) in [
        (item.size == before.size, SAME_SIZE),
        (item.expires_at_ms == before.expires_at_ms, SAME_EXPIRY),
        (item.expires_at_ms.is_some(), HAS_EXPIRY),
        (item.attempts != 0, HAS_ATTEMPTS),
        (item.reason.is_some(), HAS_REASON),
    ] {
        if is_set {
            tag |= flag;
        }
    }
    bytes.push(tag);
    if tag & (NEXT_POSITION | NEXT_ENTRY) == 0 {
        // Wrapping: any two indexes have a difference that leads back.
        put_signed(bytes, difference(at.log_index.0, last.log_index.0));
        put(bytes, u64::from(at.position));
    }
    if tag & SAME_SIZE == 0 {
        put(bytes, u64::from(item.size));
    }
    if let (Some(expires_at_ms), 0) = (item.expires_at_ms, tag & SAME_EXPIRY) {
        let base_ms = before.expires_at_ms.unwrap_or(0);
        put_signed(bytes, expires_at_ms.wrapping_sub(base_ms));
    }
    if item.attempts != 0 {
        put(bytes, u64::from(item.attempts));
    }
    bytes.extend(item.reason.map(DeathReason::tag));
}

/// Unpacks all items.
///
/// # Errors
/// `Truncated`, `UnknownTag`, `OverLimit`: bytes that nobody packed.
pub(super) fn unpack(mut bytes: &[u8], items: &mut Vec<Item>) -> Result<(), CodecError> {
    let mut before = START;
    while !bytes.is_empty() {
        let item = unpack_one(&mut bytes, &before)?;
        items.push(item);
        before = item;
    }
    Ok(())
}

fn unpack_one(bytes: &mut &[u8], before: &Item) -> Result<Item, CodecError> {
    let tag = take_byte(bytes)?;
    let last = before.message;
    let message = if tag & NEXT_POSITION != 0 {
        MessageRef {
            log_index: last.log_index,
            position: last.position.wrapping_add(1),
        }
    } else if tag & NEXT_ENTRY != 0 {
        MessageRef {
            log_index: LogIndex(last.log_index.0.wrapping_add(1)),
            position: 0,
        }
    } else {
        let delta = take_signed(bytes)?;
        MessageRef {
            log_index: LogIndex(last.log_index.0.wrapping_add_signed(delta)),
            position: take_u32(bytes)?,
        }
    };
    let size = match tag & SAME_SIZE {
        0 => take_u32(bytes)?,
        _ => before.size,
    };
    let expires_at_ms = if tag & SAME_EXPIRY != 0 {
        before.expires_at_ms
    } else if tag & HAS_EXPIRY != 0 {
        let base_ms = before.expires_at_ms.unwrap_or(0);
        Some(base_ms.wrapping_add(take_signed(bytes)?))
    } else {
        None
    };
    let attempts = match tag & HAS_ATTEMPTS {
        0 => 0,
        _ => take_u32(bytes)?,
    };
    let reason = match tag & HAS_REASON {
        0 => None,
        _ => Some(read_reason(take_byte(bytes)?)?),
    };
    Ok(Item {
        message,
        size,
        attempts,
        expires_at_ms,
        reason,
    })
}

pub(super) fn read_reason(tag: u8) -> Result<DeathReason, CodecError> {
    DeathReason::of_tag(tag).ok_or_else(|| CodecError::UnknownTag {
        what: "death reason".to_owned(),
        tag,
    })
}

const fn difference(later: u64, earlier: u64) -> i64 {
    later.wrapping_sub(earlier).cast_signed()
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low & 0x7f);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn put_signed(bytes: &mut Vec<u8>, value: i64) {
    put(bytes, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

fn take_byte(bytes: &mut &[u8]) -> Result<u8, CodecError> {
    let (first, rest) = bytes.split_first().ok_or(CodecError::Truncated {
        needed: 1,
        remaining: 0,
    })?;
    *bytes = rest;
    Ok(*first)
}

fn take(bytes: &mut &[u8]) -> Result<u64, CodecError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(bytes)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CodecError::OverLimit {
        what: "varint".to_owned(),
        actual: 11,
        limit: 10,
    })
}

fn take_signed(bytes: &mut &[u8]) -> Result<i64, CodecError> {
    let value = take(bytes)?;
    Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, CodecError> {
    let value = take(bytes)?;
    u32::try_from(value).map_err(|_| CodecError::OverLimit {
        what: "packed number".to_owned(),
        actual: usize::try_from(value).unwrap_or(usize::MAX),
        limit: u32::MAX as usize,
    })
}
