//! DescribeConfigs (KIP-133, KIP-226): the settings of topics and of the cluster, each with its
//! default, type, source and documentation.
//!
//! Deviation: brokers have no dynamic settings of their own. Every broker shows the cluster's, under
//! the names that Kafka's brokers give them, and of what stands in its file who and where it is
//! (`broker_identity`).

use raftmq_core::cluster::config_keys::{CONFIG_KEYS, ConfigKey, ConfigScope, ConfigType};
use raftmq_core::cluster::{Broker, Image, Topic};
use raftmq_core::ids::BrokerId;
use raftmq_kafka_protocol::messages::describe_configs::request::DescribeConfigsResource;
use raftmq_kafka_protocol::messages::describe_configs::response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use raftmq_kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use raftmq_kafka_protocol::{ErrorCode, Uuid};

use super::broker_identity::identity;
use crate::config::broker_name;
use crate::kafka::context::Context;
use crate::kafka::topics::TopicName;
use crate::kafka::wire::{text, words};

/// Kafka's numbers of resource types.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
/// Kafka's numbers of sources.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_CLUSTER: i8 = 3;
pub(super) const SOURCE_BROKER: i8 = 4;
pub(super) const SOURCE_DEFAULT: i8 = 5;
/// Kafka's numbers of types.
const TYPE_BOOLEAN: i8 = 1;
pub(super) const TYPE_STRING: i8 = 2;
pub(super) const TYPE_INT: i8 = 3;
const TYPE_LONG: i8 = 5;
const TYPE_DOUBLE: i8 = 6;
pub(super) const TYPE_LIST: i8 = 7;

/// One setting as clients see it.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) source: i8,
    pub(super) config_type: i8,
    pub(super) documentation: &'static str,
    pub(super) is_read_only: bool,
    /// Where values come from, the one that counts first: name, value, source.
    pub(super) synonyms: Vec<(&'static str, String, i8)>,
}

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let image = context.image();
    let results = request.resources.iter().map(|resource| {
        let found = settings(&context, &image, resource);
        let (code, message, settings) = match found {
            Ok(settings) => (ErrorCode::None, None, settings),
            Err((code, message)) => (code, Some(text(&message)), Vec::new()),
        };
        let asked = resource.configuration_keys.as_ref();
        let is_asked = |setting: &Setting| {
            asked
                .is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| **key == *setting.name))
        };
        let configs = settings.iter().filter(|setting| is_asked(setting));
        DescribeConfigsResult {
            error_code: code.into(),
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs: configs.map(|setting| describe(setting, &request)).collect(),
        }
    });
    DescribeConfigsResponse {
        results: results.collect(),
        ..DescribeConfigsResponse::default()
    }
}

/// Every setting of a topic; `None` for one that says nothing.
pub(super) fn topic_configs(image: &Image, topic: Option<&Topic>) -> Vec<Setting> {
    let keys = CONFIG_KEYS.iter();
    let keys = keys.filter(|key| key.scope == ConfigScope::Topic);
    keys.map(|key| setting(image, topic, key, key.name))
        .collect()
}

fn settings(
    context: &Context,
    image: &Image,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Setting>, (ErrorCode, String)> {
    match resource.resource_type {
        TOPIC => {
            let named = TopicName::new(&resource.resource_name, Uuid::ZERO, false);
            let topic = named.find(image);
            let topic = topic.map_err(|error| (error, error.name().to_owned()))?;
            Ok(topic_configs(image, Some(&topic)))
        }
        BROKER => {
            let broker = broker(image, &resource.resource_name)?;
            let own = broker.map(|broker| identity(context, broker));
            let of_cluster = CONFIG_KEYS.iter();
            let of_cluster = of_cluster.map(|key| setting(image, None, key, broker_name(key.name)));
            Ok(own.into_iter().flatten().chain(of_cluster).collect())
        }
        other => {
            let message = format!("resources of type {other} have no settings here");
            Err((ErrorCode::InvalidRequest, message))
        }
    }
}

/// A registered broker; `None` for all of them (the empty name).
fn broker<'a>(image: &'a Image, name: &str) -> Result<Option<&'a Broker>, (ErrorCode, String)> {
    if name.is_empty() {
        return Ok(None);
    }
    let known = name.parse::<u32>().ok();
    let broker = known.and_then(|id| image.broker(BrokerId(id)));
    broker.map(|broker| Some(&**broker)).ok_or_else(|| {
        let message = format!("{name:?} is no broker of this cluster");
        (ErrorCode::InvalidRequest, message)
    })
}

fn setting(
    image: &Image,
    topic: Option<&Topic>,
    key: &'static ConfigKey,
    name: &'static str,
) -> Setting {
    let broker_name = broker_name(key.name);
    let mut synonyms = Vec::new();
    if let Some(value) = topic.and_then(|topic| topic.configs.get(key.name)) {
        synonyms.push((key.name, value.clone(), SOURCE_TOPIC));
    }
    if let Some(value) = image.configs.get(key.name) {
        synonyms.push((broker_name, value.to_string(), SOURCE_CLUSTER));
    }
    synonyms.push((broker_name, key.default.to_owned(), SOURCE_DEFAULT));
    let (_, value, source) = synonyms[0].clone();
    Setting {
        name,
        value,
        source,
        config_type: type_of(key),
        documentation: key.documentation,
        is_read_only: false,
        synonyms,
    }
}

fn describe(setting: &Setting, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonym = |(name, value, source): &(&'static str, String, i8)| DescribeConfigsSynonym {
        name: text(name),
        value: Some(text(value)),
        source: *source,
    };
    let synonyms = setting.synonyms.iter().filter(|_| request.include_synonyms);
    let documentation = words(&setting.documentation);
    DescribeConfigsResourceResult {
        name: text(setting.name),
        value: Some(text(&setting.value)),
        read_only: setting.is_read_only,
        config_source: setting.source,
        synonyms: synonyms.map(synonym).collect(),
        config_type: setting.config_type,
        documentation: documentation.filter(|_| request.include_documentation),
        ..DescribeConfigsResourceResult::default()
    }
}

/// Kafka's number of a type.
fn type_of(key: &ConfigKey) -> i8 {
    match key.config_type {
        ConfigType::Boolean => TYPE_BOOLEAN,
        ConfigType::Integer { max, .. } if max <= i64::from(i32::MAX) => TYPE_INT,
        ConfigType::Integer { .. } => TYPE_LONG,
        ConfigType::Ratio => TYPE_DOUBLE,
        ConfigType::Replicas => TYPE_LIST,
        ConfigType::Word(words) if words.iter().any(|word| word.contains(',')) => TYPE_LIST,
        ConfigType::Word(_) => TYPE_STRING,
    }
}

/// Whether a setting is a list, which can be added to.
pub(super) fn is_list(key: &ConfigKey) -> bool {
    type_of(key) == TYPE_LIST
}
