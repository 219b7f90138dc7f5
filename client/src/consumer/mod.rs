//! The consumer: a stream of records from assigned partitions.
//!
//! Owns the handle, positions and the order in which fetched chunks are read. One task
//! (`driver.rs`, `dispatch.rs`) fetches ahead; `decode.rs` reads records in the caller's own poll.

mod buffer;
mod builder;
mod decode;
mod dispatch;
mod driver;
mod fetcher;
mod position;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use raftmq_records::{BatchError, Header, Record};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::buffer::{Buffer, Item, Wish};
use self::builder::Settings;
pub use self::builder::{ConsumerBuilder, OutOfRange, Start};
use self::decode::Decoder;
use crate::client::Shared;
use crate::error::{Error, Result};

/// A record as it stands in the log.
///
/// Key, value and headers are slices of the fetched bytes: a record that is kept for long keeps
/// its whole fetch answer in memory; copy what is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Position in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The key, if any.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

/// What the handle and its driver share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) client: Arc<Shared>,
    pub(crate) settings: Settings,
    pub(crate) partitions: Vec<(Arc<str>, u32)>,
    pub(crate) buffer: Buffer,
}

/// Reads assigned partitions; made by [`Client::consumer`](crate::Client::consumer).
///
/// A `Stream` that never ends. Records of one partition come in the order of their offsets, each
/// once; partitions are interleaved. Only committed records are seen, so a failover never takes
/// one back. Retriable trouble is retried for ever and not shown; any other error is given once
/// and stops its partition (the others go on) until a [`seek`](Consumer::seek).
///
/// Cancel safe: a `next()` that is dropped loses nothing. Dropping the consumer ends its task.
///
/// ```no_run
/// # async fn example(client: raftmq_client::Client) -> raftmq_client::Result<()> {
/// use futures_util::StreamExt as _;
/// use raftmq_client::Start;
///
/// let mut consumer = client
///     .consumer()
///     .assign([("orders", 0), ("orders", 1)])
///     .start(Start::Beginning)
///     .build()
///     .await?;
/// while let Some(record) = consumer.next().await {
///     let record = record?;
///     println!("{}/{} {:?}", record.partition, record.offset, record.value);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Consumer {
    core: Arc<Core>,
    current: Option<Decoder>,
    /// The next offset that the caller gets, once it is known.
    positions: Vec<Option<i64>>,
    _ends_driver: DropGuard,
}

impl Consumer {
    fn start(
        client: Arc<Shared>,
        settings: Settings,
        assigned: Vec<(Arc<str>, u32, Start)>,
    ) -> Self {
        let buffer = Buffer::new(assigned.len());
        let mut positions = Vec::new();
        let mut partitions = Vec::new();
        for (slot, (topic, partition, start)) in assigned.into_iter().enumerate() {
            buffer.wish(slot, Wish::Seek(start));
            positions.push(start.resolve().ok());
            partitions.push((topic, partition));
        }
        let core = Arc::new(Core {
            client,
            settings,
            partitions,
            buffer,
        });
        let dropped = CancellationToken::new();
        // Ends when the guard in the consumer is dropped.
        tokio::spawn(driver::run(Arc::clone(&core), dropped.clone()));
        Self {
            core,
            current: None,
            positions,
            _ends_driver: dropped.drop_guard(),
        }
    }

    /// Reads on from another position; what was fetched ahead of the old one is dropped. Also
    /// starts a partition again that an error has stopped.
    ///
    /// # Errors
    /// `NotAssigned`. A position that does not exist shows in the stream.
    pub fn seek(&mut self, topic: &str, partition: u32, start: Start) -> Result<()> {
        let slot = self.slot(topic, partition)?;
        self.reset(slot, Wish::Seek(start), start.resolve().ok());
        Ok(())
    }

    /// Returns the offset of the next record that the stream gives; `None` until it is known, which
    /// it is at once after a seek to an offset, else with the first record.
    ///
    /// # Errors
    /// `NotAssigned`.
    pub fn position(&self, topic: &str, partition: u32) -> Result<Option<i64>> {
        let slot = self.slot(topic, partition)?;
        Ok(self.positions.get(slot).copied().flatten())
    }

    /// Returns the offset after the last committed record, as of the last fetch; `None` before it.
    ///
    /// # Errors
    /// `NotAssigned`.
    pub fn high_watermark(&self, topic: &str, partition: u32) -> Result<Option<i64>> {
        let slot = self.slot(topic, partition)?;
        Ok(self.core.buffer.high_watermark(slot))
    }

    /// Returns the assigned partitions.
    pub fn assignment(&self) -> impl Iterator<Item = (&str, u32)> {
        let partitions = self.core.partitions.iter();
        partitions.map(|(topic, partition)| (&**topic, *partition))
    }

    fn slot(&self, topic: &str, partition: u32) -> Result<usize> {
        self.assignment()
            .position(|assigned| assigned == (topic, partition))
            .ok_or_else(|| Error::NotAssigned {
                topic: topic.to_owned(),
                partition,
            })
    }

    fn reset(&mut self, slot: usize, wish: Wish, position: Option<i64>) {
        self.core.buffer.wish(slot, wish);
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.slot == slot)
        {
            self.release_current();
        }
        if let Some(known) = self.positions.get_mut(slot) {
            *known = position;
        }
    }

    fn release_current(&mut self) {
        if let Some(read) = self.current.take() {
            self.core.buffer.release(read.size_bytes);
        }
    }

    /// The next record of the chunk that is being read; `None` when it is used up.
    fn next_of_current(&mut self) -> Option<Result<ConsumedRecord>> {
        let current = self.current.as_mut()?;
        let slot = current.slot;
        match current.next() {
            Some(Ok(record)) => {
                self.set_position(slot, record.offset + 1);
                let (topic, partition) = self.core.partitions.get(slot)?;
                Some(Ok(consumed(topic, *partition, record)))
            }
            Some(Err(reason)) => Some(Err(self.stop(slot, reason))),
            None => {
                let next_offset = current.next_offset;
                self.set_position(slot, next_offset);
                self.release_current();
                None
            }
        }
    }

    fn set_position(&mut self, slot: usize, offset: i64) {
        if let Some(position) = self.positions.get_mut(slot) {
            *position = Some(offset);
        }
    }

    /// Stops a partition whose bytes are damaged; its position stays.
    fn stop(&mut self, slot: usize, reason: BatchError) -> Error {
        let position = self.positions.get(slot).copied().flatten();
        self.reset(slot, Wish::Stop, position);
        let (topic, partition) = self
            .core
            .partitions
            .get(slot)
            .map_or((String::new(), 0), |(topic, partition)| {
                (topic.to_string(), *partition)
            });
        Error::Corrupt {
            topic,
            partition,
            offset: position.unwrap_or(0),
            reason,
        }
    }
}

impl Stream for Consumer {
    type Item = Result<ConsumedRecord>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(record) = this.next_of_current() {
                return Poll::Ready(Some(record));
            }
            match this.core.buffer.poll_pop(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Item::Failed(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Item::Records(chunk)) => this.current = Some(Decoder::new(&chunk)),
            }
        }
    }
}

fn consumed(topic: &Arc<str>, partition: u32, record: Record) -> ConsumedRecord {
    ConsumedRecord {
        topic: Arc::clone(topic),
        partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key,
        value: record.value,
        headers: record.headers,
    }
}
