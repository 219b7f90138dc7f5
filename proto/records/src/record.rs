//! The records inside a batch: decompressed once, then sliced without copying.
//!
//! Knows the layout of one record and how its offset and time follow from the header. It does not
//! check the CRC (`validate.rs` does) and is safe without it: any bytes give records or an error.

use bytes::Bytes;

use crate::compression::decompress;
use crate::error::BatchError;
use crate::header::{BatchHeader, HEADER_SIZE_BYTES, TimestampType};
use crate::limits::DecodeLimits;
use crate::varint::Reader;

/// Smallest encoded size of a record: length, attributes, two deltas, three counts.
pub(crate) const RECORD_SIZE_BYTES_MIN: usize = 7;
/// Smallest encoded size of a record header: two lengths.
const RECORD_HEADER_SIZE_BYTES_MIN: usize = 2;

/// A key with a value that travels beside a record's own key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name; UTF-8 by convention, not checked.
    pub key: Bytes,
    /// The value; `None` is Kafka's null.
    pub value: Option<Bytes>,
}

impl Header {
    /// Creates a header with a value.
    #[must_use]
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }
}

/// One record with its absolute offset and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Position in the partition: the batch's base offset plus the record's delta.
    pub offset: i64,
    /// Milliseconds since 1970: the record's own, or the batch's append time.
    pub timestamp_ms: i64,
    /// The key; `None` is Kafka's null.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order; a key may occur twice.
    pub headers: Vec<Header>,
}

/// Opens the records of a batch: parses the header, decompresses the rest within `limits`.
///
/// `batch` starts with one batch; bytes after it are left alone. The CRC is not checked. Keys,
/// values and headers are slices of `batch` or of its decompressed body.
///
/// # Errors
/// Those of [`BatchHeader::parse`]; `Truncated` when the batch is longer than the bytes;
/// `UnknownCompression`; `DecompressFailed` and `DecompressedTooLarge`; `ImpossibleCount` when the
/// header counts more records than the body can hold.
pub fn records(batch: &Bytes, limits: DecodeLimits) -> Result<Records, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let size_bytes = header.total_size_bytes();
    if size_bytes > batch.len() {
        return Err(BatchError::Truncated {
            needed: size_bytes,
            remaining: batch.len(),
        });
    }
    let body = batch.slice(HEADER_SIZE_BYTES..size_bytes);
    let body = decompress(header.compression()?, &body, limits)?;
    Records::new(header, body)
}

/// Iterator over the records of one batch; ends after the first error.
#[derive(Debug, Clone)]
pub struct Records {
    header: BatchHeader,
    body: Bytes,
    position: usize,
    records_read: i32,
    next_delta_min: i32,
    is_failed: bool,
}

impl Records {
    pub(crate) fn new(header: BatchHeader, body: Bytes) -> Result<Self, BatchError> {
        let possible = body.len() / RECORD_SIZE_BYTES_MIN;
        let is_possible =
            usize::try_from(header.records_count).is_ok_and(|count| count <= possible);
        if !is_possible {
            return Err(BatchError::ImpossibleCount {
                records_count: header.records_count,
                remaining: body.len(),
            });
        }
        Ok(Self {
            header,
            body,
            position: 0,
            records_read: 0,
            next_delta_min: 0,
            is_failed: false,
        })
    }

    /// Returns the header of the batch.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The decompressed records.
    pub(crate) const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Where in the body the next record begins.
    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    fn read(&mut self) -> Result<Record, BatchError> {
        let frame = RecordFrame::read(&self.body, self.position, self.records_read)?;
        // Compaction leaves gaps, so deltas only have to grow.
        if frame.offset_delta < self.next_delta_min
            || frame.offset_delta > self.header.last_offset_delta
        {
            return Err(BatchError::InvalidOffsetDelta {
                record_index: self.records_read,
                expected: self.next_delta_min,
                actual: frame.offset_delta,
            });
        }
        let record = self.record(&frame)?;
        self.next_delta_min = frame.offset_delta.saturating_add(1);
        self.position = frame.end;
        self.records_read = self.records_read.saturating_add(1);
        if self.records_read == self.header.records_count && self.position < self.body.len() {
            return Err(BatchError::TrailingBytes {
                excess: self.body.len().saturating_sub(self.position),
            });
        }
        Ok(record)
    }

