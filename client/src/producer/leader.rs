//! A long-lived Produce stream to one leader.
//!
//! Owns the connection and the pairing of requests with answers. It does not know what an answer
//! means; a stream that breaks or stays silent is given up as a whole and its batches retried.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use raftmq_proto::v1::{ProduceRequest, ProduceResponse};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::Shared;
use crate::connection::broker_client;
use crate::error::{Error, Result};
use crate::limits::REQUESTS_PER_LEADER_MAX;

/// What the stream's task tells the driver.
#[derive(Debug)]
pub(crate) enum LeaderEvent {
    /// An answer came.
    Response(ProduceResponse),
    /// The stream is over.
    Broken(Error),
}

/// Which batches a request carries.
#[derive(Debug)]
pub(crate) struct SentRequest {
    /// Slot and batch id, in the order of the request.
    pub(crate) batches: Vec<(usize, u64)>,
    /// When it was handed to the stream.
    pub(crate) sent_at: Instant,
    /// When its answer is too late.
    pub(crate) deadline: Instant,
}

/// Stands in a request for a batch whose answer does not matter any more.
const NO_BATCH: (usize, u64) = (usize::MAX, u64::MAX);

/// The driver's end of a stream.
#[derive(Debug)]
pub(crate) struct Leader {
    /// Tells answers of this stream from those of an earlier one to the same leader.
    pub(crate) id: u64,
    requests: mpsc::Sender<ProduceRequest>,
    in_flight: BTreeMap<u64, SentRequest>,
    next_correlation_id: u64,
    task: AbortHandle,
}

impl Leader {
    /// Spawns the stream's task into `tasks`; `drained` is notified when a request leaves.
    pub(crate) fn open(
        shared: &Arc<Shared>,
        tasks: &mut JoinSet<()>,
        (id, endpoint): (u64, Arc<str>),
        events: mpsc::Sender<(u64, Arc<str>, LeaderEvent)>,
        drained: Arc<Notify>,
    ) -> Self {
        let (requests, queue) = mpsc::channel(REQUESTS_PER_LEADER_MAX);
        let shared = Arc::clone(shared);
        let task = tasks.spawn(async move {
            let outgoing = ReceiverStream::new(queue).inspect(move |_| drained.notify_one());
            let stream = Stream {
                id,
                endpoint,
                events,
            };
            stream.run(&shared, outgoing).await;
        });
        Self {
            id,
            requests,
            in_flight: BTreeMap::new(),
            next_correlation_id: 1,
            task,
        }
    }

    /// Whether another request may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.len() < REQUESTS_PER_LEADER_MAX && self.requests.capacity() > 0
    }

    /// Sends a request; with `expects_answer` its batches are kept until the answer comes. Gives
    /// the batches back when the stream is gone.
    pub(crate) fn send(
        &mut self,
        mut request: ProduceRequest,
        sent: SentRequest,
        expects_answer: bool,
    ) -> std::result::Result<(), SentRequest> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        request.correlation_id = correlation_id;
        if self.requests.try_send(request).is_err() {
            return Err(sent);
        }
        if expects_answer {
            self.in_flight.insert(correlation_id, sent);
        }
        Ok(())
    }

    /// Takes the request that an answer belongs to.
    pub(crate) fn take(&mut self, correlation_id: u64) -> Option<SentRequest> {
        self.in_flight.remove(&correlation_id)
    }

    /// Takes out the batches without an answer whose slot `has_moved` to another leader; an answer
    /// that still comes is then ignored.
    pub(crate) fn take_moved(&mut self, has_moved: impl Fn(usize) -> bool) -> Vec<(usize, u64)> {
        let mut moved = Vec::new();
        let batches = self
            .in_flight
            .values_mut()
            .flat_map(|sent| &mut sent.batches);
        for batch in batches {
            if has_moved(batch.0) {
                moved.push(std::mem::replace(batch, NO_BATCH));
            }
        }
        moved
    }

    /// When the oldest request without an answer was sent.
    pub(crate) fn oldest_sent_at(&self) -> Option<Instant> {
        let (_, oldest) = self.in_flight.first_key_value()?;
        Some(oldest.sent_at)
    }

    /// When the oldest answer is too late; later requests have later deadlines.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let (_, oldest) = self.in_flight.first_key_value()?;
        Some(oldest.deadline)
    }

    /// Gives the stream up and returns everything that has no answer, in order.
    pub(crate) fn abandon(self) -> impl Iterator<Item = (usize, u64)> {
        self.task.abort();
        self.in_flight
            .into_values()
            .flat_map(|sent| sent.batches)
            .filter(|batch| *batch != NO_BATCH)
    }
}

struct Stream {
    id: u64,
    endpoint: Arc<str>,
    events: mpsc::Sender<(u64, Arc<str>, LeaderEvent)>,
}

impl Stream {
    async fn run<S>(self, shared: &Shared, outgoing: S)
    where
        S: futures_util::Stream<Item = ProduceRequest> + Send + 'static,
    {
        let error = match self.exchange(shared, outgoing).await {
            Ok(()) => Error::ConnectionLost {
                endpoint: self.endpoint.to_string(),
                reason: "the broker ended the stream".to_owned(),
            },
            Err(error) => error,
        };
        self.report(LeaderEvent::Broken(error)).await;
    }

    async fn exchange<S>(&self, shared: &Shared, outgoing: S) -> Result<()>
    where
        S: futures_util::Stream<Item = ProduceRequest> + Send + 'static,
    {
        let failed = |status| Error::from_status(&self.endpoint, &status);
        let channel = shared.connections.open(&self.endpoint).await?;
        let mut client = broker_client(channel);
        let answers = client.produce(outgoing).await.map_err(failed)?;
        let mut answers = answers.into_inner();
        while let Some(response) = answers.message().await.map_err(failed)? {
            self.report(LeaderEvent::Response(response)).await;
        }
        Ok(())
    }

    async fn report(&self, event: LeaderEvent) {
        // The driver is gone only when the producer is: then nobody waits for the answer.
        let _ = self
            .events
            .send((self.id, Arc::clone(&self.endpoint), event))
            .await;
    }
}
