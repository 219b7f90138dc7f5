//! What a config key that can be set at run time is, and whether a value fits it; the keys
//! themselves stand in `table`.
//!
//! Pure checks; does not know who set a value (`Image::effective_config` does). The keys of the
//! configuration *file* are the broker's.

mod table;

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::CONFIG_VALUE_BYTES_MAX;

pub use self::table::*;

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    /// A whole number within inclusive bounds.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// `true` or `false`.
    Boolean,
    /// A decimal number from 0 to 1, with at most six decimals.
    Ratio,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Replicas, written `partition:broker` and comma-separated; `*` = all, empty = none.
    Replicas,
}

/// Where a key may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigScope {
    /// On a topic, and on the cluster as the default for its topics.
    Topic,
    /// On the cluster only.
    Cluster,
}

/// One config key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigKey {
    /// Its name.
    pub name: &'static str,
    /// Where it may be set.
    pub scope: ConfigScope,
    /// What its values look like.
    pub config_type: ConfigType,
    /// Why no other value than the default is taken; `None` where others are.
    pub default_only: Option<&'static str>,
    /// The value when nobody set one.
    pub default: &'static str,
    /// What it does, in a sentence.
    pub documentation: &'static str,
}

/// Where an effective value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on the cluster.
    Cluster,
    /// Nobody set it.
    Default,
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Cluster => "cluster",
            Self::Default => "default",
        })
    }
}

/// A value with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveConfig {
    /// The key.
    pub key: &'static ConfigKey,
    /// Its value.
    pub value: String,
    /// Who set it.
    pub source: ConfigSource,
}

/// A key or value that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ConfigError {
    /// No such key.
    #[error("config key {key:?} does not exist")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// The key is the cluster's, not a topic's.
    #[error("config key {key:?} cannot be set on a topic")]
    NotATopicKey {
        /// The key.
        key: String,
    },
    /// The value does not fit.
    #[error("config {key}: {expected} expected, {actual:?} came")]
    InvalidValue {
        /// The key.
        key: String,
        /// What would fit.
        expected: String,
        /// What came.
        actual: String,
    },
    /// Kafka has this value; RaftMQ does not have it yet. No key has such a value now.
    #[error("config {key}: {value:?} is not supported yet")]
    UnsupportedValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A key is both set and unset.
    #[error("config key {key:?} is both set and unset")]
    SetAndUnset {
        /// The key.
        key: String,
    },
    /// Too many keys.
    #[error("{actual} config keys, at most {max} are allowed")]
    TooMany {
        /// How many came.
        actual: usize,
        /// How many may come.
        max: usize,
    },
}

/// Keys of numbers with -1 for a choice, and no meaning of 0 between that and 1.
const NOT_ZERO: [&str; 2] = [DEFAULT_REPLICATION_FACTOR, COMPRESSION_GZIP_LEVEL];

/// Finds a key by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static ConfigKey> {
    CONFIG_KEYS.iter().find(|key| key.name == name)
}

/// Checks a key and its value for a scope.
///
/// # Errors
/// `UnknownKey`, `NotATopicKey`, `InvalidValue`, `UnsupportedValue`.
pub fn check(scope: ConfigScope, name: &str, value: &str) -> Result<(), ConfigError> {
    let Some(key) = find(name) else {
        return Err(ConfigError::UnknownKey {
            key: name.to_owned(),
        });
    };
    if scope == ConfigScope::Topic && key.scope == ConfigScope::Cluster {
        return Err(ConfigError::NotATopicKey {
            key: name.to_owned(),
        });
    }
    check_value(key, value)
}

fn check_value(key: &ConfigKey, value: &str) -> Result<(), ConfigError> {
    let expected = match key.default_only {
        Some(_) if value == key.default => return Ok(()),
        Some(reason) => format!("{:?} ({reason})", key.default),
        None if fits(key, value) => return Ok(()),
        None => shape(key.config_type),
    };
    let actual = value.chars().take(64).collect();
    Err(ConfigError::InvalidValue {
        key: key.name.to_owned(),
        expected,
        actual,
    })
}

fn fits(key: &ConfigKey, value: &str) -> bool {
    match key.config_type {
        ConfigType::Integer { min, max } => value.parse::<i64>().is_ok_and(|number| {
            (min..=max).contains(&number) && !(number == 0 && NOT_ZERO.contains(&key.name))
        }),
        ConfigType::Boolean => matches!(value, "true" | "false"),
        ConfigType::Ratio => ratio_ppm(value).is_some(),
        ConfigType::Word(words) => words.contains(&value),
        ConfigType::Replicas => is_replicas(value),
    }
}

/// What a value of a type looks like, in words.
fn shape(config_type: ConfigType) -> String {
    match config_type {
        ConfigType::Integer { min, max } => format!("a whole number from {min} to {max}"),
        ConfigType::Boolean => "true or false".to_owned(),
        ConfigType::Ratio => "a number from 0 to 1 with at most six decimals".to_owned(),
        ConfigType::Word(words) => format!("one of {words:?}"),
        ConfigType::Replicas => format!(
            "partition:broker, comma-separated, or *, in at most {CONFIG_VALUE_BYTES_MAX} bytes"
        ),
    }
}

/// As Kafka's `ThrottledReplicaListValidator`, and bounded: every broker keeps the text.
fn is_replicas(value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let is_replica = |item: &str| {
        let pair = item.trim().split_once(':');
        pair.is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
    };
    let is_list = matches!(value, "" | "*") || value.split(',').all(is_replica);
    value.len() <= CONFIG_VALUE_BYTES_MAX && is_list
}

/// Reads a value of [`ConfigType::Ratio`], in millionths.
#[must_use]
pub fn ratio_ppm(value: &str) -> Option<u32> {
    const DECIMALS: usize = 6;
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    let is_sound = matches!(whole, "0" | "1")
        && (1..=DECIMALS).contains(&decimals.len())
        && is_number(decimals);
    let ppm = format!("{whole}{decimals:0<DECIMALS$}").parse().ok()?;
    (is_sound && ppm <= 1_000_000).then_some(ppm)
}
