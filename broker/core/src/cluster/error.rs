//! Why the metadata machine refuses a command. Nothing is changed then.
//!
//! Carries the numbers, so that a front end can make its protocol's code of it and a caller can
//! tell retry from refuse without reading text. Serializable, because a command may be proposed
//! on behalf of another broker.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cluster::amqp::AmqpError;
use crate::cluster::config_keys::ConfigError;
use crate::ids::{BrokerEpoch, BrokerId, GroupNumber, Term, TopicId};
use crate::quota::QuotaError;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ClusterError {
    /// The cluster has another id, or none yet.
    #[error("cluster id is {current:?}, {actual:?} came")]
    ClusterIdMismatch {
        /// The cluster's id.
        current: Option<String>,
        /// What came.
        actual: String,
    },
    /// The partition is not as it was when that was decided.
    #[error("group {group} has changed since that was decided")]
    PartitionChanged {
        /// Its group.
        group: GroupNumber,
    },
    /// No such broker.
    #[error("broker {broker} is not registered")]
    UnknownBroker {
        /// The broker.
        broker: BrokerId,
    },
    /// Another process with this id is alive.
    #[error("broker id {broker} is in use by a live broker with epoch {epoch}")]
    BrokerIdInUse {
        /// The broker.
        broker: BrokerId,
        /// The epoch of the one that is alive.
        epoch: BrokerEpoch,
    },
    /// The id belongs to another data folder: that one was wiped, or is another broker's.
    #[error(
        "broker id {broker} belongs to another data folder{}; an id stands for its disk: start this \
         broker with a new id, or let the cluster choose one",
        if *is_alive { ", whose broker is alive" } else { "" }
    )]
    BrokerIdOfAnotherDirectory {
        /// The broker.
        broker: BrokerId,
        /// Whether the other one is in service.
        is_alive: bool,
    },
    /// The broker was decommissioned.
    #[error(
        "broker {broker} was decommissioned and is no longer part of the cluster; stop it, and start \
         a new broker with an empty data folder and a new id"
    )]
    BrokerRemoved {
        /// The broker.
        broker: BrokerId,
    },
    /// There would be no broker left.
    #[error("broker {broker} is the last one that is not decommissioned")]
    LastBroker {
        /// The broker.
        broker: BrokerId,
    },
    /// Only a decommissioned broker can be removed.
    #[error("broker {broker} is not decommissioned")]
    NotDecommissioned {
        /// The broker.
        broker: BrokerId,
    },
    /// A broker with replicas cannot be removed.
    #[error("broker {broker} holds replicas of {partitions_count} partitions")]
    BrokerHoldsReplicas {
        /// The broker.
        broker: BrokerId,
        /// Of so many.
        partitions_count: usize,
    },
    /// Too few voters of the metadata group would be alive.
    #[error(
        "without broker {broker} the metadata group would have {alive_count} live voters of \
         {voters_count}, and a majority is {required_count}"
    )]
    MetadataQuorumLost {
        /// The broker.
        broker: BrokerId,
        /// Voters that would be alive.
        alive_count: usize,
        /// Voters that there would be.
        voters_count: usize,
        /// How many of them must be alive.
        required_count: usize,
    },
    /// The request names an older registration.
    #[error("broker {broker} has epoch {current}, {actual} came")]
    StaleBrokerEpoch {
        /// The broker.
        broker: BrokerId,
        /// Its epoch.
        current: BrokerEpoch,
        /// What came.
        actual: BrokerEpoch,
    },
    /// The broker is fenced.
    #[error("broker {broker} is fenced")]
    BrokerFenced {
        /// The broker.
        broker: BrokerId,
    },
    /// Too many of something.
    #[error("{what}: {actual} is over the limit of {limit}")]
    LimitExceeded {
        /// What is counted.
        what: String,
        /// How many there would be.
        actual: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The name breaks Kafka's rules.
    #[error("topic name {name:?} is invalid: {reason}")]
    InvalidTopicName {
        /// The name.
        name: String,
        /// The rule it breaks.
        reason: String,
    },
    /// The name is taken.
    #[error("topic {name:?} exists already with id {topic_id}")]
    TopicExists {
        /// The name.
        name: String,
        /// The topic that has it.
        topic_id: TopicId,
    },
    /// The id is taken by a topic of another name.
    #[error("topic id {topic_id} is in use")]
    TopicIdInUse {
        /// The id.
        topic_id: TopicId,
    },
    /// No such topic.
    #[error("topic {topic_id} does not exist")]
    UnknownTopic {
        /// The id.
        topic_id: TopicId,
    },
    /// No such partition group.
    #[error("partition group {group} does not exist")]
    UnknownGroup {
        /// The group.
        group: GroupNumber,
    },
    /// The number of partitions is zero, too large, or not more than there are.
    #[error("{actual} partitions asked for, {min} to {max} are possible")]
    InvalidPartitionsCount {
        /// What was asked for.
        actual: u32,
        /// The smallest that is possible.
        min: u32,
        /// The largest that is possible.
        max: u32,
    },
    /// The number of replicas is zero, or larger than the number of live brokers.
    #[error("replication factor {actual} asked for, 1 to {max} are possible with {max} brokers")]
    InvalidReplicationFactor {
        /// What was asked for.
        actual: u32,
        /// Brokers that are alive.
        max: u32,
    },
    /// A list of replicas is empty, repeats a broker, or has another length than the others.
    #[error("replicas of partition {partition} are invalid: {reason}")]
    InvalidAssignment {
        /// The partition's index, or its group for a reassignment.
        partition: u64,
        /// What is wrong.
        reason: String,
    },
    /// A config key or value is invalid.
    #[error(transparent)]
    InvalidConfig(#[from] ConfigError),
    /// A client quota is invalid, or one too many.
    #[error(transparent)]
    InvalidQuota(#[from] QuotaError),
    /// A report for an older leader epoch than the one that is known.
    #[error("group {group} has leader epoch {current}, {actual} came")]
    StaleLeaderEpoch {
        /// The group.
        group: GroupNumber,
        /// The newest leader epoch.
        current: Term,
        /// What came.
        actual: Term,
    },
    /// A report for a leader epoch whose leader is not known.
    #[error("group {group} has no known leader in epoch {leader_epoch}")]
    LeaderUnknown {
        /// The group.
        group: GroupNumber,
        /// The leader epoch that came.
        leader_epoch: Term,
    },
    /// A broker without a replica was named.
    #[error("broker {broker} has no replica of group {group}")]
    NotAReplica {
        /// The group.
        group: GroupNumber,
        /// The broker.
        broker: BrokerId,
    },
    /// In-sync replicas must hold the leader.
    #[error("the in-sync replicas of group {group} lack the leader {leader}")]
    IsrWithoutLeader {
        /// The group.
        group: GroupNumber,
        /// Its leader.
        leader: BrokerId,
    },
    /// Too few of the wanted replicas are alive to be a majority: the partition would have no leader.
    #[error(
        "of the replicas wanted for group {group} only {alive_count} are alive, a majority is {required_count}"
    )]
    QuorumLost {
        /// The group.
        group: GroupNumber,
        /// Wanted replicas that are alive.
        alive_count: usize,
        /// How many must be.
        required_count: usize,
    },
    /// There is no reassignment to cancel.
    #[error("group {group} is not being moved")]
    NoReassignment {
        /// The group.
        group: GroupNumber,
    },
    /// A completion that does not match the running reassignment.
    #[error("group {group} has no reassignment to these replicas")]
    ReassignmentMismatch {
        /// The group.
        group: GroupNumber,
    },
    /// Zero or too many producer ids asked for, or none left.
    #[error("{actual} producer ids asked for, 1 to {max} are possible")]
    InvalidProducerIdCount {
        /// What was asked for.
        actual: u32,
        /// The largest that is possible.
        max: u32,
    },
    /// A command about AMQP's world.
    #[error(transparent)]
    Amqp(#[from] AmqpError),
}
