//! AlterConfigs (KIP-133): what is named is set, everything else goes back to its default. Older than
//! IncrementalAlterConfigs, and all that some clients have.

use std::collections::{BTreeMap, BTreeSet};

use raftmq_core::cluster::{Image, Topic};
use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::alter_configs::request::AlterableConfig;
use raftmq_kafka_protocol::messages::alter_configs::response::AlterConfigsResourceResponse;
use raftmq_kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::incremental_alter_configs::{Changes, Refusal, Resource, alter};
use crate::config::cluster_config_name;
use crate::kafka::context::Context;
use crate::kafka::wire::text;

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
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
    AlterConfigsResponse {
        responses,
        ..AlterConfigsResponse::default()
    }
}

fn changes(
    image: &Image,
    topic: Option<&Topic>,
    configs: &[AlterableConfig],
) -> Result<Changes, Refusal> {
    let mut set = BTreeMap::new();
    for config in configs {
        let name = match topic {
            Some(_) => &*config.name,
            None => cluster_config_name(&config.name),
        };
        let Some(value) = config.value.as_deref() else {
            let words = format!("config {} has no value", config.name);
            return Err((ErrorCode::InvalidConfig, words));
        };
        if set.insert(name.to_owned(), value.to_owned()).is_some() {
            let words = format!("config {} is altered twice", config.name);
            return Err((ErrorCode::InvalidConfig, words));
        }
    }
    let known: Vec<String> = match topic {
        Some(topic) => topic.configs.keys().cloned().collect(),
        None => image.configs.keys().map(ToString::to_string).collect(),
    };
    let unset = known.into_iter().filter(|name| !set.contains_key(name));
    let unset = unset.collect();
    Ok((set, unset))
}
