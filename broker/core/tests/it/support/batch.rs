//! Record batches made by hand: the machines look at headers only, so the records are filler.

use bytes::{BufMut, Bytes, BytesMut};
use raftmq_records::BatchHeader;

/// Bytes of a batch header.
pub(crate) const HEADER_BYTES: usize = 61;

/// What a test says about a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSpec {
    pub(crate) records_count: i32,
    pub(crate) payload_bytes: usize,
    pub(crate) max_timestamp_ms: i64,
    pub(crate) attributes: u16,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    /// Written into the payload, to tell batches apart.
    pub(crate) mark: u8,
}

/// A batch of so many records without a producer.
pub(crate) fn plain(records_count: i32) -> BatchSpec {
    BatchSpec {
        records_count,
        payload_bytes: 100,
        max_timestamp_ms: super::NOW_MS,
        attributes: 0,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        mark: 0,
    }
}

/// A batch of an idempotent producer with epoch 0.
pub(crate) fn from_producer(producer_id: i64, base_sequence: i32, records_count: i32) -> BatchSpec {
    BatchSpec {
        producer_id,
        producer_epoch: 0,
        base_sequence,
        ..plain(records_count)
    }
}

impl BatchSpec {
    pub(crate) fn of_epoch(self, producer_epoch: i16) -> Self {
        Self {
            producer_epoch,
            ..self
        }
    }

    pub(crate) fn at_time(self, max_timestamp_ms: i64) -> Self {
        Self {
            max_timestamp_ms,
            ..self
        }
    }

    pub(crate) fn of_bytes(self, payload_bytes: usize) -> Self {
        Self {
            payload_bytes,
            ..self
        }
    }

    pub(crate) fn marked(self, mark: u8) -> Self {
        Self { mark, ..self }
    }

    /// The batch as a client sends it: offset 0, no leader epoch.
    pub(crate) fn bytes(&self) -> Bytes {
        let batch_length = i32::try_from(HEADER_BYTES - 12 + self.payload_bytes).unwrap();
        let mut bytes = BytesMut::new();
        bytes.put_i64(0);
        bytes.put_i32(batch_length);
        bytes.put_i32(-1);
        bytes.put_i8(2);
        bytes.put_u32(0);
        bytes.put_u16(self.attributes);
        bytes.put_i32(self.records_count - 1);
        bytes.put_i64(self.max_timestamp_ms);
        bytes.put_i64(self.max_timestamp_ms);
        bytes.put_i64(self.producer_id);
        bytes.put_i16(self.producer_epoch);
        bytes.put_i32(self.base_sequence);
        bytes.put_i32(self.records_count);
        bytes.put_bytes(self.mark, self.payload_bytes);
        bytes.freeze()
    }

    /// The header of that batch.
    pub(crate) fn header(&self) -> BatchHeader {
        BatchHeader::parse(&self.bytes()).unwrap()
    }
}
