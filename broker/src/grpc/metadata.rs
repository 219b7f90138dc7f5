//! `Broker.Metadata`: the image in the form of `raftmq.v1`.

use std::collections::BTreeMap;

use raftmq_core::cluster::leadership::leaders_counts;
use raftmq_core::cluster::{Image, Topic};
use raftmq_core::ids::BrokerId;
use raftmq_core::space::SpaceOfBrokers;
use raftmq_proto::v1::{
    BrokerInfo, Error, MetadataRequest, MetadataResponse, PartitionInfo, TopicInfo,
};

use crate::node::Parts;

/// Answers from this broker's own copy of the image.
pub(super) fn serve(parts: &Parts, request: &MetadataRequest) -> MetadataResponse {
    let image = parts.controller.images().current();
    let topics = if request.brokers_only && request.topics.is_empty() {
        Vec::new()
    } else if request.topics.is_empty() {
        image
            .topics
            .values()
            .map(|topic| topic_info(&image, topic))
            .collect()
    } else {
        request
            .topics
            .iter()
            .map(|name| named_topic(&image, name))
            .collect()
    };
    MetadataResponse {
        cluster_id: image.cluster_id.as_deref().unwrap_or_default().to_owned(),
        controller_broker_id: parts.controller.controller_id().unwrap_or_default(),
        brokers: brokers(&image),
        topics,
        version: image.version,
    }
}

/// Every broker, fenced ones too.
pub(super) fn brokers(image: &Image) -> Vec<BrokerInfo> {
    let info = |broker: &raftmq_core::cluster::Broker| BrokerInfo {
        broker_id: broker.id.get(),
        grpc_endpoint: broker.endpoints.grpc.clone(),
        http_endpoint: broker.endpoints.http.clone(),
        rack: broker.rack.clone(),
        fenced: broker.is_fenced,
        broker_epoch: broker.epoch.get(),
        draining: broker.is_draining,
        decommissioned: broker.is_decommissioned,
        ..BrokerInfo::default()
    };
    image.brokers.values().map(|broker| info(broker)).collect()
}

/// Every broker, with how much it leads and holds, and whether its disk is full; costs a look at each partition.
pub(super) fn brokers_with_counts(image: &Image, full: &SpaceOfBrokers) -> Vec<BrokerInfo> {
    let leaders = leaders_counts(image);
    let mut replicas: BTreeMap<BrokerId, usize> = BTreeMap::new();
    for id in image.partitions.values().flat_map(|info| &info.replicas) {
        *replicas.entry(*id).or_default() += 1;
    }
    let count = |counts: &BTreeMap<BrokerId, usize>, id: u32| {
        let count = counts.get(&BrokerId(id)).copied().unwrap_or(0);
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let mut brokers = brokers(image);
    for broker in &mut brokers {
        broker.leaders_count = count(&leaders, broker.broker_id);
        broker.replicas_count = count(&replicas, broker.broker_id);
        broker.disk_full = full.contains_key(&BrokerId(broker.broker_id));
    }
    brokers
}

fn named_topic(image: &Image, name: &str) -> TopicInfo {
    match image.topic(name) {
        Some(topic) => topic_info(image, topic),
        None => TopicInfo {
            name: name.to_owned(),
            error: Some(Error::unknown_topic(name)),
            ..TopicInfo::default()
        },
    }
}

/// A topic and its partitions.
pub(super) fn topic_info(image: &Image, topic: &Topic) -> TopicInfo {
    let partitions = topic
        .partitions
        .iter()
        .filter_map(|group| image.partition(*group));
    let partitions = partitions.map(|info| {
        let leader = info.leader.filter(|id| image.is_alive(*id));
        PartitionInfo {
            partition: info.index.get(),
            group_id: info.group.get(),
            leader_broker_id: leader.map_or(0, |id| id.get()),
            leader_epoch: i64::try_from(info.leader_epoch.get()).unwrap_or(i64::MAX),
            replicas: info.replicas.iter().map(|id| id.get()).collect(),
            in_sync_replicas: info.isr.iter().map(|id| id.get()).collect(),
        }
    });
    TopicInfo {
        name: topic.name.clone(),
        topic_id: topic.id.0.to_vec().into(),
        error: None,
        partitions: partitions.collect(),
        configs: topic.configs.clone(),
    }
}
