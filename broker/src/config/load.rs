//! Layers the configuration: defaults, TOML file, environment, flags, each over the one before.
//!
//! Reads a file, and nothing else: the environment comes in as an argument. It does not check whether an address can be
//! bound or a folder written: the parts that use them do, and name them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use raftmq_core::cluster::config_keys::{self, ConfigScope};
use thiserror::Error;
use toml::Value;

use super::amqp;
use super::kafka::parse_listeners;
use super::keys::{Kind, cluster_config_name, find_key, nearest_key};
use super::{
    NodeConfig, PEERS_COUNT_MAX, PeerAddress, SCRUB_INTERVAL_HOURS_MAX, check_host_port,
    parse_broker_id,
};

/// Prefix of environment variables: `RAFTMQ__LISTENERS__GRPC` is `listeners.grpc`.
const ENV_PREFIX: &str = "RAFTMQ__";
/// Name of the layer made of flags, as it stands in error texts.
const FLAGS_SOURCE: &str = "flag --set";

/// Where a configuration comes from, lowest precedence first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Environment variables as name and value; those that do not begin with `RAFTMQ__` are left.
    pub environment: Vec<(String, String)>,
    /// `KEY=VALUE` pairs; a later pair replaces an earlier one.
    pub assignments: Vec<(String, String)>,
}

/// Why a configuration was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read or is not TOML.
    #[error("cannot read the configuration file {path}: {reason}")]
    File {
        /// The file as it was named.
        path: String,
        /// What the reader said.
        reason: String,
    },
    /// A key that is not in the table.
    #[error(
        "unknown configuration key {key:?} ({source_name}); the nearest known key is {nearest:?}"
    )]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// The layer it came from.
        source_name: String,
        /// The known key most like it.
        nearest: &'static str,
    },
    /// A value of the wrong shape.
    #[error("invalid value for configuration key {key:?} ({source_name}): {reason}")]
    InvalidValue {
        /// The key.
        key: String,
        /// The layer it came from.
        source_name: String,
        /// What was expected and what came.
        reason: String,
    },
    /// A `--set` argument without `=`.
    #[error("expected KEY=VALUE, got {text:?}")]
    NotAnAssignment {
        /// The argument.
        text: String,
    },
    /// Values that exclude each other.
    #[error("configuration keys contradict each other: {reason}")]
    Contradiction {
        /// Which, and why.
        reason: String,
    },
}

/// Splits a `KEY=VALUE` argument at its first `=`.
///
/// # Errors
/// [`ConfigError::NotAnAssignment`] when there is no `=` or no key.
pub fn parse_assignment(text: &str) -> Result<(String, String), ConfigError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        Some(_) | None => Err(ConfigError::NotAnAssignment {
            text: text.to_owned(),
        }),
    }
}

/// Builds the configuration from its layers; reading the same layers again gives the same result.
///
/// # Errors
/// [`ConfigError::File`] for an unreadable or malformed file, [`ConfigError::UnknownKey`] and
/// [`ConfigError::InvalidValue`] for single keys, [`ConfigError::Contradiction`] for the whole.
pub fn load(sources: &Sources) -> Result<NodeConfig, ConfigError> {
    let mut config = NodeConfig::default();
    for (name, value) in layered_values(sources)? {
        apply_value(&mut config, &name, &value)?;
    }
    check_whole(&config)?;
    Ok(config)
}

/// A value as text, with the layer it came from.
struct Setting {
    text: String,
    source_name: String,
}

impl Setting {
    fn invalid(&self, key: &str, reason: String) -> ConfigError {
        ConfigError::InvalidValue {
            key: key.to_owned(),
            source_name: self.source_name.clone(),
            reason,
        }
    }
}

/// Lays the layers over each other; what is left of each key is the topmost value.
fn layered_values(sources: &Sources) -> Result<BTreeMap<String, Setting>, ConfigError> {
    let mut layers = BTreeMap::new();
    if let Some(path) = &sources.file {
        let source_name = format!("file {}", path.display());
        flatten(&read_toml(path)?, "", &source_name, &mut layers);
    }
    for (name, value) in &sources.environment {
        if let Some(rest) = name.strip_prefix(ENV_PREFIX) {
            let key = rest.to_lowercase().replace("__", ".").replace('_', "-");
            put(
                &mut layers,
                key,
                value.clone(),
                format!("environment variable {name}"),
            );
        }
    }
    for (key, value) in &sources.assignments {
        put(
            &mut layers,
            key.clone(),
            value.clone(),
            FLAGS_SOURCE.to_owned(),
        );
    }
    Ok(layers)
}

