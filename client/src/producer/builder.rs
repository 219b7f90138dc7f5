//! Settings of a producer, and their checks.

use std::sync::Arc;
use std::time::Duration;

use raftmq_proto::v1;
use raftmq_records::Compression;

use super::accumulator::BatchSettings;
use super::partitioner::Partitioner;
use super::{Producer, Settings};
use crate::client::Shared;
use crate::error::{Error, Result};
use crate::limits;

/// When a record counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Kafka's 0: when it is handed to the connection. At most once; offsets are not known.
    None,
    /// Kafka's 1: when it is on the leader's disk. A failover may take it back.
    Leader,
    /// Kafka's all (-1): when it is committed and on the disk of every in-sync replica.
    #[default]
    All,
}

impl Acks {
    pub(crate) const fn to_wire(self) -> v1::Acks {
        match self {
            Self::None => v1::Acks::None,
            Self::Leader => v1::Acks::Leader,
            Self::All => v1::Acks::All,
        }
    }
}

/// Settings of a [`Producer`]; made by [`Client::producer`](crate::Client::producer).
#[derive(Debug, Clone)]
#[must_use]
pub struct ProducerBuilder {
    client: Arc<Shared>,
    acks: Acks,
    idempotence: Option<bool>,
    batches: BatchSettings,
    buffer_bytes: usize,
    record_bytes_max: usize,
    partitioner: Partitioner,
    delivery_timeout: Duration,
    retries_max: u32,
}

impl ProducerBuilder {
    pub(crate) fn new(client: Arc<Shared>) -> Self {
        Self {
            client,
            acks: Acks::default(),
            idempotence: None,
            batches: BatchSettings {
                compression: Compression::None,
                batch_size_bytes: limits::BATCH_SIZE_BYTES,
                linger: limits::LINGER,
            },
            buffer_bytes: limits::BUFFER_BYTES,
            record_bytes_max: limits::RECORD_BYTES_MAX,
            partitioner: Partitioner::default(),
            delivery_timeout: limits::DELIVERY_TIMEOUT,
            retries_max: u32::MAX,
        }
    }

    /// Sets when a record counts as delivered (default [`Acks::All`]).
    pub const fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// Numbers batches, so that a retry is never written twice. Default: on with [`Acks::All`],
    /// without which it is not possible.
    pub const fn idempotence(mut self, is_on: bool) -> Self {
        self.idempotence = Some(is_on);
        self
    }

    /// Sets how long a batch waits for more records before it is sent (default 5 ms). Zero sends at
    /// once; records still gather while earlier batches are under way.
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.batches.linger = linger;
        self
    }

    /// Sets the size at which a batch is sent without waiting, in bytes before compression
    /// (default 128 KiB). A larger record gets a batch of its own.
    pub const fn batch_size_bytes(mut self, size_bytes: usize) -> Self {
        self.batches.batch_size_bytes = size_bytes;
        self
    }

    /// Bounds the records that wait for their acknowledgement, in bytes (default 64 MiB);
    /// [`Producer::send`] waits when they are used up.
    pub const fn buffer_bytes(mut self, buffer_bytes: usize) -> Self {
        self.buffer_bytes = buffer_bytes;
        self
    }

    /// Bounds one record, in encoded bytes (default 16 MiB): a larger one is refused here, before
    /// it can break the connection. The topic's `max.message.bytes` is the broker's to check.
    pub const fn record_bytes_max(mut self, record_bytes_max: usize) -> Self {
        self.record_bytes_max = record_bytes_max;
        self
    }

    /// Sets how batches are compressed (default not at all).
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.batches.compression = compression;
        self
    }

    /// Sets how partitions are chosen (default by key, else sticky).
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.partitioner = partitioner;
        self
    }

    /// Bounds the time from [`Producer::send`] to the acknowledgement, retries included
    /// (default 120 s).
    pub const fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// Bounds the retries of one batch (default: only the delivery timeout does). Zero with
    /// idempotence off is at most once.
    pub const fn retries(mut self, retries_max: u32) -> Self {
        self.retries_max = retries_max;
        self
    }

    /// Builds the producer and starts its task.
    ///
    /// # Errors
    /// `InvalidConfig` when a size is out of range, or idempotence is asked for without
    /// [`Acks::All`].
    #[expect(
        clippy::unused_async,
        reason = "starts a task, so it needs a runtime; awaiting makes that plain"
    )]
    pub async fn build(self) -> Result<Producer> {
        if self.batches.batch_size_bytes == 0 {
            return invalid("batch_size_bytes must be at least 1");
        }
        if self.buffer_bytes < self.batches.batch_size_bytes
            || self.buffer_bytes > limits::BUFFER_BYTES_MAX
        {
            return invalid("buffer_bytes must be from batch_size_bytes to 2 GiB");
        }
        if self.delivery_timeout < self.batches.linger {
            return invalid("delivery_timeout must be at least linger");
        }
        let is_possible = self.acks == Acks::All;
        if self.idempotence == Some(true) && !is_possible {
            return invalid("idempotence needs acks all");
        }
        let settings = Settings {
            acks: self.acks,
            is_idempotent: self.idempotence.unwrap_or(is_possible),
            batches: self.batches,
            buffer_bytes: self.buffer_bytes,
            record_bytes_max: self.record_bytes_max.min(self.buffer_bytes),
            delivery_timeout: self.delivery_timeout,
            retries_max: self.retries_max,
        };
        Ok(Producer::start(self.client, settings, self.partitioner))
    }
}

fn invalid<T>(reason: &str) -> Result<T> {
    Err(Error::InvalidConfig(reason.to_owned()))
}
