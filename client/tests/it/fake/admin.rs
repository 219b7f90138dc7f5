//! The control plane of one broker.

use raftmq_client::ErrorCode;
use raftmq_proto::v1::admin_server::Admin;
use raftmq_proto::v1::{
    AcceptedLoss, AlterClusterSettingsRequest, AlterClusterSettingsResponse, AlterReplicasRequest,
    AlterReplicasResponse, AlterTopicRequest, AlterTopicResponse, CancelReassignmentRequest,
    CancelReassignmentResponse, ConfigEntry, CreateTopicRequest, CreateTopicResponse,
    DecommissionBrokerRequest, DecommissionBrokerResponse, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteTopicRequest, DeleteTopicResponse, DescribeClusterRequest,
    DescribeClusterResponse, DescribeTopicRequest, DescribeTopicResponse, DrainBrokerRequest,
    DrainBrokerResponse, Error, ListClusterSettingsRequest, ListClusterSettingsResponse,
    ListPartitionsRequest, ListPartitionsResponse, PartitionPlacement, RebalanceRequest,
    RebalanceResponse, RecoverPartitionRequest, RecoverPartitionResponse, ReplicaChange,
    UndrainBrokerRequest, UndrainBrokerResponse,
};
use tonic::{Request, Response, Status};

use super::Server;
use super::state::Log;

impl Server {
    /// Control calls are taken by the controller only, so that redirection is seen to work.
    fn check_controller(&self) -> Result<(), Status> {
        let state = self.cluster.state.lock();
        let controller = state.controller;
        if controller == self.broker_id {
            return Ok(());
        }
        let endpoint = state.endpoints[controller as usize - 1].clone();
        Err(Error::not_leader("not the controller", Some((controller, endpoint))).into())
    }
}
#[tonic::async_trait]
impl Admin for Server {
    async fn create_topic(
        &self,
        request: Request<CreateTopicRequest>,
    ) -> Result<Response<CreateTopicResponse>, Status> {
        self.check_controller()?;
        let request = request.into_inner();
        if self.cluster.state.lock().topics.contains_key(&request.name) {
            return Err(Error::new(ErrorCode::TopicAlreadyExists, "it exists").into());
        }
        if !request.validate_only {
            self.cluster
                .create_topic(&request.name, request.partitions_count);
        }
        Ok(Response::new(CreateTopicResponse {
            topic: Some(self.cluster.state.lock().topic_info(&request.name)),
            warnings: Vec::new(),
        }))
    }

    async fn delete_topic(
        &self,
        request: Request<DeleteTopicRequest>,
    ) -> Result<Response<DeleteTopicResponse>, Status> {
        self.check_controller()?;
        let name = request.into_inner().name;
        let deleted = self.cluster.state.lock().topics.remove(&name);
        deleted.ok_or_else(|| Error::unknown_topic(&name))?;
        Ok(Response::new(DeleteTopicResponse {}))
    }