/// One entry per meaning: a value under another spelling of the same key replaces it.
fn put(layers: &mut BTreeMap<String, Setting>, key: String, text: String, source_name: String) {
    let key = find_key(&key).map_or(key, |known| known.name.to_owned());
    layers.insert(key, Setting { text, source_name });
}

fn read_toml(path: &Path) -> Result<toml::Table, ConfigError> {
    let unreadable = |reason: String| ConfigError::File {
        path: path.display().to_string(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    text.parse()
        .map_err(|error: toml::de::Error| unreadable(error.to_string()))
}

/// Turns nested tables into dotted keys, so that `[broker] id = 1` and `broker.id = 1` are one key.
fn flatten(
    table: &toml::Table,
    prefix: &str,
    source_name: &str,
    layers: &mut BTreeMap<String, Setting>,
) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(inner) => flatten(inner, &format!("{key}."), source_name, layers),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => put(layers, key, value_text(value), source_name.to_owned()),
        }
    }
}

/// The text of a value, as it would stand after `--set KEY=`.
fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(value_text).collect::<Vec<_>>().join(","),
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Table(_) => value.to_string(),
    }
}

/// The environment variable of a key.
pub(super) fn env_name(key: &str) -> String {
    format!(
        "{ENV_PREFIX}{}",
        key.replace('.', "__").replace('-', "_").to_uppercase()
    )
}

/// Puts one value in its field.
fn apply_value(config: &mut NodeConfig, name: &str, value: &Setting) -> Result<(), ConfigError> {
    let Some(key) = find_key(name) else {
        return Err(ConfigError::UnknownKey {
            key: name.to_owned(),
            source_name: value.source_name.clone(),
            nearest: nearest_key(name),
        });
    };
    if key.kind == Kind::Kafka {
        let name = cluster_config_name(key.name);
        config_keys::check(ConfigScope::Cluster, name, &value.text)
            .map_err(|error| value.invalid(key.name, error.to_string()))?;
        config
            .kafka_defaults
            .insert(name.to_owned(), value.text.clone());
        return Ok(());
    }
    set_field(config, name, &value.text).map_err(|reason| value.invalid(name, reason))
}

/// One arm per key of one broker; `every_key_has_a_field` holds the table and this together.
fn set_field(config: &mut NodeConfig, name: &str, text: &str) -> Result<(), String> {
    match name {
        "broker.id" => config.broker_id = optional_broker_id(text)?,
        "broker.rack" => text.clone_into(&mut config.rack),
        "data-dir" => config.data_dir = path(text)?,
        "durability" => {
            config.durability = text.parse()?;
            config
                .kafka_defaults
                .insert(name.to_owned(), text.to_owned());
        }
        "listeners.amqp" => config.amqp.listen = optional_host_port(text)?,
        "listeners.grpc" => config.grpc_listen = host_port(text)?,
        "listeners.http" => config.http_listen = host_port(text)?,
        "listeners.kafka" => config.kafka.listeners = parse_listeners(text)?,
        "listeners.peer" => config.peer_listen = host_port(text)?,
        "advertised.grpc" => config.advertised_grpc = optional_host_port(text)?,
        "advertised.http" => config.advertised_http = optional_host_port(text)?,
        "advertised.kafka" => config.kafka.advertised = parse_listeners(text)?,
        "advertised.peer" => config.advertised_peer = optional_host_port(text)?,
        "cluster.peers" => config.peers = peers(text)?,
        "cluster.join" => config.join = optional_host_port(text)?,
        "log.scrub.interval.hours" => config.scrub_interval = scrub_interval(text)?,
        "limits.disk-reserve-bytes" => config.limits.disk_reserve_bytes = positive(text)?,
        "limits.disk-capacity-bytes" => config.limits.disk_capacity_bytes = whole(text)?,
        "limits.tail-cache-bytes" => config.limits.tail_cache_bytes = positive(text)?,
        "limits.grpc-message-bytes" => config.limits.grpc_message_bytes_max = positive(text)?,
        "max.connections" => config.kafka.connections_max = positive(text)?,
        "connections.max.idle.ms" => config.kafka.connection_idle_ms_max = positive(text)?,
        "socket.request.max.bytes" => config.kafka.request_bytes_max = positive(text)?,
        "queued.max.request.bytes" => config.kafka.queued_bytes_max = positive(text)?,
        "max.incremental.fetch.session.cache.slots" => {
            config.kafka.fetch_sessions_max = positive(text)?;
        }
        "amqp.connections-max" => config.amqp.connections_max = positive(text)?,
        "amqp.channel-max" => config.amqp.channel_max = amqp::short(text)?,
        "amqp.frame-max-bytes" => config.amqp.frame_bytes_max = amqp::frame_bytes(text)?,
        "amqp.heartbeat-seconds" => config.amqp.heartbeat_s = amqp::short(text)?,
        "amqp.loopback-users" => config.amqp.loopback_users = amqp::names(text),
        "amqp.message-bytes-max" => config.amqp.message_bytes_max = amqp::message_bytes(text)?,
        "limits.produce-in-flight-bytes" => {
            config.limits.produce_in_flight_bytes_max = positive(text)?;
        }
        other => return Err(format!("key {other:?} has no field")),
    }
    Ok(())
}

