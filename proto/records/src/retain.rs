//! Takes records out of a batch that is already written (log compaction).
//!
//! What stays keeps its offset, its time, its producer and its sequence: only length, count,
//! largest timestamp, records and CRC change. Does not know why a record goes.

use bytes::{Bytes, BytesMut};

use crate::compression::compress;
use crate::error::BatchError;
use crate::header::{
    BATCH_LENGTH_AT, HEADER_SIZE_BYTES, LENGTH_PREFIX_BYTES, MAX_TIMESTAMP_AT, RECORDS_COUNT_AT,
    TimestampType, put, write_crc,
};
use crate::limits::DecodeLimits;
use crate::record::{Record, records};

/// What is left of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retained {
    /// Everything: the batch as it came.
    All,
    /// Some of its records.
    Part(Bytes),
    /// Nothing: the batch goes.
    Nothing,
}

/// Keeps those records of a batch that `keep` chooses; it sees each once, in order.
///
/// The batch is compressed as it was. Its offsets, last offset delta included, stay, so that
/// readers know how far it reached.
///
/// # Errors
/// Those of [`records`], and of the compressor. The CRC is not checked.
pub fn retain(
    batch: &Bytes,
    limits: DecodeLimits,
    mut keep: impl FnMut(&Record) -> bool,
) -> Result<Retained, BatchError> {
    let mut records = records(batch, limits)?;
    let header = *records.header();
    let body = records.body().clone();
    let mut kept = BytesMut::new();
    let (mut kept_count, mut max_timestamp) = (0_i32, i64::MIN);
    let mut start = records.position();
    while let Some(record) = records.next() {
        let record = record?;
        let end = records.position();
        if keep(&record) {
            kept.extend_from_slice(body.get(start..end).unwrap_or_default());
            kept_count = kept_count.saturating_add(1);
            max_timestamp = max_timestamp.max(record.timestamp_ms);
        }
        start = end;
    }
    if kept_count == header.records_count {
        return Ok(Retained::All);
    }
    if kept_count == 0 {
        return Ok(Retained::Nothing);
    }
    let packed = compress(header.compression()?, &kept)?;
    let mut whole = BytesMut::with_capacity(HEADER_SIZE_BYTES.saturating_add(packed.len()));
    whole.extend_from_slice(batch.get(..HEADER_SIZE_BYTES).unwrap_or_default());
    whole.extend_from_slice(&packed);
    let size_bytes = whole.len();
    let batch_length = size_bytes.saturating_sub(LENGTH_PREFIX_BYTES);
    let batch_length = i32::try_from(batch_length).map_err(|_| BatchError::TooLarge {
        size_bytes,
        max_bytes: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
    })?;
    put(&mut whole, BATCH_LENGTH_AT, batch_length.to_be_bytes());
    put(&mut whole, RECORDS_COUNT_AT, kept_count.to_be_bytes());
    if header.timestamp_type() == TimestampType::CreateTime {
        put(&mut whole, MAX_TIMESTAMP_AT, max_timestamp.to_be_bytes());
    }
    write_crc(&mut whole);
    Ok(Retained::Part(whole.freeze()))
}
