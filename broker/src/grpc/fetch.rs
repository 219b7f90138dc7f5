//! `Broker.Fetch` with its long wait, and `Broker.ListOffsets`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use raftmq_proto::v1::offset_query::At;
use raftmq_proto::v1::{
    FetchPartition, FetchRequest, FetchResponse, FetchResult, ListOffsetsRequest,
    ListOffsetsResponse, OffsetQuery, OffsetResult, OffsetSpecial,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

use super::error::of_replica;
use crate::node::Parts;
use crate::replica::{Fetched, OffsetAt, ReplicaError};

/// Bytes of records in one response, unless a single batch is larger.
const RESPONSE_BYTES_MAX: usize = 32 << 20;
const WAIT_MAX: Duration = Duration::from_millis(60_000);

/// Serves one stream until the client or the broker ends it.
pub(super) async fn serve(
    parts: Parts,
    mut requests: Streaming<FetchRequest>,
    responses: mpsc::Sender<Result<FetchResponse, Status>>,
) {
    while let Ok(Some(request)) = requests.message().await {
        let response = tokio::select! {
            biased;
            () = responses.closed() => return,
            response = fetch(&parts, request) => response,
        };
        if responses.send(Ok(response)).await.is_err() {
            return;
        }
    }
}

async fn fetch(parts: &Parts, request: FetchRequest) -> FetchResponse {
    let correlation_id = request.correlation_id;
    let wait = Duration::from_millis(u64::from(request.max_wait_ms)).min(WAIT_MAX);
    let deadline = Instant::now() + wait;
    let bytes_min = usize::try_from(request.min_bytes)
        .unwrap_or(usize::MAX)
        .max(1);
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(usize::MAX);
    let bytes_max = if bytes_max == 0 {
        RESPONSE_BYTES_MAX
    } else {
        bytes_max
    };
    let bytes_max = bytes_max.min(RESPONSE_BYTES_MAX);
    loop {
        let mut found = Found::default();
        for partition in &request.partitions {
            found.add(parts, partition, bytes_max).await;
        }
        let is_enough = found.has_error || found.bytes >= bytes_min.min(bytes_max);
        if is_enough || request.partitions.is_empty() || Instant::now() >= deadline {
            return FetchResponse {
                correlation_id,
                results: found.results,
            };
        }
        let _ = timeout_at(deadline, wait_for_any(parts, &request.partitions, &found)).await;
    }
}

#[derive(Default)]
struct Found {
    results: Vec<FetchResult>,
    bytes: usize,
    has_error: bool,
}

impl Found {
    async fn add(&mut self, parts: &Parts, partition: &FetchPartition, bytes_max: usize) {
        let left = bytes_max.saturating_sub(self.bytes);
        let wanted = usize::try_from(partition.max_bytes).unwrap_or(usize::MAX);
        let wanted = if wanted == 0 { left } else { wanted.min(left) };
        let (topic, index) = (partition.topic.clone(), partition.partition);
        let fetched = fetch_one(parts, partition, wanted).await;
        let result = match fetched {
            Ok(fetched) => {
                let record_batches = concatenate(fetched.batches);
                self.bytes += record_batches.len();
                FetchResult {
                    topic,
                    partition: index,
                    error: None,
                    high_watermark: fetched.high_watermark,
                    log_start_offset: fetched.log_start,
                    record_batches,
                    leader_epoch: i64::try_from(fetched.leader_epoch).unwrap_or(i64::MAX),
                }
            }
            Err(error) => {
                self.has_error = true;
                FetchResult {
                    topic,
                    partition: index,
                    error: Some(of_replica(&error, &parts.replicas.images().current())),
                    high_watermark: -1,
                    log_start_offset: -1,
                    record_batches: Bytes::new(),
                    leader_epoch: -1,
                }
            }
        };
        self.results.push(result);
    }
}

async fn fetch_one(
    parts: &Parts,
    partition: &FetchPartition,
    bytes_max: usize,
) -> Result<Fetched, ReplicaError> {
    let replica = parts.replicas.find(&partition.topic, partition.partition)?;
    let epoch = partition.current_leader_epoch;
    replica
        .fetch(partition.fetch_offset, bytes_max, epoch)
        .await
}

/// One batch is passed on as it is; several are put together.
fn concatenate(mut batches: Vec<Bytes>) -> Bytes {
    if batches.len() <= 1 {
        return batches.pop().unwrap_or_default();
    }
    let mut together = BytesMut::with_capacity(batches.iter().map(Bytes::len).sum());
    batches
        .iter()
        .for_each(|batch| together.extend_from_slice(batch));
    together.freeze()
}

/// Waits until some partition has more than was found.
async fn wait_for_any(parts: &Parts, partitions: &[FetchPartition], found: &Found) {
    let waits = FuturesUnordered::new();
    for (partition, result) in partitions.iter().zip(&found.results) {
        if let Ok(replica) = parts.replicas.find(&partition.topic, partition.partition) {
            let known = result.high_watermark;
            waits.push(async move { replica.wait_beyond(known).await });
        }
    }
    let mut waits = waits;
    waits.next().await;
}

/// Answers every query, each with its own error.
pub(super) async fn list_offsets(
    parts: &Parts,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let queries = request
        .queries
        .into_iter()
        .map(|query| list_one(parts, query));
    ListOffsetsResponse {
        results: join_all(queries).await,
    }
}

async fn list_one(parts: &Parts, query: OffsetQuery) -> OffsetResult {
    let (topic, partition) = (query.topic.clone(), query.partition);
    match find_one(parts, &query).await {
        Ok((found, leader_epoch)) => OffsetResult {
            topic,
            partition,
            error: None,
            offset: found.offset,
            timestamp_ms: found.timestamp_ms,
            leader_epoch: i64::try_from(leader_epoch).unwrap_or(i64::MAX),
        },
        Err(error) => OffsetResult {
            topic,
            partition,
            error: Some(of_replica(&error, &parts.replicas.images().current())),
            offset: -1,
            timestamp_ms: -1,
            leader_epoch: -1,
        },
    }
}

async fn find_one(
    parts: &Parts,
    query: &OffsetQuery,
) -> Result<(crate::replica::FoundOffset, u64), ReplicaError> {
    let at = match query.at {
        Some(At::TimestampMs(timestamp_ms)) if timestamp_ms < 0 => {
            return Err(ReplicaError::InvalidTimestamp(timestamp_ms));
        }
        Some(At::TimestampMs(timestamp_ms)) => OffsetAt::Timestamp(timestamp_ms),
        Some(At::Special(special)) => match OffsetSpecial::try_from(special) {
            Ok(OffsetSpecial::Earliest) => OffsetAt::Earliest,
            Ok(OffsetSpecial::MaxTimestamp) => OffsetAt::MaxTimestamp,
            Ok(OffsetSpecial::Latest | OffsetSpecial::Unspecified) => OffsetAt::Latest,
            Err(_unknown) => return Err(ReplicaError::InvalidTimestamp(i64::from(special))),
        },
        None => OffsetAt::Latest,
    };
    let replica = parts.replicas.find(&query.topic, query.partition)?;
    replica.find_offset(at).await
}
