//! What a broker checks before a client's batch may enter the log, and the walk over whole batches.
//!
//! Knows nothing of partitions: sequences, epochs and transactions are decided by the partition
//! machine. Compressed records are not decompressed here; a reader bounds that (`record.rs`).

use bytes::Bytes;

use crate::compression::Compression;
use crate::error::BatchError;
use crate::header::{BatchHeader, CRC_START, HEADER_SIZE_BYTES, NO_PRODUCER_ID};
use crate::limits::DecodeLimits;
use crate::record::{RECORD_SIZE_BYTES_MIN, RecordFrame};

/// Checks that `batch` is exactly one whole batch as a producer may send it.
///
/// Lengths, magic, CRC-32C, known compression, `records_count == last_offset_delta + 1 > 0`, and
/// with a producer id also its epoch and sequence. Uncompressed records are walked:
/// every length, offset deltas 0, 1, 2 …, nothing left over. Of compressed ones the count alone is compared with what
/// a reader would unpack at most. The base offset and the leader epoch
/// are not looked at: the leader stamps them. Timestamps, `is_control` and `is_transactional` are
/// for the caller to judge.
///
/// # Errors
/// `TooLarge` when the bytes are more than `max_bytes` (checked first), else the first defect.
pub fn validate_batch(batch: &Bytes, max_bytes: usize) -> Result<BatchHeader, BatchError> {
    if batch.len() > max_bytes {
        return Err(BatchError::TooLarge {
            size_bytes: batch.len(),
            max_bytes,
        });
    }
    let header = BatchHeader::parse(batch)?;
    check_size(&header, batch)?;
    crc_of(&header, batch)?;
    check_counts(&header)?;
    check_producer(&header)?;
    let body = batch.get(HEADER_SIZE_BYTES..).unwrap_or_default();
    match header.compression()? {
        Compression::None => check_records(&header, body)?,
        Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => {
            check_possible(
                &header,
                DecodeLimits::default().output_bytes_max(body.len()),
            )?;
        }
    }
    Ok(header)
}

fn check_size(header: &BatchHeader, batch: &[u8]) -> Result<(), BatchError> {
    let size_bytes = header.total_size_bytes();
    if size_bytes > batch.len() {
        return Err(BatchError::Truncated {
            needed: size_bytes,
            remaining: batch.len(),
        });
    }
    if size_bytes < batch.len() {
        return Err(BatchError::TrailingBytes {
            excess: batch.len().saturating_sub(size_bytes),
        });
    }
    Ok(())
}

/// Checks lengths and CRC-32C of exactly one batch, as a reader does: unlike [`validate_batch`] it
/// accepts what only a broker writes (compacted batches, markers).
///
/// # Errors
/// Those of [`BatchHeader::parse`], `Truncated`, `TrailingBytes`, `CrcMismatch`.
pub fn check_crc(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(batch)?;
    check_size(&header, batch)?;
    crc_of(&header, batch)?;
    Ok(header)
}

fn crc_of(header: &BatchHeader, batch: &[u8]) -> Result<(), BatchError> {
    let actual = crc32c::crc32c(batch.get(CRC_START..).unwrap_or_default());
    if actual != header.crc {
        return Err(BatchError::CrcMismatch {
            expected: header.crc,
            actual,
        });
    }
    Ok(())
}

fn check_counts(header: &BatchHeader) -> Result<(), BatchError> {
    let is_valid = header.records_count > 0
        && header.records_count.checked_sub(1) == Some(header.last_offset_delta);
    if is_valid {
        Ok(())
    } else {
        Err(BatchError::InvalidCount {
            records_count: header.records_count,
            last_offset_delta: header.last_offset_delta,
        })
    }
}

/// Without a producer id, epoch and sequence mean nothing: sarama, aiokafka and kafkajs send zeros
/// there, and Kafka's broker does not look (`LogValidator`).
fn check_producer(header: &BatchHeader) -> Result<(), BatchError> {
    let is_absent = header.producer_id == NO_PRODUCER_ID;
    let is_present =
        header.producer_id >= 0 && header.producer_epoch >= 0 && header.base_sequence >= 0;
    if is_absent || is_present {
        Ok(())
    } else {
        Err(BatchError::InvalidProducer {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        })
    }
}

/// More records than fit into the bytes would move the offsets of a partition for nothing.
fn check_possible(header: &BatchHeader, bytes: usize) -> Result<(), BatchError> {
    let possible = bytes / RECORD_SIZE_BYTES_MIN;
    if usize::try_from(header.records_count).is_ok_and(|count| count > possible) {
        return Err(BatchError::ImpossibleCount {
            records_count: header.records_count,
            remaining: bytes,
        });
    }
    Ok(())
}

fn check_records(header: &BatchHeader, body: &[u8]) -> Result<(), BatchError> {
    check_possible(header, body.len())?;
    let mut position = 0;
    for index in 0..header.records_count {
        let frame = RecordFrame::read(body, position, index)?;
        if frame.offset_delta != index {
            return Err(BatchError::InvalidOffsetDelta {
                record_index: index,
                expected: index,
                actual: frame.offset_delta,
            });
        }
        if header
            .base_timestamp
            .checked_add(frame.timestamp_delta)
            .is_none()
        {
            return Err(BatchError::InvalidTimestamp {
                base_timestamp: header.base_timestamp,
                delta: frame.timestamp_delta,
            });
        }
        frame.check_headers(body, index)?;
        position = frame.end;
    }
    if position < body.len() {
        return Err(BatchError::TrailingBytes {
            excess: body.len().saturating_sub(position),
        });
    }
    Ok(())
}

/// Walks whole batches that stand one after the other, as a fetch answer or a log entry holds
/// them. Slices, no copies; CRCs are not checked.
///
/// Ends after the first error: what follows damaged bytes has no known beginning.
#[must_use]
pub fn batches(bytes: &Bytes) -> Batches {
    Batches {
        rest: bytes.clone(),
    }
}

/// Iterator of [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Iterator for Batches {
    type Item = Result<(BatchHeader, Bytes), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let header = BatchHeader::parse(&self.rest).and_then(|header| {
            let needed = header.total_size_bytes();
            let remaining = self.rest.len();
            if needed > remaining {
                return Err(BatchError::Truncated { needed, remaining });
            }
            Ok(header)
        });
        match header {
            Ok(header) => {
                let batch = self.rest.split_to(header.total_size_bytes());
                Some(Ok((header, batch)))
            }
            Err(error) => {
                self.rest = Bytes::new();
                Some(Err(error))
            }
        }
    }
}
