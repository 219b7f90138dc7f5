//! What services refuse, in the words of the connection's machine, which has the codes and texts.
//!
//! The one table of this front end. Does not decide anything.

use raftmq_amqp::{Kind, Refusal};
use raftmq_amqp_protocol::Text;
use raftmq_core::cluster::amqp::{Resource, ResourceKind};
use raftmq_core::cluster::{AmqpError, ClusterError};
use raftmq_core::queue;

use crate::controller::ControlError;
use crate::queues::QueueError;

/// What a request was about, for refusals that do not say it themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    pub(super) kind: Kind,
    pub(super) name: Text,
}

impl About {
    pub(super) const fn queue(name: Text) -> Self {
        Self {
            kind: Kind::Queue,
            name,
        }
    }

    pub(super) const fn exchange(name: Text) -> Self {
        Self {
            kind: Kind::Exchange,
            name,
        }
    }

    pub(super) fn unknown(&self) -> Refusal {
        Refusal::Unknown(self.kind, self.name.clone())
    }

    fn unavailable(&self) -> Refusal {
        Refusal::Unavailable(self.kind, self.name.clone())
    }

    /// A metadata command came to nothing.
    pub(super) fn refuse_command(&self, error: ControlError) -> Refusal {
        match error {
            ControlError::NoController => self.unavailable(),
            ControlError::Refused(refused) => self.refuse_cluster(refused),
        }
    }

    fn refuse_cluster(&self, error: ClusterError) -> Refusal {
        match error {
            ClusterError::Amqp(error) => of_amqp(error),
            ClusterError::LimitExceeded { .. } => Refusal::TooMany(error.to_string()),
            // The cluster begins, or this broker is being taken in again: that passes.
            ClusterError::InvalidReplicationFactor { max: 0, .. }
            | ClusterError::BrokerFenced { .. }
            | ClusterError::StaleBrokerEpoch { .. } => self.unavailable(),
            ClusterError::TopicExists { .. }
            | ClusterError::TopicIdInUse { .. }
            | ClusterError::InvalidTopicName { .. }
            | ClusterError::UnknownTopic { .. }
            | ClusterError::UnknownGroup { .. }
            | ClusterError::InvalidPartitionsCount { .. }
            | ClusterError::InvalidReplicationFactor { .. }
            | ClusterError::InvalidConfig(_)
            | ClusterError::InvalidAssignment { .. }
            | ClusterError::UnknownBroker { .. }
            | ClusterError::BrokerRemoved { .. }
            | ClusterError::NoReassignment { .. }
            | ClusterError::StaleLeaderEpoch { .. }
            | ClusterError::ClusterIdMismatch { .. }
            | ClusterError::BrokerIdInUse { .. }
            | ClusterError::BrokerIdOfAnotherDirectory { .. }
            | ClusterError::LastBroker { .. }
            | ClusterError::NotDecommissioned { .. }
            | ClusterError::BrokerHoldsReplicas { .. }
            | ClusterError::MetadataQuorumLost { .. }
            | ClusterError::LeaderUnknown { .. }
            | ClusterError::NotAReplica { .. }
            | ClusterError::IsrWithoutLeader { .. }
            | ClusterError::QuorumLost { .. }
            | ClusterError::ReassignmentMismatch { .. }
            | ClusterError::PartitionChanged { .. }
            | ClusterError::InvalidProducerIdCount { .. }
            | ClusterError::InvalidQuota(_) => Refusal::Internal(error.to_string()),
        }
    }

    /// A queue's service could not do it.
    pub(super) fn refuse_queue(&self, error: &QueueError) -> Refusal {
        match error {
            QueueError::Gone => self.unknown(),
            QueueError::Full { .. } | QueueError::Overloaded => {
                Refusal::TooMany(format!("queue '{}' cannot be used now: {error}", self.name))
            }
            QueueError::Unavailable { .. } | QueueError::OutcomeUnknown | QueueError::Stopping => {
                self.unavailable()
            }
        }
    }

