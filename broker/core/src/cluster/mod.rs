//! The metadata machine: brokers, topics, partitions, leadership, configs, producer ids, AMQP's world.
//!
//! Owns the [`Image`] and every rule about changing it. It deliberately does not know who may
//! propose what (the front ends authorise), how replicas are moved (the controller drives it),
//! nor the time. Source: Kafka's KRaft controller (KIP-500, KIP-631); ARCHITECTURE.md, "Leader election".

pub mod amqp;
pub mod balance;
mod brokers;
pub mod clocks;
mod codec;
pub mod command;
pub mod config_keys;
mod configs;
mod decommission;
pub mod election;
mod error;
pub mod image;
pub mod leadership;
pub mod loss;
pub mod membership;
mod names;
mod partitions;
pub mod placement;
mod quotas;
mod reassignment;
mod rows;
mod topics;
pub mod voters;
pub mod vouches;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::amqp::{Amqp, AmqpCommand, AmqpError};
pub use self::command::{Command, CreateTopic, LeaderReport, RegisterBroker};
pub use self::config_keys::ConfigError;
pub use self::error::ClusterError;
pub use self::image::{Broker, Endpoints, Image, PartitionInfo, Topic};
pub use self::names::{check_topic_name, collides_with, is_internal_topic};
pub use self::quotas::AlterClientQuotas;

use crate::codec::{CodecError, RestoreError};
use crate::effect::{Effect, Effects};
use crate::ids::{BrokerEpoch, BrokerId, GroupNumber, TopicId};
use crate::machine::{EntryMeta, Machine, RowUpdates};
use crate::quota::QuotaEntity;

/// What an accepted command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is done, or was done before.
    Done,
    /// The broker is registered with this epoch.
    Registered {
        /// Names this registration.
        epoch: BrokerEpoch,
    },
    /// The broker is registered under an id that was chosen for it.
    IdAllotted {
        /// The id.
        id: BrokerId,
        /// Names this registration.
        epoch: BrokerEpoch,
    },
    /// The topic is there.
    TopicCreated {
        /// Its id.
        topic_id: TopicId,
        /// The groups of its partitions, by partition index.
        groups: Vec<GroupNumber>,
    },
    /// The topic has more partitions.
    PartitionsAdded {
        /// The groups of the new ones.
        groups: Vec<GroupNumber>,
    },
    /// Reports were taken, but for these, each for its own reason.
    Reported {
        /// Why those were not.
        refused: Vec<ClusterError>,
    },
    /// So many groups lost their leader.
    LeadersCleared {
        /// How many.
        count: usize,
    },
    /// The partition goes on in this group, or did so before.
    LossAccepted {
        /// The new group.
        group: GroupNumber,
    },
    /// These producer ids belong to the broker that asked.
    ProducerIds {
        /// The first.
        first: i64,
        /// How many.
        count: u32,
    },
    /// The queue is there.
    QueueDeclared {
        /// Its group.
        group: GroupNumber,
        /// It was made just now.
        is_new: bool,
    },
}

/// What the proposer is told.
pub type Reply = Result<Outcome, ClusterError>;

/// Which rows changed since they were last taken.
#[derive(Debug, Clone, Default)]
struct Dirty {
    /// Something was marked since the last look, whatever was marked before.
    has_changed: bool,
    head: bool,
    configs: bool,
    brokers: BTreeSet<BrokerId>,
    removed_brokers: BTreeSet<BrokerId>,
    topics: BTreeSet<TopicId>,
    partitions: BTreeSet<GroupNumber>,
    losses: BTreeSet<GroupNumber>,
    quotas: BTreeSet<QuotaEntity>,
    amqp: amqp::AmqpDirty,
}

/// The replicated metadata state.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    image: Image,
    dirty: Dirty,
}

/// Compares the state, not which rows are waiting to be written.
impl PartialEq for Cluster {
    fn eq(&self, other: &Self) -> bool {
        self.image == other.image
    }
}

impl Cluster {
    /// Shows the state; clone it to publish it.
    #[must_use]
    pub const fn image(&self) -> &Image {
        &self.image
    }

    /// Says what a command would do now, without doing it (`validate_only`).
    ///
    /// # Errors
    /// As the command itself.
    pub fn preview(&self, command: Command) -> Reply {
        let meta = EntryMeta {
            log_index: self.image.version + 1,
            term: 0,
            proposed_at_ms: 0,
            machine_version: crate::machine::MACHINE_VERSION,
        };
        Self {
            image: self.image.clone(),
            dirty: Dirty::default(),
        }
        .apply(&meta, command, &mut Effects::new())
    }

