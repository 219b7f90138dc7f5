//! CreatePartitions (KIP-195): gives topics more partitions, never fewer.

use futures_util::future::join_all;
use raftmq_core::cluster::Command;
use raftmq_kafka_protocol::messages::create_partitions::request::CreatePartitionsTopic;
use raftmq_kafka_protocol::messages::create_partitions::response::CreatePartitionsTopicResult;
use raftmq_kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use raftmq_kafka_protocol::{ErrorCode, Uuid};

use super::command_wait;
use super::create_topics::brokers;
use crate::kafka::context::Context;
use crate::kafka::error::of_control;
use crate::kafka::topics::{TopicName, wait_for_leaders};
use crate::kafka::wire::text;

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let results = request.topics.iter().map(|topic| async {
        let added = add(&context, topic, &request).await;
        let (code, words) = match added {
            Ok(()) => (ErrorCode::None, None),
            Err((code, words)) => (code, Some(text(&words))),
        };
        CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code: code.into(),
            error_message: words,
        }
    });
    CreatePartitionsResponse {
        results: join_all(results).await,
        ..CreatePartitionsResponse::default()
    }
}

async fn add(
    context: &Context,
    topic: &CreatePartitionsTopic,
    request: &CreatePartitionsRequest,
) -> Result<(), (ErrorCode, String)> {
    let within = command_wait(request.timeout_ms);
    let named = TopicName::new(&topic.name, Uuid::ZERO, false);
    let found = named.find(&context.image());
    let found = found.map_err(|error| (error, error.name().to_owned()))?;
    let partitions_count = u32::try_from(topic.count).map_err(|_| {
        let words = format!("{} partitions asked for", topic.count);
        (ErrorCode::InvalidPartitions, words)
    })?;
    let assignments = topic.assignments.iter().flatten();
    let assignments = assignments.map(|assignment| brokers(&assignment.broker_ids));
    let command = Command::AddPartitions {
        topic_id: found.id,
        partitions_count,
        assignments: assignments.collect::<Result<_, _>>()?,
    };
    let done = context.propose_or_preview(command, request.validate_only, within);
    done.await
        .map_err(|error| (of_control(&error), error.to_string()))?;
    if !request.validate_only {
        wait_for_leaders(context, &topic.name, within).await;
    }
    Ok(())
}
