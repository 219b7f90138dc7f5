//! The metadata image: everything the cluster knows about itself, cheap to clone.
//!
//! The maps share structure (`imbl`), so a broker publishes a clone after every apply and
//! readers never lock. Pure data and lookups; does not know how it changes (`apply`), nor which
//! broker reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::cluster::amqp::Amqp;
use crate::cluster::config_keys::{self, ConfigSource, EffectiveConfig};
use crate::cluster::loss::Loss;
use crate::ids::{
    BrokerEpoch, BrokerId, DirectoryId, GroupNumber, LogIndex, PartitionIndex, Term, TopicId,
};
use crate::quota::Quotas;

/// Where a broker listens, each as `host:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The gRPC API for clients.
    pub grpc: String,
    /// Metrics, health and console.
    pub http: String,
    /// Other brokers.
    pub peer: String,
    /// Kafka clients, by the name of the listener; a broker may have none.
    #[serde(default)]
    pub kafka: BTreeMap<String, String>,
}

/// One broker, as it registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broker {
    /// Its id.
    pub id: BrokerId,
    /// Where it listens.
    pub endpoints: Endpoints,
    /// Its rack, for placement; empty = none.
    pub rack: String,
    /// Grows with each registration of a new incarnation.
    pub epoch: BrokerEpoch,
    /// Random, new at each start of the process.
    pub incarnation: [u8; 16],
    /// Fenced brokers lead nothing and get no new replicas; each starts fenced.
    pub is_fenced: bool,
    /// Draining brokers give their leaderships away and get no new ones, as long as another
    /// replica can lead.
    #[serde(default)]
    pub is_draining: bool,
    /// Decommissioned brokers lose their replicas, their vote and in the end their place here.
    #[serde(default)]
    pub is_decommissioned: bool,
    /// The data folder that belongs to this id; zeros = not known.
    #[serde(default)]
    pub directory_id: DirectoryId,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// The groups of its partitions, by partition index.
    pub partitions: Vec<GroupNumber>,
    /// What was set on it; anything else comes from the cluster or the defaults.
    pub configs: BTreeMap<String, String>,
}

/// One partition, or the group of a queue, which is a partition of a hidden topic (ADR 0008).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its Raft group.
    pub group: GroupNumber,
    /// Its topic; [`TopicId::QUEUES`] for a queue's group.
    pub topic_id: TopicId,
    /// Its index in the topic; 0 for a queue's group.
    pub index: PartitionIndex,
    /// Its replicas; the first is the preferred leader.
    pub replicas: Vec<BrokerId>,
    /// Where a running reassignment leads; `None` when none runs.
    pub target: Option<Vec<BrokerId>>,
    /// Brokers of the target that are no replicas yet, in ascending order; empty when none runs.
    pub adding: Vec<BrokerId>,
    /// Brokers that hold, or may hold, a replica and are not in the target, in ascending order: also
    /// those of targets that were given up, which may be voters of the group until its committed
    /// membership says otherwise. Empty when none runs.
    pub removing: Vec<BrokerId>,
    /// Numbers the reassignments of the partition, redirections and cancellations included; 0 =
    /// there was none. A completion names the one that it completes.
    pub move_epoch: u64,
    /// Log id of the membership with which the last completed reassignment ended; `None` when there was
    /// none. Brokers that it left out have wiped their replicas and forgotten for whom they voted: should
    /// one of them become a replica again, it helps nobody to lead who lacks that membership (Raft
    /// section 4.2 takes servers for ones that forget nothing).
    pub settled_at: Option<(Term, LogIndex)>,
    /// Its leader, as far as the metadata group knows.
    pub leader: Option<BrokerId>,
    /// The newest leader epoch (Raft term of the group) that was reported.
    pub leader_epoch: Term,
    /// The replicas in sync, as the leader reported them, in ascending order.
    pub isr: Vec<BrokerId>,
    /// Grows with every change of this description.
    pub partition_epoch: u64,
}

impl PartitionInfo {
    /// Tells whether this is the group of a queue: [`Amqp::queues`] knows which.
    #[must_use]
    pub fn is_queue(&self) -> bool {
        self.topic_id == TopicId::QUEUES
    }

    /// Tells whether a replica is not in sync.
    #[must_use]
    pub fn is_under_replicated(&self) -> bool {
        self.isr.len() < self.replicas.len()
    }

    /// Tells whether a broker holds, may hold, or is to hold, a replica: whether it must keep what it
    /// has of the partition.
    #[must_use]
    pub fn has_replica(&self, broker: BrokerId) -> bool {
        self.all_replicas().any(|replica| replica == broker)
    }

    /// Shows every broker that holds, may hold, or is to hold, a replica, without repetition: the
    /// replicas in their order, then those of a running reassignment.
    pub fn all_replicas(&self) -> impl Iterator<Item = BrokerId> {
        let more = self.adding.iter().chain(&self.removing);
        let others = more.filter(|id| !self.replicas.contains(id));
        self.replicas.iter().chain(others).copied()
    }

    /// Shows where the replicas are, or will be when the running reassignment is over.
    #[must_use]
    pub fn future_replicas(&self) -> &[BrokerId] {
        self.target.as_deref().unwrap_or(&self.replicas)
    }

    /// Tells whether a reassignment runs.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.target.is_some()
    }
}

