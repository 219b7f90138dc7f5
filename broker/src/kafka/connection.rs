//! One connection: reads frames, begins requests in the order in which they came, works on several
//! at a time, and answers in that order.
//!
//! A client that is throttled is answered and then not read until its wait is over (KIP-219).
//! A blocked request at the head stops neither the reading nor the work on those behind it, up to
//! the bounds. Bytes that are no request close the connection, as Kafka's broker does. Does not
//! know what a request means.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesOrdered, StreamExt};
use raftmq_kafka_protocol::{
    ApiKey, FRAME_LENGTH_BYTES, Reader, SegmentedBuf, decode_request_from, encode_response,
    frame_len, split_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{AcquireError, OwnedSemaphorePermit};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::apis::{self, Answer, Begun};
use super::context::Context;
use super::limits::{
    ANSWERS_BYTES_MAX, DECODED_BYTES_MAX, FRAME_BYTES_AHEAD, READ_BYTES, REQUEST_BYTES_UNIT,
    REQUESTS_IN_FLIGHT_MAX,
};
use super::working::{Account, Finished, Working};
use crate::env::BoxedIo;

type Permit = Result<OwnedSemaphorePermit, AcquireError>;

/// Why a connection ends, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    ByClient,
    Idle,
    Malformed,
    ByAnswer,
}

/// How every request begins, whatever follows.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// `None`: a number without a meaning.
    key: Option<ApiKey>,
    version: i16,
    correlation_id: i32,
}

impl Asked {
    /// `None`: not even that is there.
    fn of(frame: &[u8]) -> Option<Self> {
        let (key, rest) = frame.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (correlation_id, _) = rest.split_first_chunk()?;
        Some(Self {
            key: ApiKey::from_i16(i16::from_be_bytes(*key)),
            version: i16::from_be_bytes(*version),
            correlation_id: i32::from_be_bytes(*correlation_id),
        })
    }
}

/// See the module.
pub(super) struct Connection {
    context: Context,
    client: String,
    reading: ReadHalf<BoxedIo>,
    writing: WriteHalf<BoxedIo>,
    inbox: BytesMut,
    /// The share of the broker's budget for the frame at the front of the inbox.
    permit: Option<OwnedSemaphorePermit>,
    waiting_for_permit: Option<BoxFuture<'static, Permit>>,
    /// The request that takes its place in order; the next one waits for that.
    beginning: Option<BoxFuture<'static, Working>>,
    working: FuturesOrdered<Working>,
    outbox: SegmentedBuf,
    /// Nothing is read or begun before, because the client is throttled.
    muted_until: Option<Instant>,
    idle: Pin<Box<Sleep>>,
}

impl Connection {
    pub(super) fn new(context: Context, io: BoxedIo, client: String) -> Self {
        let (reading, writing) = tokio::io::split(io);
        let idle = Box::pin(sleep_until(Instant::now() + context.shared().idle_max));
        Self {
            context,
            client,
            reading,
            writing,
            inbox: BytesMut::new(),
            permit: None,
            waiting_for_permit: None,
            beginning: None,
            working: FuturesOrdered::new(),
            outbox: SegmentedBuf::new(),
            muted_until: None,
            idle,
        }
    }

    /// Serves the client until it goes, or must.
    pub(super) async fn run(mut self) {
        self.context.shared().metrics.connection_opened();
        let ended = self.serve().await;
        self.context.shared().metrics.connection_closed();
        tracing::debug!(client = self.client, ?ended, "Kafka connection ended");
    }

