//! Commands that set and unset configs, on topics and on the cluster.
//!
//! Does not know what a key does; `config_keys` knows which values fit.

use std::collections::BTreeMap;

use crate::cluster::config_keys::{self, ConfigError, ConfigScope};
use crate::cluster::image::Topic;
use crate::cluster::{Cluster, ClusterError, Outcome, Reply};
use crate::effect::{Effect, Effects};
use crate::ids::TopicId;
use crate::limits::CONFIGS_COUNT_MAX;

impl Cluster {
    pub(super) fn alter_topic_configs(
        &mut self,
        topic_id: TopicId,
        set: BTreeMap<String, String>,
        unset: &[String],
        effects: &mut Effects,
    ) -> Reply {
        let mut topic = self.topic_of_id(topic_id)?;
        check_changes(ConfigScope::Topic, &set, unset)?;
        let before = topic.configs.clone();
        topic.configs.retain(|key, _| !unset.contains(key));
        topic.configs.extend(set);
        check_count(topic.configs.len())?;
        if topic.configs != before {
            let groups = topic.partitions.clone();
            self.put_topic(Topic { ..topic });
            for group in groups {
                effects.push(Effect::GroupChanged { group });
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) fn alter_cluster_configs(
        &mut self,
        set: &BTreeMap<String, String>,
        unset: &[String],
    ) -> Reply {
        check_changes(ConfigScope::Cluster, set, unset)?;
        let mut configs = self.image.configs.clone();
        for key in unset {
            configs.remove(key.as_str());
        }
        for (key, value) in set {
            configs.insert(key.as_str().into(), value.as_str().into());
        }
        check_count(configs.len())?;
        if configs != self.image.configs {
            self.image.configs = configs;
            self.dirty.mark_configs();
        }
        Ok(Outcome::Done)
    }
}

/// Checks the configs of a topic that is to be made.
pub(super) fn check_topic_configs(configs: &BTreeMap<String, String>) -> Result<(), ClusterError> {
    check_count(configs.len())?;
    check_changes(ConfigScope::Topic, configs, &[])
}

fn check_changes(
    scope: ConfigScope,
    set: &BTreeMap<String, String>,
    unset: &[String],
) -> Result<(), ClusterError> {
    check_count(unset.len())?;
    for (key, value) in set {
        config_keys::check(scope, key, value)?;
    }
    for key in unset {
        // A key of an older version may still be there: only what never could be is refused.
        if config_keys::find(key).is_none() {
            return Err(ConfigError::UnknownKey { key: key.clone() }.into());
        }
        if set.contains_key(key) {
            return Err(ConfigError::SetAndUnset { key: key.clone() }.into());
        }
    }
    Ok(())
}

fn check_count(actual: usize) -> Result<(), ClusterError> {
    if actual <= CONFIGS_COUNT_MAX {
        return Ok(());
    }
    Err(ConfigError::TooMany {
        actual,
        max: CONFIGS_COUNT_MAX,
    }
    .into())
}
