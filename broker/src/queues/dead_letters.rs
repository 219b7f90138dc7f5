//! Messages that died on their way to where the queue's dead-letter exchange sends them.
//!
//! At least once: a queue forgets a dead letter only when every target has it. Where that is, and what
//! is written on it, the front end decides.

use bytes::Bytes;
use raftmq_core::cluster::Image;
use raftmq_core::cluster::amqp::QueueInfo;
use raftmq_core::ids::GroupNumber;
use raftmq_core::queue::{DeadLetter, Message};

/// A message that died.
#[derive(Debug, Clone, Copy)]
pub struct DeadMessage<'a> {
    /// The metadata as they are now.
    pub image: &'a Image,
    /// The queue it died in; its arguments name the exchange.
    pub queue: &'a QueueInfo,
    /// Why it died; its id, with the queue's group, names it for a target's deduplication.
    pub letter: DeadLetter,
    /// Its body, in the front end's storage form.
    pub body: &'a Bytes,
    /// When it is published, milliseconds since 1970.
    pub now_ms: i64,
}

/// Decides where dead letters go.
pub trait DeadLetterRouter: Send + Sync + 'static {
    /// The queues that a dead letter goes to, and what each gets; none = nobody wants it.
    fn targets(&self, dead: &DeadMessage<'_>) -> Vec<(GroupNumber, Message)>;
}

/// Routes nothing anywhere: what dies is dropped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Undeliverable;

impl DeadLetterRouter for Undeliverable {
    fn targets(&self, _dead: &DeadMessage<'_>) -> Vec<(GroupNumber, Message)> {
        Vec::new()
    }
}
