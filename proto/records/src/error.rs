//! What can be wrong with the bytes of a record batch.
//!
//! Owns the reasons with their numbers; it does not know protocol error codes (each front end has
//! its own table).

use thiserror::Error;

use crate::compression::Compression;

/// Why bytes are not the record batch, or the record, that they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end before the batch or the record does.
    #[error("record batch is cut off: {needed} bytes are needed, {remaining} remain")]
    Truncated {
        /// Bytes that the next field or the whole batch takes.
        needed: usize,
        /// Bytes that are there.
        remaining: usize,
    },
    /// Not version 2 of the format.
    #[error("record batch has magic {magic}, only 2 is supported")]
    UnsupportedMagic {
        /// The magic byte found.
        magic: i8,
    },
    /// The length field is smaller than the fixed part of the header, or negative.
    #[error("record batch claims a length of {batch_length}, at least {min} is due")]
    InvalidLength {
        /// The length field found.
        batch_length: i32,
        /// The smallest valid value.
        min: i32,
    },
    /// The batch is larger than the limit.
    #[error("record batch has {size_bytes} bytes, more than the limit of {max_bytes}")]
    TooLarge {
        /// Size of the whole batch.
        size_bytes: usize,
        /// The limit, inclusive.
        max_bytes: usize,
    },
    /// Bytes follow where the batch, or its last record, should end.
    #[error("{excess} bytes follow the end of the record batch")]
    TrailingBytes {
        /// How many bytes too many.
        excess: usize,
    },
    /// The CRC-32C does not match the bytes.
    #[error("record batch has CRC {actual:#010x}, its header says {expected:#010x}")]
    CrcMismatch {
        /// The CRC in the header.
        expected: u32,
        /// The CRC of the bytes.
        actual: u32,
    },
    /// The record count is not positive, or does not fit the last offset delta.
    #[error(
        "record batch counts {records_count} records, its last offset delta is {last_offset_delta}"
    )]
    InvalidCount {
        /// The count found.
        records_count: i32,
        /// The last offset delta found.
        last_offset_delta: i32,
    },
    /// More records are claimed than the bytes can hold.
    #[error("record batch counts {records_count} records in {remaining} bytes")]
    ImpossibleCount {
        /// The count found.
        records_count: i32,
        /// Bytes that are there.
        remaining: usize,
    },
    /// The attributes name a compression that does not exist.
    #[error("record batch has unknown compression code {code}")]
    UnknownCompression {
        /// The code found, 0 to 7.
        code: u8,
    },
    /// A producer id without a sequence, or the other way round.
    #[error(
        "record batch has producer id {producer_id} with epoch {producer_epoch} and sequence {base_sequence}"
    )]
    InvalidProducer {
        /// The producer id found.
        producer_id: i64,
        /// The producer epoch found.
        producer_epoch: i16,
        /// The base sequence found.
        base_sequence: i32,
    },
    /// A variable-length integer is longer than its type allows.
    #[error("varint at byte {position} does not end in time")]
    InvalidVarint {
        /// Where it starts, counted from the first record.
        position: usize,
    },
    /// A length or count inside a record is negative where it must not be, or too large.
    #[error("length {length} in record {record_index} does not fit, {remaining} bytes remain")]
    InvalidRecordLength {
        /// Which record, from 0.
        record_index: i32,
        /// The length or count found.
        length: i32,
        /// Bytes that are there.
        remaining: usize,
    },
    /// A record's offset delta is not the next one.
    #[error("record {record_index} has offset delta {actual}, expected {expected}")]
    InvalidOffsetDelta {
        /// Which record, from 0.
        record_index: i32,
        /// The delta (or the smallest delta) that is due.
        expected: i32,
        /// The delta found.
        actual: i32,
    },
    /// A timestamp and its delta do not fit into 64 bits.
    #[error("timestamp delta {delta} does not fit base timestamp {base_timestamp}")]
    InvalidTimestamp {
        /// The batch's base timestamp in milliseconds.
        base_timestamp: i64,
        /// The delta (reading) or the timestamp (building).
        delta: i64,
    },
    /// The records do not decompress.
    #[error("records do not decompress with {compression}")]
    DecompressFailed {
        /// The compression that the attributes name.
        compression: Compression,
    },
    /// The records decompress to more than the reader allows.
    #[error("records decompress with {compression} to more than {max_bytes} bytes")]
    DecompressedTooLarge {
        /// The compression that the attributes name.
        compression: Compression,
        /// The limit, inclusive.
        max_bytes: usize,
    },
    /// The records could not be compressed (building only).
    #[error("records do not compress with {compression}")]
    CompressFailed {
        /// The compression asked for.
        compression: Compression,
    },
    /// A batch without records cannot be built.
    #[error("record batch has no records")]
    Empty,
}
