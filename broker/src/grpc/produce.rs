//! `Broker.Produce`: appends in the order of arrival, answers as each request is decided.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use raftmq_proto::v1::{self, PartitionBatch, ProduceRequest, ProduceResponse, ProduceResult};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

use super::error::of_replica;
use crate::node::Parts;
use crate::replica::{Acks, Appended, ReplicaError};

/// Requests of one stream that are not answered yet; further ones wait.
const REQUESTS_IN_FLIGHT_MAX: usize = 256;
const TIMEOUT_DEFAULT: Duration = Duration::from_millis(30_000);
const TIMEOUT_MAX: Duration = Duration::from_millis(300_000);

type Answer = Result<Appended, ReplicaError>;

/// Serves one stream until the client or the broker ends it.
pub(super) async fn serve(
    parts: Parts,
    mut requests: Streaming<ProduceRequest>,
    responses: mpsc::Sender<Result<ProduceResponse, Status>>,
) {
    let mut undecided = FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !undecided.is_empty() {
        tokio::select! {
            biased;
            () = responses.closed() => return,
            Some(response) = undecided.next(), if !undecided.is_empty() => {
                if let Some(response) = response
                    && responses.send(Ok(response)).await.is_err()
                {
                    return;
                }
            }
            request = requests.message(), if is_open && undecided.len() < REQUESTS_IN_FLIGHT_MAX => {
                match request {
                    Ok(Some(request)) => undecided.push(begin(&parts, request).await),
                    Ok(None) | Err(_) => is_open = false,
                }
            }
        }
    }
}

/// Hands every batch of a request to its partition, in order; the future waits for the answers.
/// It brings no response for `acks=0`.
async fn begin(
    parts: &Parts,
    request: ProduceRequest,
) -> impl Future<Output = Option<ProduceResponse>> + Send + use<> {
    let correlation_id = request.correlation_id;
    let acks = match request.acks() {
        v1::Acks::None => Acks::None,
        v1::Acks::Leader => Acks::Leader,
        v1::Acks::All | v1::Acks::Unspecified => Acks::All,
    };
    let timeout = match request.timeout_ms {
        0 => TIMEOUT_DEFAULT,
        millis => Duration::from_millis(u64::from(millis)).min(TIMEOUT_MAX),
    };
    let deadline = Instant::now() + timeout;
    let mut results = Vec::with_capacity(request.batches.len());
    for batch in request.batches {
        results.push(begin_one(parts, batch, acks, deadline).await);
    }
    async move {
        let results = join_all(results).await;
        (acks != Acks::None).then_some(ProduceResponse {
            correlation_id,
            results,
        })
    }
}

async fn begin_one(
    parts: &Parts,
    batch: PartitionBatch,
    acks: Acks,
    deadline: Instant,
) -> impl Future<Output = ProduceResult> + Send + use<> {
    let PartitionBatch {
        topic,
        partition,
        record_batch,
    } = batch;
    let begun = parts.replicas.append(&topic, partition, record_batch, acks);
    let begun = timeout_at(deadline, begun)
        .await
        .unwrap_or(Err(ReplicaError::TimedOut));
    let images = parts.replicas.images().clone();
    async move {
        let mut result = ProduceResult {
            topic,
            partition,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            ..ProduceResult::default()
        };
        let answer = match begun {
            Ok((replica, answer)) => {
                result.log_start_offset = replica.machine().read().log_start().get();
                wait(answer, deadline)
                    .await
                    .unwrap_or_else(|| Err(replica.not_leader()))
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok(appended) => {
                result.base_offset = appended.base_offset;
                result.log_append_time_ms = appended.log_append_time_ms.unwrap_or(-1);
                result.duplicate = appended.is_duplicate;
            }
            Err(error) => result.error = Some(of_replica(&error, &images.current())),
        }
        result
    }
}

/// `None`: the session that should have answered is gone.
async fn wait(answer: oneshot::Receiver<Answer>, deadline: Instant) -> Option<Answer> {
    match timeout_at(deadline, answer).await {
        Ok(answer) => answer.ok(),
        Err(_elapsed) => Some(Err(ReplicaError::TimedOut)),
    }
}
