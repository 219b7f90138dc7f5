//! The fixed 61 bytes that open a batch, and the changes a leader makes to them.
//!
//! Owns field positions and attribute bits. Does not look at the records, and checks no CRC
//! (`validate.rs` does).

use crate::compression::Compression;
use crate::error::BatchError;

/// Size of the header, in bytes: the records follow.
pub const HEADER_SIZE_BYTES: usize = 61;
/// Producer id of a batch without a producer.
pub const NO_PRODUCER_ID: i64 = -1;
/// Producer epoch of a batch without a producer.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// Base sequence of a batch without a producer.
pub const NO_SEQUENCE: i32 = -1;

/// The only supported version of the format.
pub(crate) const MAGIC: i8 = 2;
/// Bytes before the ones that the length field counts.
pub(crate) const LENGTH_PREFIX_BYTES: usize = 12;
/// Smallest valid length field: the rest of the header.
pub(crate) const BATCH_LENGTH_MIN: i32 = 49;
/// Where the bytes begin that the CRC covers.
pub(crate) const CRC_START: usize = 21;

pub(crate) const BASE_OFFSET_AT: usize = 0;
pub(crate) const BATCH_LENGTH_AT: usize = 8;
pub(crate) const LEADER_EPOCH_AT: usize = 12;
pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21;
pub(crate) const LAST_OFFSET_DELTA_AT: usize = 23;
pub(crate) const BASE_TIMESTAMP_AT: usize = 27;
pub(crate) const MAX_TIMESTAMP_AT: usize = 35;
pub(crate) const PRODUCER_ID_AT: usize = 43;
pub(crate) const PRODUCER_EPOCH_AT: usize = 51;
pub(crate) const BASE_SEQUENCE_AT: usize = 53;
pub(crate) const RECORDS_COUNT_AT: usize = 57;

const COMPRESSION_MASK: u16 = 0b111;
const LOG_APPEND_TIME_BIT: u16 = 1 << 3;
const TRANSACTIONAL_BIT: u16 = 1 << 4;
const CONTROL_BIT: u16 = 1 << 5;

/// Whose clock a batch's timestamps come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's: every record has its own.
    CreateTime,
    /// The leader's: every record has the batch's `max_timestamp`.
    LogAppendTime,
}

/// The header of a record batch, field by field as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; 0 as a client builds it.
    pub base_offset: i64,
    /// Bytes that follow this field.
    pub batch_length: i32,
    /// Leader epoch of the partition under which the batch was written; -1 as a client builds it.
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything from `attributes` to the end.
    pub crc: u32,
    /// Compression, timestamp type, transactional, control.
    pub attributes: u16,
    /// Offset of the last record minus `base_offset`.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// Largest timestamp in milliseconds since 1970, or the append time.
    pub max_timestamp: i64,
    /// The idempotent producer, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// The producer's epoch, or [`NO_PRODUCER_EPOCH`].
    pub producer_epoch: i16,
    /// Sequence of the first record, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// Number of records.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; what follows may be cut off or missing.
    ///
    /// # Errors
    /// `Truncated` when fewer than [`HEADER_SIZE_BYTES`] are there, `UnsupportedMagic`,
    /// `InvalidLength` when the length field cannot hold the header. The CRC is not checked.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(fixed) = bytes.first_chunk::<HEADER_SIZE_BYTES>() else {
            return Err(BatchError::Truncated {
                needed: HEADER_SIZE_BYTES,
                remaining: bytes.len(),
            });
        };
        let magic = i8::from_be_bytes(field(fixed, MAGIC_AT)?);
        if magic != MAGIC {
            return Err(BatchError::UnsupportedMagic { magic });
        }
        let header = Self {
            base_offset: i64::from_be_bytes(field(fixed, BASE_OFFSET_AT)?),
            batch_length: i32::from_be_bytes(field(fixed, BATCH_LENGTH_AT)?),
            partition_leader_epoch: i32::from_be_bytes(field(fixed, LEADER_EPOCH_AT)?),
            crc: u32::from_be_bytes(field(fixed, CRC_AT)?),
            attributes: u16::from_be_bytes(field(fixed, ATTRIBUTES_AT)?),
            last_offset_delta: i32::from_be_bytes(field(fixed, LAST_OFFSET_DELTA_AT)?),
            base_timestamp: i64::from_be_bytes(field(fixed, BASE_TIMESTAMP_AT)?),
            max_timestamp: i64::from_be_bytes(field(fixed, MAX_TIMESTAMP_AT)?),
            producer_id: i64::from_be_bytes(field(fixed, PRODUCER_ID_AT)?),
            producer_epoch: i16::from_be_bytes(field(fixed, PRODUCER_EPOCH_AT)?),
            base_sequence: i32::from_be_bytes(field(fixed, BASE_SEQUENCE_AT)?),
            records_count: i32::from_be_bytes(field(fixed, RECORDS_COUNT_AT)?),
        };
        if header.batch_length < BATCH_LENGTH_MIN {
            return Err(BatchError::InvalidLength {
                batch_length: header.batch_length,
                min: BATCH_LENGTH_MIN,
            });
        }
        Ok(header)
    }

    /// Returns the size of the whole batch in bytes, header included.
    #[must_use]
    pub fn total_size_bytes(&self) -> usize {
        usize::try_from(self.batch_length)
            .unwrap_or(0)
            .saturating_add(LENGTH_PREFIX_BYTES)
    }

    /// Returns the compression of the records.
    ///
    /// # Errors
    /// `UnknownCompression` for codes 5 to 7.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_code(self.attributes & COMPRESSION_MASK)
    }

    /// Returns whose clock the timestamps come from.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Returns whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Returns whether the batch is a transaction marker, which consumers do not see.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Returns whether an idempotent producer wrote the batch.
    #[must_use]
    pub const fn has_producer(&self) -> bool {
        self.producer_id != NO_PRODUCER_ID
    }

    /// Returns the offset of the last record (saturating: a hostile header may overflow).
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// Returns the offset after the last record (saturating).
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }
}

