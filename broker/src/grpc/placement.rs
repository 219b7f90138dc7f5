//! The part of the control plane that moves replicas: reassignments, replication factors, plans.
//!
//! Plans are made from this broker's own image; the metadata machine checks each change. Knows nothing
//! of how replicas are moved.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use raftmq_core::cluster::balance::{Bounds, Change, Loads, plan, plan_decommission};
use raftmq_core::cluster::voters::check_decommission;
use raftmq_core::cluster::{Command, Image, PartitionInfo, Topic, placement};
use raftmq_core::ids::{BrokerId, PartitionIndex};
use raftmq_proto::v1::{
    AlterReplicasRequest, AlterReplicasResponse, CancelReassignmentRequest,
    CancelReassignmentResponse, DecommissionBrokerRequest, DecommissionBrokerResponse, Error,
    ListPartitionsRequest, ListPartitionsResponse, MoveProgress, PartitionPlacement,
    RebalanceRequest, RebalanceResponse, ReplicaChange,
};
use raftmq_proto::{from_status, into_status};
use tonic::{Response, Status};

use super::admin::AdminFrontEnd;
use super::error::{of_balance, of_control};
use super::recovery::accepted_loss;
use crate::controller::{self, ControlError};

/// Changes of a plan that are proposed at the same time.
const PROPOSALS_AT_ONCE: usize = 32;

impl AdminFrontEnd {
    pub(super) fn partition(&self, topic: &str, index: u32) -> Result<Arc<PartitionInfo>, Status> {
        self.topic(topic)?;
        let image = self.image();
        let info = image.partition_of(topic, PartitionIndex(index));
        info.cloned()
            .ok_or_else(|| into_status(Error::unknown_partition(topic, index)))
    }

    pub(super) async fn set_replicas(
        &self,
        request: AlterReplicasRequest,
    ) -> Result<Response<AlterReplicasResponse>, Status> {
        let info = self.partition(&request.topic, request.partition)?;
        let target = request.replicas.into_iter().map(BrokerId).collect();
        let group = info.group;
        self.propose(&Command::SetReplicas { group, target })
            .await?;
        Ok(Response::new(AlterReplicasResponse {}))
    }

    pub(super) async fn cancel_move(
        &self,
        request: &CancelReassignmentRequest,
    ) -> Result<Response<CancelReassignmentResponse>, Status> {
        let info = self.partition(&request.topic, request.partition)?;
        let group = info.group;
        self.propose(&Command::CancelReassignment { group }).await?;
        Ok(Response::new(CancelReassignmentResponse {}))
    }

    /// The reassignments that give a topic another replication factor; none for 0.
    pub(super) fn rescale_commands(
        &self,
        topic: &Topic,
        replication_factor: u32,
    ) -> Result<Vec<Command>, Status> {
        if replication_factor == 0 {
            return Ok(Vec::new());
        }
        let image = self.image();
        let changes = placement::rescale(&image, topic, replication_factor, placement::is_willing);
        let changes =
            changes.map_err(|error| into_status(of_control(&ControlError::Refused(error))))?;
        let command = |(group, target)| Command::SetReplicas { group, target };
        Ok(changes.into_iter().map(command).collect())
    }

    pub(super) async fn partitions_placed(
        &self,
        request: &ListPartitionsRequest,
    ) -> Result<Response<ListPartitionsResponse>, Status> {
        let topic_id = match request.topic.as_str() {
            "" => None,
            name => Some(self.topic(name)?.id),
        };
        let image = self.image();
        let is_asked_for = |info: &&Arc<PartitionInfo>| {
            topic_id.is_none_or(|id| info.topic_id == id)
                && (info.is_moving() || !request.moving_only)
        };
        let asked_for: Vec<_> = image.partitions.values().filter(is_asked_for).collect();
        let progress = if asked_for.iter().any(|info| info.is_moving()) {
            self.parts.controller.moves_progress().await
        } else {
            BTreeMap::new()
        };
        let mut partitions: Vec<PartitionPlacement> = asked_for
            .into_iter()
            .map(|info| PartitionPlacement {
                progress: progress.get(&info.group).map(progress_of),
                ..placement_of(&image, info)
            })
            .collect();
        partitions.sort_by(|left, right| {
            (&left.topic, left.partition).cmp(&(&right.topic, right.partition))
        });
        Ok(Response::new(ListPartitionsResponse { partitions }))
    }

