//! Chunks: the survivors of a log below its purge point, a megabyte or so each, and what is known
//! of them without reading them.
//!
//! A chunk is record batches one after the other; it is kept under the offset of its first record.
//! Formats are append-only (STYLE rule 23). Does not know why a record survived.

use bytes::{Bytes, BytesMut};
use raftmq_records::BatchHeader;

use crate::codec::{CodecError, Reader, Writer};
use crate::ids::{LogIndex, Offset};
use crate::limits::CHUNK_BYTES_TARGET;

const VERSION: u8 = 1;

/// What a replica remembers of its survivors as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survivors {
    /// Offsets below this one are read from the survivors, the others from the log.
    pub end: Offset,
    /// Below this one, no record has a later one of its key below it.
    pub cleaned_to: Offset,
    /// The checkpoint that `end` belongs to: the log up to it is needed by nobody.
    pub boundary: LogIndex,
}

impl Survivors {
    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(25);
        writer.u8(VERSION).i64(self.end.0).i64(self.cleaned_to.0);
        writer.u64(self.boundary.0);
        writer.finish()
    }

    /// Reads it; no bytes mean that nothing was ever compacted.
    ///
    /// # Errors
    /// `Truncated`, `UnknownVersion`, `LeftOver`.
    pub fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut reader = Reader::new(bytes);
        reader.version("survivors", VERSION)?;
        let survivors = Self {
            end: Offset(reader.i64()?),
            cleaned_to: Offset(reader.i64()?),
            boundary: LogIndex(reader.u64()?),
        };
        reader.finish()?;
        Ok(survivors)
    }
}

/// What is known of a chunk without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHead {
    /// Offset of its first batch.
    pub base_offset: Offset,
    /// The offset after its last batch.
    pub end: Offset,
    /// Its size, bytes.
    pub bytes: u64,
    /// Largest record timestamp in it, milliseconds since 1970.
    pub max_timestamp_ms: i64,
    /// When its tombstones may go, milliseconds since 1970; `None` when it has none that count.
    pub horizon_ms: Option<i64>,
}

impl ChunkHead {
    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(42);
        writer.u8(VERSION).i64(self.base_offset.0).i64(self.end.0);
        writer.u64(self.bytes).i64(self.max_timestamp_ms);
        writer.flag(self.horizon_ms.is_some());
        writer.i64(self.horizon_ms.unwrap_or(0));
        writer.finish()
    }

    /// Reads it.
    ///
    /// # Errors
    /// `Truncated`, `UnknownVersion`, `LeftOver`.
    pub fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        reader.version("chunk head", VERSION)?;
        let (base_offset, end) = (Offset(reader.i64()?), Offset(reader.i64()?));
        let (bytes, max_timestamp_ms) = (reader.u64()?, reader.i64()?);
        let has_horizon = reader.flag("horizon")?;
        let horizon_ms = reader.i64()?;
        reader.finish()?;
        Ok(Self {
            base_offset,
            end,
            bytes,
            max_timestamp_ms,
            horizon_ms: has_horizon.then_some(horizon_ms),
        })
    }
}

/// A chunk to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// What is known of it.
    pub head: ChunkHead,
    /// Its batches.
    pub batches: Bytes,
}

/// Puts batches together until they are worth a chunk.
#[derive(Debug, Default)]
pub struct ChunkBuilder {
    bytes: BytesMut,
    head: Option<ChunkHead>,
}

impl ChunkBuilder {
    /// Adds the next batch; `horizon_ms` says when its tombstones may go, where it has some. The
    /// latest of a chunk counts for all of it.
    pub fn push(&mut self, header: &BatchHeader, batch: &[u8], horizon_ms: Option<i64>) {
        self.bytes.extend_from_slice(batch);
        let head = self.head.get_or_insert_with(|| ChunkHead {
            base_offset: Offset(header.base_offset),
            end: Offset(header.next_offset()),
            bytes: 0,
            max_timestamp_ms: header.max_timestamp,
            horizon_ms: None,
        });
        head.end = Offset(header.next_offset());
        head.bytes = self.bytes.len() as u64;
        head.max_timestamp_ms = head.max_timestamp_ms.max(header.max_timestamp);
        head.horizon_ms = head.horizon_ms.max(horizon_ms);
    }

    /// Whether another batch belongs into the next chunk.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES_TARGET
    }

    /// Tells whether nothing was added since the last chunk.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Ends the chunk; `None` when there is nothing in it.
    pub fn finish(&mut self) -> Option<Chunk> {
        let head = self.head.take()?;
        let batches = self.bytes.split().freeze();
        Some(Chunk { head, batches })
    }
}