/// Everything the cluster knows about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    /// The log index of the last command that changed something.
    pub version: u64,
    /// The cluster's id; `None` until it was created.
    pub cluster_id: Option<Arc<str>>,
    /// Brokers by id.
    pub brokers: OrdMap<BrokerId, Arc<Broker>>,
    /// Ids of brokers that were decommissioned; never given to another one.
    pub removed_brokers: OrdSet<BrokerId>,
    /// Topics by id.
    pub topics: OrdMap<TopicId, Arc<Topic>>,
    /// Topic ids by name.
    pub topic_ids: OrdMap<Arc<str>, TopicId>,
    /// Partitions by their group.
    pub partitions: OrdMap<GroupNumber, Arc<PartitionInfo>>,
    /// What was set for the whole cluster.
    pub configs: OrdMap<Arc<str>, Arc<str>>,
    /// Losses that were accepted, by the group in which the partition went on.
    pub losses: OrdMap<GroupNumber, Arc<Loss>>,
    /// What clients are limited to.
    pub client_quotas: Quotas,
    /// Virtual hosts, exchanges, queues, bindings, users.
    pub amqp: Amqp,
    /// The next group's number less one: 0 before the first partition.
    pub last_group: GroupNumber,
    /// The next producer id to hand out.
    pub next_producer_id: i64,
}

impl Image {
    /// Finds a broker.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// Tells whether a broker is registered and not fenced.
    #[must_use]
    pub fn is_alive(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|broker| !broker.is_fenced)
    }

    /// Tells whether a partition has no leader in service.
    #[must_use]
    pub fn is_offline(&self, partition: &PartitionInfo) -> bool {
        partition.leader.is_none_or(|id| !self.is_alive(id))
    }

    /// Shows the brokers that are not fenced.
    pub fn alive_brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values().filter(|broker| !broker.is_fenced)
    }

    /// Returns a copy in which these brokers are draining, too.
    #[must_use]
    pub fn with_draining(&self, brokers: impl IntoIterator<Item = BrokerId>) -> Self {
        let mut image = self.clone();
        for id in brokers {
            if let Some(broker) = self.broker(id).filter(|broker| !broker.is_draining) {
                let draining = Broker {
                    is_draining: true,
                    ..Broker::clone(broker)
                };
                image.brokers.insert(id, Arc::new(draining));
            }
        }
        image
    }

    /// Finds a topic by its name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topic_ids.get(name).and_then(|id| self.topics.get(id))
    }

    /// Finds a partition by its group.
    #[must_use]
    pub fn partition(&self, group: GroupNumber) -> Option<&Arc<PartitionInfo>> {
        self.partitions.get(&group)
    }

    /// Finds a partition by its topic's name and its index.
    #[must_use]
    pub fn partition_of(&self, topic: &str, index: PartitionIndex) -> Option<&Arc<PartitionInfo>> {
        let at = usize::try_from(index.0).ok()?;
        self.topic(topic)?
            .partitions
            .get(at)
            .and_then(|group| self.partitions.get(group))
    }

    /// Shows the partitions of which a broker holds, or is to hold, a replica.
    pub fn partitions_on(&self, broker: BrokerId) -> impl Iterator<Item = &Arc<PartitionInfo>> {
        self.partitions
            .values()
            .filter(move |partition| partition.has_replica(broker))
    }

    /// Returns the groups of which a replica, as this image describes it, may differ from how
    /// `before` did: itself, its topic, the cluster's settings or a broker has changed. Costs as
    /// much as there are differences, or all partitions where one of the last two changed.
    #[must_use]
    pub fn groups_changed_since(&self, before: &Self) -> BTreeSet<GroupNumber> {
        if !before.brokers.ptr_eq(&self.brokers) || !before.configs.ptr_eq(&self.configs) {
            let both = before.partitions.keys().chain(self.partitions.keys());
            return both.copied().collect();
        }
        let of_partition = |difference| match difference {
            DiffItem::Add(group, _)
            | DiffItem::Remove(group, _)
            | DiffItem::Update {
                new: (group, _), ..
            } => *group,
        };
        let partitions = before.partitions.diff(&self.partitions);
        let mut changed: BTreeSet<GroupNumber> = partitions.map(of_partition).collect();
        for difference in before.topics.diff(&self.topics) {
            if let DiffItem::Update {
                new: (_, topic), ..
            } = difference
            {
                changed.extend(&topic.partitions);
            }
        }
        changed
    }

    /// Returns the value of a config key for a topic: the topic's, else the cluster's, else the
    /// default. `None` for a key that does not exist.
    #[must_use]
    pub fn effective_config(&self, topic: Option<&Topic>, key: &str) -> Option<EffectiveConfig> {
        let known = config_keys::find(key)?;
        let from_topic = topic
            .and_then(|topic| topic.configs.get(key))
            .map(String::as_str);
        let from_cluster = self.configs.get(key).map(AsRef::as_ref);
        let (value, source) = match (from_topic, from_cluster) {
            (Some(value), _) => (value, ConfigSource::Topic),
            (None, Some(value)) => (value, ConfigSource::Cluster),
            (None, None) => (known.default, ConfigSource::Default),
        };
        Some(EffectiveConfig {
            key: known,
            value: value.to_owned(),
            source,
        })
    }

    /// Returns a number from the configuration. The default when the key is no number's.
    #[must_use]
    pub fn config_i64(&self, topic: Option<&Topic>, key: &str) -> i64 {
        let value = self.effective_config(topic, key).map(|config| config.value);
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Returns a text from the configuration; empty for a key that does not exist.
    #[must_use]
    pub fn config_text(&self, topic: Option<&Topic>, key: &str) -> String {
        self.effective_config(topic, key)
            .map(|config| config.value)
            .unwrap_or_default()
    }
}