fn optional_broker_id(text: &str) -> Result<u32, String> {
    if text.is_empty() {
        Ok(0)
    } else {
        parse_broker_id(text)
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("expected a path, got an empty text".to_owned());
    }
    Ok(PathBuf::from(text))
}

fn host_port(text: &str) -> Result<String, String> {
    check_host_port(text)?;
    Ok(text.to_owned())
}

fn optional_host_port(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        Ok(None)
    } else {
        host_port(text).map(Some)
    }
}

fn scrub_interval(text: &str) -> Result<Duration, String> {
    let hours = text.parse().ok();
    hours
        .filter(|hours| *hours <= SCRUB_INTERVAL_HOURS_MAX)
        .map(|hours: u32| Duration::from_secs(u64::from(hours) * 3_600))
        .ok_or_else(|| {
            format!("expected a whole number from 0 to {SCRUB_INTERVAL_HOURS_MAX}, got {text:?}")
        })
}

fn whole(text: &str) -> Result<u64, String> {
    let expected = |_| format!("expected a whole number of at least 0, got {text:?}");
    text.parse().map_err(expected)
}

fn positive<T: FromStr + PartialOrd + Default>(text: &str) -> Result<T, String> {
    match text.parse::<T>() {
        Ok(number) if number > T::default() => Ok(number),
        Ok(_) | Err(_) => Err(format!(
            "expected a whole number of at least 1, got {text:?}"
        )),
    }
}

fn peers(text: &str) -> Result<Vec<PeerAddress>, String> {
    let mut peers = Vec::new();
    for item in text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        if peers.len() == PEERS_COUNT_MAX {
            return Err(format!(
                "expected at most {PEERS_COUNT_MAX} peers, got more"
            ));
        }
        peers.push(item.parse()?);
    }
    Ok(peers)
}

/// Checks what no single key can show.
fn check_whole(config: &NodeConfig) -> Result<(), ConfigError> {
    let contradiction = |reason: String| Err(ConfigError::Contradiction { reason });
    let mut ids: Vec<u32> = config.peers.iter().map(|peer| peer.id).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return contradiction(format!("cluster.peers names broker {} twice", pair[0]));
    }
    let listed = config
        .peers
        .iter()
        .any(|peer| peer.endpoint.ends_with(":0"));
    if listed {
        return contradiction("cluster.peers needs real ports, got port 0".to_owned());
    }
    config.kafka.check().or_else(contradiction)?;
    if config.join.is_some() && !config.peers.is_empty() {
        let reason = "cluster.peers founds a cluster, cluster.join joins one; set one of them";
        return contradiction(reason.to_owned());
    }
    Ok(())
}
