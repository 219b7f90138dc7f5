//! The one table from the services' errors to the codes of `raftmq.v1`.

use raftmq_core::cluster::amqp::{Resource, ResourceKind};
use raftmq_core::cluster::balance::BalanceError;
use raftmq_core::cluster::{AmqpError, ClusterError, Image};
use raftmq_core::exchange::PublishError;
use raftmq_core::ids::BrokerId;
use raftmq_core::partition::AppendError;
use raftmq_core::queue::Refusal;
use raftmq_proto::v1::{Error, ErrorCode};

use crate::controller::{ControlError, NotAccepted};
use crate::queues::QueueError;
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
        ReplicaError::InvalidBatch { .. } | ReplicaError::ReservedBatch { .. } => {
            ErrorCode::CorruptRecord
        }
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
        ReplicaError::InvalidTimestamp(_) | ReplicaError::TimestampOutOfBounds { .. } => {
            ErrorCode::InvalidTimestamp
        }
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
        ControlError::Refused(ClusterError::Amqp(refused)) => Error {
            // The metadata group itself says so: no other broker knows better.
            retriable: false,
            ..of_amqp(refused)
        },
        ControlError::Refused(refused) => Error::new(of_cluster(refused), refused.to_string()),
    }
}

/// What is wrong in AMQP's world, as far as this broker knows it.
pub(super) fn of_amqp(error: &AmqpError) -> Error {
    Error::new(amqp_code(error), error.to_string())
}

/// Nobody may publish there.
pub(super) fn of_publish(error: &PublishError, exchange: &Resource) -> Error {
    match error {
        PublishError::UnknownExchange => of_amqp(&exchange.clone().not_found()),
        PublishError::Internal { .. } => {
            Error::invalid_request(format!("{exchange} takes messages from bindings only"))
        }
    }
}

/// A queue's service could not do it.
pub(super) fn of_queue(error: &QueueError, queue: &Resource) -> Error {
    let code = match error {
        QueueError::Gone => ErrorCode::UnknownQueue,
        QueueError::Unavailable { .. } | QueueError::Stopping => ErrorCode::Unavailable,
        QueueError::OutcomeUnknown => ErrorCode::TimedOut,
        QueueError::Full { .. } => ErrorCode::StorageFull,
        QueueError::Overloaded => ErrorCode::Throttled,
    };
    Error::new(code, format!("{queue}: {error}"))
}

/// A queue's machine refused it.
pub(super) fn of_queue_refusal(refusal: &Refusal, queue: &Resource) -> Error {
    let (code, reason) = match refusal {
        Refusal::InUse { consumers_count } => {
            let reason = format!("in use: it has {consumers_count} consumers");
            (ErrorCode::PreconditionFailed, reason)
        }
        Refusal::NotEmpty { ready_count } => {
            let reason = format!("not empty: {ready_count} messages are ready");
            (ErrorCode::PreconditionFailed, reason)
        }
        Refusal::Gone => (ErrorCode::UnknownQueue, "it is no more".to_owned()),
        Refusal::ExclusiveConsumer | Refusal::TooManyConsumers { .. } => {
            (ErrorCode::InvalidRequest, "it takes no consumer".to_owned())
        }
    };
    Error::new(code, format!("{queue}: {reason}"))
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
        | ClusterError::InvalidProducerIdCount { .. } => ErrorCode::InvalidRequest,
        ClusterError::Amqp(refused) => amqp_code(refused),
    }
}

const fn amqp_code(error: &AmqpError) -> ErrorCode {
    match error {
        AmqpError::UnknownVhost { .. } => ErrorCode::UnknownVhost,
        AmqpError::UnknownUser { .. } => ErrorCode::UnknownUser,
        AmqpError::NotFound { resource } => match resource.kind {
            ResourceKind::Queue => ErrorCode::UnknownQueue,
            ResourceKind::Exchange => ErrorCode::InvalidRequest,
        },
        AmqpError::InUse { .. } => ErrorCode::PreconditionFailed,
        AmqpError::Locked { .. }
        | AmqpError::Inequivalent(_)
        | AmqpError::Invalid { .. }
        | AmqpError::DefaultExchange
        | AmqpError::ReservedName { .. }
        | AmqpError::SystemExchange { .. }
        | AmqpError::EmptyName { .. } => ErrorCode::InvalidRequest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Resource {
        Resource::queue("shop", "orders")
    }

    #[test]
    fn what_the_metadata_group_does_not_know_nobody_knows() {
        let vhost = "shop".to_owned();
        let unknown = AmqpError::UnknownVhost { vhost };
        let here = of_amqp(&unknown);
        assert_eq!(here.code(), ErrorCode::UnknownVhost);
        assert_eq!(here.message, "vhost 'shop' not found");
        assert!(here.is_retriable(), "another broker may have heard of it");
        let refused = of_control(&ControlError::Refused(ClusterError::Amqp(unknown)));
        assert_eq!(refused.code(), ErrorCode::UnknownVhost);
        assert!(!refused.is_retriable());
    }

    #[test]
    fn errors_of_queues_name_the_queue_and_what_to_do_about_it() {
        let missing = of_amqp(&queue().not_found());
        assert_eq!(missing.code(), ErrorCode::UnknownQueue);
        for (error, code, is_retriable) in [
            (QueueError::Gone, ErrorCode::UnknownQueue, true),
            (QueueError::OutcomeUnknown, ErrorCode::TimedOut, true),
            (QueueError::Stopping, ErrorCode::Unavailable, true),
            (QueueError::Overloaded, ErrorCode::Throttled, true),
        ] {
            let told = of_queue(&error, &queue());
            assert_eq!((told.code(), told.is_retriable()), (code, is_retriable));
            assert!(told.message.contains("queue 'orders' in vhost 'shop'"));
        }
        let refusal = Refusal::InUse { consumers_count: 2 };
        let told = of_queue_refusal(&refusal, &queue());
        assert_eq!(told.code(), ErrorCode::PreconditionFailed);
        assert!(!told.is_retriable());
        assert!(told.message.contains("2 consumers"), "{}", told.message);
    }
}
