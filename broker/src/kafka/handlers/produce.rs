//! Produce: hands the batches of every partition to its leader in the order of arrival, and answers
//! as `acks` says.
//!
//! The records are slices of the request's frame; nothing is copied here. Sequences, epochs and
//! sizes are the partition's to judge. A record set may hold several batches, though Kafka's own
//! broker takes one only: they are appended one after the other.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use raftmq_kafka_protocol::messages::produce::request::{PartitionProduceData, TopicProduceData};
use raftmq_kafka_protocol::messages::produce::response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use raftmq_kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use raftmq_kafka_protocol::{ErrorCode, Request};
use raftmq_records::{BatchHeader, Compression, batches};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::kafka::apis::Answer;
use crate::kafka::context::{Context, NodeAddress};
use crate::kafka::error::{of_batch, of_replica};
use crate::kafka::leaders::Hints;
use crate::kafka::limits::PRODUCE_WAIT_MAX;
use crate::kafka::topics::TopicName;
use crate::kafka::wire::{NONE, text};
use crate::planted::{Bug, is_planted};
use crate::replica::{Acks, Appended, ReplicaError};

/// First version that may carry zstd (KIP-110).
const WITH_ZSTD: i16 = 7;
/// First version whose answer may name leaders (KIP-951).
const WITH_LEADERS: i16 = 10;
/// First version that names topics by their ids (KIP-516).
const WITH_TOPIC_IDS: i16 = 13;

/// Where every message format has its version.
const MAGIC_AT: usize = 16;

/// Why nothing of a partition's records, or not all of them, was written.
#[derive(Debug)]
struct Failure {
    code: ErrorCode,
    text: String,
}

impl Failure {
    fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, text }
    }
}

impl From<ReplicaError> for Failure {
    fn from(error: ReplicaError) -> Self {
        Self::new(of_replica(&error), error.to_string())
    }
}

/// What is answered for one partition.
#[derive(Debug)]
struct Written {
    appended: Appended,
    log_start: i64,
}

/// One partition's appends that are under way.
struct Under {
    partition: i32,
    written: BoxFuture<'static, Result<Written, Failure>>,
}

struct Topic {
    request: TopicProduceData,
    /// Its name; `None` if the id is unknown.
    name: Option<String>,
    partitions: Vec<Under>,
}

/// Hands everything over, in order; the future that comes out waits for the acknowledgements.
pub(in crate::kafka) async fn begin(
    context: Context,
    version: i16,
    request: Request,
) -> BoxFuture<'static, Answer> {
    let Request::Produce(request) = request else {
        return std::future::ready(Answer::Close).boxed();
    };
    let acks = match request.acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 if is_planted(Bug::KafkaAcksAllAsLeader) => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    };
    let wait = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0).max(1));
    let deadline = Instant::now() + wait.min(PRODUCE_WAIT_MAX);
    let topics = begin_all(&context, version, request, acks, deadline).await;
    async move {
        let (response, has_error) = finish(&context, version, topics).await;
        match (acks, has_error) {
            (Some(Acks::None), true) => Answer::Close,
            (Some(Acks::None), false) => Answer::None,
            (Some(Acks::Leader | Acks::All) | None, _) => Answer::of(response),
        }
    }
    .boxed()
}

/// Every partition begins at once; the batches of one stay in order.
async fn begin_all(
    context: &Context,
    version: i16,
    request: ProduceRequest,
    acks: Option<Acks>,
    deadline: Instant,
) -> Vec<Topic> {
    let image = context.image();
    let topics = request.topic_data.into_iter().map(|mut topic| {
        let named = TopicName::new(&topic.name, topic.topic_id, version >= WITH_TOPIC_IDS);
        let found = named.find(&image).map(|topic| topic.name.clone());
        async move {
            let data = std::mem::take(&mut topic.partition_data).into_iter();
            let begun = data.map(|data| {
                begin_partition(context, version, found.as_deref(), data, acks, deadline)
            });
            Topic {
                partitions: join_all(begun).await,
                request: topic,
                name: found.ok(),
            }
        }
    });
    join_all(topics).await
}

async fn begin_partition(
    context: &Context,
    version: i16,
    topic: Result<&str, &ErrorCode>,
    data: PartitionProduceData,
    acks: Option<Acks>,
    deadline: Instant,
) -> Under {
    let partition = data.index;
    let begun = async {
        let acks = acks.ok_or_else(|| {
            Failure::new(ErrorCode::InvalidRequiredAcks, "acks must be -1, 0 or 1")
        })?;
        let topic = topic.map_err(|code| Failure::new(*code, code.name()))?;
        let records = data.records.unwrap_or_default().into_bytes();
        let records = split(version, &records)?;
        append(context, topic, partition, records, acks, deadline).await
    };
    let written = match begun.await {
        Ok(waits) => wait(waits, deadline).boxed(),
        Err(failure) => std::future::ready(Err(failure)).boxed(),
    };
    Under { partition, written }
}

