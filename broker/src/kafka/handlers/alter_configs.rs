//! AlterConfigs (KIP-133): what is named is set, everything else goes back to its default. Older than
//! IncrementalAlterConfigs, and all that some clients have.

use std::collections::BTreeMap;

use raftmq_core::cluster::{Image, Topic};
use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::alter_configs::request::{
    AlterConfigsResource, AlterableConfig,
};
use raftmq_kafka_protocol::messages::alter_configs::response::AlterConfigsResourceResponse;
use raftmq_kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::altering::{Altered, Changes, Refusal, Resource, alter_each};
use crate::config::cluster_config_name;
use crate::kafka::context::Context;

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let resources = request.resources.into_iter().map(resource).collect();
    let altered = alter_each(&context, resources, request.validate_only, changes).await;
    AlterConfigsResponse {
        responses: altered.into_iter().map(response).collect(),
        ..AlterConfigsResponse::default()
    }
}

fn resource(resource: AlterConfigsResource) -> Resource<AlterableConfig> {
    Resource {
        kind: resource.resource_type,
        name: resource.resource_name,
        configs: resource.configs,
    }
}

fn response(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.kind,
        resource_name: altered.name,
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
