//! Metadata: brokers and topics from this broker's own copy of the image, and the making of topics
//! that clients ask for (`auto.create.topics.enable`).

use std::collections::BTreeSet;

use futures_util::future::join_all;
use raftmq_core::cluster::config_keys::AUTO_CREATE_TOPICS_ENABLE;
use raftmq_core::cluster::{Image, PartitionInfo, Topic, check_topic_name};
use raftmq_core::ids::BrokerId;
use raftmq_kafka_protocol::messages::metadata::request::MetadataRequestTopic;
use raftmq_kafka_protocol::messages::metadata::response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use raftmq_kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use raftmq_kafka_protocol::{ErrorCode, Uuid};

use super::{CLUSTER_OPERATIONS, OPERATIONS_OMITTED, TOPIC_OPERATIONS};
use crate::kafka::context::{Context, NodeAddress};
use crate::kafka::error::of_control;
use crate::kafka::leaders::live_leader;
use crate::kafka::limits::{AUTO_CREATED_TOPICS_MAX, COMMAND_WAIT};
use crate::kafka::topics::{TopicName, auto_create};
use crate::kafka::wire::{NO_NODE, epoch, index, node_id, text};

/// First version in which an empty list of topics means none.
const EMPTY_IS_NONE: i16 = 1;
/// First version in which the client says whether topics may be made.
const WITH_AUTO_CREATION: i16 = 4;
/// First version whose answer may leave a topic's name out.
const WITHOUT_NAMES: i16 = 12;

pub(in crate::kafka) async fn serve(
    context: Context,
    version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    let asked = request.topics.clone();
    let wants_all = asked
        .as_ref()
        .is_none_or(|topics| topics.is_empty() && version < EMPTY_IS_NONE);
    let may_create = version < WITH_AUTO_CREATION || request.allow_auto_topic_creation;
    if let Some(topics) = asked.as_ref().filter(|_| may_create) {
        create_missing(&context, topics).await;
    }
    let image = context.image();
    let topics = if wants_all {
        let all = image.topic_ids.values();
        let all = all.filter_map(|id| image.topics.get(id));
        all.map(|topic| describe(&image, topic)).collect()
    } else {
        let asked = asked.unwrap_or_default();
        asked.iter().map(|one| of_request(&image, one)).collect()
    };
    let mut response = MetadataResponse {
        brokers: context.live_nodes(&image).into_iter().map(broker).collect(),
        cluster_id: image.cluster_id.as_deref().map(text),
        controller_id: controller_id(&context, &image),
        topics,
        cluster_authorized_operations: OPERATIONS_OMITTED,
        ..MetadataResponse::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    if version < WITHOUT_NAMES {
        // Null names came with the answers to topic ids.
        for topic in &mut response.topics {
            topic.name.get_or_insert_with(Default::default);
        }
    }
    if request.include_topic_authorized_operations {
        for topic in &mut response.topics {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    response
}

/// The controller, if clients can reach it; admin requests may go to any broker.
pub(super) fn controller_id(context: &Context, image: &Image) -> i32 {
    let known = context.parts().controller.controller_id();
    let reachable = known.map(BrokerId).filter(|id| {
        let broker = image.broker(*id);
        broker.is_some_and(|broker| context.address_of(broker).is_some())
    });
    reachable.map_or(NO_NODE, node_id)
}

fn broker(node: NodeAddress) -> MetadataResponseBroker {
    MetadataResponseBroker {
        node_id: node.id,
        host: node.host,
        port: node.port,
        rack: node.rack,
    }
}

async fn create_missing(context: &Context, topics: &[MetadataRequestTopic]) {
    let image = context.image();
    if image.config_text(None, AUTO_CREATE_TOPICS_ENABLE) != "true" {
        return;
    }
    let named = topics.iter().filter(|topic| topic.topic_id.is_zero());
    let names = named.filter_map(|topic| topic.name.as_deref());
    let missing: BTreeSet<&str> = names
        .filter(|name| image.topic(name).is_none() && check_topic_name(name).is_ok())
        .take(AUTO_CREATED_TOPICS_MAX)
        .collect();
    let made = missing.into_iter().map(|name| async move {
        if let Err(error) = auto_create(context, name, COMMAND_WAIT).await {
            let code = of_control(&error);
            tracing::debug!(topic = name, %error, %code, "topic not made by itself");
        }
    });
    join_all(made).await;
}

fn of_request(image: &Image, asked: &MetadataRequestTopic) -> MetadataResponseTopic {
    let failed = |error: ErrorCode| MetadataResponseTopic {
        error_code: error.into(),
        name: asked.name.clone().filter(|_| asked.topic_id.is_zero()),
        topic_id: asked.topic_id,
        topic_authorized_operations: OPERATIONS_OMITTED,
        ..MetadataResponseTopic::default()
    };
    // An id decides, whatever the name: Java's admin sends an empty one with it.
    let by_id = !asked.topic_id.is_zero();
    let named = match asked.name.as_ref().filter(|_| !by_id) {
        Some(name) if check_topic_name(name).is_err() => {
            return failed(ErrorCode::InvalidTopicException);
        }
        Some(name) => TopicName::new(name, Uuid::ZERO, false),
        None => TopicName::new("", asked.topic_id, true),
    };
    match named.find(image) {
        Ok(topic) => describe(image, &topic),
        Err(error) => failed(error),
    }
}

fn describe(image: &Image, topic: &Topic) -> MetadataResponseTopic {
    let groups = topic.partitions.iter();
    let partitions = groups.filter_map(|group| image.partition(*group));
    MetadataResponseTopic {
        error_code: ErrorCode::None.into(),
        name: Some(text(&topic.name)),
        topic_id: topic.id.0.into(),
        is_internal: false,
        partitions: partitions.map(|info| partition(image, info)).collect(),
        topic_authorized_operations: OPERATIONS_OMITTED,
    }
}

/// What clients are told of a partition.
pub(super) fn partition(image: &Image, info: &PartitionInfo) -> MetadataResponsePartition {
    let leader = live_leader(image, info);
    let error = match leader {
        Some(_) => ErrorCode::None,
        None => ErrorCode::LeaderNotAvailable,
    };
    MetadataResponsePartition {
        error_code: error.into(),
        partition_index: index(info.index.get()),
        leader_id: leader.map_or(NO_NODE, |id| node_id(BrokerId(id))),
        leader_epoch: epoch(info.leader_epoch),
        replica_nodes: info.replicas.iter().copied().map(node_id).collect(),
        isr_nodes: info.isr.iter().copied().map(node_id).collect(),
        offline_replicas: offline(image, info),
    }
}

/// The replicas whose brokers are out of service.
fn offline(image: &Image, info: &PartitionInfo) -> Vec<i32> {
    let replicas = info.replicas.iter().copied();
    let offline = replicas.filter(|id| !image.is_alive(*id));
    offline.map(node_id).collect()
}
