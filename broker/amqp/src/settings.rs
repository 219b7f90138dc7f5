//! What a connection is told when it begins: who we are, what we offer, how large things may be.

use raftmq_amqp_protocol::{
    FRAME_MAX_DEFAULT, MESSAGE_BYTES_MAX_DEFAULT, Table, TableBuilder, Value,
};

use crate::limits::{CHANNEL_MAX_DEFAULT, HEARTBEAT_S_DEFAULT};

/// What clients look for in the server's properties (`connection.start`), each one true.
const CAPABILITIES: [&str; 9] = [
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "consumer_priorities",
    "direct_reply_to",
    "exchange_exchange_bindings",
    "per_consumer_qos",
    "publisher_confirms",
];

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Unique in the cluster for ever: names of consumers and reply addresses are made of it. At
    /// most [`crate::CONNECTION_ID_BYTES_MAX`] letters, digits and `-`.
    pub connection_id: String,
    /// The product's name, as clients show it.
    pub product: String,
    /// Its version.
    pub version: String,
    /// The cluster's name.
    pub cluster_name: String,
    /// Channels that are offered; 0 = no limit.
    pub channel_max: u16,
    /// Largest frame that is offered, bytes; 0 = no limit.
    pub frame_max: u32,
    /// Interval of heartbeats that is offered, seconds; 0 = none.
    pub heartbeat_s: u16,
    /// Largest message, bytes, inclusive.
    pub message_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connection_id: "0".to_owned(),
            product: "RaftMQ".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_name: "raftmq".to_owned(),
            channel_max: CHANNEL_MAX_DEFAULT,
            frame_max: FRAME_MAX_DEFAULT,
            heartbeat_s: HEARTBEAT_S_DEFAULT,
            message_bytes_max: MESSAGE_BYTES_MAX_DEFAULT,
        }
    }
}

impl Settings {
    /// Makes the server's properties.
    pub(crate) fn server_properties(&self) -> Table {
        let mut capabilities = TableBuilder::new();
        for name in CAPABILITIES {
            capabilities = capabilities.with(name, Value::Bool(true));
        }
        let capabilities = capabilities.finish().unwrap_or_default();
        let text = |text| Value::LongString(str::as_bytes(text));
        TableBuilder::new()
            .with("capabilities", Value::Table(capabilities.as_ref()))
            .with("cluster_name", text(&self.cluster_name))
            .with("information", text("Licensed under the Apache License 2.0"))
            .with("platform", text("Rust"))
            .with("product", text(&self.product))
            .with("version", text(&self.version))
            .finish()
            .unwrap_or_default()
    }
}
