//! DeleteRecords (KIP-107): moves the log start, on the partition's leader.

use futures_util::future::join_all;
use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::delete_records::request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use raftmq_kafka_protocol::messages::delete_records::response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use raftmq_kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use tokio::time::timeout;

use super::command_wait;
use crate::kafka::context::Context;
use crate::kafka::error::of_replica;
use crate::kafka::wire::NONE;

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let timeout_ms = request.timeout_ms;
    let topics = request.topics.into_iter();
    let topics = topics.map(|topic| of_topic(&context, topic, timeout_ms));
    DeleteRecordsResponse {
        topics: join_all(topics).await,
        ..DeleteRecordsResponse::default()
    }
}

async fn of_topic(
    context: &Context,
    topic: DeleteRecordsTopic,
    timeout_ms: i32,
) -> DeleteRecordsTopicResult {
    let partitions = topic.partitions.iter().map(|asked| async {
        let deleted = delete(context, &topic.name, asked);
        let deleted = timeout(command_wait(timeout_ms), deleted).await;
        let deleted = deleted.unwrap_or(Err(ErrorCode::RequestTimedOut));
        DeleteRecordsPartitionResult {
            partition_index: asked.partition_index,
            low_watermark: deleted.unwrap_or(NONE),
            error_code: deleted.err().unwrap_or(ErrorCode::None).into(),
        }
    });
    DeleteRecordsTopicResult {
        partitions: join_all(partitions).await,
        name: topic.name.clone(),
    }
}

async fn delete(
    context: &Context,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<i64, ErrorCode> {
    let partition = u32::try_from(asked.partition_index);
    let partition = partition.map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
    let replica = context.parts().replicas.find(topic, partition);
    let replica = replica.map_err(|error| of_replica(&error))?;
    // Clients go to the leader themselves.
    let checked = replica.check_leader(NONE);
    checked.map_err(|error| of_replica(&error))?;
    let deleted = replica.delete_records(asked.offset).await;
    deleted.map_err(|error| of_replica(&error))
}
