//! Settings of the cluster that may change while it runs.

use std::collections::BTreeMap;

use raftmq_proto::v1::{AlterClusterSettingsRequest, ConfigEntry, ListClusterSettingsRequest};

use super::Admin;
use crate::connection::admin_client;
use crate::error::Result;

impl Admin {
    /// Lists the settings of the cluster, by name, with their values and where those come from.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn list_cluster_settings(&self) -> Result<Vec<ConfigEntry>> {
        let response = self
            .shared
            .call("list the cluster's settings", |channel| async move {
                admin_client(channel)
                    .list_cluster_settings(ListClusterSettingsRequest {})
                    .await
            })
            .await?;
        Ok(response.settings)
    }

    /// Starts to change settings of the cluster. All changes of one call happen together or not at all, and
    /// brokers follow at once. Repeating them changes nothing.
    pub fn alter_cluster_settings(&self) -> AlterClusterSettings {
        AlterClusterSettings {
            admin: self.clone(),
            request: AlterClusterSettingsRequest {
                set: BTreeMap::new(),
                ..AlterClusterSettingsRequest::default()
            },
        }
    }
}

/// Changes of the cluster's settings; [`send`](AlterClusterSettings::send) makes them.
#[derive(Debug, Clone)]
#[must_use]
pub struct AlterClusterSettings {
    admin: Admin,
    request: AlterClusterSettingsRequest,
}

impl AlterClusterSettings {
    /// Sets one, under the name that it has in a configuration file.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.set.insert(name.into(), value.into());
        self
    }

    /// Takes one back to its default.
    pub fn unset(mut self, name: impl Into<String>) -> Self {
        self.request.unset.push(name.into());
        self
    }

    /// Checks everything and changes nothing.
    pub const fn validate_only(mut self) -> Self {
        self.request.validate_only = true;
        self
    }

    /// Makes the changes.
    ///
    /// # Errors
    /// `INVALID_CONFIG` for an unknown name, one that is read only, and a value that does not fit; then
    /// nothing is changed. And those of every call.
    pub async fn send(self) -> Result<()> {
        let request = self.request;
        self.admin
            .shared
            .call("change the cluster's settings", |channel| {
                let request = request.clone();
                async move { admin_client(channel).alter_cluster_settings(request).await }
            })
            .await
            .map(drop)
    }
}
