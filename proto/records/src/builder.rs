//! Builds one record batch, encoding every record once, straight into its final place.
//!
//! Knows no clock, no partition and no limit on sizes: the caller asks for estimates and stops in
//! time.

use bytes::{Bytes, BytesMut};

use crate::compression::{Compression, compress};
use crate::error::BatchError;
use crate::header::{
    ATTRIBUTES_AT, BASE_OFFSET_AT, BASE_SEQUENCE_AT, BASE_TIMESTAMP_AT, BATCH_LENGTH_AT,
    HEADER_SIZE_BYTES, LAST_OFFSET_DELTA_AT, LEADER_EPOCH_AT, LENGTH_PREFIX_BYTES, MAGIC, MAGIC_AT,
    MAX_TIMESTAMP_AT, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, PRODUCER_EPOCH_AT,
    PRODUCER_ID_AT, RECORDS_COUNT_AT, attributes_of, put, write_crc,
};
use crate::record::Header;
use crate::varint::{put_varint, put_varlong, varint_size};

/// Leader epoch of a batch that no leader has stamped.
const NO_LEADER_EPOCH: i32 = -1;
/// Most bytes that the varints of one record take beside those of its headers:
/// length 5, attributes 1, timestamp 10, offset 5, key 5, value 5, count 5.
const RECORD_OVERHEAD_BYTES_MAX: usize = 36;
/// Most bytes that the two lengths of one header take.
const RECORD_HEADER_OVERHEAD_BYTES_MAX: usize = 10;

/// Collects records into one batch.
///
/// ```
/// use raftmq_records::{BatchBuilder, Compression, DecodeLimits, records};
///
/// let mut builder = BatchBuilder::new(Compression::Lz4, 16 * 1024);
/// builder.append(1_700_000_000_000, Some(b"key"), Some(b"value"), &[])?;
/// let batch = builder.finish()?;
/// let first = records(&batch, DecodeLimits::default())?.next().expect("one record")?;
/// assert_eq!(first.value.as_deref(), Some(&b"value"[..]));
/// # Ok::<(), raftmq_records::BatchError>(())
/// ```
#[derive(Debug)]
pub struct BatchBuilder {
    bytes: BytesMut,
    compression: Compression,
    base_timestamp: i64,
    max_timestamp: i64,
    records_count: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
}

impl BatchBuilder {
    /// Creates an empty builder; `capacity_bytes` is only reserved, not a limit.
    #[must_use]
    pub fn new(compression: Compression, capacity_bytes: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(capacity_bytes.max(HEADER_SIZE_BYTES));
        bytes.resize(HEADER_SIZE_BYTES, 0);
        Self {
            bytes,
            compression,
            base_timestamp: 0,
            max_timestamp: i64::MIN,
            records_count: 0,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
        }
    }

    /// Returns an upper bound of the encoded, uncompressed size of a record, in bytes.
    #[must_use]
    pub fn record_size_bytes_max(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> usize {
        let headers_bytes = headers.iter().fold(0_usize, |sum, header| {
            sum.saturating_add(header.key.len())
                .saturating_add(header.value.as_ref().map_or(0, Bytes::len))
                .saturating_add(RECORD_HEADER_OVERHEAD_BYTES_MAX)
        });
        RECORD_OVERHEAD_BYTES_MAX
            .saturating_add(key.map_or(0, <[u8]>::len))
            .saturating_add(value.map_or(0, <[u8]>::len))
            .saturating_add(headers_bytes)
    }

    /// Appends a record and returns its offset delta.
    ///
    /// # Errors
    /// `TooLarge` when the batch would pass 2 GiB, `InvalidTimestamp` when the record's time is too
    /// far from the first record's. The builder then stays as it was.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<i32, BatchError> {
        let size_bytes = self
            .bytes
            .len()
            .saturating_add(Self::record_size_bytes_max(key, value, headers));
        let max_bytes = usize::try_from(i32::MAX).unwrap_or(usize::MAX);
        if size_bytes > max_bytes {
            return Err(BatchError::TooLarge {
                size_bytes,
                max_bytes,
            });
        }
        let base_timestamp = if self.records_count == 0 {
            timestamp_ms
        } else {
            self.base_timestamp
        };
        let timestamp_delta =
            timestamp_ms
                .checked_sub(base_timestamp)
                .ok_or(BatchError::InvalidTimestamp {
                    base_timestamp,
                    delta: timestamp_ms,
                })?;
        let offset_delta = self.records_count;
        self.encode(timestamp_delta, offset_delta, (key, value), headers);
        self.base_timestamp = base_timestamp;
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        self.records_count = self.records_count.saturating_add(1);
        Ok(offset_delta)
    }

