//! One metadata machine with its log.

use std::collections::BTreeMap;

use bytes::Bytes;
use raftmq_core::cluster::{
    Cluster, ClusterError, Command, CreateTopic, Endpoints, Image, LeaderReport, Outcome,
    PartitionInfo, RegisterBroker,
};
use raftmq_core::{
    BrokerEpoch, BrokerId, DirectoryId, Effect, Effects, GroupNumber, Machine, Term, TopicId,
};

use super::{Rows, meta};

/// The id of every cluster in the tests.
pub(crate) const CLUSTER_ID: &str = "test-cluster";

/// A metadata machine in which every command is committed at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Harness {
    pub(crate) cluster: Cluster,
    pub(crate) log: Vec<Bytes>,
    pub(crate) rows: Rows,
}

/// What one command did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Applied {
    pub(crate) reply: Result<Outcome, ClusterError>,
    pub(crate) effects: Vec<Effect>,
}

impl Harness {
    /// A cluster with an id and so many live brokers, from id 1 on, without racks.
    pub(crate) fn with_brokers(count: u32) -> Self {
        let mut harness = Self::created();
        for id in 1..=count {
            harness.add_live_broker(id, "");
        }
        harness
    }

    /// A cluster with an id and no broker.
    pub(crate) fn created() -> Self {
        let mut harness = Self::default();
        let create = Command::CreateCluster {
            cluster_id: CLUSTER_ID.to_owned(),
        };
        assert_eq!(harness.commit(&create).reply, Ok(Outcome::Done));
        harness
    }

    /// Commits a command through its bytes.
    pub(crate) fn commit(&mut self, command: &Command) -> Applied {
        let bytes = command.encode();
        self.log.push(bytes.clone());
        let mut effects = Effects::new();
        let decoded = Cluster::decode(&bytes).unwrap();
        assert_eq!(&decoded, command, "a command survives its bytes");
        let reply = self
            .cluster
            .apply(&meta(self.log.len() as u64, 1), decoded, &mut effects);
        Applied {
            reply,
            effects: effects.drain().collect(),
        }
    }

    /// Commits a command that must be accepted.
    pub(crate) fn accept(&mut self, command: &Command) -> Outcome {
        self.commit(command).reply.unwrap()
    }

    /// Commits a command that must be refused, and checks that nothing changed.
    pub(crate) fn refuse(&mut self, command: &Command) -> ClusterError {
        let before = self.cluster.clone();
        let applied = self.commit(command);
        assert_eq!(self.cluster, before, "a refused command changes nothing");
        assert_eq!(applied.effects, vec![], "a refused command has no effects");
        applied.reply.unwrap_err()
    }

    pub(crate) fn image(&self) -> &Image {
        self.cluster.image()
    }

    pub(crate) fn epoch_of(&self, id: u32) -> BrokerEpoch {
        self.image().broker(BrokerId(id)).unwrap().epoch
    }

    pub(crate) fn add_live_broker(&mut self, id: u32, rack: &str) -> BrokerEpoch {
        let outcome = self.accept(&Command::RegisterBroker(register(id, 1, rack)));
        let Outcome::Registered { epoch } = outcome else {
            panic!("{outcome:?}")
        };
        self.accept(&Command::UnfenceBroker {
            id: BrokerId(id),
            epoch,
        });
        epoch
    }

    pub(crate) fn fence(&mut self, id: u32) -> Applied {
        let epoch = self.epoch_of(id);
        self.commit(&Command::FenceBroker {
            id: BrokerId(id),
            epoch,
        })
    }

    pub(crate) fn unfence(&mut self, id: u32) -> Applied {
        let epoch = self.epoch_of(id);
        self.commit(&Command::UnfenceBroker {
            id: BrokerId(id),
            epoch,
        })
    }

    /// Makes a topic with chosen replicas and gives its groups.
    pub(crate) fn add_topic(
        &mut self,
        name: &str,
        partitions: u32,
        factor: u32,
    ) -> Vec<GroupNumber> {
        let outcome = self.accept(&Command::CreateTopic(topic(name, partitions, factor)));
        let Outcome::TopicCreated { groups, .. } = outcome else {
            panic!("{outcome:?}")
        };
        groups
    }

