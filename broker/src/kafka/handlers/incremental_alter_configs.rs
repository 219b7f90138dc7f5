//! IncrementalAlterConfigs (KIP-339): sets, unsets, adds to and takes from settings of topics and of
//! the cluster.

use std::collections::BTreeMap;

use raftmq_core::cluster::config_keys::find;
use raftmq_core::cluster::{Image, Topic};
use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::incremental_alter_configs::request::{
    AlterConfigsResource, AlterableConfig,
};
use raftmq_kafka_protocol::messages::incremental_alter_configs::response::AlterConfigsResourceResponse;
use raftmq_kafka_protocol::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::altering::{Altered, Changes, Refusal, Resource, alter_each};
use super::describe_configs::is_list;
use crate::config::cluster_config_name;
use crate::kafka::context::Context;

/// Kafka's numbers of operations.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let resources = request.resources.into_iter().map(resource).collect();
    let altered = alter_each(&context, resources, request.validate_only, changes).await;
    IncrementalAlterConfigsResponse {
        responses: altered.into_iter().map(response).collect(),
        ..IncrementalAlterConfigsResponse::default()
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
