//! The control plane: topics, their configs and replicas, and the cluster as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use raftmq_core::cluster::config_keys::{self, ConfigScope};
use raftmq_core::cluster::{
    Command, CreateTopic, Image, PartitionInfo, Topic, check_topic_name, placement,
};
use raftmq_core::ids::{BrokerId, TopicId};
use raftmq_proto::into_status;
use raftmq_proto::v1::admin_server::Admin;
use raftmq_proto::v1::{
    AlterClusterSettingsRequest, AlterClusterSettingsResponse, AlterReplicasRequest,
    AlterReplicasResponse, AlterTopicRequest, AlterTopicResponse, CancelReassignmentRequest,
    CancelReassignmentResponse, ConfigEntry, CreateTopicRequest, CreateTopicResponse,
    DecommissionBrokerRequest, DecommissionBrokerResponse, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteTopicRequest, DeleteTopicResponse, DescribeClusterRequest,
    DescribeClusterResponse, DescribeTopicRequest, DescribeTopicResponse, DrainBrokerRequest,
    DrainBrokerResponse, Error, ErrorCode, ListClusterSettingsRequest, ListClusterSettingsResponse,
    ListPartitionsRequest, ListPartitionsResponse, RebalanceRequest, RebalanceResponse,
    RecoverPartitionRequest, RecoverPartitionResponse, UndrainBrokerRequest, UndrainBrokerResponse,
};
use tonic::{Request, Response, Status};

use super::error::{of_control, of_replica};
use super::metadata::{brokers_with_counts, topic_info};
use crate::node::Parts;

/// Time for a command to find a controller and a majority.
const COMMAND_WITHIN: Duration = Duration::from_secs(15);
/// Time that a new topic's partitions are given to elect leaders before the call returns anyway.
const LEADERS_WITHIN: Duration = Duration::from_secs(5);

/// The control plane of one broker.
#[derive(Debug, Clone)]
pub struct AdminFrontEnd {
    pub(super) parts: Parts,
}

impl AdminFrontEnd {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts }
    }

    pub(super) fn image(&self) -> Arc<Image> {
        self.parts.controller.images().current()
    }

    pub(super) async fn propose(&self, command: &Command) -> Result<(), Status> {
        let outcome = self.parts.controller.propose(command, COMMAND_WITHIN).await;
        outcome
            .map(drop)
            .map_err(|error| into_status(of_control(&error)))
    }

    pub(super) fn preview(&self, command: Command) -> Result<(), Status> {
        let outcome = self.parts.controller.preview(command);
        outcome
            .map(drop)
            .map_err(|error| into_status(of_control(&error)))
    }

    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>, Status> {
        let topic = self.image().topic(name).cloned();
        topic.ok_or_else(|| into_status(Error::unknown_topic(name)))
    }

    /// Returns when every partition has a leader, or when that takes too long.
    async fn wait_for_leaders(&self, name: &str) {
        let mut images = self.parts.controller.images();
        images.wait_for_leaders(name, LEADERS_WITHIN).await;
    }
}

#[tonic::async_trait]
impl Admin for AdminFrontEnd {
    async fn create_topic(
        &self,
        request: Request<CreateTopicRequest>,
    ) -> Result<Response<CreateTopicResponse>, Status> {
        let request = request.into_inner();
        let name = request.name.clone();
        check_topic_name(&name).map_err(|error| {
            into_status(Error::new(ErrorCode::InvalidTopicName, error.to_string()))
        })?;
        let validate_only = request.validate_only;
        let create = create_command(request, self.parts.env().random_id())?;
        let replication_factor = wanted_replication(&self.image(), &create);
        let warning = placement::warning(replication_factor).map(str::to_owned);
        let warnings = Vec::from_iter(warning);
        let command = Command::CreateTopic(create);
        if validate_only {
            self.preview(command)?;
            return Ok(Response::new(CreateTopicResponse {
                topic: None,
                warnings,
            }));
        }
        self.propose(&command).await?;
        self.wait_for_leaders(&name).await;
        let image = self.image();
        let topic = image.topic(&name).map(|topic| topic_info(&image, topic));
        Ok(Response::new(CreateTopicResponse { topic, warnings }))
    }

    async fn delete_topic(
        &self,
        request: Request<DeleteTopicRequest>,
    ) -> Result<Response<DeleteTopicResponse>, Status> {
        let topic = self.topic(&request.into_inner().name)?;
        self.propose(&Command::DeleteTopic { topic_id: topic.id })
            .await?;
        Ok(Response::new(DeleteTopicResponse {}))
    }