    /// Sets the idempotent producer and the sequence of the first record.
    pub const fn set_producer(&mut self, producer_id: i64, epoch: i16, base_sequence: i32) {
        self.producer_id = producer_id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
    }

    /// Returns the size of the batch so far in bytes, header included, before compression.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the number of records so far.
    #[must_use]
    pub const fn records_count(&self) -> i32 {
        self.records_count
    }

    /// Returns whether there are no records yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records_count == 0
    }

    /// Compresses the records, writes header and CRC, and returns the batch.
    ///
    /// # Errors
    /// `Empty` without records, `CompressFailed` and `TooLarge` when the compressor says so.
    pub fn finish(mut self) -> Result<Bytes, BatchError> {
        if self.is_empty() {
            return Err(BatchError::Empty);
        }
        if self.compression != Compression::None {
            let plain = self.bytes.split_off(HEADER_SIZE_BYTES);
            let compressed = compress(self.compression, &plain)?;
            self.bytes.extend_from_slice(&compressed);
        }
        let size_bytes = self.bytes.len();
        let batch_length = size_bytes.saturating_sub(LENGTH_PREFIX_BYTES);
        let batch_length = i32::try_from(batch_length).map_err(|_| BatchError::TooLarge {
            size_bytes,
            max_bytes: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
        })?;
        let last_offset_delta = self.records_count.saturating_sub(1);
        let bytes = &mut self.bytes;
        put(bytes, BASE_OFFSET_AT, 0_i64.to_be_bytes());
        put(bytes, BATCH_LENGTH_AT, batch_length.to_be_bytes());
        put(bytes, LEADER_EPOCH_AT, NO_LEADER_EPOCH.to_be_bytes());
        put(bytes, MAGIC_AT, MAGIC.to_be_bytes());
        put(
            bytes,
            ATTRIBUTES_AT,
            attributes_of(self.compression).to_be_bytes(),
        );
        put(bytes, LAST_OFFSET_DELTA_AT, last_offset_delta.to_be_bytes());
        put(bytes, BASE_TIMESTAMP_AT, self.base_timestamp.to_be_bytes());
        put(bytes, MAX_TIMESTAMP_AT, self.max_timestamp.to_be_bytes());
        put(bytes, PRODUCER_ID_AT, self.producer_id.to_be_bytes());
        put(bytes, PRODUCER_EPOCH_AT, self.producer_epoch.to_be_bytes());
        put(bytes, BASE_SEQUENCE_AT, self.base_sequence.to_be_bytes());
        put(bytes, RECORDS_COUNT_AT, self.records_count.to_be_bytes());
        write_crc(bytes);
        Ok(self.bytes.freeze())
    }

    fn encode(
        &mut self,
        timestamp_delta: i64,
        offset_delta: i32,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: &[Header],
    ) {
        // Attributes take one byte; the sizes were checked to fit 31 bits together.
        let length = 1_usize
            .saturating_add(varint_size(timestamp_delta))
            .saturating_add(varint_size(i64::from(offset_delta)))
            .saturating_add(bytes_size(key))
            .saturating_add(bytes_size(value))
            .saturating_add(varint_size(to_i64(headers.len())))
            .saturating_add(headers.iter().fold(0_usize, |sum, header| {
                sum.saturating_add(bytes_size(Some(&header.key)))
                    .saturating_add(bytes_size(header.value.as_deref()))
            }));
        let bytes = &mut self.bytes;
        put_varlong(bytes, to_i64(length));
        bytes.extend_from_slice(&[0]);
        put_varlong(bytes, timestamp_delta);
        put_varint(bytes, offset_delta);
        put_bytes(bytes, key);
        put_bytes(bytes, value);
        put_varlong(bytes, to_i64(headers.len()));
        for header in headers {
            put_bytes(bytes, Some(&header.key));
            put_bytes(bytes, header.value.as_deref());
        }
    }
}

fn bytes_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| {
        varint_size(to_i64(bytes.len())).saturating_add(bytes.len())
    })
}

fn put_bytes(target: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(target, -1),
        Some(bytes) => {
            put_varlong(target, to_i64(bytes.len()));
            target.extend_from_slice(bytes);
        }
    }
}

fn to_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
