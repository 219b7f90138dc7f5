//! Why a broker did not start, or cannot go on.

use std::fmt::Display;

use raftmq_store::{Store, StoreError};
use thiserror::Error;

/// See the module.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum NodeError {
    /// The data folder could not be opened, or storage failed later.
    #[error("storage: {0}")]
    Store(StoreError),
    /// A listener could not be bound.
    #[error("cannot listen on {endpoint}: {reason}")]
    Listen {
        /// The `host:port`.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// The data folder belongs to another broker.
    #[error("the data folder belongs to broker {found}, not to broker {configured}")]
    ForeignBroker {
        /// The broker id in the folder.
        found: u32,
        /// The configured one.
        configured: u32,
    },
    /// The cluster that the peers form is not the one of the data folder.
    #[error("the data folder belongs to cluster {ours}, the peers to cluster {theirs}")]
    ForeignCluster {
        /// The cluster in the folder.
        ours: String,
        /// The peers'.
        theirs: String,
    },
    /// The folder is empty although the cluster knows a broker of this id: its data was lost. A
    /// broker id stands for its disk, so the id must not be used again.
    #[error(
        "the data folder is empty, but cluster {cluster_id} has had a broker {broker_id}; \
         start it with a new broker id"
    )]
    WipedBroker {
        /// The cluster.
        cluster_id: String,
        /// The id that was used before.
        broker_id: u32,
    },
    /// The cluster does not take this broker in.
    #[error("cannot join the cluster of {seed}: {reason}")]
    JoinRefused {
        /// The member that was asked.
        seed: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The configuration contradicts itself.
    #[error("configuration: {0}")]
    Config(String),
    /// A defect of ours.
    #[error("internal: {0}")]
    Internal(String),
}

impl NodeError {
    /// Why something that stands on the store failed: because the store had, or else by a defect of ours.
    pub(super) fn on_store(store: &Store, error: &impl Display) -> Self {
        let failure = store.failure().borrow().clone();
        failure.map_or_else(|| Self::Internal(error.to_string()), Self::Store)
    }

    /// Whether the disk failed, as opposed to the way it is used: the process then ends with an
    /// exit code of its own.
    #[must_use]
    pub fn is_storage_failure(&self) -> bool {
        match self {
            Self::Store(error) => error.is_fatal(),
            Self::Listen { .. }
            | Self::ForeignBroker { .. }
            | Self::ForeignCluster { .. }
            | Self::WipedBroker { .. }
            | Self::JoinRefused { .. }
            | Self::Config(_)
            | Self::Internal(_) => false,
        }
    }
}
