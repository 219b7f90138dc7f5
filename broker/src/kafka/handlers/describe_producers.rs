//! DescribeProducers (KIP-664): the idempotent producers that a partition's leader remembers.

use raftmq_core::partition::Producer;
use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::describe_producers::response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use raftmq_kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};

use crate::kafka::context::Context;
use crate::kafka::error::of_replica;
use crate::kafka::wire::NONE;

/// No coordinator has written a marker.
const NO_COORDINATOR_EPOCH: i32 = -1;

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter();
        let partitions = partitions.map(|partition_index| {
            let found = producers(&context, &topic.name, *partition_index);
            let error = found.as_ref().err().copied().unwrap_or(ErrorCode::None);
            PartitionResponse {
                partition_index: *partition_index,
                error_code: error.into(),
                active_producers: found.unwrap_or_default(),
                ..PartitionResponse::default()
            }
        });
        TopicResponse {
            partitions: partitions.collect(),
            name: topic.name.clone(),
        }
    });
    DescribeProducersResponse {
        topics: topics.collect(),
        ..DescribeProducersResponse::default()
    }
}

fn producers(
    context: &Context,
    topic: &str,
    partition: i32,
) -> Result<Vec<ProducerState>, ErrorCode> {
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let partition = u32::try_from(partition).map_err(|_| unknown)?;
    let replica = context.parts().replicas.find(topic, partition);
    let replica = replica.map_err(|error| of_replica(&error))?;
    let checked = replica.check_leader(NONE);
    checked.map_err(|error| of_replica(&error))?;
    let state = replica.machine().read();
    let producers = state.producers();
    let producers = producers.map(|(id, producer)| describe(id.get(), producer));
    Ok(producers.collect())
}

fn describe(producer_id: i64, producer: &Producer) -> ProducerState {
    let last = producer.batches().last();
    ProducerState {
        producer_id,
        producer_epoch: i32::from(producer.producer_epoch()),
        last_sequence: last.map_or(-1, |batch| batch.last_sequence),
        last_timestamp: producer.last_appended_at_ms(),
        coordinator_epoch: NO_COORDINATOR_EPOCH,
        current_txn_start_offset: NONE,
    }
}
