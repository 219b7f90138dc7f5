//! What is done to brokers: draining.

use raftmq_proto::v1::{DrainBrokerRequest, UndrainBrokerRequest};

use super::Admin;
use crate::connection::admin_client;
use crate::error::Result;

impl Admin {
    /// Has other brokers take over what a broker leads, as far as they have replicas in sync, and
    /// keeps it so through restarts until [`undrain_broker`](Self::undrain_broker). Returns when that
    /// is under way; `leaders_count` of [`describe_cluster`](Self::describe_cluster) tells what is
    /// left. Repeating it changes nothing.
    ///
    /// # Errors
    /// `UNKNOWN_BROKER`, and those of every call.
    pub async fn drain_broker(&self, broker_id: u32) -> Result<()> {
        self.shared
            .call("drain broker", |channel| async move {
                admin_client(channel)
                    .drain_broker(DrainBrokerRequest { broker_id })
                    .await
            })
            .await
            .map(drop)
    }

    /// Ends the draining of a broker: it gets the leaderships back that are its own by preference.
    /// Repeating it changes nothing.
    ///
    /// # Errors
    /// `UNKNOWN_BROKER`, and those of every call.
    pub async fn undrain_broker(&self, broker_id: u32) -> Result<()> {
        self.shared
            .call("undrain broker", |channel| async move {
                admin_client(channel)
                    .undrain_broker(UndrainBrokerRequest { broker_id })
                    .await
            })
            .await
            .map(drop)
    }
}
