//! The producer: records in, acknowledgements out.
//!
//! Owns the handle, the buffer's bytes and what handle and driver share. Batches gather in
//! `accumulator.rs`; one task (`driver.rs`, `dispatch.rs`) sends them; `partition.rs` keeps their
//! order; `delivery.rs` brings the outcome back.

mod accumulator;
mod builder;
mod delivery;
mod dispatch;
mod driver;
mod leader;
mod partition;
mod partitioner;
mod record;
mod sink;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use raftmq_records::BatchBuilder;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use self::accumulator::{Accumulator, BatchSettings};
pub use self::builder::{Acks, ProducerBuilder};
use self::delivery::{BatchFuture, BatchState};
pub use self::delivery::{Delivery, DeliveryFuture};
use self::driver::Command;
use self::partitioner::Chooser;
pub use self::partitioner::{PartitionFn, Partitioner};
pub use self::record::Record;
pub use self::sink::ProducerSink;
use crate::client::Shared;
use crate::error::{Error, Result};

/// Commands that wait for the driver.
const COMMANDS_MAX: usize = 16;

type Commands = mpsc::Receiver<Command>;

/// Checked settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) acks: Acks,
    pub(crate) is_idempotent: bool,
    pub(crate) batches: BatchSettings,
    pub(crate) buffer_bytes: usize,
    pub(crate) record_bytes_max: usize,
    pub(crate) delivery_timeout: Duration,
    pub(crate) retries_max: u32,
}

/// What the handle and its driver share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) client: Arc<Shared>,
    pub(crate) settings: Settings,
    pub(crate) accumulator: Mutex<Accumulator>,
    chooser: Mutex<Chooser>,
    /// One permit per byte of the buffer.
    buffer: Semaphore,
    /// Sends that wait for the buffer: then batches do not linger.
    waiters: AtomicUsize,
    pub(crate) news: Arc<Notify>,
}

impl Core {
    /// Gives bytes of the buffer back.
    pub(crate) fn release(&self, bytes: usize) {
        self.buffer.add_permits(bytes);
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) > 0
    }

    /// Fails what was never sent, and every later send.
    pub(crate) fn fail_waiting(&self) {
        let waiting = self.accumulator.lock().drain();
        self.buffer.close();
        for batch in waiting {
            batch.state.complete(Err(Error::Closed));
        }
    }

    fn size_bytes(&self, record: &Record) -> Result<(usize, u32)> {
        let size_bytes = BatchBuilder::record_size_bytes_max(
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        );
        let max_bytes = self.settings.record_bytes_max;
        let permits = u32::try_from(size_bytes).unwrap_or(u32::MAX);
        if size_bytes > max_bytes {
            return Err(Error::RecordTooLarge {
                size_bytes,
                max_bytes,
            });
        }
        Ok((size_bytes, permits))
    }

    async fn reserve(&self, permits: u32) -> Result<()> {
        if let Ok(reserved) = self.buffer.try_acquire_many(permits) {
            reserved.forget();
            return Ok(());
        }
        let _waiter = Waiter::new(self);
        self.news.notify_one();
        let reserved = self.buffer.acquire_many(permits).await;
        reserved.map_err(|_| Error::Closed)?.forget();
        Ok(())
    }

    /// Puts a record whose bytes are reserved into its batch.
    fn append(&self, record: &Record, count: u32, size_bytes: usize) -> Result<DeliveryFuture> {
        let partition = match record.partition {
            Some(partition) => partition,
            None => self.chooser.lock().choose(
                &self.client.random,
                &record.topic,
                record.key.as_deref(),
                (count, size_bytes),
            ),
        };
        let timestamp_ms = record.timestamp_ms.unwrap_or_else(|| self.client.now_ms());
        let appended =
            self.accumulator
                .lock()
                .append(record, partition, (timestamp_ms, size_bytes));
        match appended {
            Ok((delivery, is_news)) => {
                if is_news {
                    self.news.notify_one();
                }
                Ok(delivery)
            }
            Err(error) => {
                self.release(size_bytes);
                Err(error)
            }
        }
    }
}

/// Counts one send that waits for the buffer, for as long as it lives.
struct Waiter<'a>(&'a Core);