    /// Makes a topic with one partition on these brokers and gives its group.
    pub(crate) fn add_partition_on(&mut self, name: &str, replicas: &[u32]) -> GroupNumber {
        let create = CreateTopic {
            assignments: vec![brokers(replicas)],
            ..topic(name, 0, 0)
        };
        let outcome = self.accept(&Command::CreateTopic(create));
        let Outcome::TopicCreated { groups, .. } = outcome else {
            panic!("{outcome:?}")
        };
        groups[0]
    }

    pub(crate) fn lead(&mut self, group: GroupNumber, leader: u32, leader_epoch: u64) -> Applied {
        self.commit(&report_leader(group, leader, leader_epoch))
    }

    pub(crate) fn partition(&self, group: GroupNumber) -> PartitionInfo {
        PartitionInfo::clone(self.image().partition(group).unwrap())
    }

    /// Restores what the first `cut` entries of the log made, from rows that were written now and then
    /// and from a checkpoint: each is the same, and ends the same once the rest of the log is applied.
    pub(crate) fn assert_restored_after(&self, cut: usize) {
        let apply = |cluster: &mut Cluster, at: usize| {
            let command = Cluster::decode(&self.log[at]).unwrap();
            let _ = cluster.apply(&meta(at as u64 + 1, 1), command, &mut Effects::new());
        };
        let (mut half, mut rows) = (Cluster::default(), Rows::default());
        for at in 0..cut {
            apply(&mut half, at);
            if at % 3 == 0 {
                rows.update(half.dirty_rows());
            }
        }
        rows.update(half.dirty_rows());

        let mut from_rows = Cluster::restore(rows.iter()).unwrap();
        let mut from_checkpoint = Cluster::restore_checkpoint(&half.checkpoint()).unwrap();
        assert_eq!(from_rows, half);
        assert_eq!(from_checkpoint, half);
        for at in cut..self.log.len() {
            apply(&mut from_rows, at);
            apply(&mut from_checkpoint, at);
        }
        assert_eq!(from_rows, self.cluster);
        assert_eq!(from_checkpoint, self.cluster);
        assert_eq!(from_rows.checkpoint(), self.cluster.checkpoint());
    }

    /// Persists what changed, as the host does now and then.
    pub(crate) fn persist(&mut self) {
        self.rows.update(self.cluster.dirty_rows());
    }
}

pub(crate) fn brokers(ids: &[u32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

pub(crate) fn endpoints(id: u32) -> Endpoints {
    Endpoints {
        grpc: format!("host{id}:9000"),
        http: format!("host{id}:9001"),
        peer: format!("host{id}:9002"),
        kafka: BTreeMap::new(),
    }
}

pub(crate) fn register(id: u32, incarnation: u8, rack: &str) -> RegisterBroker {
    RegisterBroker {
        cluster_id: CLUSTER_ID.to_owned(),
        id: BrokerId(id),
        incarnation: [incarnation; 16],
        endpoints: endpoints(id),
        rack: rack.to_owned(),
        directory_id: DirectoryId::default(),
    }
}

/// An id made of the name: unique enough for tests.
pub(crate) fn topic_id(name: &str) -> TopicId {
    let mut id = [0; 16];
    for (at, byte) in name.bytes().enumerate() {
        id[at % 16] ^= byte.rotate_left(u32::try_from(at / 16).unwrap());
    }
    TopicId(id)
}

pub(crate) fn topic(name: &str, partitions_count: u32, replication_factor: u32) -> CreateTopic {
    CreateTopic {
        name: name.to_owned(),
        topic_id: topic_id(name),
        partitions_count,
        replication_factor,
        assignments: vec![],
        configs: BTreeMap::new(),
    }
}

pub(crate) fn report_leader(group: GroupNumber, leader: u32, leader_epoch: u64) -> Command {
    let report = LeaderReport::Leads {
        group,
        leader: BrokerId(leader),
        leader_epoch: Term(leader_epoch),
    };
    Command::Report {
        reports: vec![report],
    }
}

pub(crate) fn report_isr(group: GroupNumber, leader_epoch: u64, isr: &[u32]) -> Command {
    let report = LeaderReport::InSync {
        group,
        leader_epoch: Term(leader_epoch),
        isr: brokers(isr),
    };
    Command::Report {
        reports: vec![report],
    }
}

pub(crate) fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
