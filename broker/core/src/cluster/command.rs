//! What can be proposed to the metadata group. Their bytes stand in `codec`.
//!
//! The proposer puts in anything random (ids, incarnations). Knows nothing of the state.

use std::collections::BTreeMap;

use crate::cluster::amqp::AmqpCommand;
use crate::cluster::image::Endpoints;
use crate::cluster::loss::AcceptLoss;
use crate::cluster::quotas::AlterClientQuotas;
use crate::ids::{BrokerEpoch, BrokerId, DirectoryId, GroupNumber, LogIndex, Term, TopicId};

/// A broker's registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterBroker {
    /// The cluster the broker's data folder belongs to.
    pub cluster_id: String,
    /// Its id; 0 = choose one that nobody has had, or the one that the directory has.
    pub id: BrokerId,
    /// Random, new at each start of the process.
    pub incarnation: [u8; 16],
    /// Where it listens.
    pub endpoints: Endpoints,
    /// Its rack; empty = none.
    pub rack: String,
    /// Made at random with the data folder, and kept in it; zeros = not known.
    pub directory_id: DirectoryId,
}

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopic {
    /// Its name.
    pub name: String,
    /// Its id, random.
    pub topic_id: TopicId,
    /// How many partitions; 0 = `num.partitions`, or as many as there are assignments.
    pub partitions_count: u32,
    /// How many replicas each; 0 = `default.replication.factor`, or as the assignments say.
    pub replication_factor: u32,
    /// The replicas of each partition by index, preferred leader first; empty = choose.
    pub assignments: Vec<Vec<BrokerId>>,
    /// What is set on it.
    pub configs: BTreeMap<String, String>,
}

/// What can be proposed to the metadata group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Gives the cluster its id, once. Repeating it with the same id changes nothing.
    CreateCluster {
        /// The id.
        cluster_id: String,
    },
    /// Makes a broker known, fenced. Repeating it with the same incarnation keeps the epoch.
    RegisterBroker(RegisterBroker),
    /// Takes a broker out of service: it leads nothing any more. Repeating it changes nothing.
    FenceBroker {
        /// The broker.
        id: BrokerId,
        /// The registration that is meant.
        epoch: BrokerEpoch,
    },
    /// Takes a broker into service. Repeating it changes nothing.
    UnfenceBroker {
        /// The broker.
        id: BrokerId,
        /// The registration that is meant.
        epoch: BrokerEpoch,
    },
    /// Lets a broker give its leaderships away and get no new ones, or ends that. Outlives
    /// restarts of the broker. Repeating it changes nothing.
    SetBrokerDraining {
        /// The broker.
        id: BrokerId,
        /// Whether it drains from now on.
        is_draining: bool,
    },
    /// Lets a broker drain for good: it is to lose its replicas, its vote and its place in the image.
    /// Ends with `SetBrokerDraining`, as long as it is not over. Repeating it changes nothing.
    DecommissionBroker {
        /// The broker.
        id: BrokerId,
    },
    /// Forgets a decommissioned broker that holds no replica; nobody gets its id again. Repeating it
    /// changes nothing.
    RemoveBroker {
        /// The broker.
        id: BrokerId,
    },
    /// Makes a topic. Repeating it with the same topic id gives the same answer.
    CreateTopic(CreateTopic),
    /// Deletes a topic and its data.
    DeleteTopic {
        /// The topic.
        topic_id: TopicId,
    },
    /// Gives a topic more partitions.
    AddPartitions {
        /// The topic.
        topic_id: TopicId,
        /// How many there are to be.
        partitions_count: u32,
        /// The replicas of each new one; empty = choose.
        assignments: Vec<Vec<BrokerId>>,
    },
    /// Sets and unsets configs of a topic.
    AlterTopicConfigs {
        /// The topic.
        topic_id: TopicId,
        /// Keys to set.
        set: BTreeMap<String, String>,
        /// Keys to set back to the cluster's value or the default.
        unset: Vec<String>,
    },
    /// Sets and unsets configs of the cluster.
    AlterClusterConfigs {
        /// Keys to set.
        set: BTreeMap<String, String>,
        /// Keys to set back to the default.
        unset: Vec<String>,
    },
    /// What leaders say of their groups, [`REPORTS_COUNT_MAX`](crate::limits::REPORTS_COUNT_MAX) at most. Each is taken by
    /// itself, in this order; the command is refused when none could be taken. Repetition changes nothing.
    Report {
        /// What they say.
        reports: Vec<LeaderReport>,
    },
    /// The leaders of these groups are fenced: nobody leads them. Others are left alone.
    ClearLeader {
        /// The groups.
        groups: Vec<GroupNumber>,
    },
    /// Starts a reassignment, or sends the running one elsewhere. Another order of the replicas is
    /// set at once. Repetition changes nothing.
    SetReplicas {
        /// The group.
        group: GroupNumber,
        /// Its future replicas, preferred leader first.
        target: Vec<BrokerId>,
    },
    /// The group's committed membership is what the reassignment wanted: nobody else holds a
    /// replica any more. Repetition changes nothing.
    CompleteReassignment {
        /// The group.
        group: GroupNumber,
        /// Its replicas now.
        replicas: Vec<BrokerId>,
        /// Which reassignment it was ([`PartitionInfo::move_epoch`]); 0 = not known.
        ///
        /// [`PartitionInfo::move_epoch`]: crate::cluster::PartitionInfo::move_epoch
        move_epoch: u64,
        /// Log id of the committed membership; `None` = not known.
        membership: Option<(Term, LogIndex)>,
    },
    /// Sends the running reassignment back to the replicas from which it came. Repetition changes
    /// nothing.
    CancelReassignment {
        /// The group.
        group: GroupNumber,
    },
    /// Hands out producer ids. Repeating it hands out others.
    AllocateProducerIds {
        /// The broker they are for.
        broker: BrokerId,
        /// How many.
        count: u32,
    },
    /// Lets a partition go on from one replica, in a new group. Repetition changes nothing.
    AcceptLoss(AcceptLoss),
    /// Sets and removes client quotas. Repetition changes nothing.
    AlterClientQuotas(AlterClientQuotas),
    /// Virtual hosts, exchanges, queues, bindings, users.
    Amqp(AmqpCommand),
}

/// What the leader of a group says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaderReport {
    /// It leads.
    Leads {
        /// The group.
        group: GroupNumber,
        /// The broker that leads.
        leader: BrokerId,
        /// The Raft term of the group in which it leads.
        leader_epoch: Term,
    },
    /// These replicas are in sync.
    InSync {
        /// The group.
        group: GroupNumber,
        /// The term in which the sender leads.
        leader_epoch: Term,
        /// The replicas in sync.
        isr: Vec<BrokerId>,
    },
}
