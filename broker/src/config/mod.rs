//! The configuration of one broker: the typed [`NodeConfig`] that the rest of the broker is given.
//!
//! Owns the key table (`keys`), the layering of file, environment and flags (`load`) and the
//! generated reference page (`docs`). It does not know what the Kafka-named settings mean: the
//! metadata machine's table checks them, and they are handed on as text.

mod amqp;
mod docs;
mod kafka;
mod keys;
mod load;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use amqp::{AMQP_LISTEN_DEFAULT, AmqpConfig};
pub use docs::render_reference;
pub use kafka::{KAFKA_LISTEN_DEFAULT, KafkaConfig, NamedEndpoint};
pub use keys::{Key, Kind, all_keys, broker_name, cluster_config_name, find_key, nearest_key};
pub use load::{ConfigError, Sources, load, parse_assignment};

/// gRPC listener of a broker that was told nothing.
pub const GRPC_LISTEN_DEFAULT: &str = "127.0.0.1:9090";
/// HTTP listener (metrics and health) of a broker that was told nothing.
pub const HTTP_LISTEN_DEFAULT: &str = "127.0.0.1:9091";
/// Peer listener (Raft) of a broker that was told nothing.
pub const PEER_LISTEN_DEFAULT: &str = "127.0.0.1:9093";
/// Data folder of a broker that was told nothing, relative to the working folder.
pub const DATA_DIR_DEFAULT: &str = "raftmq-data";
/// Time of one pass of the scrub of a broker that was told nothing: a week.
const SCRUB_INTERVAL: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Longest time of one pass of the scrub: a year.
pub const SCRUB_INTERVAL_HOURS_MAX: u32 = 8_760;
/// Most brokers that `cluster.peers` may name: the initial voters of the metadata group.
pub const PEERS_COUNT_MAX: usize = 5;

/// Everything one broker process is told at its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeConfig {
    /// Id of this broker, unique in the cluster and never reused for another disk; 0 = that of the
    /// data folder, else one that the cluster chooses, else 1.
    pub broker_id: u32,
    /// Failure domain used for replica placement; empty = none.
    pub rack: String,
    /// Folder that holds everything this broker keeps; created when missing.
    pub data_dir: PathBuf,
    /// `host:port` the gRPC API listens on; port 0 = any free port.
    pub grpc_listen: String,
    /// `host:port` that `/metrics` and the health paths listen on; port 0 = any free port.
    pub http_listen: String,
    /// `host:port` on which other brokers reach this one; port 0 = any free port.
    pub peer_listen: String,
    /// Listeners, addresses and bounds for Kafka clients; without a listener there are none.
    pub kafka: KafkaConfig,
    /// Listener and bounds for AMQP clients.
    pub amqp: AmqpConfig,
    /// `host:port` that clients are told for gRPC; `None` = the bound address.
    pub advertised_grpc: Option<String>,
    /// `host:port` that clients are told for HTTP; `None` = the bound address.
    pub advertised_http: Option<String>,
    /// `host:port` that other brokers are told; `None` = the bound address.
    pub advertised_peer: Option<String>,
    /// The initial brokers, this one included; empty = a cluster of this broker alone.
    pub peers: Vec<PeerAddress>,
    /// Peer listener of any member of the cluster that an empty folder is to join.
    pub join: Option<String>,
    /// When a write counts as durable.
    pub durability: Durability,
    /// Time in which everything on the disk is read once and verified; zero = never.
    pub scrub_interval: Duration,
    /// Cluster-wide settings under the names of the metadata machine's table (`retention.ms`, not
    /// `log.retention.ms`), checked; applied when the cluster is created.
    pub kafka_defaults: BTreeMap<String, String>,
    /// Upper bounds in bytes and counts.
    pub limits: Limits,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            broker_id: 0,
            rack: String::new(),
            data_dir: PathBuf::from(DATA_DIR_DEFAULT),
            grpc_listen: GRPC_LISTEN_DEFAULT.to_owned(),
            http_listen: HTTP_LISTEN_DEFAULT.to_owned(),
            peer_listen: PEER_LISTEN_DEFAULT.to_owned(),
            kafka: KafkaConfig::default(),
            amqp: AmqpConfig::default(),
            advertised_grpc: None,
            advertised_http: None,
            advertised_peer: None,
            peers: Vec::new(),
            join: None,
            durability: Durability::Flush,
            scrub_interval: SCRUB_INTERVAL,
            kafka_defaults: BTreeMap::new(),
            limits: Limits::default(),
        }
    }
}

/// Bounds of one broker; each is a hard limit with back-pressure or a named error behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Free bytes below which no more records are taken.
    pub disk_reserve_bytes: u64,
    /// Bytes that the data folder may take; 0 = as much as the disk holds.
    pub disk_capacity_bytes: u64,
    /// Bytes of newest log entries kept in memory for replication, apply and consumers.
    pub tail_cache_bytes: u64,
    /// Bytes of one gRPC message, sent or received.
    pub grpc_message_bytes_max: u64,
    /// Bytes of produce requests that are accepted and not yet answered.
    pub produce_in_flight_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            disk_reserve_bytes: 512 << 20,
            disk_capacity_bytes: 0,
            tail_cache_bytes: 64 << 20,
            grpc_message_bytes_max: 32 << 20,
            produce_in_flight_bytes_max: 128 << 20,
        }
    }
}

/// One of the initial brokers: its id and its peer listener, written `id@host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PeerAddress {
    /// Broker id, at least 1.
    pub id: u32,
    /// `host:port` of the peer listener.
    pub endpoint: String,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.endpoint)
    }
}

impl FromStr for PeerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, endpoint) = text
            .split_once('@')
            .ok_or_else(|| format!("expected id@host:port, got {text:?}"))?;
        let id = parse_broker_id(id)?;
        check_host_port(endpoint)?;
        Ok(Self {
            id,
            endpoint: endpoint.to_owned(),
        })
    }
}

/// When a write counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// After a completed disk flush: an acknowledged record survives a power loss.
    #[default]
    Flush,
    /// After the operating system took it: survives a crash of the process, not a power loss.
    Os,
}

impl Durability {
    /// The word used in files, flags and topic configs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Os => "os",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "flush" => Ok(Self::Flush),
            "os" => Ok(Self::Os),
            other => Err(format!("expected flush or os, got {other:?}")),
        }
    }
}

/// Reads a broker id: a whole number from 1 to `u32::MAX`.
fn parse_broker_id(text: &str) -> Result<u32, String> {
    match text.trim().parse::<u32>() {
        Ok(id) if id > 0 => Ok(id),
        Ok(_) | Err(_) => Err(format!(
            "expected a broker id from 1 to {}, got {text:?}",
            u32::MAX
        )),
    }
}

/// Checks the shape `host:port`; an IPv6 host stands in brackets.
fn check_host_port(text: &str) -> Result<(), String> {
    let wrong = || format!("expected host:port, got {text:?}");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    let blank = host.is_empty() || host.contains(char::is_whitespace) || host.contains('/');
    if blank || bare_ipv6 || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
