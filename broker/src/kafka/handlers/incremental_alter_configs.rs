//! IncrementalAlterConfigs (KIP-339): sets, unsets, adds to and takes from settings of topics and of
//! the cluster.
//!
//! Deviation: settings of one broker stand in its file; those of all brokers (the empty name) are the
//! cluster's.

use std::collections::{BTreeMap, BTreeSet};

use raftmq_core::cluster::config_keys::find;
use raftmq_core::cluster::{Command, Image, Topic};
use raftmq_kafka_protocol::messages::incremental_alter_configs::request::AlterableConfig;
use raftmq_kafka_protocol::messages::incremental_alter_configs::response::AlterConfigsResourceResponse;
use raftmq_kafka_protocol::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use raftmq_kafka_protocol::{ErrorCode, Uuid};

use super::describe_configs::{BROKER, TOPIC, is_list};
use crate::config::cluster_config_name;
use crate::kafka::context::Context;
use crate::kafka::error::of_control;
use crate::kafka::limits::COMMAND_WAIT;
use crate::kafka::topics::TopicName;
use crate::kafka::wire::text;

/// Kafka's numbers of operations.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// A code and its words.
pub(super) type Refusal = (ErrorCode, String);

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::new();
    let mut seen = BTreeSet::new();
    for resource in &request.resources {
        let is_new = seen.insert((resource.resource_type, resource.resource_name.clone()));
        let altered = if is_new {
            let named = Resource {
                kind: resource.resource_type,
                name: &resource.resource_name,
            };
            let configs = &resource.configs;
            let changes = |image: &Image, topic: Option<&Topic>| changes(image, topic, configs);
            alter(&context, named, request.validate_only, changes).await
        } else {
            let words = "the request names the resource twice".to_owned();
            Err((ErrorCode::InvalidRequest, words))
        };
        let (code, message) = match altered {
            Ok(()) => (ErrorCode::None, None),
            Err((code, words)) => (code, Some(text(&words))),
        };
        responses.push(AlterConfigsResourceResponse {
            error_code: code.into(),
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
    }
    IncrementalAlterConfigsResponse {
        responses,
        ..IncrementalAlterConfigsResponse::default()
    }
}

/// What is to be altered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resource<'a> {
    /// Kafka's number.
    pub(super) kind: i8,
    /// A topic, or empty for all brokers.
    pub(super) name: &'a str,
}

/// Alters the settings of one resource as `changes` says, which is given its topic, if it is one.
pub(super) async fn alter(
    context: &Context,
    resource: Resource<'_>,
    validate_only: bool,
    changes: impl FnOnce(&Image, Option<&Topic>) -> Result<Changes, Refusal>,
) -> Result<(), Refusal> {
    let image = context.image();
    let command = match resource.kind {
        TOPIC => {
            let named = TopicName::new(resource.name, Uuid::ZERO, false);
            let topic = named.find(&image);
            let topic = topic.map_err(|error| (error, error.name().to_owned()))?;
            let (set, unset) = changes(&image, Some(&topic))?;
            Command::AlterTopicConfigs {
                topic_id: topic.id,
                set,
                unset,
            }
        }
        BROKER if resource.name.is_empty() => {
            let (set, unset) = changes(&image, None)?;
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

/// What is to be set, and what unset.
pub(super) type Changes = (BTreeMap<String, String>, Vec<String>);

fn changes(
    image: &Image,
    topic: Option<&Topic>,
    configs: &[AlterableConfig],
) -> Result<Changes, Refusal> {
    let mut set = BTreeMap::new();
    let mut unset = Vec::new();
    for config in configs {
        // A broker's name stands for the cluster's setting, not for a topic's.
        let name = match topic {
            Some(_) => &*config.name,
            None => cluster_config_name(&config.name),
        };
        let refused = |words: &str| {
            let text = format!("config {}: {words}", config.name);
            Err((ErrorCode::InvalidConfig, text))
        };
        if set.contains_key(name) || unset.iter().any(|other: &String| other == name) {
            return refused("it is altered twice");
        }
        match (config.config_operation, config.value.as_deref()) {
            (DELETE, _) => unset.push(name.to_owned()),
            (SET, Some(value)) => {
                set.insert(name.to_owned(), value.to_owned());
            }
            (APPEND | SUBTRACT, Some(value)) => {
                if !find(name).is_some_and(is_list) {
                    return refused("it is no list");
                }
                let now = image.config_text(topic, name);
                let is_added = config.config_operation == APPEND;
                set.insert(name.to_owned(), edited(&now, value, is_added));
            }
            (SET | APPEND | SUBTRACT, None) => return refused("a value is missing"),
            (_, _) => return refused("the operation is unknown"),
        }
    }
    Ok((set, unset))
}

/// A comma-separated list with the items of another one added or taken out.
fn edited(list: &str, items: &str, is_added: bool) -> String {
    let items: Vec<&str> = items.split(',').map(str::trim).collect();
    let kept = list
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    let mut kept: Vec<&str> = kept
        .filter(|item| is_added || !items.contains(item))
        .collect();
    if is_added {
        for item in items {
            if !kept.contains(&item) {
                kept.push(item);
            }
        }
    }
    kept.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_added_once_and_taken_out() {
        assert_eq!(edited("delete", "compact", true), "delete,compact");
        assert_eq!(edited("delete,compact", "compact", true), "delete,compact");
        assert_eq!(edited("delete,compact", "delete", false), "compact");
        assert_eq!(edited("", "delete", true), "delete");
    }
}
