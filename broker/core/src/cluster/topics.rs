//! Commands that make, grow and delete topics.
//!
//! Every check stands before the first change. Where partitions go is `placement`'s choice; who
//! leads them is the controller's.

use std::sync::Arc;

use crate::cluster::brokers::over_limit;
use crate::cluster::command::CreateTopic;
use crate::cluster::config_keys::{DEFAULT_REPLICATION_FACTOR, NUM_PARTITIONS};
use crate::cluster::configs::check_topic_configs;
use crate::cluster::image::{PartitionInfo, Topic};
use crate::cluster::{Cluster, ClusterError, Outcome, Reply, check_topic_name, placement};
use crate::effect::Effects;
use crate::ids::{BrokerId, GroupNumber, PartitionIndex, Term, TopicId};
use crate::limits::{
    PARTITIONS_COUNT_MAX, REPLICATION_FACTOR_MAX, TOPIC_PARTITIONS_COUNT_MAX, TOPICS_COUNT_MAX,
};

/// Replicas of a topic that says nothing, when there are as many brokers (ARCHITECTURE.md, "Mechanisms").
const REPLICATION_FACTOR_WANTED: u32 = 3;

impl Cluster {
    pub(super) fn create_topic(&mut self, create: CreateTopic, effects: &mut Effects) -> Reply {
        if let Some(same) = self.image.topics.get(&create.topic_id) {
            return same_topic(same, &create);
        }
        if create.topic_id == TopicId::QUEUES {
            let topic_id = create.topic_id;
            return Err(ClusterError::TopicIdInUse { topic_id });
        }
        self.check_new_topic(&create)?;
        let assignments = self.assignments_of(&create)?;
        let CreateTopic {
            name,
            topic_id,
            configs,
            ..
        } = create;
        self.image.topic_ids.insert(name.as_str().into(), topic_id);
        let groups = self.put_partitions(topic_id, 0, assignments, effects);
        self.put_topic(Topic {
            id: topic_id,
            name,
            partitions: groups.clone(),
            configs,
        });
        Ok(Outcome::TopicCreated { topic_id, groups })
    }

    pub(super) fn delete_topic(&mut self, topic_id: TopicId, effects: &mut Effects) -> Reply {
        let topic = self.topic_of_id(topic_id)?;
        self.image.topics.remove(&topic_id);
        self.image.topic_ids.remove(topic.name.as_str());
        self.dirty.mark_topic(topic_id);
        for group in topic.partitions {
            self.forget_partition(group, effects);
        }
        assert_eq!(
            self.image.topics.len(),
            self.image.topic_ids.len(),
            "every topic has exactly one name"
        );
        Ok(Outcome::Done)
    }

    pub(super) fn add_partitions(
        &mut self,
        topic_id: TopicId,
        partitions_count: u32,
        assignments: Vec<Vec<BrokerId>>,
        effects: &mut Effects,
    ) -> Reply {
        let mut topic = self.topic_of_id(topic_id)?;
        let current = count_u32(topic.partitions.len());
        self.check_partitions_count(partitions_count, current + 1)?;
        let added = partitions_count - current;
        let replication_factor = topic
            .partitions
            .first()
            .and_then(|group| self.image.partition(*group))
            .map_or(1, |partition| count_u32(partition.future_replicas().len()));
        let assignments = if assignments.is_empty() {
            self.place(added, replication_factor)?
        } else {
            self.check_assignments(&assignments, added, replication_factor)?;
            assignments
        };
        let groups = self.put_partitions(topic_id, current, assignments, effects);
        topic.partitions.extend(&groups);
        self.put_topic(topic);
        Ok(Outcome::PartitionsAdded { groups })
    }

    fn check_new_topic(&self, create: &CreateTopic) -> Result<(), ClusterError> {
        check_topic_name(&create.name)?;
        if let Some(topic_id) = self.image.topic_ids.get(create.name.as_str()) {
            let name = create.name.clone();
            return Err(ClusterError::TopicExists {
                name,
                topic_id: *topic_id,
            });
        }
        let topics_count = self.image.topics.len() + 1;
        if topics_count > TOPICS_COUNT_MAX {
            return Err(over_limit("topics", topics_count, TOPICS_COUNT_MAX));
        }
        check_topic_configs(&create.configs)
    }

    /// Takes the replicas the command names, or chooses them.
    fn assignments_of(&self, create: &CreateTopic) -> Result<Vec<Vec<BrokerId>>, ClusterError> {
        let named = &create.assignments;
        let partitions_count = match (create.partitions_count, named.first()) {
            (0, Some(_)) => count_u32(named.len()),
            (0, None) => u32::try_from(self.image.config_i64(None, NUM_PARTITIONS)).unwrap_or(1),
            (given, _) => given,
        };
        self.check_partitions_count(partitions_count, 1)?;
        let replication_factor = match (create.replication_factor, named.first()) {
            (0, Some(replicas)) => count_u32(replicas.len()),
            (0, None) => self.default_replication_factor(),
            (given, _) => given,
        };
        if named.is_empty() {
            return self.place(partitions_count, replication_factor);
        }
        self.check_assignments(named, partitions_count, replication_factor)?;
        Ok(named.clone())
    }