/// Writes base offset and leader epoch into a batch's header; the CRC does not cover them.
///
/// The batch must have passed [`validate_batch`](crate::validate_batch). Bytes shorter than a
/// header stay as they are. Repeating it is harmless.
pub fn stamp(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    if batch.len() < HEADER_SIZE_BYTES {
        return;
    }
    put(batch, BASE_OFFSET_AT, base_offset.to_be_bytes());
    put(batch, LEADER_EPOCH_AT, leader_epoch.to_be_bytes());
}

/// Marks a batch as `LogAppendTime`: sets the attribute bit and `max_timestamp`, and recomputes
/// the CRC. The records stay compressed; readers take `max_timestamp` for every one of them.
///
/// `batch` is exactly one batch that has passed [`validate_batch`](crate::validate_batch). Bytes
/// shorter than a header stay as they are.
pub fn set_log_append_time(batch: &mut [u8], timestamp_ms: i64) {
    let Ok(header) = BatchHeader::parse(batch) else {
        return;
    };
    let attributes = header.attributes | LOG_APPEND_TIME_BIT;
    put(batch, ATTRIBUTES_AT, attributes.to_be_bytes());
    put(batch, MAX_TIMESTAMP_AT, timestamp_ms.to_be_bytes());
    write_crc(batch);
}

/// Gives a batch another producer id, epoch and base sequence, and recomputes the CRC.
///
/// For a producer that must send a batch again under a new identity; `batch` is exactly one valid
/// batch. Bytes shorter than a header stay as they are.
pub fn set_producer(batch: &mut [u8], producer_id: i64, producer_epoch: i16, base_sequence: i32) {
    if batch.len() < HEADER_SIZE_BYTES {
        return;
    }
    put(batch, PRODUCER_ID_AT, producer_id.to_be_bytes());
    put(batch, PRODUCER_EPOCH_AT, producer_epoch.to_be_bytes());
    put(batch, BASE_SEQUENCE_AT, base_sequence.to_be_bytes());
    write_crc(batch);
}

/// Attribute bits of a batch that a client builds.
pub(crate) const fn attributes_of(compression: Compression) -> u16 {
    compression.code()
}

/// Computes the CRC over one batch and writes it into the header.
pub(crate) fn write_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(batch.get(CRC_START..).unwrap_or_default());
    put(batch, CRC_AT, crc.to_be_bytes());
}

/// Overwrites the bytes at `at`; out of range it does nothing.
pub(crate) fn put<const N: usize>(batch: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(target) = batch.get_mut(at..at.saturating_add(N)) {
        target.copy_from_slice(&value);
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], BatchError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or_else(|| BatchError::Truncated {
            needed: at.saturating_add(N),
            remaining: bytes.len(),
        })
}