impl<'a> Waiter<'a> {
    fn new(core: &'a Core) -> Self {
        core.waiters.fetch_add(1, Ordering::Relaxed);
        Self(core)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends records; made by [`Client::producer`](crate::Client::producer), cheap to clone.
///
/// Records of one partition are written in the order of their `send` calls. When the last clone is
/// dropped, what is not acknowledged fails with [`Error::Closed`] (it may have been written); call
/// [`close`](Producer::close) to wait for it instead.
///
/// ```no_run
/// # async fn example(client: raftmq_client::Client) -> raftmq_client::Result<()> {
/// use raftmq_client::{Acks, Record};
///
/// let producer = client.producer().acks(Acks::All).build().await?;
/// let delivery = producer.send(Record::to("orders").key("7").value("paid")).await?;
/// let acknowledged = delivery.await?;
/// println!("partition {} offset {:?}", acknowledged.partition, acknowledged.offset);
/// producer.close().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
    commands: mpsc::Sender<Command>,
    /// Ends by itself when `commands` is gone; taken by `close`, which waits for it.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Producer {
    fn start(client: Arc<Shared>, settings: Settings, partitioner: Partitioner) -> Self {
        let core = Arc::new(Core {
            client,
            accumulator: Mutex::new(Accumulator::new(settings.batches)),
            chooser: Mutex::new(Chooser::new(partitioner, settings.batches.batch_size_bytes)),
            buffer: Semaphore::new(settings.buffer_bytes),
            waiters: AtomicUsize::new(0),
            news: Arc::new(Notify::new()),
            settings,
        });
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let task = tokio::spawn(driver::run(Arc::clone(&core), inbox));
        Self {
            handle: Arc::new(Handle {
                core,
                commands,
                task: Mutex::new(Some(task)),
            }),
        }
    }

    /// Puts a record into its batch; the returned future resolves at the acknowledgement.
    ///
    /// Waits while the buffer is full, and for the metadata of a topic that is used for the first
    /// time. Cancel safe: until it returns, nothing was sent.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC` when the topic does not appear within the client's topic wait,
    /// `UNKNOWN_PARTITION`; `RecordTooLarge` when the record is over its limit or the buffer; `Encode`;
    /// `TimedOut` when no broker answers; `Closed`.
    pub async fn send(&self, record: Record) -> Result<DeliveryFuture> {
        let core = &self.handle.core;
        let count = match core.client.metadata.partitions_count(&record.topic) {
            Some(count) if record.partition.is_none_or(|partition| partition < count) => count,
            Some(_) | None => self.check_partition(&record).await?,
        };
        let (size_bytes, permits) = core.size_bytes(&record)?;
        core.reserve(permits).await?;
        core.append(&record, count, size_bytes)
    }

    /// Like [`send`](Producer::send), but never waits: gives the record back when the buffer is
    /// full or the topic is not known yet.
    ///
    /// # Errors
    /// Those of `send` that do not need waiting.
    pub fn try_send(&self, record: Record) -> Result<TrySend> {
        let core = &self.handle.core;
        let count = match core.client.metadata.partitions_count(&record.topic) {
            Some(count) if record.partition.is_none_or(|partition| partition < count) => count,
            Some(_) | None => return Ok(TrySend::WouldWait(record)),
        };
        let (size_bytes, permits) = core.size_bytes(&record)?;
        let Ok(reserved) = core.buffer.try_acquire_many(permits) else {
            return Ok(TrySend::WouldWait(record));
        };
        reserved.forget();
        core.append(&record, count, size_bytes).map(TrySend::Sent)
    }

    /// Sends everything gathered so far without lingering, and waits for the outcome.
    ///
    /// Cancel safe: what is under way goes on.
    ///
    /// # Errors
    /// The first error among the batches that were open when it was called (their records' own
    /// futures have it, too); `Closed`.
    pub async fn flush(&self) -> Result<()> {
        let mut outcome = Ok(());
        for state in self.open_batches().await? {
            outcome = outcome.and(BatchFuture::new(state).await.map(drop));
        }
        outcome
    }

    /// Takes no more records, waits for the outcome of all, and ends the producer's task. All
    /// clones are closed; closing again gives `Closed`.
    ///
    /// # Errors
    /// As [`flush`](Producer::flush).
    pub async fn close(&self) -> Result<()> {
        self.handle.core.accumulator.lock().close();
        let mut outcome = Ok(());
        for state in self.open_batches().await? {
            outcome = outcome.and(BatchFuture::new(state).await.map(drop));
        }
        // A driver that is gone already is as closed as can be.
        let _ = self.handle.commands.send(Command::Close).await;
        let task = self.handle.task.lock().take();
        if let Some(task) = task {
            let ended = task.await;
            tracing::debug!(is_ok = ended.is_ok(), "producer closed");
        }
        outcome
    }

    /// Returns a `Sink` of records over this producer.
    #[must_use]
    pub fn sink(&self) -> ProducerSink {
        ProducerSink::new(self.clone())
    }

    async fn open_batches(&self) -> Result<Vec<Arc<BatchState>>> {
        let (reply, states) = oneshot::channel();
        let command = Command::Flush(reply);
        let sent = self.handle.commands.send(command).await;
        sent.map_err(|_| Error::Closed)?;
        states.await.map_err(|_| Error::Closed)
    }

    /// The slow way to the partition count: waits for the topic, looks once for a new partition.
    async fn check_partition(&self, record: &Record) -> Result<u32> {
        let client = &self.handle.core.client;
        let mut count = client.partitions_count(&record.topic).await?;
        let Some(partition) = record.partition else {
            return Ok(count);
        };
        if partition >= count {
            client.refresh_metadata().await?;
            count = client.partitions_count(&record.topic).await?;
        }
        if partition >= count {
            let unknown = raftmq_proto::v1::Error::unknown_partition(&record.topic, partition);
            return Err(unknown.into());
        }
        Ok(count)
    }
}

/// What became of a [`Producer::try_send`].
#[derive(Debug)]
#[must_use]
pub enum TrySend {
    /// The record is in its batch.
    Sent(DeliveryFuture),
    /// The buffer is full or the topic not known: here is the record back.
    WouldWait(Record),
}
