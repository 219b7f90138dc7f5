//! The producer as a `Sink`: for streams that are forwarded into a topic.
//!
//! Knows the producer's public API only. Deliveries are not handed out one by one; their failures
//! come back as errors of the sink.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Sink;
use futures_util::future::BoxFuture;

use super::delivery::BatchState;
use super::{DeliveryFuture, Producer, Record, TrySend};
use crate::error::{Error, Result};

/// A `Sink` of records; made by [`Producer::sink`].
///
/// `poll_ready` gives back-pressure while the buffer is full, `poll_flush` waits until every record
/// is acknowledged, `poll_close` flushes and leaves the producer open. A failed delivery is given
/// by whichever of them comes next, once per batch.
pub struct ProducerSink {
    producer: Producer,
    /// A send that has to wait.
    sending: Option<BoxFuture<'static, Result<DeliveryFuture>>>,
    flushing: Option<BoxFuture<'static, Result<()>>>,
    /// Batches whose outcome nobody has looked at, by their id; bounded by the buffer.
    unchecked: BTreeMap<u64, Arc<BatchState>>,
}

impl fmt::Debug for ProducerSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerSink")
            .field("unchecked", &self.unchecked.len())
            .finish_non_exhaustive()
    }
}

impl ProducerSink {
    pub(crate) const fn new(producer: Producer) -> Self {
        Self {
            producer,
            sending: None,
            flushing: None,
            unchecked: BTreeMap::new(),
        }
    }

    fn poll_sending(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(sending) = &mut self.sending {
            let sent = ready!(sending.as_mut().poll(cx));
            self.sending = None;
            self.remember(sent?);
        }
        Poll::Ready(Ok(()))
    }

    fn remember(&mut self, delivery: DeliveryFuture) {
        let state = delivery.into_state();
        self.unchecked.entry(state.id).or_insert(state);
    }

    /// Forgets batches that arrived; gives the first failure.
    fn check(&mut self) -> Result<()> {
        let mut failure = None;
        self.unchecked.retain(|_, state| match state.outcome() {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(_)) if failure.is_some() => true,
            Some(Err(error)) => {
                failure = Some(error.clone());
                false
            }
        });
        failure.map_or(Ok(()), Err)
    }
}

impl Sink<Record> for ProducerSink {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_sending(cx))?;
        let is_done = |entry: (&u64, &Arc<BatchState>)| entry.1.outcome().is_some();
        if this.unchecked.first_key_value().is_some_and(is_done) {
            this.check()?;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, record: Record) -> Result<()> {
        let this = self.get_mut();
        match this.producer.try_send(record)? {
            TrySend::Sent(delivery) => this.remember(delivery),
            TrySend::WouldWait(record) => {
                let producer = this.producer.clone();
                this.sending = Some(Box::pin(async move { producer.send(record).await }));
            }
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_sending(cx))?;
        if this.flushing.is_none() && !this.unchecked.is_empty() {
            let producer = this.producer.clone();
            this.flushing = Some(Box::pin(async move { producer.flush().await }));
        }
        if let Some(flushing) = &mut this.flushing {
            let flushed = ready!(flushing.as_mut().poll(cx));
            this.flushing = None;
            if flushed == Err(Error::Closed) {
                return Poll::Ready(flushed);
            }
        }
        Poll::Ready(this.check())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush(cx)
    }
}
