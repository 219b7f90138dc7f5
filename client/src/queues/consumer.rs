//! A consumer as an application sees it: a stream of deliveries that goes on over lost connections.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use raftmq_proto::v1::ConsumeQueue;
use tokio::sync::mpsc;

use super::delivery::QueueDelivery;
use super::session::{Event, Session};
use crate::client::Shared;
use crate::error::{Error, Result};
use crate::limits::PREFETCH_DEFAULT;

/// How to consume from a queue.
///
/// ```
/// use raftmq_client::ConsumeOptions;
///
/// // A worker that holds one message at a time: a busy one gets nothing that an idle one could do.
/// let fair = ConsumeOptions::new().prefetch(1);
/// # let _ = fair;
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ConsumeOptions {
    prefetch: u32,
    is_automatic: bool,
    is_exclusive: bool,
    priority: i32,
    tag: Option<String>,
}

impl Default for ConsumeOptions {
    fn default() -> Self {
        Self {
            prefetch: PREFETCH_DEFAULT,
            is_automatic: false,
            is_exclusive: false,
            priority: 0,
            tag: None,
        }
    }
}

impl ConsumeOptions {
    /// Up to 256 unsettled messages, each to be acknowledged.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many messages it may hold that are not settled: 1 to 16,384; 0 stands for the largest number.
    pub const fn prefetch(mut self, count: u32) -> Self {
        self.prefetch = count;
        self
    }

    /// Messages count as settled when they are sent: what is on the way when a connection or the program is lost,
    /// is lost.
    pub const fn no_ack(mut self) -> Self {
        self.is_automatic = true;
        self
    }

    /// Makes it the only consumer of the queue; refused while there are others.
    pub const fn exclusive(mut self) -> Self {
        self.is_exclusive = true;
        self
    }

    /// Sets its priority: consumers of a lower one get messages only while those of a higher one are busy.
    pub const fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Names it for operators; made up otherwise. 1 to 255 bytes.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    pub(super) fn request(self, shared: &Shared, queue: &str) -> ConsumeQueue {
        ConsumeQueue {
            queue: queue.to_owned(),
            consumer_tag: self.tag.unwrap_or_else(|| shared.random.id()),
            no_ack: self.is_automatic,
            exclusive: self.is_exclusive,
            priority: self.priority,
            prefetch: self.prefetch,
        }
    }
}

/// A stream of deliveries from one queue; made by [`Queue::consume`](crate::Queue::consume).
///
/// When its connection is lost it goes on over another one, at whichever broker answers: what was not settled
/// then comes again, here or at another consumer, with `is_redelivered` set. It ends, after an error, when the
/// queue is no more or the broker refuses it for good. Dropping it ends it; deliveries that the application still
/// holds can be settled, and the rest returns to the queue once it holds none.
#[derive(Debug)]
pub struct QueueConsumer {
    events: mpsc::Receiver<Event>,
    is_over: bool,
    /// Keeps the session while there are no deliveries that do.
    _session: Session,
}

impl QueueConsumer {
    pub(super) async fn start(
        shared: &Arc<Shared>,
        vhost: &str,
        consume: ConsumeQueue,
    ) -> Result<Self> {
        let (session, events) = Session::consume(Arc::clone(shared), vhost, consume).await?;
        Ok(Self {
            events,
            is_over: false,
            _session: session,
        })
    }
}

impl Stream for QueueConsumer {
    type Item = Result<QueueDelivery>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.is_over {
            match std::task::ready!(self.events.poll_recv(context)) {
                Some(Event::Delivered(delivery)) => return Poll::Ready(Some(Ok(*delivery))),
                // It goes on by itself.
                Some(Event::Lost(_)) => {}
                Some(Event::Ended(error)) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(Error::Closed)));
                }
            }
        }
        Poll::Ready(None)
    }
}
