//! CreateTopics (KIP-4, KIP-525): makes topics, or says what making them would come to.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use futures_util::future::join_all;
use raftmq_core::cluster::{Command, CreateTopic, check_topic_name};
use raftmq_core::ids::{BrokerId, TopicId};
use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::create_topics::request::CreatableTopic;
use raftmq_kafka_protocol::messages::create_topics::response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use raftmq_kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::command_wait;
use super::describe_configs::topic_configs;
use crate::kafka::context::Context;
use crate::kafka::error::of_control;
use crate::kafka::topics::wait_for_leaders;
use crate::kafka::wire::{count, text, words};

/// A count that the cluster's settings decide.
const DEFAULT: i32 = -1;

/// A code and its words.
type Refusal = (ErrorCode, String);

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut seen = BTreeSet::new();
    let names = request.topics.iter().map(|topic| &topic.name);
    let repeated: BTreeSet<ByteString> =
        names.filter(|name| !seen.insert(*name)).cloned().collect();
    let made = request.topics.iter().map(|topic| async {
        let made = if repeated.contains(&topic.name) {
            let text = "the request names the topic twice".to_owned();
            Err((ErrorCode::InvalidRequest, text))
        } else {
            create(&context, topic, &request).await
        };
        made.unwrap_or_else(|(code, words)| CreatableTopicResult {
            name: topic.name.clone(),
            error_code: code.into(),
            error_message: Some(text(&words)),
            ..CreatableTopicResult::default()
        })
    });
    CreateTopicsResponse {
        topics: join_all(made).await,
        ..CreateTopicsResponse::default()
    }
}

async fn create(
    context: &Context,
    topic: &CreatableTopic,
    request: &CreateTopicsRequest,
) -> Result<CreatableTopicResult, Refusal> {
    let within = command_wait(request.timeout_ms);
    let create = command(topic, TopicId(context.parts().env().random_id()))?;
    let preview = create.clone();
    let made =
        context.propose_or_preview(Command::CreateTopic(create), request.validate_only, within);
    made.await
        .map_err(|error| (of_control(&error), error.to_string()))?;
    if request.validate_only {
        return Ok(validated(context, topic, &preview));
    }
    wait_for_leaders(context, &topic.name, within).await;
    let image = context.image();
    let Some(made) = image.topic(&topic.name) else {
        // Deleted again already.
        return Ok(validated(context, topic, &preview));
    };
    let first = made.partitions.first();
    let replicas = first.and_then(|group| image.partition(*group));
    let replicas = replicas.map_or(0, |info| info.replicas.len());
    Ok(CreatableTopicResult {
        name: topic.name.clone(),
        topic_id: made.id.0.into(),
        num_partitions: count(made.partitions.len()),
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        configs: Some(configs_of(context, Some(made))),
        ..CreatableTopicResult::default()
    })
}

/// What would be made; counts that the settings decide stay open.
fn validated(
    context: &Context,
    topic: &CreatableTopic,
    create: &CreateTopic,
) -> CreatableTopicResult {
    let as_made = raftmq_core::cluster::Topic {
        id: create.topic_id,
        name: create.name.clone(),
        partitions: Vec::new(),
        configs: create.configs.clone(),
    };
    CreatableTopicResult {
        name: topic.name.clone(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        configs: Some(configs_of(context, Some(&as_made))),
        ..CreatableTopicResult::default()
    }
}

fn configs_of(
    context: &Context,
    topic: Option<&raftmq_core::cluster::Topic>,
) -> Vec<CreatableTopicConfigs> {
    let configs = topic_configs(&context.image(), topic).into_iter();
    let configs = configs.map(|config| CreatableTopicConfigs {
        name: text(config.name),
        value: words(&config.value),
        config_source: config.source,
        ..CreatableTopicConfigs::default()
    });
    configs.collect()
}

fn command(topic: &CreatableTopic, topic_id: TopicId) -> Result<CreateTopic, Refusal> {
    let refused = |code: ErrorCode, text: &str| Err((code, text.to_owned()));
    if let Err(error) = check_topic_name(&topic.name) {
        return refused(ErrorCode::InvalidTopicException, &error.to_string());
    }
    let replication_factor = i32::from(topic.replication_factor);
    let has_counts = topic.num_partitions != DEFAULT || replication_factor != DEFAULT;
    if !topic.assignments.is_empty() && has_counts {
        let text = "counts must be -1 when replicas are assigned";
        return refused(ErrorCode::InvalidRequest, text);
    }
    let Some(partitions_count) = wanted(topic.num_partitions) else {
        let text = "the number of partitions must be positive, or -1";
        return refused(ErrorCode::InvalidPartitions, text);
    };
    let Some(replication_factor) = wanted(replication_factor) else {
        let text = "the replication factor must be positive, or -1";
        return refused(ErrorCode::InvalidReplicationFactor, text);
    };
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let text = format!("config {} has no value", config.name);
            return refused(ErrorCode::InvalidConfig, &text);
        };
        configs.insert(config.name.to_string(), value.to_string());
    }
    Ok(CreateTopic {
        name: topic.name.to_string(),
        topic_id,
        partitions_count,
        replication_factor,
        assignments: assignments(topic)?,
        configs,
    })
}

/// A count as the machine has it, where 0 stands for the setting.
fn wanted(number: i32) -> Option<u32> {
    match number {
        DEFAULT => Some(0),
        number => u32::try_from(number).ok().filter(|number| *number > 0),
    }
}

fn assignments(topic: &CreatableTopic) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    let mut assignments = topic.assignments.clone();
    assignments.sort_by_key(|assignment| assignment.partition_index);
    let mut indexes = assignments.iter().zip(0..);
    if !indexes.all(|(assignment, at)| assignment.partition_index == at) {
        let text = "assignments must name partitions 0, 1, 2 and so on, each once".to_owned();
        return Err((ErrorCode::InvalidReplicaAssignment, text));
    }
    let lists = assignments
        .iter()
        .map(|assignment| brokers(&assignment.broker_ids));
    lists.collect()
}

/// Brokers as a client numbers them.
pub(super) fn brokers(ids: &[i32]) -> Result<Vec<BrokerId>, Refusal> {
    let broker = |id: &i32| {
        let known = u32::try_from(*id).map(BrokerId);
        known.map_err(|_| {
            let text = format!("{id} is no broker");
            (ErrorCode::InvalidReplicaAssignment, text)
        })
    };
    ids.iter().map(broker).collect()
}
