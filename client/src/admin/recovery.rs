//! The last resort for a partition whose majority is gone.

use raftmq_proto::v1::{RecoverPartitionRequest, RecoverPartitionResponse};

use super::Admin;
use crate::connection::admin_client;
use crate::error::Result;

/// Whether a loss is accepted, or only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing is changed.
    Look,
    /// What only dead or damaged replicas had is given up.
    AcceptLoss,
}

impl Admin {
    /// Lets a partition go on from one replica, although a majority of its replicas is dead or damaged,
    /// and whatever only those had is lost for good: they begin anew when they return. `keep` names the
    /// broker whose replica is kept; without it that is the most complete one. `accepted_by` stands in
    /// the record. Repeating it after it was accepted is refused, because the partition has a leader.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC`, `UNKNOWN_PARTITION`; `INVALID_REQUEST` while there is a way without a loss, or
    /// when no replica, or not the named one, answers; and those of every call.
    pub async fn recover_partition(
        &self,
        (topic, partition): (&str, u32),
        keep: Option<u32>,
        recovery: Recovery,
        accepted_by: &str,
    ) -> Result<RecoverPartitionResponse> {
        let request = RecoverPartitionRequest {
            topic: topic.to_owned(),
            partition,
            keep_broker_id: keep.unwrap_or_default(),
            accept_loss: recovery == Recovery::AcceptLoss,
            accepted_by: accepted_by.to_owned(),
        };
        self.shared
            .call("recover partition", |channel| {
                let request = request.clone();
                async move { admin_client(channel).recover_partition(request).await }
            })
            .await
    }
}