    fn execute(&mut self, meta: &EntryMeta, command: Command, effects: &mut Effects) -> Reply {
        match command {
            Command::CreateCluster { cluster_id } => self.create_cluster(&cluster_id),
            Command::RegisterBroker(register) => self.register_broker(meta, register, effects),
            Command::FenceBroker { id, epoch } => self.fence_broker(meta, id, epoch, effects),
            Command::UnfenceBroker { id, epoch } => self.unfence_broker(id, epoch, effects),
            Command::SetBrokerDraining { id, is_draining } => {
                self.set_broker_draining(id, is_draining, effects)
            }
            Command::DecommissionBroker { id } => self.decommission_broker(id, effects),
            Command::RemoveBroker { id } => self.remove_broker(id, effects),
            Command::CreateTopic(create) => self.create_topic(create, effects),
            Command::DeleteTopic { topic_id } => self.delete_topic(topic_id, effects),
            Command::AddPartitions {
                topic_id,
                partitions_count,
                assignments,
            } => self.add_partitions(topic_id, partitions_count, assignments, effects),
            Command::AlterTopicConfigs {
                topic_id,
                set,
                unset,
            } => self.alter_topic_configs(topic_id, set, &unset, effects),
            Command::AlterClusterConfigs { set, unset } => self.alter_cluster_configs(&set, &unset),
            Command::Report { reports } => self.take_reports(reports, effects),
            Command::ClearLeader { groups } => Ok(self.clear_leaders(&groups, effects)),
            Command::SetReplicas { group, target } => self.set_replicas(group, target, effects),
            Command::CompleteReassignment {
                group,
                replicas,
                move_epoch,
                membership,
            } => self.complete_reassignment(group, &replicas, (move_epoch, membership), effects),
            Command::CancelReassignment { group } => self.cancel_reassignment(group, effects),
            Command::AllocateProducerIds { broker, count } => {
                self.allocate_producer_ids(broker, count)
            }
            Command::AcceptLoss(accept) => self.accept_loss(meta, accept, effects),
            Command::AlterClientQuotas(alter) => self.alter_client_quotas(alter),
            Command::Amqp(command) => self.execute_amqp(command, effects),
        }
    }

    /// Puts a changed broker in.
    fn put_broker(&mut self, broker: Broker, effects: &mut Effects) {
        let id = broker.id;
        self.image.brokers.insert(id, Arc::new(broker));
        self.dirty.mark_broker(id);
        effects.push(Effect::BrokerChanged { broker: id });
    }

    /// Puts a changed partition in.
    fn put_partition(&mut self, mut partition: PartitionInfo, effects: &mut Effects) {
        partition.partition_epoch += 1;
        let group = partition.group;
        assert!(
            !partition.replicas.is_empty(),
            "partition group {group} has no replica"
        );
        self.image.partitions.insert(group, Arc::new(partition));
        self.dirty.mark_partition(group);
        effects.push(Effect::GroupChanged { group });
    }

    /// Puts a changed topic in.
    fn put_topic(&mut self, topic: Topic) {
        let id = topic.id;
        self.image.topics.insert(id, Arc::new(topic));
        self.dirty.mark_topic(id);
    }

    fn partition_of_group(&self, group: GroupNumber) -> Result<PartitionInfo, ClusterError> {
        self.image
            .partition(group)
            .map(|partition| PartitionInfo::clone(partition))
            .ok_or(ClusterError::UnknownGroup { group })
    }

    fn topic_of_id(&self, topic_id: TopicId) -> Result<Topic, ClusterError> {
        self.image
            .topics
            .get(&topic_id)
            .map(|topic| Topic::clone(topic))
            .ok_or(ClusterError::UnknownTopic { topic_id })
    }
}

impl Machine for Cluster {
    type Command = Command;
    type Reply = Reply;

    fn decode(bytes: &Bytes) -> Result<Command, CodecError> {
        Command::decode(bytes)
    }

    fn apply(&mut self, meta: &EntryMeta, command: Command, effects: &mut Effects) -> Reply {
        self.dirty.has_changed = false;
        let effects_before = effects.as_slice().len();
        let reply = self.execute(meta, command, effects);
        let has_changed = self.dirty.has_changed;
        assert!(
            reply.is_ok() || !has_changed && effects.as_slice().len() == effects_before,
            "a refused command changed the metadata: {reply:?}"
        );
        if has_changed {
            self.image.version = meta.log_index;
            self.dirty.mark_head();
            effects.push(Effect::ImageChanged);
        }
        reply
    }

    fn dirty_rows(&mut self) -> RowUpdates {
        rows::take_dirty(self)
    }

    fn restore(rows: impl Iterator<Item = (Bytes, Bytes)>) -> Result<Self, RestoreError> {
        rows::restore(rows)
    }

    fn checkpoint(&self) -> Bytes {
        rows::checkpoint(self)
    }

    fn restore_checkpoint(bytes: &Bytes) -> Result<Self, RestoreError> {
        rows::restore_checkpoint(bytes)
    }
}

impl Dirty {
    const fn mark_head(&mut self) {
        self.head = true;
        self.has_changed = true;
    }

    const fn mark_configs(&mut self) {
        self.configs = true;
        self.has_changed = true;
    }

    fn mark_broker(&mut self, id: BrokerId) {
        self.brokers.insert(id);
        self.has_changed = true;
    }

    fn mark_removed(&mut self, id: BrokerId) {
        self.brokers.insert(id);
        self.removed_brokers.insert(id);
        self.has_changed = true;
    }

    fn mark_topic(&mut self, id: TopicId) {
        self.topics.insert(id);
        self.has_changed = true;
    }

    fn mark_partition(&mut self, group: GroupNumber) {
        self.partitions.insert(group);
        self.has_changed = true;
    }

    fn mark_loss(&mut self, group: GroupNumber) {
        self.losses.insert(group);
        self.has_changed = true;
    }

    fn mark_quota(&mut self, entity: QuotaEntity) {
        self.quotas.insert(entity);
        self.has_changed = true;
    }

    const fn mark_amqp(&mut self) -> &mut amqp::AmqpDirty {
        self.has_changed = true;
        &mut self.amqp
    }
}
