//! The part of the control plane that shows and changes settings of the cluster while it runs.
//!
//! Which keys there are, and which values fit, the metadata machine's table says. Keys of one broker are
//! read at its start and are refused here by name.

use std::collections::BTreeMap;

use raftmq_core::cluster::Command;
use raftmq_core::cluster::config_keys::CONFIG_KEYS;
use raftmq_proto::into_status;
use raftmq_proto::v1::{
    AlterClusterSettingsRequest, AlterClusterSettingsResponse, ConfigEntry, Error, ErrorCode,
    ListClusterSettingsResponse,
};
use tonic::{Response, Status};

use super::admin::AdminFrontEnd;
use crate::config::{Kind, broker_name, cluster_config_name, find_key, nearest_key};

impl AdminFrontEnd {
    pub(super) fn settings_listed(&self) -> Response<ListClusterSettingsResponse> {
        let image = self.image();
        let names = CONFIG_KEYS.iter().map(|key| key.name);
        let in_force = names.filter(|name| is_of_cluster(name));
        let in_force = in_force.filter_map(|name| image.effective_config(None, name));
        let mut settings: Vec<ConfigEntry> = in_force
            .map(|config| ConfigEntry {
                name: broker_name(config.key.name).to_owned(),
                source: config.source.to_string(),
                documentation: config.key.documentation.to_owned(),
                value: config.value,
            })
            .collect();
        settings.sort_by(|left, right| left.name.cmp(&right.name));
        Response::new(ListClusterSettingsResponse { settings })
    }

    pub(super) async fn alter_settings(
        &self,
        request: AlterClusterSettingsRequest,
    ) -> Result<Response<AlterClusterSettingsResponse>, Status> {
        let named = request.set.keys().chain(&request.unset);
        for name in named {
            check_name(name).map_err(into_status)?;
        }
        let kept_as = |name: &String| cluster_config_name(name).to_owned();
        let set = request.set.iter();
        let set: BTreeMap<_, _> = set
            .map(|(name, value)| (kept_as(name), value.clone()))
            .collect();
        if set.len() < request.set.len() {
            let text = "a setting is set twice, under the name of a broker and that of a topic";
            return Err(into_status(Error::new(ErrorCode::InvalidConfig, text)));
        }
        let unset = request.unset.iter().map(kept_as).collect();
        let command = Command::AlterClusterConfigs { set, unset };
        if request.validate_only {
            self.preview(command)?;
        } else {
            self.propose(&command).await?;
        }
        Ok(Response::new(AlterClusterSettingsResponse {}))
    }
}

fn is_of_cluster(name: &str) -> bool {
    find_key(name).is_some_and(|key| key.kind == Kind::Kafka)
}

fn check_name(name: &str) -> Result<(), Error> {
    let text = match find_key(name) {
        Some(key) if key.kind == Kind::Kafka => return Ok(()),
        Some(_) => format!(
            "setting {name:?} is read only: it belongs to each broker, which reads it when it starts"
        ),
        None => {
            let nearest = nearest_key(name);
            format!("unknown setting {name:?}; the nearest known one is {nearest:?}")
        }
    };
    Err(Error::new(ErrorCode::InvalidConfig, text))
}
