//! The way of one message: from the exchange that it was published to, to its queues.
//!
//! Owns the walk over bound exchanges (each once, so cycles end), alternate exchanges (taken when
//! nothing of an exchange matched) and the result without repetition. Reads headers only where a
//! headers exchange asks for them. Does not know what a message is beyond its keys and headers.

use crate::exchange::{Destination, ExchangeId, HeaderValue, Routing};
use crate::ids::GroupNumber;

/// The headers of a message, read on demand.
pub trait Headers {
    /// Returns the value of a header; the last one when a name comes twice, as RabbitMQ does.
    fn value(&self, name: &[u8]) -> Option<HeaderValue<&[u8]>>;
}

/// A message without headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn value(&self, _name: &[u8]) -> Option<HeaderValue<&[u8]>> {
        None
    }
}

/// What of a message decides its way.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// The routing key.
    pub routing_key: &'a [u8],
    /// Further keys: those of the headers `CC` and `BCC` (the caller strips `BCC`).
    pub more_keys: &'a [&'a [u8]],
    /// The headers.
    pub headers: &'a dyn Headers,
}

impl<'a> Message<'a> {
    /// Makes a message with one key and no headers.
    #[must_use]
    pub const fn new(routing_key: &'a [u8]) -> Self {
        Self {
            routing_key,
            more_keys: &[],
            headers: &NoHeaders,
        }
    }

    /// Shows every key.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a [u8]> {
        std::iter::once(self.routing_key).chain(self.more_keys.iter().copied())
    }
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("routing_key", &self.routing_key)
            .field("more_keys", &self.more_keys)
            .finish_non_exhaustive()
    }
}

/// The result of routing, and memory that is used again for the next message.
#[derive(Debug, Clone, Default)]
pub struct Route {
    queues: Vec<GroupNumber>,
    matched: Vec<Destination>,
    waiting: Vec<ExchangeId>,
    seen: Vec<ExchangeId>,
}

impl Route {
    /// Starts without memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows the queues of the last message, ascending, each once; empty when it is unroutable.
    #[must_use]
    pub fn queues(&self) -> &[GroupNumber] {
        &self.queues
    }

    /// Starts the next message.
    pub(super) fn clear(&mut self) {
        self.queues.clear();
        self.waiting.clear();
        self.seen.clear();
    }

    /// Adds a queue.
    pub(super) fn reach_queue(&mut self, group: GroupNumber) {
        self.queues.push(group);
    }

    /// Adds an exchange, unless the message has been there.
    pub(super) fn reach_exchange(&mut self, id: ExchangeId) {
        if let Err(at) = self.seen.binary_search(&id) {
            self.seen.insert(at, id);
            self.waiting.push(id);
        }
    }

    /// Walks on until no exchange waits.
    pub(super) fn finish(&mut self, routing: &Routing, message: &Message<'_>) {
        while let Some(id) = self.waiting.pop() {
            self.pass(routing, id, message);
        }
        self.queues.sort_unstable();
        self.queues.dedup();
    }

    /// Takes the message through one exchange.
    fn pass(&mut self, routing: &Routing, id: ExchangeId, message: &Message<'_>) {
        let Some(exchange) = routing.exchange(id) else {
            return;
        };
        self.matched.clear();
        exchange.collect(message, &mut self.matched);
        if self.matched.is_empty() {
            if let Some(alternate) = &exchange.settings().alternate {
                routing.enter(alternate, message, self);
            }
            return;
        }
        for at in 0..self.matched.len() {
            match self.matched[at] {
                Destination::Queue(group) => self.queues.push(group),
                Destination::Exchange(id) => self.reach_exchange(id),
            }
        }
    }
}