    async fn alter_topic(
        &self,
        request: Request<AlterTopicRequest>,
    ) -> Result<Response<AlterTopicResponse>, Status> {
        let request = request.into_inner();
        let topic = self.topic(&request.name)?;
        let mut commands = self.rescale_commands(&topic, request.replication_factor)?;
        commands.extend(alter_commands(&topic, &request));
        // Everything is checked before anything is changed.
        for command in &commands {
            self.preview(command.clone())?;
        }
        if !request.validate_only {
            for command in &commands {
                self.propose(command).await?;
            }
            if request.partitions_count > 0 {
                self.wait_for_leaders(&request.name).await;
            }
        }
        let image = self.image();
        let topic = image
            .topic(&request.name)
            .map(|topic| topic_info(&image, topic));
        Ok(Response::new(AlterTopicResponse { topic }))
    }

    async fn describe_topic(
        &self,
        request: Request<DescribeTopicRequest>,
    ) -> Result<Response<DescribeTopicResponse>, Status> {
        let topic = self.topic(&request.into_inner().name)?;
        let image = self.image();
        let keys = config_keys::CONFIG_KEYS
            .iter()
            .filter(|key| key.scope == ConfigScope::Topic);
        let entries = keys.filter_map(|key| image.effective_config(Some(&topic), key.name));
        let configs = entries.map(|config| ConfigEntry {
            name: config.key.name.to_owned(),
            source: config.source.to_string(),
            documentation: config.key.documentation.to_owned(),
            value: config.value,
        });
        let configs = configs.collect();
        let topic = Some(topic_info(&image, &topic));
        Ok(Response::new(DescribeTopicResponse { topic, configs }))
    }

    async fn delete_records(
        &self,
        request: Request<DeleteRecordsRequest>,
    ) -> Result<Response<DeleteRecordsResponse>, Status> {
        let request = request.into_inner();
        let DeleteRecordsRequest {
            topic,
            partition,
            before_offset,
        } = request;
        let deleted = self
            .parts
            .replicas
            .delete_records(&topic, partition, before_offset)
            .await;
        let log_start_offset =
            deleted.map_err(|error| into_status(of_replica(&error, &self.image())))?;
        Ok(Response::new(DeleteRecordsResponse { log_start_offset }))
    }

    async fn alter_replicas(
        &self,
        request: Request<AlterReplicasRequest>,
    ) -> Result<Response<AlterReplicasResponse>, Status> {
        self.set_replicas(request.into_inner()).await
    }

    async fn describe_cluster(
        &self,
        _request: Request<DescribeClusterRequest>,
    ) -> Result<Response<DescribeClusterResponse>, Status> {
        let image = self.image();
        let (queues, partitions): (Vec<_>, Vec<_>) =
            image.partitions.values().partition(|info| info.is_queue());
        let is_offline = |info: &&&Arc<PartitionInfo>| image.is_offline(info);
        let is_lagging = |info: &&&Arc<PartitionInfo>| info.is_under_replicated();
        let members = self.parts.controller.group().membership();
        let ids = |ids: &mut dyn Iterator<Item = &BrokerId>| ids.map(|id| id.get()).collect();
        let voters = members.voters.iter().flatten();
        let voters: BTreeSet<BrokerId> = voters.copied().collect();
        Ok(Response::new(DescribeClusterResponse {
            cluster_id: image.cluster_id.as_deref().unwrap_or_default().to_owned(),
            controller_broker_id: self.parts.controller.controller_id().unwrap_or_default(),
            brokers: brokers_with_counts(&image, &self.parts.controller.session().spaces()),
            topics_count: count(image.topics.len()),
            partitions_count: count(partitions.len()),
            offline_partitions_count: count(partitions.iter().filter(is_offline).count()),
            under_replicated_partitions_count: count(partitions.iter().filter(is_lagging).count()),
            queues_count: count(queues.len()),
            offline_queues_count: count(queues.iter().filter(is_offline).count()),
            under_replicated_queues_count: count(queues.iter().filter(is_lagging).count()),
            metadata_version: image.version,
            metadata_voters: ids(&mut voters.iter()),
            metadata_learners: ids(&mut members.learners.iter()),
        }))
    }

