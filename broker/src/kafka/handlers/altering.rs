//! What AlterConfigs and IncrementalAlterConfigs share: one resource after the other, each with an
//! error of its own.
//!
//! Does not know how a request says what is to be set; its handler reads that.
//!
//! Deviation: settings of one broker stand in its file; those of all brokers (the empty name) are the
//! cluster's.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use raftmq_core::cluster::{Command, Image, Topic};
use raftmq_kafka_protocol::{ErrorCode, Uuid};

use super::describe_configs::{BROKER, TOPIC};
use crate::kafka::context::Context;
use crate::kafka::error::of_control;
use crate::kafka::limits::COMMAND_WAIT;
use crate::kafka::topics::TopicName;
use crate::kafka::wire::text;

/// A code and its words.
pub(super) type Refusal = (ErrorCode, String);

/// What is to be set, and what unset.
pub(super) type Changes = (BTreeMap<String, String>, Vec<String>);

/// A resource, and what a request asks of its settings.
#[derive(Debug, Clone)]
pub(super) struct Resource<C> {
    /// Kafka's number of its kind.
    pub(super) kind: i8,
    /// A topic, or empty for all brokers.
    pub(super) name: ByteString,
    /// What is asked.
    pub(super) configs: Vec<C>,
}

/// What became of one resource.
#[derive(Debug, Clone)]
pub(super) struct Altered {
    /// Kafka's number of its kind.
    pub(super) kind: i8,
    /// Its name.
    pub(super) name: ByteString,
    /// 0 = it was altered.
    pub(super) error_code: i16,
    /// Why not.
    pub(super) error_message: Option<ByteString>,
}

/// Reads what is asked of the settings of a topic, or of the cluster.
pub(super) type Reading<C> = fn(&Image, Option<&Topic>, &[C]) -> Result<Changes, Refusal>;

/// Alters one resource after the other. One that is named again is refused.
pub(super) async fn alter_each<C>(
    context: &Context,
    resources: Vec<Resource<C>>,
    validate_only: bool,
    reading: Reading<C>,
) -> Vec<Altered> {
    let mut altered = Vec::with_capacity(resources.len());
    let mut seen = BTreeSet::new();
    for resource in resources {
        let outcome = if seen.insert((resource.kind, resource.name.clone())) {
            alter(context, &resource, validate_only, reading).await
        } else {
            let words = "the request names the resource twice".to_owned();
            Err((ErrorCode::InvalidRequest, words))
        };
        let (code, error_message) = match outcome {
            Ok(()) => (ErrorCode::None, None),
            Err((code, words)) => (code, Some(text(&words))),
        };
        altered.push(Altered {
            kind: resource.kind,
            name: resource.name,
            error_code: code.into(),
            error_message,
        });
    }
    altered
}

async fn alter<C>(
    context: &Context,
    resource: &Resource<C>,
    validate_only: bool,
    reading: Reading<C>,
) -> Result<(), Refusal> {
    let image = context.image();
    let changes = |topic: Option<&Topic>| reading(&image, topic, &resource.configs);
    let command = match resource.kind {
        TOPIC => {
            let named = TopicName::new(&resource.name, Uuid::ZERO, false);
            let topic = named.find(&image);
            let topic = topic.map_err(|error| (error, error.name().to_owned()))?;
            let (set, unset) = changes(Some(&topic))?;
            Command::AlterTopicConfigs {
                topic_id: topic.id,
                set,
                unset,
            }
        }
        BROKER if resource.name.is_empty() => {
            let (set, unset) = changes(None)?;
            Command::AlterClusterConfigs { set, unset }
        }
        BROKER => {
            let words = "settings of one broker stand in its configuration; \
                         those of all brokers can be altered (--entity-default)";
            return Err((ErrorCode::InvalidRequest, words.to_owned()));
        }
        other => {
            let words = format!("resources of type {other} have no settings here");
            return Err((ErrorCode::InvalidRequest, words));
        }
    };
    let done = context.propose_or_preview(command, validate_only, COMMAND_WAIT);
    done.await
        .map_err(|error| (of_control(&error), error.to_string()))
}
