//! DeleteTopics (KIP-4, KIP-516): by name, from version 6 on by id, too.

use bytestring::ByteString;
use futures_util::future::join_all;
use raftmq_core::cluster::Command;
use raftmq_kafka_protocol::messages::delete_topics::request::DeleteTopicState;
use raftmq_kafka_protocol::messages::delete_topics::response::DeletableTopicResult;
use raftmq_kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use raftmq_kafka_protocol::{ErrorCode, Uuid};

use super::command_wait;
use crate::kafka::context::Context;
use crate::kafka::error::of_control;
use crate::kafka::topics::TopicName;
use crate::kafka::wire::text;

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let by_name = |name: ByteString| DeleteTopicState {
        name: Some(name),
        topic_id: Uuid::ZERO,
    };
    let timeout_ms = request.timeout_ms;
    let names = request.topic_names.into_iter().map(by_name);
    let topics = request.topics.into_iter().chain(names);
    let deleted = topics.map(|topic| delete(&context, topic, timeout_ms));
    DeleteTopicsResponse {
        responses: join_all(deleted).await,
        ..DeleteTopicsResponse::default()
    }
}

async fn delete(
    context: &Context,
    topic: DeleteTopicState,
    timeout_ms: i32,
) -> DeletableTopicResult {
    let failed = |error: ErrorCode, words: &str| DeletableTopicResult {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        error_code: error.into(),
        error_message: Some(text(words)),
    };
    let named = match (&topic.name, topic.topic_id.is_zero()) {
        (Some(name), true) => TopicName::new(name, Uuid::ZERO, false),
        (None, false) => TopicName::new("", topic.topic_id, true),
        (Some(_), false) | (None, true) => {
            let words = "a topic is named by its name or by its id";
            return failed(ErrorCode::InvalidRequest, words);
        }
    };
    let found = match named.find(&context.image()) {
        Ok(found) => found,
        Err(error) => return failed(error, error.name()),
    };
    let command = Command::DeleteTopic { topic_id: found.id };
    match context.propose(&command, command_wait(timeout_ms)).await {
        Ok(_) => DeletableTopicResult {
            name: Some(text(&found.name)),
            topic_id: found.id.0.into(),
            ..DeletableTopicResult::default()
        },
        Err(error) => failed(of_control(&error), &error.to_string()),
    }
}
