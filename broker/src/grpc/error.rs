//! The one table from the services' errors to the codes of `raftmq.v1`.

use raftmq_core::cluster::balance::BalanceError;
use raftmq_core::cluster::{ClusterError, Image};
use raftmq_core::ids::BrokerId;
use raftmq_core::partition::AppendError;
use raftmq_proto::v1::{Error, ErrorCode};

use crate::controller::{ControlError, NotAccepted};
use crate::replica::ReplicaError;

/// A partition's error. `image` tells where its leader is.
pub(super) fn of_replica(error: &ReplicaError, image: &Image) -> Error {
    let code = match error {
        ReplicaError::NotLeader { leader, .. } => {
            let endpoint = leader.and_then(|id| {
                let broker = image.broker(BrokerId(id))?;
                Some((id, broker.endpoints.grpc.clone()))
            });
            return Error::not_leader(error.to_string(), endpoint);
        }
        ReplicaError::UnknownTopic(_) => ErrorCode::UnknownTopic,
        ReplicaError::UnknownPartition { .. } => ErrorCode::UnknownPartition,
        ReplicaError::Corrupt { .. } => ErrorCode::CorruptRecord,
        ReplicaError::KeyMissing { .. } => ErrorCode::InvalidRecord,
        ReplicaError::TooLarge { .. } => ErrorCode::RecordTooLarge,
        ReplicaError::Append(append) => of_append(append),
        ReplicaError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        ReplicaError::NotEnoughReplicasAfterAppend { .. } => {
            ErrorCode::NotEnoughReplicasAfterAppend
        }
        ReplicaError::StorageFull { .. } => ErrorCode::StorageFull,
        ReplicaError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReplicaError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        ReplicaError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        ReplicaError::InvalidTimestamp(_) => ErrorCode::InvalidTimestamp,
        ReplicaError::Forwarded(_) => ErrorCode::InvalidRequest,
        ReplicaError::Void => ErrorCode::NotLeader,
        ReplicaError::Throttled => ErrorCode::Throttled,
        ReplicaError::TimedOut => ErrorCode::TimedOut,
        ReplicaError::Storage(_) => ErrorCode::Unavailable,
    };
    Error::new(code, error.to_string())
}

fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequence,
        AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::DuplicateSequence { .. } => ErrorCode::DuplicateSequence,
        AppendError::InvalidProducerFields { .. } | AppendError::OffsetsExhausted { .. } => {
            ErrorCode::InvalidRequest
        }
    }
}

/// A metadata command's error.
pub(super) fn of_control(error: &ControlError) -> Error {
    match error {
        ControlError::NoController => Error::new(ErrorCode::NoController, error.to_string()),
        ControlError::Refused(refused) => Error::new(of_cluster(refused), refused.to_string()),
    }
}

/// The refusal of a loss.
pub(super) fn of_not_accepted(error: &NotAccepted) -> Error {
    match error {
        NotAccepted::Refused(refused) => Error::invalid_request(refused.to_string()),
        NotAccepted::Control(control) => of_control(control),
    }
}

/// A plan's error.
pub(super) fn of_balance(error: &BalanceError) -> Error {
    let code = match error {
        BalanceError::UnknownBroker { .. } => ErrorCode::UnknownBroker,
        BalanceError::LastBroker { .. } => ErrorCode::InvalidRequest,
        BalanceError::DoesNotFit { .. } => ErrorCode::InvalidReplicationFactor,
    };
    Error::new(code, error.to_string())
}

fn of_cluster(error: &ClusterError) -> ErrorCode {
    match error {
        ClusterError::TopicExists { .. } | ClusterError::TopicIdInUse { .. } => {
            ErrorCode::TopicAlreadyExists
        }
        ClusterError::InvalidTopicName { .. } => ErrorCode::InvalidTopicName,
        ClusterError::UnknownTopic { .. } => ErrorCode::UnknownTopic,
        ClusterError::UnknownGroup { .. } => ErrorCode::UnknownPartition,
        ClusterError::InvalidPartitionsCount { .. } => ErrorCode::InvalidPartitionsCount,
        // The cluster begins, or nobody is alive: that passes.
        ClusterError::InvalidReplicationFactor { max: 0, .. } => ErrorCode::Unavailable,
        ClusterError::InvalidReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
        ClusterError::InvalidConfig(_) => ErrorCode::InvalidConfig,
        ClusterError::UnknownBroker { .. } | ClusterError::BrokerRemoved { .. } => {
            ErrorCode::UnknownBroker
        }
        ClusterError::InvalidAssignment { .. }
        | ClusterError::ClusterIdMismatch { .. }
        | ClusterError::BrokerIdInUse { .. }
        | ClusterError::BrokerIdOfAnotherDirectory { .. }
        | ClusterError::LastBroker { .. }
        | ClusterError::NotDecommissioned { .. }
        | ClusterError::BrokerHoldsReplicas { .. }
        | ClusterError::MetadataQuorumLost { .. }
        | ClusterError::StaleBrokerEpoch { .. }
        | ClusterError::BrokerFenced { .. }
        | ClusterError::LimitExceeded { .. }
        | ClusterError::StaleLeaderEpoch { .. }
        | ClusterError::LeaderUnknown { .. }
        | ClusterError::NotAReplica { .. }
        | ClusterError::IsrWithoutLeader { .. }
        | ClusterError::QuorumLost { .. }
        | ClusterError::NoReassignment { .. }
        | ClusterError::ReassignmentMismatch { .. }
        | ClusterError::PartitionChanged { .. }
        | ClusterError::InvalidQuota(_)
        | ClusterError::Amqp(_)
        | ClusterError::InvalidProducerIdCount { .. } => ErrorCode::InvalidRequest,
    }
}
