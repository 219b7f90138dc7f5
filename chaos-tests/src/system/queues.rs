//! The seam between the harness and queues: what a client of theirs can do.

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::history::{Queue, Route, Settlement, Wishes};

/// What a publisher is told of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// Every queue has it.
    Acked,
    /// The broker does not answer for it.
    Nacked,
    /// It reaches no queue.
    Returned,
    /// The connection ended before.
    Unknown,
}

/// The confirm of a message, once it comes. Ends with its connection.
pub type Confirming = LocalBoxFuture<'static, Confirm>;

/// A message as a client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// By which it is settled, on this channel.
    pub tag: u64,
    /// What was published.
    pub body: Bytes,
    /// `x-raftmq-id`.
    pub id: String,
    /// The flag.
    pub is_redelivered: bool,
    /// The name of the queue in which a dead letter died first.
    pub died_in: Option<String>,
}

/// What a client says of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settle {
    /// The delivery, or the last one of them.
    pub tag: u64,
    /// All up to this one.
    pub is_multiple: bool,
    /// What becomes of them.
    pub settlement: Settlement,
}

/// A connection with one channel. Dropped, it ends as if the client had died; after an error it is of no
/// more use. Every future ends by itself within bounded simulated time.
pub trait QueueClient {
    /// Makes these queues, exchanges and bindings; repetition changes nothing.
    fn declare<'a>(&'a self, queues: &'a [Queue]) -> LocalBoxFuture<'a, Result<(), String>>;

    /// Publishes a message, in the order of the calls.
    fn publish(
        &self,
        route: Route,
        body: Bytes,
        wishes: Wishes,
    ) -> LocalBoxFuture<'_, Result<Confirming, String>>;

    /// Consumes a queue, holding at most `prefetch` messages. Once for a client.
    fn consume(&self, queue: Queue, prefetch: u16) -> LocalBoxFuture<'_, Result<(), String>>;

    /// Ends the consumer; what it holds stays with the channel.
    fn cancel(&self) -> LocalBoxFuture<'_, Result<(), String>>;

    /// Waits a bounded time for a message.
    fn next(&self) -> LocalBoxFuture<'_, Result<Option<Delivered>, String>>;

    /// Fetches a message, if there is one.
    fn get(&self, queue: Queue) -> LocalBoxFuture<'_, Result<Option<Delivered>, String>>;

    /// Settles deliveries; nobody answers.
    fn settle(&self, settle: Settle) -> LocalBoxFuture<'_, Result<(), String>>;

    /// Takes every ready message out of a queue; returns when that is done.
    fn purge(&self, queue: Queue) -> LocalBoxFuture<'_, Result<(), String>>;

    /// Ready messages and consumers of a queue, behind everything this channel asked of it before.
    fn counts(&self, queue: Queue) -> LocalBoxFuture<'_, Result<(u32, u32), String>>;

    /// Ends the connection in order.
    fn close(&self) -> LocalBoxFuture<'_, Result<(), String>>;
}