    async fn serve(&mut self) -> Ended {
        loop {
            match self.decode() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(ended) => return self.finish(ended).await,
            }
            let may_read = self.may_read();
            let may_answer = self.outbox.remaining() < ANSWERS_BYTES_MAX;
            let is_quiet = self.working.is_empty() && self.beginning.is_none();
            let is_stuck = is_quiet || !may_answer;
            tokio::select! {
                biased;
                working = wait_for(&mut self.beginning) => self.working.push_back(working),
                Some(finished) = self.working.next(), if may_answer => {
                    if !self.encode(finished) {
                        return self.finish(Ended::ByAnswer).await;
                    }
                }
                written = self.writing.write_buf(&mut self.outbox), if self.outbox.has_remaining() => {
                    if !matches!(written, Ok(1..)) {
                        return Ended::ByClient;
                    }
                    self.note_activity();
                }
                () = reached(self.muted_until) => {
                    self.muted_until = None;
                    self.note_activity();
                }
                permit = wait_for(&mut self.waiting_for_permit) => self.permit = permit.ok(),
                read = self.reading.read_buf(&mut self.inbox), if may_read => {
                    // What is in work goes on; nobody reads its answer.
                    if !matches!(read, Ok(1..)) {
                        return Ended::ByClient;
                    }
                    self.note_activity();
                }
                () = self.idle.as_mut(), if is_stuck => return Ended::Idle,
            }
        }
    }

    /// More bytes are wanted when there is room for another request, and none is complete already.
    fn may_read(&mut self) -> bool {
        if self.is_held_up() {
            return false;
        }
        let frame = frame_len(&self.inbox, self.context.shared().request_bytes_max);
        let missing = match frame {
            Ok(Some(length)) => (length + FRAME_LENGTH_BYTES).saturating_sub(self.inbox.len()),
            Ok(None) | Err(_) => READ_BYTES,
        };
        // As much again as there is at most: a length alone costs its sender nothing.
        let ahead = FRAME_BYTES_AHEAD.max(self.inbox.len());
        self.inbox.reserve(missing.clamp(READ_BYTES, ahead));
        true
    }

    /// No further request may begin now.
    fn is_held_up(&self) -> bool {
        let is_full = self.working.len() >= REQUESTS_IN_FLIGHT_MAX;
        let is_muted = self.muted_until.is_some();
        is_full || is_muted || self.beginning.is_some() || self.waiting_for_permit.is_some()
    }

    /// Begins the request at the front of the inbox, if it is complete. True: look again.
    fn decode(&mut self) -> Result<bool, Ended> {
        if self.is_held_up() {
            return Ok(false);
        }
        let shared = self.context.shared();
        let bytes_max = shared.request_bytes_max;
        let length = match frame_len(&self.inbox, bytes_max) {
            Ok(Some(length)) => length,
            Ok(None) => return Ok(false),
            Err(error) => return Err(self.refuse(&error)),
        };
        if self.permit.is_none() {
            let units = length
                .div_ceil(REQUEST_BYTES_UNIT)
                .clamp(1, shared.request_units_max);
            let units = u32::try_from(units).unwrap_or(u32::MAX);
            let budget = shared.request_bytes.clone();
            match budget.clone().try_acquire_many_owned(units) {
                Ok(permit) => self.permit = Some(permit),
                Err(_) => {
                    self.waiting_for_permit = Some(budget.acquire_many_owned(units).boxed());
                    return Ok(false);
                }
            }
        }
        match split_frame(&mut self.inbox, bytes_max) {
            Ok(Some(frame)) => self.begin(frame).map(|()| true),
            Ok(None) => Ok(false),
            Err(error) => Err(self.refuse(&error)),
        }
    }

    fn begin(&mut self, frame: Bytes) -> Result<(), Ended> {
        let permit = self.permit.take();
        let Some(asked) = Asked::of(&frame) else {
            return Err(self.refuse(&"a frame without a header"));
        };
        let Some(row) = apis::find(asked.key, asked.version) else {
            if asked.key == Some(ApiKey::ApiVersions) {
                self.answer_old_version(asked.correlation_id);
                return Ok(());
            }
            return Err(self.refuse(&format_args!("{asked:?} is not served")));
        };
        let (began, request_bytes) = (Instant::now(), frame.len());
        let mut reader = Reader::with_memory_bytes_max(frame, DECODED_BYTES_MAX);
        let request = match decode_request_from(&mut reader) {
            // Bytes behind the body are passed over, as Kafka does: librdkafka sends some with Metadata.
            Ok(request) => request,
            Err(error) => return Err(self.refuse(&error)),
        };
        let client_id = request.header.client_id.as_deref();
        self.context.set_client_id(client_id.unwrap_or_default());
        let account = Account {
            context: self.context.clone(),
            key: row.key,
            version: asked.version,
            correlation_id: asked.correlation_id,
            request_bytes,
            began,
            worked: Duration::ZERO,
            permit,
        };
        let begun = (row.begin)(self.context.clone(), asked.version, request.body);
        match begun {
            Begun::Now(answer) => self.working.push_back(account.work(answer)),
            Begun::InOrder(beginning) => self.beginning = Some(account.begin(beginning)),
        }
        Ok(())
    }

    /// Version 0 of ApiVersions with error 35, which every client can read (KIP-511).
    fn answer_old_version(&mut self, correlation_id: i32) {
        let answer = apis::unsupported_api_versions();
        let finished = Finished {
            correlation_id,
            version: 0,
            answer,
            throttle: Duration::ZERO,
        };
        self.working.push_back(std::future::ready(finished).boxed());
    }

    /// False: the connection is to be closed once what came before is written.
    fn encode(&mut self, finished: Finished) -> bool {
        let Finished {
            correlation_id,
            version,
            answer,
            throttle,
        } = finished;
        if !throttle.is_zero() {
            self.muted_until = self.muted_until.max(Some(Instant::now() + throttle));
        }
        let (response, turn) = match answer {
            Answer::Response { response, turn, .. } => (response, turn),
            Answer::None => return true,
            Answer::Close => return false,
        };
        let encoded = encode_response(version, correlation_id, &response, &mut self.outbox);
        drop(turn);
        if let Err(error) = &encoded {
            tracing::error!(%error, "a response of ours cannot be encoded");
        }
        encoded.is_ok()
    }

    /// Answers what was begun before the connection must end, as far as the client still reads.
    async fn finish(&mut self, ended: Ended) -> Ended {
        let idle_max = self.context.shared().idle_max;
        let _ = timeout(idle_max, self.answer_what_was_begun(ended)).await;
        ended
    }

    async fn answer_what_was_begun(&mut self, ended: Ended) {
        let mut last = VecDeque::new();
        if ended != Ended::ByAnswer {
            if let Some(beginning) = self.beginning.take() {
                let working = beginning.await;
                self.working.push_back(working);
            }
            while let Some(finished) = self.working.next().await {
                if !self.encode(finished) {
                    break;
                }
                last.append(&mut self.outbox.take_segments());
                if !write_all(&mut self.writing, &mut last).await {
                    return;
                }
            }
        }
        last.append(&mut self.outbox.take_segments());
        if write_all(&mut self.writing, &mut last).await {
            let _ = self.writing.shutdown().await;
        }
    }

    fn refuse(&self, error: &dyn std::fmt::Display) -> Ended {
        self.context.shared().metrics.malformed_request();
        tracing::debug!(client = self.client, %error, "Kafka request refused");
        Ended::Malformed
    }

    fn note_activity(&mut self) {
        let deadline = Instant::now() + self.context.shared().idle_max;
        self.idle.as_mut().reset(deadline);
    }
}

async fn write_all(writing: &mut WriteHalf<BoxedIo>, segments: &mut VecDeque<Bytes>) -> bool {
    while let Some(segment) = segments.pop_front() {
        if writing.write_all(&segment).await.is_err() {
            return false;
        }
    }
    true
}

/// Takes the future out once it is ready; waits for ever while there is none. Cancel safe.
async fn wait_for<T>(slot: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(future) = slot else {
        return std::future::pending().await;
    };
    let output = future.await;
    *slot = None;
    output
}

/// Waits for the moment; for ever if there is none. Cancel safe.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