    async fn alter_topic(
        &self,
        request: Request<AlterTopicRequest>,
    ) -> Result<Response<AlterTopicResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.cluster.state.lock();
        let count = request.partitions_count as usize;
        if let Some(logs) = state.topics.get_mut(&request.name) {
            logs.resize_with(count.max(logs.len()), || Log {
                leader: 1,
                ..Log::default()
            });
        }
        Ok(Response::new(AlterTopicResponse {
            topic: Some(state.topic_info(&request.name)),
        }))
    }

    async fn describe_topic(
        &self,
        request: Request<DescribeTopicRequest>,
    ) -> Result<Response<DescribeTopicResponse>, Status> {
        let topic = self
            .cluster
            .state
            .lock()
            .topic_info(&request.get_ref().name);
        if let Some(error) = topic.error {
            return Err(error.into());
        }
        Ok(Response::new(DescribeTopicResponse {
            topic: Some(topic),
            configs: Vec::new(),
        }))
    }

    async fn delete_records(
        &self,
        request: Request<DeleteRecordsRequest>,
    ) -> Result<Response<DeleteRecordsResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.cluster.state.lock();
        let log = state.log(&request.topic, request.partition)?;
        log.start = request.before_offset;
        Ok(Response::new(DeleteRecordsResponse {
            log_start_offset: request.before_offset,
        }))
    }

    async fn alter_replicas(
        &self,
        _: Request<AlterReplicasRequest>,
    ) -> Result<Response<AlterReplicasResponse>, Status> {
        Err(Error::new(ErrorCode::UnknownBroker, "no such broker").into())
    }

    async fn describe_cluster(
        &self,
        _: Request<DescribeClusterRequest>,
    ) -> Result<Response<DescribeClusterResponse>, Status> {
        Ok(Response::new(DescribeClusterResponse {
            cluster_id: "fake".to_owned(),
            ..DescribeClusterResponse::default()
        }))
    }

    async fn drain_broker(
        &self,
        _: Request<DrainBrokerRequest>,
    ) -> Result<Response<DrainBrokerResponse>, Status> {
        Err(Error::new(ErrorCode::UnknownBroker, "no such broker").into())
    }

    async fn undrain_broker(
        &self,
        _: Request<UndrainBrokerRequest>,
    ) -> Result<Response<UndrainBrokerResponse>, Status> {
        self.check_controller()?;
        Ok(Response::new(UndrainBrokerResponse {}))
    }

    async fn list_partitions(
        &self,
        request: Request<ListPartitionsRequest>,
    ) -> Result<Response<ListPartitionsResponse>, Status> {
        let request = request.into_inner();
        let placement = PartitionPlacement {
            topic: request.topic,
            replicas: vec![1],
            ..PartitionPlacement::default()
        };
        let partitions = if request.moving_only {
            Vec::new()
        } else {
            vec![placement]
        };
        Ok(Response::new(ListPartitionsResponse { partitions }))
    }

    async fn cancel_reassignment(
        &self,
        _: Request<CancelReassignmentRequest>,
    ) -> Result<Response<CancelReassignmentResponse>, Status> {
        Err(Error::invalid_request("none runs").into())
    }

    async fn recover_partition(
        &self,
        request: Request<RecoverPartitionRequest>,
    ) -> Result<Response<RecoverPartitionResponse>, Status> {
        let request = request.into_inner();
        let loss = AcceptedLoss {
            kept_broker_id: request.keep_broker_id,
            accepted_by: request.accepted_by,
            ..AcceptedLoss::default()
        };
        Ok(Response::new(RecoverPartitionResponse {
            loss: Some(loss),
            group_id: u64::from(request.accept_loss),
        }))
    }

    async fn rebalance(
        &self,
        request: Request<RebalanceRequest>,
    ) -> Result<Response<RebalanceResponse>, Status> {
        let change = ReplicaChange {
            partition: request.into_inner().moves_max,
            ..ReplicaChange::default()
        };
        Ok(Response::new(RebalanceResponse {
            changes: vec![change],
        }))
    }

    async fn list_cluster_settings(
        &self,
        _: Request<ListClusterSettingsRequest>,
    ) -> Result<Response<ListClusterSettingsResponse>, Status> {
        let settings = self.cluster.state.lock().settings.clone().into_iter();
        let settings = settings.map(|(name, value)| ConfigEntry {
            name,
            value,
            ..ConfigEntry::default()
        });
        Ok(Response::new(ListClusterSettingsResponse {
            settings: settings.collect(),
        }))
    }

    async fn alter_cluster_settings(
        &self,
        request: Request<AlterClusterSettingsRequest>,
    ) -> Result<Response<AlterClusterSettingsResponse>, Status> {
        let request = request.into_inner();
        if request.set.contains_key("data-dir") {
            return Err(Error::new(ErrorCode::InvalidConfig, "read only").into());
        }
        if !request.validate_only {
            let mut state = self.cluster.state.lock();
            state.settings.extend(request.set);
            state
                .settings
                .retain(|name, _| !request.unset.contains(name));
        }
        Ok(Response::new(AlterClusterSettingsResponse {}))
    }

    async fn decommission_broker(
        &self,
        _: Request<DecommissionBrokerRequest>,
    ) -> Result<Response<DecommissionBrokerResponse>, Status> {
        Err(Error::new(ErrorCode::UnknownBroker, "no such broker").into())
    }
}
