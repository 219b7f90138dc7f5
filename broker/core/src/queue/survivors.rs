//! Which bodies below a purge point are still needed, and the chunks that hold them then.
//!
//! The counterpart of a partition's compaction: settled bodies go with the log, unsettled ones are
//! copied into chunks, found by (log index, position), which belong to the group's snapshot. One old
//! message therefore never pins the log. Each replica does it by itself. Pure: the host reads, writes
//! and purges. Formats are append-only. Does not know storage.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{CodecError, Reader};
use crate::ids::LogIndex;
use crate::limits::CHUNK_BYTES_TARGET;
use crate::queue::message::MessageRef;
use crate::queue::{Boundary, Queue};

const BODY_HEAD_BYTES: usize = 16;

/// Up to where the log can go, and what of it must be copied first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The log up to it is needed by nobody once the survivors are written.
    pub boundary: Boundary,
    /// What must be copied, in order: everything needed above the last purge point, up to here.
    pub survivors: Vec<MessageRef>,
    /// Bytes of their bodies.
    pub survivors_bytes: u64,
}

impl Queue {
    /// Shows every message whose body is still needed, with its size, in no useful order.
    pub fn unsettled(&self) -> impl Iterator<Item = (MessageRef, u32)> + '_ {
        let delivered = self.channels.iter();
        let items = self
            .ready
            .iter()
            .chain(delivered.map(|(_, _, unsettled)| unsettled.item))
            .chain(self.dead_letters.iter());
        let delayed = self.delayed.map.iter();
        items
            .map(|item| (item.message, item.size))
            .chain(delayed.map(|(due, postponed)| (due.message, postponed.size)))
    }

    /// Lists, in order, the messages up to a log index (inclusive) whose bodies are still needed.
    #[must_use]
    pub fn needed_up_to(&self, log_index: LogIndex) -> Vec<MessageRef> {
        let all = self.unsettled().map(|(message, _)| message);
        let mut needed: Vec<MessageRef> = all.filter(|one| one.log_index <= log_index).collect();
        needed.sort_unstable();
        needed
    }

    /// Finds the newest boundary up to which at least half of the log's payload, above the last
    /// purge point, is settled: copying what is left then costs less than it frees.
    #[must_use]
    pub fn plan_purge(&self, purged: Boundary) -> Option<Plan> {
        self.plan_purge_without(purged, &[])
    }

    /// As [`Self::plan_purge`], where some settled messages, given with the sizes of their bodies, are still
    /// to be read: they are copied, too.
    #[must_use]
    pub fn plan_purge_without(
        &self,
        purged: Boundary,
        unread: &[(MessageRef, u32)],
    ) -> Option<Plan> {
        let candidates = self.boundaries.iter().copied();
        let candidates: Vec<Boundary> = candidates
            .filter(|boundary| boundary.log_index > purged.log_index)
            .collect();
        if candidates.is_empty() {
            return None;
        }
        let mut held_bytes = vec![0_u64; candidates.len()];
        for (message, size) in self.unsettled().chain(unread.iter().copied()) {
            if message.log_index <= purged.log_index {
                continue;
            }
            let at = candidates.partition_point(|one| one.log_index < message.log_index);
            if let Some(bytes) = held_bytes.get_mut(at) {
                *bytes += u64::from(size);
            }
        }
        let mut survivors_bytes = 0;
        let mut best = None;
        for (boundary, held_bytes) in candidates.into_iter().zip(held_bytes) {
            survivors_bytes += held_bytes;
            let log_bytes = boundary.bytes_total.saturating_sub(purged.bytes_total);
            if survivors_bytes.saturating_mul(2) <= log_bytes {
                best = Some((boundary, survivors_bytes));
            }
        }
        let (boundary, survivors_bytes) = best?;
        let mut survivors = self.needed_up_to(boundary.log_index);
        let unread = unread.iter().map(|(message, _)| *message);
        survivors.extend(unread.filter(|one| one.log_index <= boundary.log_index));
        survivors.sort_unstable();
        survivors.dedup();
        let below = survivors.partition_point(|one| one.log_index <= purged.log_index);
        survivors.drain(..below);
        Some(Plan {
            boundary,
            survivors,
            survivors_bytes,
        })
    }
}