/// The batches of a record set, with what every partition refuses refused.
fn split(version: i16, records: &Bytes) -> Result<Vec<Bytes>, Failure> {
    // Old messages may be shorter than a batch's header, which must not look like lost bytes.
    if let Some(magic @ (0 | 1)) = records.get(MAGIC_AT) {
        let text = format!("message format {magic} is not taken, record batches (2) are");
        return Err(Failure::new(ErrorCode::InvalidRecord, text));
    }
    let mut split = Vec::new();
    for batch in batches(records) {
        let (header, batch) =
            batch.map_err(|error| Failure::new(of_batch(&error), error.to_string()))?;
        check(version, &header)?;
        split.push(batch);
    }
    if split.is_empty() {
        let text = "a produce request must have at least one record batch for each partition";
        return Err(Failure::new(ErrorCode::InvalidRecord, text));
    }
    Ok(split)
}

fn check(version: i16, header: &BatchHeader) -> Result<(), Failure> {
    let compression = header.compression();
    let compression =
        compression.map_err(|error| Failure::new(of_batch(&error), error.to_string()))?;
    if compression == Compression::Zstd && version < WITH_ZSTD {
        let text = "zstd needs version 7 of Produce or a newer one";
        let code = ErrorCode::UnsupportedCompressionType;
        return Err(Failure::new(code, text));
    }
    if header.is_control() {
        let text = "clients may not write control batches";
        return Err(Failure::new(ErrorCode::InvalidRecord, text));
    }
    if header.is_transactional() {
        let text = "transactions are not served yet";
        return Err(Failure::new(ErrorCode::InvalidTxnState, text));
    }
    Ok(())
}

type Waiting = (
    i64,
    Vec<oneshot::Receiver<Result<Appended, ReplicaError>>>,
    ReplicaError,
);

/// Hands the batches of one partition over. What is waited for, with the error if nobody answers.
async fn append(
    context: &Context,
    topic: &str,
    partition: i32,
    records: Vec<Bytes>,
    acks: Acks,
    deadline: Instant,
) -> Result<Waiting, Failure> {
    let replicas = &context.parts().replicas;
    let index = u32::try_from(partition).map_err(|_| {
        let unknown = ErrorCode::UnknownTopicOrPartition;
        Failure::new(unknown, unknown.name())
    })?;
    let mut waiting: Option<Waiting> = None;
    for batch in records {
        let begun = timeout_at(deadline, replicas.append(topic, index, batch, acks)).await;
        let (replica, answer) = begun.unwrap_or(Err(ReplicaError::TimedOut))?;
        let (_, answers, _) = waiting.get_or_insert_with(|| {
            let log_start = replica.machine().read().log_start().get();
            (log_start, Vec::new(), replica.not_leader())
        });
        answers.push(answer);
    }
    waiting.ok_or_else(|| Failure::new(ErrorCode::InvalidRecord, "no record batch"))
}

/// Waits for every batch; the first one says where the records begin, the first error counts.
async fn wait(waiting: Waiting, deadline: Instant) -> Result<Written, Failure> {
    let (log_start, answers, gone) = waiting;
    let mut first = None;
    for answer in answers {
        let appended = match timeout_at(deadline, answer).await {
            Ok(Ok(appended)) => appended?,
            Ok(Err(_closed)) => return Err(gone.into()),
            Err(_elapsed) => return Err(ReplicaError::TimedOut.into()),
        };
        first.get_or_insert(appended);
    }
    let appended = first.ok_or_else(|| Failure::from(gone))?;
    Ok(Written {
        appended,
        log_start,
    })
}

async fn finish(context: &Context, version: i16, topics: Vec<Topic>) -> (ProduceResponse, bool) {
    let mut hints = Hints::new();
    let mut has_error = false;
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for under in topic.partitions {
            let written = under.written.await;
            has_error |= written.is_err();
            let name = topic.name.as_deref().filter(|_| version >= WITH_LEADERS);
            let mut response = of_partition(under.partition, &written);
            if let (Err(failure), Some(name)) = (&written, name)
                && let Some(leader) = hints.leader(context, failure.code, name, under.partition)
            {
                response.current_leader = LeaderIdAndEpoch {
                    leader_id: leader.id,
                    leader_epoch: leader.epoch,
                };
            }
            partitions.push(response);
        }
        responses.push(TopicProduceResponse {
            name: topic.request.name,
            topic_id: topic.request.topic_id,
            partition_responses: partitions,
        });
    }
    let response = ProduceResponse {
        responses,
        node_endpoints: hints.into_nodes().map(node).collect(),
        ..ProduceResponse::default()
    };
    (response, has_error)
}

fn of_partition(partition: i32, written: &Result<Written, Failure>) -> PartitionProduceResponse {
    match written {
        Ok(written) => PartitionProduceResponse {
            index: partition,
            base_offset: written.appended.base_offset,
            log_append_time_ms: written.appended.log_append_time_ms.unwrap_or(NONE),
            log_start_offset: written.log_start,
            ..PartitionProduceResponse::default()
        },
        Err(failure) => PartitionProduceResponse {
            index: partition,
            error_code: failure.code.into(),
            error_message: Some(text(&failure.text)),
            base_offset: NONE,
            ..PartitionProduceResponse::default()
        },
    }
}

fn node(address: NodeAddress) -> NodeEndpoint {
    NodeEndpoint {
        node_id: address.id,
        host: address.host,
        port: address.port,
        rack: address.rack,
    }
}
