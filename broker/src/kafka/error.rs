//! The one table from the services' errors to Kafka's error codes.

use raftmq_core::cluster::ClusterError;
use raftmq_core::partition::AppendError;
use raftmq_kafka_protocol::ErrorCode;
use raftmq_records::BatchError;

use crate::controller::ControlError;
use crate::replica::ReplicaError;

/// A partition's error.
pub(super) fn of_replica(error: &ReplicaError) -> ErrorCode {
    match error {
        ReplicaError::UnknownTopic(_) | ReplicaError::UnknownPartition { .. } => {
            ErrorCode::UnknownTopicOrPartition
        }
        ReplicaError::NotLeader { .. } | ReplicaError::Void => ErrorCode::NotLeaderOrFollower,
        ReplicaError::InvalidBatch { error, .. } => of_batch(error),
        ReplicaError::ReservedBatch { .. } | ReplicaError::KeyMissing { .. } => {
            ErrorCode::InvalidRecord
        }
        ReplicaError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        ReplicaError::Append(append) => of_append(append),
        ReplicaError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        ReplicaError::NotEnoughReplicasAfterAppend { .. } => {
            ErrorCode::NotEnoughReplicasAfterAppend
        }
        ReplicaError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReplicaError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        ReplicaError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        ReplicaError::InvalidTimestamp(_) | ReplicaError::TimestampOutOfBounds { .. } => {
            ErrorCode::InvalidTimestamp
        }
        ReplicaError::Forwarded(_) => ErrorCode::InvalidRequest,
        // Retriable, and makes clients look for another leader.
        ReplicaError::StorageFull { .. } | ReplicaError::Storage(_) => ErrorCode::KafkaStorageError,
        ReplicaError::Throttled | ReplicaError::TimedOut => ErrorCode::RequestTimedOut,
    }
}

fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::DuplicateSequence { .. } => ErrorCode::DuplicateSequenceNumber,
        AppendError::InvalidProducerFields { .. } | AppendError::OffsetsExhausted { .. } => {
            ErrorCode::InvalidRecord
        }
    }
}

/// What is wrong with a record batch. What only bits that were changed on the way explain is retriable; a batch that is
/// cut off or makes no sense is not (Kafka's `ByteBufferLogInputStream`, `LogValidator`).
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a new defect of a record makes the record invalid"
)]
pub(super) fn of_batch(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::InvalidLength { .. }
        | BatchError::UnsupportedMagic { .. }
        | BatchError::CrcMismatch { .. } => ErrorCode::CorruptMessage,
        BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        BatchError::UnknownCompression { .. } => ErrorCode::UnsupportedCompressionType,
        _ => ErrorCode::InvalidRecord,
    }
}

/// A metadata command's error.
pub(super) fn of_control(error: &ControlError) -> ErrorCode {
    match error {
        // It may have been carried out.
        ControlError::NoController => ErrorCode::RequestTimedOut,
        ControlError::Refused(refused) => of_cluster(refused),
    }
}

fn of_cluster(error: &ClusterError) -> ErrorCode {
    match error {
        ClusterError::TopicExists { .. } | ClusterError::TopicIdInUse { .. } => {
            ErrorCode::TopicAlreadyExists
        }
        ClusterError::InvalidTopicName { .. } => ErrorCode::InvalidTopicException,
        ClusterError::UnknownTopic { .. } | ClusterError::UnknownGroup { .. } => {
            ErrorCode::UnknownTopicOrPartition
        }
        ClusterError::InvalidPartitionsCount { .. } => ErrorCode::InvalidPartitions,
        // The cluster begins, or nobody is alive: that passes.
        ClusterError::InvalidReplicationFactor { max: 0, .. } => ErrorCode::BrokerNotAvailable,
        ClusterError::InvalidReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
        ClusterError::InvalidConfig(_) => ErrorCode::InvalidConfig,
        ClusterError::InvalidAssignment { .. }
        | ClusterError::UnknownBroker { .. }
        | ClusterError::BrokerRemoved { .. } => ErrorCode::InvalidReplicaAssignment,
        ClusterError::LimitExceeded { .. } => ErrorCode::PolicyViolation,
        ClusterError::StaleBrokerEpoch { .. } => ErrorCode::StaleBrokerEpoch,
        ClusterError::NoReassignment { .. } => ErrorCode::NoReassignmentInProgress,
        ClusterError::StaleLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        ClusterError::ClusterIdMismatch { .. }
        | ClusterError::BrokerIdInUse { .. }
        | ClusterError::BrokerIdOfAnotherDirectory { .. }
        | ClusterError::LastBroker { .. }
        | ClusterError::NotDecommissioned { .. }
        | ClusterError::BrokerHoldsReplicas { .. }
        | ClusterError::MetadataQuorumLost { .. }
        | ClusterError::BrokerFenced { .. }
        | ClusterError::LeaderUnknown { .. }
        | ClusterError::NotAReplica { .. }
        | ClusterError::IsrWithoutLeader { .. }
        | ClusterError::QuorumLost { .. }
        | ClusterError::ReassignmentMismatch { .. }
        | ClusterError::PartitionChanged { .. }
        | ClusterError::InvalidProducerIdCount { .. }
        | ClusterError::InvalidQuota(_)
        | ClusterError::Amqp(_) => ErrorCode::InvalidRequest,
    }
}
