//! What is under way to one partition: order, sequences, retries.
//!
//! A pure state machine: the driver feeds it batches and answers, and finishes what it hands
//! back. It knows no leader, connection or clock.
//!
//! Order is kept so: when a batch fails in a way that is worth a retry, nothing more is sent until
//! every batch under way has its answer; then all that are left are sent again, in order, byte for
//! byte. The broker recognises those that it has by their sequence (KIP-98).
//!
//! Deviation: Kafka's client bumps its epoch after a gap in the sequences; here the partition goes
//! on under a new producer id, once everything under the old one is settled: a batch behind the gap
//! keeps its number until the broker has acknowledged it or refused it because of the gap.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use raftmq_proto::v1::ErrorCode;
use raftmq_records::{BatchBuilder, set_producer};
use tokio::time::Instant;

use super::accumulator::GatheredBatch;
use super::delivery::{BatchAck, BatchState, UNKNOWN_OFFSET};
use crate::error::{Error, Result};

/// A producer id with its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// A batch on its way, from its first send to its outcome.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) state: Arc<BatchState>,
    pub(crate) reserved_bytes: usize,
    body: Body,
    records_count: i32,
    created_at: Instant,
    attempts: u32,
    /// Set with the first send of an idempotent producer.
    sequence: Option<i32>,
    /// False between a failed send and the next one.
    is_sent: bool,
    /// A batch before it in the sequences was refused for good. It may be written all the same: a
    /// broker that does not know the producer yet begins with whatever sequence comes first.
    is_behind_gap: bool,
}

#[derive(Debug)]
enum Body {
    Gathered(Option<BatchBuilder>),
    Sealed(Bytes),
}

impl From<GatheredBatch> for Batch {
    fn from(batch: GatheredBatch) -> Self {
        Self {
            state: batch.state,
            reserved_bytes: batch.reserved_bytes,
            records_count: batch.builder.records_count(),
            body: Body::Gathered(Some(batch.builder)),
            created_at: batch.created_at,
            attempts: 0,
            sequence: None,
            is_sent: false,
            is_behind_gap: false,
        }
    }
}

impl Batch {
    /// Encodes the batch, under a new sequence if it has none.
    fn seal(&mut self, identity: Option<(Identity, i32)>) -> Result<Bytes> {
        let sealed = match &mut self.body {
            Body::Gathered(builder) => {
                let mut builder = builder.take().ok_or(Error::Closed)?;
                if let Some((identity, sequence)) = identity {
                    builder.set_producer(identity.producer_id, identity.epoch, sequence);
                }
                builder.finish().map_err(Error::Encode)?
            }
            Body::Sealed(bytes) => match identity {
                None => bytes.clone(),
                Some((identity, sequence)) => {
                    let mut renamed = BytesMut::from(&bytes[..]);
                    set_producer(&mut renamed, identity.producer_id, identity.epoch, sequence);
                    renamed.freeze()
                }
            },
        };
        self.body = Body::Sealed(sealed.clone());
        Ok(sealed)
    }
}

/// Batches that reached their end, with how it ended.
pub(crate) type Finished = Vec<(Batch, Result<BatchAck>)>;

/// One partition as the producer's driver sees it.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
    /// Nothing is sent before; set by the driver after a failure.
    pub(crate) retry_at: Option<Instant>,
    /// The leader that was sent something last; `None` while there is none.
    pub(crate) tried: Option<Arc<str>>,
    /// Failures in a row.
    pub(crate) failures: u32,
    is_idempotent: bool,
    identity: Option<Identity>,
    /// The identity before, which must not number this partition's batches again.
    retired: Option<Identity>,
    next_sequence: i32,
    /// The sequences have a gap: no new batches until everything numbered is settled.
    is_draining: bool,
    in_flight: VecDeque<Batch>,
    /// What is sent before anything new; behind `in_flight` in order.
    resend: VecDeque<Batch>,
    last_error: Option<Error>,
}

/// What a partition can do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Waits for answers.
    Held,
    /// Cannot number batches before it gets an identity.
    NeedsIdentity,
    /// Has a batch to send again.
    Resend,
    /// Takes a new batch.
    New,
}

impl Partition {
    pub(crate) const fn new(topic: Arc<str>, partition: u32, is_idempotent: bool) -> Self {
        Self {
            topic,
            partition,
            retry_at: None,
            tried: None,
            failures: 0,
            is_idempotent,
            identity: None,
            retired: None,
            next_sequence: 0,
            is_draining: false,
            in_flight: VecDeque::new(),
            resend: VecDeque::new(),
            last_error: None,
        }
    }