    async fn drain_broker(
        &self,
        request: Request<DrainBrokerRequest>,
    ) -> Result<Response<DrainBrokerResponse>, Status> {
        let (id, is_draining) = (BrokerId(request.into_inner().broker_id), true);
        self.propose(&Command::SetBrokerDraining { id, is_draining })
            .await?;
        Ok(Response::new(DrainBrokerResponse {}))
    }

    async fn undrain_broker(
        &self,
        request: Request<UndrainBrokerRequest>,
    ) -> Result<Response<UndrainBrokerResponse>, Status> {
        let (id, is_draining) = (BrokerId(request.into_inner().broker_id), false);
        self.propose(&Command::SetBrokerDraining { id, is_draining })
            .await?;
        Ok(Response::new(UndrainBrokerResponse {}))
    }

    async fn list_partitions(
        &self,
        request: Request<ListPartitionsRequest>,
    ) -> Result<Response<ListPartitionsResponse>, Status> {
        self.partitions_placed(&request.into_inner()).await
    }

    async fn cancel_reassignment(
        &self,
        request: Request<CancelReassignmentRequest>,
    ) -> Result<Response<CancelReassignmentResponse>, Status> {
        self.cancel_move(&request.into_inner()).await
    }

    async fn recover_partition(
        &self,
        request: Request<RecoverPartitionRequest>,
    ) -> Result<Response<RecoverPartitionResponse>, Status> {
        self.recover(request.into_inner()).await
    }

    async fn rebalance(
        &self,
        request: Request<RebalanceRequest>,
    ) -> Result<Response<RebalanceResponse>, Status> {
        self.spread_evenly(&request.into_inner()).await
    }

    async fn decommission_broker(
        &self,
        request: Request<DecommissionBrokerRequest>,
    ) -> Result<Response<DecommissionBrokerResponse>, Status> {
        self.empty_broker(&request.into_inner()).await
    }

    async fn list_cluster_settings(
        &self,
        _request: Request<ListClusterSettingsRequest>,
    ) -> Result<Response<ListClusterSettingsResponse>, Status> {
        Ok(self.settings_listed())
    }

    async fn alter_cluster_settings(
        &self,
        request: Request<AlterClusterSettingsRequest>,
    ) -> Result<Response<AlterClusterSettingsResponse>, Status> {
        self.alter_settings(request.into_inner()).await
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn create_command(request: CreateTopicRequest, id: [u8; 16]) -> Result<CreateTopic, Status> {
    let mut assignments = request.assignments;
    assignments.sort_by_key(|assignment| assignment.partition);
    let is_dense = assignments
        .iter()
        .zip(0..)
        .all(|(assignment, at)| assignment.partition == at);
    if !is_dense {
        let text = "assignments must name partitions 0, 1, 2 and so on, each once";
        return Err(into_status(Error::invalid_request(text)));
    }
    let brokers = |ids: Vec<u32>| ids.into_iter().map(BrokerId).collect();
    Ok(CreateTopic {
        name: request.name,
        topic_id: TopicId(id),
        partitions_count: request.partitions_count,
        replication_factor: request.replication_factor,
        assignments: assignments
            .into_iter()
            .map(|one| brokers(one.replicas))
            .collect(),
        configs: request.configs,
    })
}

fn wanted_replication(image: &Image, create: &CreateTopic) -> usize {
    let assigned = create.assignments.first().map(Vec::len);
    let named = usize::try_from(create.replication_factor).unwrap_or(0);
    let default = image.config_i64(None, config_keys::DEFAULT_REPLICATION_FACTOR);
    let default = usize::try_from(default).unwrap_or(0);
    assigned.unwrap_or(if named > 0 { named } else { default })
}

fn alter_commands(topic: &Topic, request: &AlterTopicRequest) -> Vec<Command> {
    let topic_id = topic.id;
    let mut commands = Vec::new();
    if !request.set_configs.is_empty() || !request.delete_configs.is_empty() {
        let set: BTreeMap<String, String> = request.set_configs.clone();
        let unset = request.delete_configs.clone();
        commands.push(Command::AlterTopicConfigs {
            topic_id,
            set,
            unset,
        });
    }
    if request.partitions_count > 0 {
        let (partitions_count, assignments) = (request.partitions_count, Vec::new());
        commands.push(Command::AddPartitions {
            topic_id,
            partitions_count,
            assignments,
        });
    }
    commands
}
