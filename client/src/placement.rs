//! The part of the control plane that places replicas: moves, plans, emptying a broker.
//!
//! Knows the messages only; where replicas should go is decided by the brokers.

use raftmq_proto::v1::{
    CancelReassignmentRequest, DecommissionBrokerRequest, ListPartitionsRequest,
    PartitionPlacement, RebalanceRequest, ReplicaChange,
};

use crate::admin::Admin;
use crate::connection::admin_client;
use crate::error::Result;

/// Whether a plan is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanMode {
    /// Only shown.
    DryRun,
    /// Carried out; the call returns when its moves are under way.
    Run,
}

impl Admin {
    /// Lists partitions with leaders, replicas and running moves, by topic and partition; of all
    /// topics when `topic` is `None`.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC`, and those of every call.
    pub async fn list_partitions(
        &self,
        topic: Option<&str>,
        moving_only: bool,
    ) -> Result<Vec<PartitionPlacement>> {
        let request = ListPartitionsRequest {
            topic: topic.unwrap_or_default().to_owned(),
            moving_only,
        };
        let call = |channel| {
            let request = request.clone();
            async move { admin_client(channel).list_partitions(request).await }
        };
        let listed = self.shared.call("list partitions", call).await?;
        Ok(listed.partitions)
    }

    /// Sends the running move of a partition back to the replicas from which it came; returns when
    /// that is under way.
    ///
    /// # Errors
    /// `INVALID_REQUEST` when none runs, and those of every call.
    pub async fn cancel_reassignment(&self, topic: &str, partition: u32) -> Result<()> {
        let request = CancelReassignmentRequest {
            topic: topic.to_owned(),
            partition,
        };
        let call = |channel| {
            let request = request.clone();
            async move { admin_client(channel).cancel_reassignment(request).await }
        };
        self.shared
            .call("cancel reassignment", call)
            .await
            .map(drop)
    }

    /// Plans how replicas and preferred leaders are spread evenly, and gives the changes. At most
    /// `moves_max` replicas are moved (0 = 1,000). Empty when nothing is worth it, so repetition ends.
    ///
    /// # Errors
    /// Those of every call; a refused change carries its own.
    pub async fn rebalance(&self, mode: PlanMode, moves_max: u32) -> Result<Vec<ReplicaChange>> {
        let request = RebalanceRequest {
            dry_run: mode == PlanMode::DryRun,
            moves_max,
        };
        let call = |channel| async move { admin_client(channel).rebalance(request).await };
        let planned = self.shared.call("rebalance", call).await?;
        Ok(planned.changes)
    }

    /// Takes a broker out of the cluster for good: plans how it gets rid of all its replicas, and gives
    /// the changes; none when it has none. The cluster sees to the rest: its vote, and its place in
    /// [`describe_cluster`](Self::describe_cluster). Repeating it changes nothing.
    ///
    /// # Errors
    /// `UNKNOWN_BROKER`; `INVALID_REPLICATION_FACTOR` when the replicas would not fit on the others;
    /// `INVALID_REQUEST` when nobody, or too few live metadata voters, would be left; those of every call.
    pub async fn decommission_broker(
        &self,
        broker_id: u32,
        mode: PlanMode,
    ) -> Result<Vec<ReplicaChange>> {
        let request = DecommissionBrokerRequest {
            broker_id,
            dry_run: mode == PlanMode::DryRun,
        };
        let call =
            |channel| async move { admin_client(channel).decommission_broker(request).await };
        let planned = self.shared.call("decommission broker", call).await?;
        Ok(planned.changes)
    }
}
