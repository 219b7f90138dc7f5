//! What a broker is told about its Kafka listeners: where they listen, what clients are told, and
//! the bounds of their connections.
//!
//! Does not know whether an address can be bound, nor what the bounds protect.

use std::fmt;
use std::str::FromStr;

use raftmq_core::limits::KAFKA_LISTENERS_COUNT_MAX;
use serde::Serialize;

use super::check_host_port;

/// Kafka listener of a broker that was told nothing.
pub const KAFKA_LISTEN_DEFAULT: &str = "127.0.0.1:9092";
/// Name of a listener that was given none: Kafka's own for one without TLS and authentication.
const LISTENER_NAME_DEFAULT: &str = "PLAINTEXT";
/// Longest listener name, bytes, inclusive.
const LISTENER_NAME_BYTES_MAX: usize = 64;

/// Everything a broker is told about Kafka clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KafkaConfig {
    /// Where it listens; port 0 = any free port; empty = no Kafka clients.
    pub listeners: Vec<NamedEndpoint>,
    /// What clients of a listener are told, by its name; what is missing = the bound address.
    pub advertised: Vec<NamedEndpoint>,
    /// Connections at a time; further ones are closed.
    pub connections_max: u64,
    /// Silence after which a connection without requests in work is closed, ms.
    pub connection_idle_ms_max: u64,
    /// Bytes of one request; a longer one closes its connection before any of it is read.
    pub request_bytes_max: u64,
    /// Bytes of requests that are being read or worked on, of all connections together.
    pub queued_bytes_max: u64,
    /// Incremental fetch sessions (KIP-227) that are kept.
    pub fetch_sessions_max: u64,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        let listener = NamedEndpoint {
            name: LISTENER_NAME_DEFAULT.to_owned(),
            endpoint: KAFKA_LISTEN_DEFAULT.to_owned(),
        };
        Self {
            listeners: vec![listener],
            advertised: Vec::new(),
            connections_max: 10_000,
            connection_idle_ms_max: 600_000,
            request_bytes_max: 100 << 20,
            queued_bytes_max: 256 << 20,
            fetch_sessions_max: 1_000,
        }
    }
}

impl KafkaConfig {
    /// The address that clients of a listener are told: the advertised one, else `bound`.
    #[must_use]
    pub fn advertised_of(&self, listener: &str, bound: String) -> String {
        let told = self.advertised.iter().find(|told| told.name == listener);
        told.map_or(bound, |told| told.endpoint.clone())
    }

    /// What no single key can show; in words.
    pub(super) fn check(&self) -> Result<(), String> {
        let names = |list: &[NamedEndpoint]| {
            let mut names: Vec<String> = list.iter().map(|one| one.name.clone()).collect();
            names.sort_unstable();
            names
        };
        let (listeners, advertised) = (names(&self.listeners), names(&self.advertised));
        for (key, names) in [("listeners", &listeners), ("advertised", &advertised)] {
            if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(format!("{key}.kafka names the listener {} twice", pair[0]));
            }
        }
        if let Some(name) = advertised.iter().find(|name| !listeners.contains(name)) {
            return Err(format!(
                "advertised.kafka names {name}, which listeners.kafka does not"
            ));
        }
        let is_wild = |one: &&NamedEndpoint| {
            one.endpoint.starts_with("0.0.0.0:") || one.endpoint.starts_with("[::]:")
        };
        let untold = |one: &&NamedEndpoint| !advertised.contains(&one.name);
        let mut wild = self.listeners.iter().filter(is_wild);
        if let Some(one) = wild.find(untold) {
            let name = &one.name;
            return Err(format!(
                "advertised.kafka must say where clients reach {name}, which listens everywhere"
            ));
        }
        match self.advertised.iter().find(is_wild) {
            Some(one) => Err(format!("advertised.kafka {one} is no address of a broker")),
            None => Ok(()),
        }
    }
}

/// A listener of a name, written `NAME://host:port`, or `host:port` for `PLAINTEXT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedEndpoint {
    /// Upper case letters, digits, `_` and `-`.
    pub name: String,
    /// `host:port`.
    pub endpoint: String,
}

impl fmt::Display for NamedEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, self.endpoint)
    }
}

impl FromStr for NamedEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, endpoint) = text
            .split_once("://")
            .unwrap_or((LISTENER_NAME_DEFAULT, text));
        let is_legal =
            |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        let fits = (1..=LISTENER_NAME_BYTES_MAX).contains(&name.len());
        if !fits || !name.chars().all(is_legal) {
            return Err(format!(
                "expected a listener name of upper case letters, got {name:?}"
            ));
        }
        check_host_port(endpoint)?;
        Ok(Self {
            name: name.to_owned(),
            endpoint: endpoint.to_owned(),
        })
    }
}

/// Reads a comma-separated list; an empty text is an empty list.
pub(super) fn parse_listeners(text: &str) -> Result<Vec<NamedEndpoint>, String> {
    let items = text.split(',').map(str::trim);
    let items: Vec<&str> = items.filter(|item| !item.is_empty()).collect();
    if items.len() > KAFKA_LISTENERS_COUNT_MAX {
        let (max, count) = (KAFKA_LISTENERS_COUNT_MAX, items.len());
        return Err(format!("expected at most {max} listeners, got {count}"));
    }
    items.into_iter().map(str::parse).collect()
}
