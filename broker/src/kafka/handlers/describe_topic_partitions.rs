//! DescribeTopicPartitions (KIP-966): topics page by page.

use std::collections::BTreeSet;

use raftmq_core::cluster::{Image, PartitionInfo, check_topic_name};
use raftmq_kafka_protocol::messages::describe_topic_partitions::response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use raftmq_kafka_protocol::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use raftmq_kafka_protocol::{ErrorCode, Uuid};

use super::{OPERATIONS_OMITTED, TOPIC_OPERATIONS, metadata};
use crate::kafka::context::Context;
use crate::kafka::limits::DESCRIBED_PARTITIONS_MAX;
use crate::kafka::topics::TopicName;
use crate::kafka::wire::{count, text};

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = context.image();
    let cursor = request.cursor.as_ref();
    let named: BTreeSet<&str> = if request.topics.is_empty() {
        image.topic_ids.keys().map(AsRef::as_ref).collect()
    } else {
        request.topics.iter().map(|topic| &*topic.name).collect()
    };
    let is_left = |name: &&str| cursor.is_none_or(|cursor| **name >= *cursor.topic_name);
    let asked = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut room = asked.clamp(1, DESCRIBED_PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in named.into_iter().filter(is_left) {
        if room == 0 {
            response.next_cursor = Some(cursor_at(name, 0));
            break;
        }
        let from = cursor.filter(|cursor| *cursor.topic_name == *name);
        let from = from.map_or(0, |cursor| {
            usize::try_from(cursor.partition_index).unwrap_or(0)
        });
        let (topic, end) = describe(&image, name, from, room);
        room = room.saturating_sub(topic.partitions.len());
        response.topics.push(topic);
        if let Some(end) = end {
            response.next_cursor = Some(cursor_at(name, end));
            break;
        }
    }
    response
}

fn cursor_at(name: &str, partition: usize) -> Cursor {
    Cursor {
        topic_name: text(name),
        partition_index: count(partition),
    }
}

/// A topic from one of its partitions on, with the partition at which there was no more room.
fn describe(
    image: &Image,
    name: &str,
    from: usize,
    room: usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<usize>) {
    let failed = |error: ErrorCode| DescribeTopicPartitionsResponseTopic {
        error_code: error.into(),
        name: Some(text(name)),
        topic_authorized_operations: OPERATIONS_OMITTED,
        ..DescribeTopicPartitionsResponseTopic::default()
    };
    if check_topic_name(name).is_err() {
        return (failed(ErrorCode::InvalidTopicException), None);
    }
    let topic = match TopicName::new(name, Uuid::ZERO, false).find(image) {
        Ok(topic) => topic,
        Err(error) => return (failed(error), None),
    };
    let groups = topic.partitions.iter().skip(from).take(room);
    let partitions = groups.filter_map(|group| image.partition(*group));
    let end = from.saturating_add(room);
    let described = DescribeTopicPartitionsResponseTopic {
        topic_id: topic.id.0.into(),
        partitions: partitions.map(|info| partition(image, info)).collect(),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..failed(ErrorCode::None)
    };
    (
        described,
        Some(end).filter(|end| *end < topic.partitions.len()),
    )
}

fn partition(image: &Image, info: &PartitionInfo) -> DescribeTopicPartitionsResponsePartition {
    let told = metadata::partition(image, info);
    DescribeTopicPartitionsResponsePartition {
        error_code: told.error_code,
        partition_index: told.partition_index,
        leader_id: told.leader_id,
        leader_epoch: told.leader_epoch,
        replica_nodes: told.replica_nodes,
        isr_nodes: told.isr_nodes,
        // Deviation: a majority holds every committed record, so there is no such list to keep.
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: told.offline_replicas,
    }
}
