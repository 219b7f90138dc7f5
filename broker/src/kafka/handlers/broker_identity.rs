//! Who and where a broker is, as Kafka's settings of a broker tell it: tools read them, nobody sets
//! them here.
//!
//! Of another broker only what the cluster knows is told: clients ask each broker about itself.

use raftmq_core::cluster::Broker;

use super::describe_configs::{
    SOURCE_BROKER, SOURCE_DEFAULT, Setting, TYPE_INT, TYPE_LIST, TYPE_STRING,
};
use crate::kafka::context::Context;

/// The settings of one broker.
pub(super) fn identity(context: &Context, broker: &Broker) -> Vec<Setting> {
    let id = broker.id.get().to_string();
    let endpoints = broker.endpoints.kafka.iter();
    let advertised = endpoints.map(|(name, endpoint)| format!("{name}://{endpoint}"));
    let advertised = advertised.collect::<Vec<_>>().join(",");
    let mut settings = vec![
        setting("broker.id", TYPE_INT, "Id of this broker.", id.clone()),
        setting("node.id", TYPE_INT, "Id of this broker, too.", id),
        setting(
            "broker.rack",
            TYPE_STRING,
            "Failure domain of this broker.",
            broker.rack.clone(),
        ),
        setting(
            "advertised.listeners",
            TYPE_LIST,
            "What Kafka clients are told, for each listener by its name.",
            advertised,
        ),
    ];
    if broker.id == context.me() {
        let own = &context.shared().own;
        settings.push(setting(
            "listeners",
            TYPE_LIST,
            "Where this broker listens for Kafka clients.",
            own.listeners.clone(),
        ));
        settings.push(setting(
            "log.dirs",
            TYPE_LIST,
            "Folder that holds everything this broker keeps.",
            own.data_dir.clone(),
        ));
    }
    settings
}

fn setting(
    name: &'static str,
    config_type: i8,
    documentation: &'static str,
    value: String,
) -> Setting {
    let source = if value.is_empty() {
        SOURCE_DEFAULT
    } else {
        SOURCE_BROKER
    };
    Setting {
        name,
        synonyms: vec![(name, value.clone(), source)],
        value,
        source,
        config_type,
        documentation,
        is_read_only: true,
    }
}