    pub(super) fn default_replication_factor(&self) -> u32 {
        let configured = self.image.config_i64(None, DEFAULT_REPLICATION_FACTOR);
        let alive = count_u32(self.image.alive_brokers().count());
        u32::try_from(configured).unwrap_or_else(|_| alive.clamp(1, REPLICATION_FACTOR_WANTED))
    }

    fn check_partitions_count(&self, actual: u32, min: u32) -> Result<(), ClusterError> {
        let max = TOPIC_PARTITIONS_COUNT_MAX;
        if actual < min || actual > max {
            return Err(ClusterError::InvalidPartitionsCount { actual, min, max });
        }
        self.check_groups_count((actual - min + 1) as usize)
    }

    /// Checks that there may be so many more partitions and queues.
    pub(super) fn check_groups_count(&self, added: usize) -> Result<(), ClusterError> {
        let partitions_count = self.image.partitions.len() + added;
        if partitions_count > PARTITIONS_COUNT_MAX {
            return Err(over_limit(
                "partitions",
                partitions_count,
                PARTITIONS_COUNT_MAX,
            ));
        }
        Ok(())
    }

    pub(super) fn place(
        &self,
        partitions_count: u32,
        replication_factor: u32,
    ) -> Result<Vec<Vec<BrokerId>>, ClusterError> {
        placement::check_replication_factor(&self.image, replication_factor)?;
        Ok(placement::place(
            &self.image,
            partitions_count,
            replication_factor,
        ))
    }

    fn check_assignments(
        &self,
        assignments: &[Vec<BrokerId>],
        partitions_count: u32,
        replication_factor: u32,
    ) -> Result<(), ClusterError> {
        let invalid = |partition: usize, reason: String| ClusterError::InvalidAssignment {
            partition: partition as u64,
            reason,
        };
        if assignments.len() != partitions_count as usize {
            let reason = format!("{partitions_count} lists expected");
            return Err(invalid(assignments.len(), reason));
        }
        for (at, replicas) in assignments.iter().enumerate() {
            self.check_replicas(at as u64, replicas)?;
            if replicas.len() != replication_factor as usize {
                let reason = format!("{replication_factor} expected, {} came", replicas.len());
                return Err(invalid(at, reason));
            }
        }
        Ok(())
    }

    /// Checks a list of replicas: not empty, not too long, nobody twice, everybody registered.
    pub(super) fn check_replicas(
        &self,
        partition: u64,
        replicas: &[BrokerId],
    ) -> Result<(), ClusterError> {
        let invalid = |reason: String| ClusterError::InvalidAssignment { partition, reason };
        let limit = REPLICATION_FACTOR_MAX as usize;
        if replicas.is_empty() || replicas.len() > limit {
            return Err(invalid(format!(
                "1 to {limit} expected, {} came",
                replicas.len()
            )));
        }
        for (at, broker) in replicas.iter().enumerate() {
            if self.image.broker(*broker).is_none() {
                return Err(ClusterError::UnknownBroker { broker: *broker });
            }
            if replicas[..at].contains(broker) {
                return Err(invalid(format!("broker {broker} is named twice")));
            }
        }
        Ok(())
    }

    /// Makes the partitions of a topic from `first_index` on, and numbers their groups.
    fn put_partitions(
        &mut self,
        topic_id: TopicId,
        first_index: u32,
        assignments: Vec<Vec<BrokerId>>,
        effects: &mut Effects,
    ) -> Vec<GroupNumber> {
        let mut groups = Vec::with_capacity(assignments.len());
        for (index, replicas) in (first_index..).zip(assignments) {
            groups.push(self.put_new_group(topic_id, PartitionIndex(index), replicas, effects));
        }
        groups
    }

    /// Makes the group of a partition or a queue, and numbers it.
    pub(super) fn put_new_group(
        &mut self,
        topic_id: TopicId,
        index: PartitionIndex,
        replicas: Vec<BrokerId>,
        effects: &mut Effects,
    ) -> GroupNumber {
        let group = GroupNumber(self.image.last_group.0 + 1);
        assert!(
            self.image.partition(group).is_none(),
            "group {group} exists already"
        );
        self.image.last_group = group;
        let mut isr = replicas.clone();
        isr.sort_unstable();
        let partition = PartitionInfo {
            group,
            topic_id,
            index,
            replicas,
            target: None,
            adding: Vec::new(),
            removing: Vec::new(),
            move_epoch: 0,
            settled_at: None,
            leader: None,
            leader_epoch: Term(0),
            isr,
            partition_epoch: 0,
        };
        self.put_partition(partition, effects);
        group
    }
}

/// Answers a repeated command: the proposer may not know that the first one was applied.
fn same_topic(same: &Arc<Topic>, create: &CreateTopic) -> Reply {
    if same.name != create.name {
        return Err(ClusterError::TopicIdInUse {
            topic_id: create.topic_id,
        });
    }
    Ok(Outcome::TopicCreated {
        topic_id: same.id,
        groups: same.partitions.clone(),
    })
}

fn count_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