    fn record(&self, frame: &RecordFrame) -> Result<Record, BatchError> {
        let timestamp_ms = match self.header.timestamp_type() {
            TimestampType::LogAppendTime => self.header.max_timestamp,
            TimestampType::CreateTime => self
                .header
                .base_timestamp
                .checked_add(frame.timestamp_delta)
                .ok_or(BatchError::InvalidTimestamp {
                    base_timestamp: self.header.base_timestamp,
                    delta: frame.timestamp_delta,
                })?,
        };
        let mut headers = Vec::with_capacity(frame.headers_count);
        let mut reader = Reader::new(
            self.body.get(..frame.end).unwrap_or_default(),
            frame.headers_at,
        );
        for _ in 0..frame.headers_count {
            let (key, value) = read_header(&mut reader, self.records_read)?;
            headers.push(Header {
                key: self.body.slice(key),
                value: value.map(|range| self.body.slice(range)),
            });
        }
        Ok(Record {
            offset: self
                .header
                .base_offset
                .saturating_add(i64::from(frame.offset_delta)),
            timestamp_ms,
            key: frame.key.clone().map(|range| self.body.slice(range)),
            value: frame.value.clone().map(|range| self.body.slice(range)),
            headers,
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_failed || self.records_read >= self.header.records_count {
            return None;
        }
        let record = self.read();
        self.is_failed = record.is_err();
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.header.records_count.saturating_sub(self.records_read);
        (0, usize::try_from(left).ok())
    }
}

type ByteRange = std::ops::Range<usize>;

/// Where the parts of one record stand in the body.
#[derive(Debug)]
pub(crate) struct RecordFrame {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<ByteRange>,
    pub(crate) value: Option<ByteRange>,
    pub(crate) headers_count: usize,
    pub(crate) headers_at: usize,
    /// Where the next record begins.
    pub(crate) end: usize,
}

impl RecordFrame {
    /// Reads the record at `position` up to its headers, which are counted but not read.
    pub(crate) fn read(body: &[u8], position: usize, index: i32) -> Result<Self, BatchError> {
        let mut outer = Reader::new(body, position);
        let length = outer.varint()?;
        let length_bytes = required_length(length, &outer, index)?;
        let end = outer.skip(length_bytes)?.end;
        let start = end.saturating_sub(length_bytes);
        let mut reader = Reader::new(body.get(..end).unwrap_or_default(), start);
        let _attributes = reader.u8()?;
        let timestamp_delta = reader.varlong()?;
        let offset_delta = reader.varint()?;
        let key = optional_bytes(&mut reader, index)?;
        let value = optional_bytes(&mut reader, index)?;
        let headers_count = reader.varint()?;
        let possible = reader.remaining() / RECORD_HEADER_SIZE_BYTES_MIN;
        let headers_count = usize::try_from(headers_count)
            .ok()
            .filter(|count| *count <= possible)
            .ok_or_else(|| BatchError::InvalidRecordLength {
                record_index: index,
                length: headers_count,
                remaining: reader.remaining(),
            })?;
        if headers_count == 0 && reader.remaining() > 0 {
            return Err(BatchError::TrailingBytes {
                excess: reader.remaining(),
            });
        }
        Ok(Self {
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers_count,
            headers_at: reader.position(),
            end,
        })
    }

    /// Walks the headers and checks that the record ends with the last one.
    pub(crate) fn check_headers(&self, body: &[u8], index: i32) -> Result<(), BatchError> {
        let mut reader = Reader::new(body.get(..self.end).unwrap_or_default(), self.headers_at);
        for _ in 0..self.headers_count {
            read_header(&mut reader, index)?;
        }
        if reader.remaining() > 0 {
            return Err(BatchError::TrailingBytes {
                excess: reader.remaining(),
            });
        }
        Ok(())
    }
}

fn read_header(
    reader: &mut Reader<'_>,
    index: i32,
) -> Result<(ByteRange, Option<ByteRange>), BatchError> {
    let length = reader.varint()?;
    let length = required_length(length, reader, index)?;
    let key = reader.skip(length)?;
    let value = optional_bytes(reader, index)?;
    Ok((key, value))
}

/// A length that may be -1 for null, then that many bytes.
fn optional_bytes(reader: &mut Reader<'_>, index: i32) -> Result<Option<ByteRange>, BatchError> {
    let length = reader.varint()?;
    if length == -1 {
        return Ok(None);
    }
    let length = required_length(length, reader, index)?;
    reader.skip(length).map(Some)
}

fn required_length(length: i32, reader: &Reader<'_>, index: i32) -> Result<usize, BatchError> {
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= reader.remaining())
        .ok_or_else(|| BatchError::InvalidRecordLength {
            record_index: index,
            length,
            remaining: reader.remaining(),
        })
}