    pub(super) async fn spread_evenly(
        &self,
        request: &RebalanceRequest,
    ) -> Result<Response<RebalanceResponse>, Status> {
        let mut bounds = Bounds::default();
        if request.moves_max > 0 {
            bounds.moves_max = usize::try_from(request.moves_max).unwrap_or(usize::MAX);
        }
        let image = self.image();
        let loads = self.parts.controller.loads().await;
        let changes = plan(&image, &loads, bounds, placement::is_willing);
        let changes = self.carry_out((&image, &loads), changes, request.dry_run);
        let changes = changes.await;
        Ok(Response::new(RebalanceResponse { changes }))
    }

    pub(super) async fn empty_broker(
        &self,
        request: &DecommissionBrokerRequest,
    ) -> Result<Response<DecommissionBrokerResponse>, Status> {
        let broker = BrokerId(request.broker_id);
        let image = self.image();
        if image.removed_brokers.contains(&broker) {
            // It is done.
            return Ok(Response::new(DecommissionBrokerResponse::default()));
        }
        let members = self.parts.controller.group().membership();
        let voters = members.voters.last().cloned().unwrap_or_default();
        check_decommission(&image, &voters, broker)
            .map_err(|error| into_status(of_control(&ControlError::Refused(error))))?;
        let loads = self.parts.controller.loads().await;
        let changes = plan_decommission(&image, &loads, broker, placement::is_willing);
        let changes = changes.map_err(|error| into_status(of_balance(&error)))?;
        let decommission = Command::DecommissionBroker { id: broker };
        if request.dry_run {
            self.preview(decommission)?;
        } else {
            // From here on the controller sees to it, whatever becomes of this call.
            self.propose(&decommission).await?;
        }
        let changes = self.carry_out((&image, &loads), changes, request.dry_run);
        let changes = changes.await;
        Ok(Response::new(DecommissionBrokerResponse { changes }))
    }

    /// Starts every change of a plan; one that is refused does not hold up the others.
    async fn carry_out(
        &self,
        (image, loads): (&Image, &Loads),
        changes: Vec<Change>,
        is_dry_run: bool,
    ) -> Vec<ReplicaChange> {
        let proposals = changes.into_iter().map(|change| async move {
            let error = if is_dry_run {
                None
            } else {
                let (group, target) = (change.group, change.to.clone());
                let proposed = self.propose(&Command::SetReplicas { group, target }).await;
                let text = |status: &Status| Error::unavailable(status.message());
                let of = |status: Status| from_status(&status).unwrap_or_else(|| text(&status));
                proposed.err().map(of)
            };
            change_of(image, loads, &change, error)
        });
        let proposals: Vec<_> = proposals.collect();
        let proposals = stream::iter(proposals).buffered(PROPOSALS_AT_ONCE);
        proposals.collect().await
    }
}

fn numbers(brokers: &[BrokerId]) -> Vec<u32> {
    brokers.iter().map(|id| id.get()).collect()
}

/// The topic's name; a queue's group says which queue it is.
fn topic_name(image: &Image, info: &PartitionInfo) -> String {
    if let Some(queue) = image.amqp.queues.get(&info.group) {
        return format!("queue {} (vhost {})", queue.name, queue.vhost);
    }
    let topic = image.topics.get(&info.topic_id);
    topic.map(|topic| topic.name.clone()).unwrap_or_default()
}

fn change_of(image: &Image, loads: &Loads, change: &Change, error: Option<Error>) -> ReplicaChange {
    let info = image.partition(change.group);
    let load = loads.get(&change.group).copied().unwrap_or_default();
    ReplicaChange {
        topic: info.map(|info| topic_name(image, info)).unwrap_or_default(),
        partition: info.map_or(0, |info| info.index.get()),
        from: numbers(&change.from),
        to: numbers(&change.to),
        error,
        in_bytes_per_second: load.in_bytes_per_s,
        size_bytes: load.size_bytes,
    }
}

fn placement_of(image: &Image, info: &PartitionInfo) -> PartitionPlacement {
    let leader = info.leader.filter(|id| image.is_alive(*id));
    PartitionPlacement {
        topic: topic_name(image, info),
        partition: info.index.get(),
        leader_broker_id: leader.map_or(0, BrokerId::get),
        replicas: numbers(&info.replicas),
        in_sync_replicas: numbers(&info.isr),
        target: numbers(info.target.as_deref().unwrap_or_default()),
        adding: numbers(&info.adding),
        removing: numbers(&info.removing),
        loss: image.loss(info.group).map(|loss| accepted_loss(loss)),
        progress: None,
    }
}

fn progress_of(progress: &controller::MoveProgress) -> MoveProgress {
    MoveProgress {
        step: progress.step.clone(),
        entries_left: progress.entries_left.unwrap_or_default(),
        entries_count: progress.entries_count.unwrap_or_default(),
    }
}