    /// Returns what to do next, `in_flight_max` batches being allowed under way.
    pub(crate) fn readiness(&self, in_flight_max: usize) -> Readiness {
        let is_held = self.in_flight.iter().any(|batch| !batch.is_sent);
        if is_held || self.in_flight.len() >= in_flight_max {
            return Readiness::Held;
        }
        let is_numbered = self
            .resend
            .front()
            .is_some_and(|batch| batch.sequence.is_some());
        if self.is_draining && !is_numbered {
            return Readiness::Held;
        }
        if self.is_idempotent && self.identity.is_none() {
            return Readiness::NeedsIdentity;
        }
        if self.resend.is_empty() {
            Readiness::New
        } else {
            Readiness::Resend
        }
    }

    /// Numbers batches from 0 under this identity from now on; false when it was used here before.
    pub(crate) fn set_identity(&mut self, identity: Identity) -> bool {
        if self.retired == Some(identity) {
            return false;
        }
        self.identity = Some(identity);
        self.next_sequence = 0;
        true
    }

    /// Takes the next batch to send again.
    pub(crate) fn take_resend(&mut self) -> Option<Batch> {
        self.resend.pop_front()
    }

    /// Numbers and encodes a batch and counts it as under way; `None` when it cannot be encoded.
    pub(crate) fn send(&mut self, mut batch: Batch, finished: &mut Finished) -> Option<Bytes> {
        let new_number = match (self.is_idempotent, batch.sequence, self.identity) {
            (true, None, Some(identity)) => Some((identity, self.next_sequence)),
            (true | false, _, _) => None,
        };
        match batch.seal(new_number) {
            Ok(bytes) => {
                if let Some((_, sequence)) = new_number {
                    batch.sequence = Some(sequence);
                    self.next_sequence = sequence_after(sequence, batch.records_count);
                }
                batch.attempts += 1;
                batch.is_sent = true;
                self.in_flight.push_back(batch);
                Some(bytes)
            }
            Err(error) => {
                finished.push((batch, Err(error)));
                None
            }
        }
    }

    /// Takes the answer to a batch; answers to batches that are settled already change nothing.
    ///
    /// Returns the error when it starts a retry of the partition.
    pub(crate) fn settle(
        &mut self,
        id: u64,
        result: Result<BatchAck>,
        retries_max: u32,
        finished: &mut Finished,
    ) -> Option<Error> {
        let index = self
            .in_flight
            .iter()
            .position(|batch| batch.state.id == id && batch.is_sent)?;
        let error = match result {
            Ok(ack) => {
                self.failures = 0;
                self.acknowledge(index, ack, finished);
                None
            }
            // Older than what the broker remembers of this producer: written, position unknown.
            Err(error) if error.code() == Some(ErrorCode::DuplicateSequence) => {
                let ack = BatchAck {
                    base_offset: UNKNOWN_OFFSET,
                    log_append_time_ms: -1,
                };
                self.acknowledge(index, ack, finished);
                None
            }
            Err(error) => self.fail(index, error, retries_max, finished),
        };
        self.regroup();
        error
    }

    /// Fails what was begun before `created_before`.
    pub(crate) fn expire(
        &mut self,
        created_before: Instant,
        timed_out: impl Fn(Option<Box<Error>>) -> Error,
        finished: &mut Finished,
    ) {
        loop {
            let is_expired = |batch: &Batch| batch.created_at <= created_before;
            let error = || timed_out(self.last_error.clone().map(Box::new));
            if self.in_flight.front().is_some_and(is_expired) {
                let error = error();
                self.fail_from(0, &error, finished);
            } else if self.resend.front().is_some_and(is_expired) {
                let error = error();
                if let Some(batch) = self.resend.pop_front() {
                    if batch.sequence.is_some() {
                        self.fail_from(self.in_flight.len(), &error, finished);
                    }
                    finished.push((batch, Err(error)));
                }
            } else {
                break;
            }
        }
        self.regroup();
    }

    /// Fails everything, for a producer that is shut down.
    pub(crate) fn fail_all(&mut self, error: &Error, finished: &mut Finished) {
        let batches = self.in_flight.drain(..).chain(self.resend.drain(..));
        finished.extend(batches.map(|batch| (batch, Err(error.clone()))));
    }