    /// A queue's machine refused it.
    pub(super) fn refuse_machine(&self, refusal: queue::Refusal) -> Refusal {
        let name = self.name.clone();
        match refusal {
            queue::Refusal::ExclusiveConsumer => Refusal::ExclusiveConsumer(name),
            queue::Refusal::TooManyConsumers { limit } => Refusal::TooMany(format!(
                "queue '{name}' has {limit} consumers, the most it may have"
            )),
            queue::Refusal::InUse { .. } => Refusal::InUse(Kind::Queue, name),
            queue::Refusal::NotEmpty { .. } => Refusal::NotEmpty(name),
            queue::Refusal::Gone => self.unknown(),
        }
    }
}

/// What the metadata says, where nothing else is known of the request.
pub(super) fn of_amqp(error: AmqpError) -> Refusal {
    match error {
        AmqpError::UnknownVhost { .. } => Refusal::UnknownVhost,
        AmqpError::NotFound { resource } => {
            let (kind, name) = split(resource);
            Refusal::Unknown(kind, name)
        }
        AmqpError::Locked { resource } => Refusal::Locked(split(resource).1),
        AmqpError::Inequivalent(difference) => {
            let (kind, of) = split(difference.resource);
            Refusal::Inequivalent {
                name: difference.argument,
                kind,
                of,
                received: difference.received,
                current: difference.current,
            }
        }
        AmqpError::Invalid { reason } => Refusal::BadArgument(reason),
        AmqpError::InUse { resource } => {
            let (kind, name) = split(resource);
            Refusal::InUse(kind, name)
        }
        AmqpError::ReservedName { kind, name } => {
            let kind = if kind == "queue" {
                Kind::Queue
            } else {
                Kind::Exchange
            };
            Refusal::ReservedName(kind, text(name))
        }
        AmqpError::DefaultExchange | AmqpError::SystemExchange { .. } => {
            Refusal::Forbidden(error.to_string())
        }
        AmqpError::EmptyName { .. } => Refusal::BadArgument(error.to_string()),
        AmqpError::UnknownUser { .. } => Refusal::Internal(error.to_string()),
    }
}

fn split(resource: Resource) -> (Kind, Text) {
    let kind = match resource.kind {
        ResourceKind::Exchange => Kind::Exchange,
        ResourceKind::Queue => Kind::Queue,
    };
    (kind, text(resource.name))
}

/// Names come from short strings, or are shown cut.
pub(super) fn text(name: String) -> Text {
    Text::try_from(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_what_the_metadata_named() {
        let missing = Resource::queue("/", "orders").not_found();
        let name = Text::from_static("orders");
        assert_eq!(
            of_amqp(missing),
            Refusal::Unknown(Kind::Queue, name.clone())
        );
        let resource = Resource::exchange("/", "amq.topic");
        let system = of_amqp(AmqpError::SystemExchange { resource });
        let words = "deletion of system exchange 'amq.topic' in vhost '/' not allowed";
        assert_eq!(system, Refusal::Forbidden(words.to_owned()));
        let locked = AmqpError::Locked {
            resource: Resource::queue("/", "orders"),
        };
        assert_eq!(of_amqp(locked), Refusal::Locked(name));
    }

    #[test]
    fn what_passes_is_told_as_unavailable_and_not_as_a_bug() {
        let about = About::queue(Text::from_static("q"));
        let unavailable = Refusal::Unavailable(Kind::Queue, Text::from_static("q"));
        assert_eq!(
            about.refuse_command(ControlError::NoController),
            unavailable
        );
        assert_eq!(about.refuse_queue(&QueueError::OutcomeUnknown), unavailable);
        assert_eq!(about.refuse_queue(&QueueError::Gone), about.unknown());
        let in_use = queue::Refusal::InUse { consumers_count: 2 };
        let expected = Refusal::InUse(Kind::Queue, Text::from_static("q"));
        assert_eq!(about.refuse_machine(in_use), expected);
    }
}
