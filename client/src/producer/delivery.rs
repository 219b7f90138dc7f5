//! The way back: one shared outcome per batch, and cheap futures that point into it.
//!
//! Owns the completion protocol. A record costs no task and no allocation here: its future is a
//! reference to the batch's state plus an index.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::error::{Error, Result};

/// Offset of a record whose position is not known (`acks=0`, or a duplicate that the broker has
/// forgotten the position of).
pub(crate) const UNKNOWN_OFFSET: i64 = -1;

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The partition.
    pub partition: u32,
    /// The offset; `None` with `Acks::None`, or when a repeated batch was found written already but
    /// too long ago to know where.
    pub offset: Option<i64>,
    /// The record's timestamp in milliseconds since 1970: its own, or the leader's when the topic
    /// stamps on append.
    pub timestamp_ms: i64,
}

/// The acknowledgement of a whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchAck {
    pub(crate) base_offset: i64,
    /// -1 unless the topic stamps on append.
    pub(crate) log_append_time_ms: i64,
}

/// The outcome of one batch, shared by the records in it.
#[derive(Debug)]
pub(crate) struct BatchState {
    /// Grows from batch to batch of one producer.
    pub(crate) id: u64,
    pub(crate) partition: u32,
    outcome: OnceLock<Result<BatchAck>>,
    wakers: Mutex<Vec<Waker>>,
}

impl BatchState {
    pub(crate) fn new(id: u64, partition: u32) -> Self {
        Self {
            id,
            partition,
            outcome: OnceLock::new(),
            wakers: Mutex::new(Vec::new()),
        }
    }

    /// Sets the outcome and wakes everyone; the first call counts.
    pub(crate) fn complete(&self, outcome: Result<BatchAck>) {
        let _ = self.outcome.set(outcome);
        let wakers = std::mem::take(&mut *self.wakers.lock());
        for waker in wakers {
            waker.wake();
        }
    }

    pub(crate) fn outcome(&self) -> Option<&Result<BatchAck>> {
        self.outcome.get()
    }

    fn poll(&self, slot: &mut Option<usize>, cx: &Context<'_>) -> Poll<&Result<BatchAck>> {
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        let mut wakers = self.wakers.lock();
        // `complete` sets the outcome before it takes the wakers: looked at again under the lock,
        // it cannot be missed.
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        match slot.and_then(|index| wakers.get_mut(index)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                *slot = Some(wakers.len());
                wakers.push(cx.waker().clone());
            }
        }
        Poll::Pending
    }
}

/// Waits for a whole batch.
#[derive(Debug)]
pub(crate) struct BatchFuture {
    state: Arc<BatchState>,
    waker_slot: Option<usize>,
}

impl BatchFuture {
    pub(crate) const fn new(state: Arc<BatchState>) -> Self {
        Self {
            state,
            waker_slot: None,
        }
    }
}

impl Future for BatchFuture {
    type Output = Result<BatchAck>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.state
            .poll(&mut this.waker_slot, cx)
            .map(|outcome| outcome.clone())
    }
}

/// Resolves when the record is acknowledged as the producer's `acks` ask for, or has failed.
///
/// Dropping it changes nothing: the record is sent all the same. Cancel safe.
///
/// # Errors
/// The broker's refusal when it is not retriable; `TimedOut` after the delivery timeout (the
/// record may have been written); `Closed` when the producer was closed or dropped first.
#[derive(Debug)]
#[must_use = "dropping it ignores whether the record arrived"]
pub struct DeliveryFuture {
    batch: BatchFuture,
    index: u32,
    timestamp_ms: i64,
}

impl DeliveryFuture {
    pub(crate) const fn new(state: Arc<BatchState>, index: u32, timestamp_ms: i64) -> Self {
        Self {
            batch: BatchFuture::new(state),
            index,
            timestamp_ms,
        }
    }

    /// Returns the partition that the record goes to.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.batch.state.partition
    }

    pub(crate) fn into_state(self) -> Arc<BatchState> {
        self.batch.state
    }
}

impl Future for DeliveryFuture {
    type Output = Result<Delivery>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let batch = &mut this.batch;
        let polled = batch.state.poll(&mut batch.waker_slot, cx);
        polled.map(|outcome| match outcome {
            Ok(ack) => Ok(Delivery {
                partition: batch.state.partition,
                offset: (ack.base_offset >= 0).then(|| ack.base_offset + i64::from(this.index)),
                timestamp_ms: if ack.log_append_time_ms >= 0 {
                    ack.log_append_time_ms
                } else {
                    this.timestamp_ms
                },
            }),
            Err(error) => Err(Error::clone(error)),
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    const ACK: BatchAck = BatchAck {
        base_offset: 40,
        log_append_time_ms: -1,
    };

    #[tokio::test]
    async fn every_record_of_a_batch_learns_its_own_offset() {
        let state = Arc::new(BatchState::new(1, 3));
        let futures: Vec<_> = (0..3)
            .map(|index| DeliveryFuture::new(Arc::clone(&state), index, 1_000))
            .collect();
        let waiting = tokio::spawn(join_all(futures));
        tokio::task::yield_now().await;

        state.complete(Ok(ACK));

        let offsets: Vec<_> = waiting
            .await
            .expect("it does not panic")
            .into_iter()
            .map(|delivery| delivery.expect("it was acknowledged").offset)
            .collect();
        assert_eq!(offsets, [Some(40), Some(41), Some(42)]);
    }

    #[tokio::test]
    async fn the_first_outcome_counts() {
        let state = Arc::new(BatchState::new(1, 0));

        state.complete(Err(Error::Closed));
        state.complete(Ok(ACK));

        assert_eq!(BatchFuture::new(state).await, Err(Error::Closed));
    }

    #[tokio::test]
    async fn an_append_time_replaces_the_records_own() {
        let state = Arc::new(BatchState::new(1, 0));
        state.complete(Ok(BatchAck {
            base_offset: UNKNOWN_OFFSET,
            log_append_time_ms: 77,
        }));

        let delivery = DeliveryFuture::new(state, 5, 1_000).await.expect("acked");

        assert_eq!((delivery.offset, delivery.timestamp_ms), (None, 77));
    }
}