    /// When the oldest batch was begun.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let oldest = self.in_flight.front().or_else(|| self.resend.front())?;
        Some(oldest.created_at)
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.resend.is_empty()
    }

    /// The outcomes that are still open.
    pub(crate) fn states(&self) -> impl Iterator<Item = &Arc<BatchState>> {
        let batches = self.in_flight.iter().chain(&self.resend);
        batches.map(|batch| &batch.state)
    }

    fn acknowledge(&mut self, index: usize, ack: BatchAck, finished: &mut Finished) {
        let batch = self.in_flight.remove(index);
        finished.extend(batch.map(|batch| (batch, Ok(ack))));
    }

    fn fail(
        &mut self,
        index: usize,
        error: Error,
        retries_max: u32,
        finished: &mut Finished,
    ) -> Option<Error> {
        let was_held = self.in_flight.iter().any(|batch| !batch.is_sent);
        let mut before = self.in_flight.iter().take(index);
        let is_first_numbered = before.all(|batch| batch.sequence.is_none());
        let batch = self.in_flight.get_mut(index)?;
        let is_numbered = batch.sequence.is_some();
        // An earlier batch has failed or has no answer yet: this one only came too early.
        let is_early = error.code() == Some(ErrorCode::OutOfOrderSequence) && index > 0;
        // Refused because of the gap, with nothing of this producer outstanding before it: it is not
        // written, and under its old number it never will be.
        let is_unwritten = is_first_numbered && batch.is_behind_gap && is_sequence_error(&error);
        if is_unwritten {
            batch.sequence = None;
            batch.attempts = 0;
            batch.is_behind_gap = false;
        }
        let may_retry = error.is_retriable() && batch.attempts <= retries_max;
        if is_early || is_unwritten || may_retry {
            batch.is_sent = false;
            if was_held {
                return None;
            }
            self.failures += 1;
            self.last_error = Some(error.clone());
            return Some(error);
        }
        let is_first_attempt = batch.attempts == 1;
        let is_surely_unwritten =
            is_first_attempt && !error.is_retriable() && !is_sequence_error(&error);
        let unknown = Error::OutcomeUnknown {
            cause: Box::new(error.clone()),
        };
        let own = if is_first_attempt {
            error
        } else {
            unknown.clone()
        };
        let refused = self.in_flight.remove(index);
        finished.extend(refused.map(|batch| (batch, Err(own))));
        if is_numbered && is_surely_unwritten {
            self.open_gap(index);
        } else if is_numbered {
            self.fail_from(index, &unknown, finished);
        }
        None
    }

    /// What is numbered from `index` on keeps its number until its fate is known.
    fn open_gap(&mut self, index: usize) {
        self.is_draining = true;
        let behind = self.in_flight.iter_mut().skip(index);
        for batch in behind.chain(&mut self.resend) {
            batch.is_behind_gap = batch.sequence.is_some();
        }
    }

    /// Fails every numbered batch from `index` of those under way; batches that were never sent, or
    /// have lost their number, stay.
    fn fail_from(&mut self, index: usize, error: &Error, finished: &mut Finished) {
        if !self.is_idempotent {
            let batch = self.in_flight.remove(index);
            finished.extend(batch.map(|batch| (batch, Err(error.clone()))));
            return;
        }
        self.is_draining = true;
        let failed = self.in_flight.drain(index..);
        finished.extend(failed.map(|batch| (batch, Err(error.clone()))));
        let resend = std::mem::take(&mut self.resend);
        for batch in resend {
            if batch.sequence.is_some() {
                finished.push((batch, Err(error.clone())));
            } else {
                self.resend.push_back(batch);
            }
        }
    }

    /// Puts back what is to be sent again once nothing is without an answer, and ends draining
    /// once nothing is numbered. While draining, what has a number goes first: its fate under that
    /// number must be known before anything gets a new one.
    fn regroup(&mut self) {
        let has_unsent = self.in_flight.iter().any(|batch| !batch.is_sent);
        let has_sent = self.in_flight.iter().any(|batch| batch.is_sent);
        if has_unsent && !has_sent {
            while let Some(batch) = self.in_flight.pop_back() {
                self.resend.push_front(batch);
            }
        }
        if self.is_draining {
            let resend = self.resend.make_contiguous();
            resend.sort_by_key(|batch| (batch.sequence.is_none(), batch.state.id));
        }
        let numbered = self
            .resend
            .front()
            .is_some_and(|batch| batch.sequence.is_some());
        if self.is_draining && self.in_flight.is_empty() && !numbered {
            self.is_draining = false;
            self.retired = self.identity.take();
        }
    }
}

/// Sequence that follows `records_count` records starting at `sequence`: Kafka's sequences are
/// non-negative, after `i32::MAX` comes 0.
const fn sequence_after(sequence: i32, records_count: i32) -> i32 {
    sequence.wrapping_add(records_count) & i32::MAX
}

fn is_sequence_error(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::OutOfOrderSequence
                | ErrorCode::UnknownProducerId
                | ErrorCode::InvalidProducerEpoch
        )
    )
}

#[cfg(test)]
mod tests;