/// Bodies of survivors, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The first message in it.
    pub first: MessageRef,
    /// The last message in it.
    pub last: MessageRef,
    /// Log index u64, position u32, length u32 and body of each, one after the other.
    pub bytes: Bytes,
}

/// Puts bodies together until they are worth a chunk.
#[derive(Debug, Default)]
pub struct ChunkBuilder {
    bytes: BytesMut,
    ends: Option<(MessageRef, MessageRef)>,
}

impl ChunkBuilder {
    /// Adds the next body. Messages must come in order.
    pub fn push(&mut self, message: MessageRef, body: &[u8]) {
        let (first, last) = self.ends.unwrap_or((message, message));
        assert!(last <= message, "survivors come in order");
        self.ends = Some((first, message));
        self.bytes.put_u64(message.log_index.0);
        self.bytes.put_u32(message.position);
        let length = u32::try_from(body.len()).expect("a body came out of an entry of 64 MiB");
        self.bytes.put_u32(length);
        self.bytes.put_slice(body);
    }

    /// Whether another body belongs into the next chunk.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES_TARGET
    }

    /// Ends the chunk; `None` when there is nothing in it.
    pub fn finish(&mut self) -> Option<Chunk> {
        let (first, last) = self.ends.take()?;
        Some(Chunk {
            first,
            last,
            bytes: self.bytes.split().freeze(),
        })
    }
}

/// Reads the bodies of a chunk, which share its bytes.
///
/// # Errors
/// `Truncated`.
pub fn bodies(chunk: &Bytes) -> Result<BTreeMap<MessageRef, Bytes>, CodecError> {
    let mut reader = Reader::new(chunk.clone());
    let mut bodies = BTreeMap::new();
    while reader.remaining() > 0 {
        let message = MessageRef {
            log_index: LogIndex(reader.u64()?),
            position: reader.u32()?,
        };
        let length = reader.u32()? as usize;
        bodies.insert(message, reader.take(length)?);
    }
    Ok(bodies)
}

/// Writes a chunk again without what is settled by now; `needed` in order. `None` when nothing of it
/// is left.
///
/// # Errors
/// `Truncated`.
pub fn retain(chunk: &Bytes, needed: &[MessageRef]) -> Result<Option<Chunk>, CodecError> {
    let mut builder = ChunkBuilder::default();
    for (message, body) in bodies(chunk)? {
        if needed.binary_search(&message).is_ok() {
            builder.push(message, &body);
        }
    }
    Ok(builder.finish())
}

/// Counts the bytes that a body takes in a chunk.
#[must_use]
pub const fn chunk_bytes(body_bytes: usize) -> usize {
    body_bytes.saturating_add(BODY_HEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn message(log_index: u64) -> MessageRef {
        MessageRef {
            log_index: LogIndex(log_index),
            position: 0,
        }
    }

    #[test]
    fn what_is_still_to_be_read_is_copied_and_counts_against_what_a_purge_frees() {
        let purged = Boundary::default();
        let boundary = Boundary {
            log_index: LogIndex(10),
            bytes_total: 100,
        };
        let queue = Queue {
            boundaries: vec![boundary],
            ..Queue::default()
        };
        let plan = |unread: &[(MessageRef, u32)]| queue.plan_purge_without(purged, unread);

        assert_eq!(plan(&[(message(5), 51)]), None, "copying costs more");
        let above = (message(11), 99);
        let unread = [(message(7), 25), above, (message(5), 25)];
        let expected = Plan {
            boundary,
            survivors: vec![message(5), message(7)],
            survivors_bytes: 50,
        };
        assert_eq!(plan(&unread), Some(expected));
        assert_eq!(Queue::default().plan_purge_without(purged, &unread), None);
    }
}
