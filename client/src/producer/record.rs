//! A record on its way into the cluster.
//!
//! Knows nothing of batches; sizes are counted in `accumulator.rs`.

use std::sync::Arc;

use bytes::Bytes;
use raftmq_records::Header;

/// A record to send; built by [`Record::to`].
///
/// ```
/// use raftmq_client::Record;
///
/// let record = Record::to("orders").key("customer-7").value("{}").header("trace", "ab12");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Record {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: Option<u32>,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
}

impl Record {
    /// Starts a record for a topic. Cloning an `Arc<str>` spares an allocation per record.
    pub fn to(topic: impl Into<Arc<str>>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            timestamp_ms: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    /// Sets the key; records with the same key keep their order (unless the number of partitions
    /// changes).
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the value; without one the record is a tombstone.
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Adds a header; names may repeat.
    pub fn header(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header::new(key, value));
        self
    }

    /// Chooses the partition, instead of the partitioner.
    pub const fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the timestamp in milliseconds since 1970, instead of the client's clock.
    pub const fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}
