//! `CreateTopic`, `DeleteTopic`, `AddPartitions`.

use raftmq_core::cluster::{ClusterError, Command, CreateTopic, Outcome, Topic};
use raftmq_core::limits::TOPIC_PARTITIONS_COUNT_MAX;
use raftmq_core::{BrokerId, Effect, GroupNumber, PartitionIndex, Term};

use crate::support::cluster::{Harness, brokers, configs, topic, topic_id};

fn groups(numbers: &[u64]) -> Vec<GroupNumber> {
    numbers.iter().copied().map(GroupNumber).collect()
}

fn create(create: CreateTopic) -> Command {
    Command::CreateTopic(create)
}

fn add(name: &str, partitions_count: u32, assignments: &[&[u32]]) -> Command {
    Command::AddPartitions {
        topic_id: topic_id(name),
        partitions_count,
        assignments: assignments
            .iter()
            .map(|replicas| brokers(replicas))
            .collect(),
    }
}

fn assigned(name: &str, assignments: &[&[u32]]) -> CreateTopic {
    let assignments = assignments
        .iter()
        .map(|replicas| brokers(replicas))
        .collect();
    CreateTopic {
        assignments,
        ..topic(name, 0, 0)
    }
}

#[test]
fn a_topic_is_made_with_its_partitions() {
    let mut harness = Harness::with_brokers(3);

    let applied = harness.commit(&create(CreateTopic {
        configs: configs(&[("retention.ms", "1000")]),
        ..topic("logs", 2, 3)
    }));

    let made = Outcome::TopicCreated {
        topic_id: topic_id("logs"),
        groups: groups(&[1, 2]),
    };
    assert_eq!(applied.reply, Ok(made));
    assert_eq!(
        applied.effects,
        vec![
            Effect::GroupChanged {
                group: GroupNumber(1)
            },
            Effect::GroupChanged {
                group: GroupNumber(2)
            },
            Effect::ImageChanged,
        ]
    );
    let image = harness.image();
    assert_eq!(
        **image.topic("logs").unwrap(),
        Topic {
            id: topic_id("logs"),
            name: "logs".to_owned(),
            partitions: groups(&[1, 2]),
            configs: configs(&[("retention.ms", "1000")]),
        }
    );
    let partition = image.partition_of("logs", PartitionIndex(1)).unwrap();
    assert_eq!(partition.group, GroupNumber(2));
    assert_eq!(partition.topic_id, topic_id("logs"));
    assert_eq!(partition.replicas.len(), 3);
    assert_eq!(partition.leader, None, "electing is the controller's work");
    assert_eq!(partition.leader_epoch, Term(0));
    assert_eq!(partition.target, None);
    assert_eq!(partition.isr, brokers(&[1, 2, 3]));
}

#[test]
fn creating_the_same_topic_again_gives_the_same_answer() {
    let mut harness = Harness::with_brokers(1);
    let first = harness.accept(&create(topic("logs", 2, 1)));
    let before = harness.cluster.clone();

    let again = harness.commit(&create(topic("logs", 2, 1)));

    assert_eq!(again.reply, Ok(first));
    assert_eq!(again.effects, vec![]);
    assert_eq!(harness.cluster, before);
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let mut harness = Harness::with_brokers(1);
    harness.add_topic("logs", 1, 1);
    let other = CreateTopic {
        topic_id: topic_id("other"),
        ..topic("logs", 1, 1)
    };

    let refused = harness.refuse(&create(other));

    let name = "logs".to_owned();
    assert_eq!(
        refused,
        ClusterError::TopicExists {
            name,
            topic_id: topic_id("logs")
        }
    );
}

#[test]
fn an_id_that_is_taken_is_refused() {
    let mut harness = Harness::with_brokers(1);
    harness.add_topic("logs", 1, 1);
    let other = CreateTopic {
        topic_id: topic_id("logs"),
        ..topic("other", 1, 1)
    };

    let refused = harness.refuse(&create(other));

    assert_eq!(
        refused,
        ClusterError::TopicIdInUse {
            topic_id: topic_id("logs")
        }
    );
}

#[test]
fn an_invalid_name_is_refused() {
    let mut harness = Harness::with_brokers(1);

    let refused = harness.refuse(&create(topic("a b", 1, 1)));

    assert!(
        matches!(refused, ClusterError::InvalidTopicName { .. }),
        "{refused}"
    );
}

#[test]
fn an_invalid_config_is_refused() {
    let mut harness = Harness::with_brokers(1);
    let invalid = CreateTopic {
        configs: configs(&[("retention.ms", "soon")]),
        ..topic("logs", 1, 1)
    };

    let refused = harness.refuse(&create(invalid));

    assert!(
        matches!(refused, ClusterError::InvalidConfig(_)),
        "{refused}"
    );
}

#[test]
fn a_topic_that_says_nothing_gets_the_defaults() {
    let mut harness = Harness::with_brokers(5);

    harness.accept(&create(topic("logs", 0, 0)));

    let made = harness.image().topic("logs").unwrap();
    assert_eq!(made.partitions.len(), 1);
    assert_eq!(harness.partition(made.partitions[0]).replicas.len(), 3);
}

#[test]
fn the_default_replication_factor_fits_a_small_cluster() {
    for (brokers_count, expected) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        let mut harness = Harness::with_brokers(brokers_count);
        let groups = harness.add_topic("logs", 1, 0);
        assert_eq!(harness.partition(groups[0]).replicas.len(), expected);
    }
}

#[test]
fn the_cluster_sets_the_defaults() {
    let mut harness = Harness::with_brokers(3);
    harness.accept(&Command::AlterClusterConfigs {
        set: configs(&[("num.partitions", "4"), ("default.replication.factor", "2")]),
        unset: vec![],
    });

    let groups = harness.add_topic("logs", 0, 0);

    assert_eq!(groups.len(), 4);
    assert_eq!(harness.partition(groups[0]).replicas.len(), 2);
}

#[test]
fn more_replicas_than_live_brokers_are_refused() {
    let mut harness = Harness::with_brokers(3);
    harness.fence(3);

    let refused = harness.refuse(&create(topic("logs", 1, 3)));

    assert_eq!(
        refused,
        ClusterError::InvalidReplicationFactor { actual: 3, max: 2 }
    );
}

#[test]
fn without_a_live_broker_no_topic_is_made() {
    let mut harness = Harness::created();

    let refused = harness.refuse(&create(topic("logs", 1, 0)));

    assert_eq!(
        refused,
        ClusterError::InvalidReplicationFactor { actual: 1, max: 0 }
    );
}

#[test]
fn too_many_partitions_are_refused() {
    let mut harness = Harness::with_brokers(1);
    let max = TOPIC_PARTITIONS_COUNT_MAX;

    for actual in [max + 1, u32::MAX] {
        let refused = harness.refuse(&create(topic("logs", actual, 1)));
        assert_eq!(
            refused,
            ClusterError::InvalidPartitionsCount {
                actual,
                min: 1,
                max
            }
        );
    }
}

#[test]
fn named_replicas_are_taken_as_they_are() {
    let mut harness = Harness::with_brokers(3);

    harness.accept(&create(assigned("logs", &[&[3, 1], &[2, 3]])));

    let made = harness.image().topic("logs").unwrap().partitions.clone();
    assert_eq!(harness.partition(made[0]).replicas, brokers(&[3, 1]));
    assert_eq!(
        harness.partition(made[0]).isr,
        brokers(&[1, 3]),
        "in ascending order"
    );
    assert_eq!(harness.partition(made[1]).replicas, brokers(&[2, 3]));
}

#[test]
fn named_replicas_may_be_fenced_ones() {
    let mut harness = Harness::with_brokers(2);
    harness.fence(2);

    harness.accept(&create(assigned("logs", &[&[1, 2]])));
}

#[test]
fn named_replicas_must_make_sense() {
    let mut harness = Harness::with_brokers(3);
    let mut refuse =
        |assignments: &[&[u32]]| harness.refuse(&create(assigned("logs", assignments)));

    let unknown = refuse(&[&[1, 9]]);
    assert_eq!(
        unknown,
        ClusterError::UnknownBroker {
            broker: BrokerId(9)
        }
    );
    for wrong in [
        &[&[1, 1][..]][..],                 // twice
        &[&[1, 2], &[]],                    // none
        &[&[1, 2], &[3]],                   // another length
        &[&[1, 2, 3, 1, 2, 3, 1, 2, 3, 1]], // too many
    ] {
        let refused = refuse(wrong);
        assert!(
            matches!(refused, ClusterError::InvalidAssignment { .. }),
            "{wrong:?}: {refused}"
        );
    }
}

#[test]
fn named_replicas_must_be_as_many_as_asked_for() {
    let mut harness = Harness::with_brokers(3);
    let named = assigned("logs", &[&[1, 2], &[2, 3]]);

    let partitions = CreateTopic {
        partitions_count: 3,
        ..named.clone()
    };
    let refused = harness.refuse(&create(partitions));
    assert!(
        matches!(
            refused,
            ClusterError::InvalidAssignment { partition: 2, .. }
        ),
        "{refused}"
    );
    let replicas = CreateTopic {
        replication_factor: 3,
        ..named.clone()
    };
    let refused = harness.refuse(&create(replicas));
    assert!(
        matches!(
            refused,
            ClusterError::InvalidAssignment { partition: 0, .. }
        ),
        "{refused}"
    );
    harness.accept(&create(CreateTopic {
        partitions_count: 2,
        replication_factor: 2,
        ..named
    }));
}

#[test]
fn a_preview_answers_like_the_command_and_changes_nothing() {
    let harness = Harness::with_brokers(1);
    let before = harness.cluster.clone();

    let good = harness.cluster.preview(create(topic("logs", 1, 1)));
    let bad = harness.cluster.preview(create(topic("a b", 1, 1)));

    assert_eq!(
        good,
        Ok(Outcome::TopicCreated {
            topic_id: topic_id("logs"),
            groups: groups(&[1])
        })
    );
    assert!(bad.is_err());
    assert_eq!(harness.cluster, before);
}

#[test]
fn a_deleted_topic_is_gone_with_its_groups() {
    let mut harness = Harness::with_brokers(1);
    harness.add_topic("logs", 2, 1);
    harness.add_topic("kept", 1, 1);

    let applied = harness.commit(&Command::DeleteTopic {
        topic_id: topic_id("logs"),
    });

    assert_eq!(applied.reply, Ok(Outcome::Done));
    assert_eq!(
        applied.effects,
        vec![
            Effect::GroupRemoved {
                group: GroupNumber(1)
            },
            Effect::GroupRemoved {
                group: GroupNumber(2)
            },
            Effect::ImageChanged,
        ]
    );
    assert_eq!(harness.image().topic("logs"), None);
    assert_eq!(harness.image().partitions.len(), 1);
    assert!(harness.image().topic("kept").is_some());
}

#[test]
fn group_numbers_are_never_used_again() {
    let mut harness = Harness::with_brokers(1);
    harness.add_topic("logs", 3, 1);
    harness.accept(&Command::DeleteTopic {
        topic_id: topic_id("logs"),
    });

    let made = harness.add_topic("logs", 1, 1);

    assert_eq!(made, groups(&[4]));
}

#[test]
fn an_unknown_topic_can_neither_be_deleted_nor_grown() {
    let mut harness = Harness::with_brokers(1);
    let unknown = ClusterError::UnknownTopic {
        topic_id: topic_id("logs"),
    };

    let delete = Command::DeleteTopic {
        topic_id: topic_id("logs"),
    };
    assert_eq!(harness.refuse(&delete), unknown);
    assert_eq!(harness.refuse(&add("logs", 2, &[])), unknown);
}

#[test]
fn a_topic_gets_more_partitions_behind_the_ones_it_has() {
    let mut harness = Harness::with_brokers(3);
    harness.add_topic("logs", 2, 2);
    harness.add_topic("other", 1, 1);

    let applied = harness.commit(&add("logs", 4, &[]));

    assert_eq!(
        applied.reply,
        Ok(Outcome::PartitionsAdded {
            groups: groups(&[4, 5])
        })
    );
    assert_eq!(
        applied.effects,
        vec![
            Effect::GroupChanged {
                group: GroupNumber(4)
            },
            Effect::GroupChanged {
                group: GroupNumber(5)
            },
            Effect::ImageChanged,
        ]
    );
    let made = harness.image().topic("logs").unwrap().partitions.clone();
    assert_eq!(made, groups(&[1, 2, 4, 5]));
    let added = harness.partition(GroupNumber(5));
    assert_eq!(added.index, PartitionIndex(3));
    assert_eq!(added.replicas.len(), 2, "as many as the others have");
}

#[test]
fn a_topic_never_gets_fewer_partitions() {
    let mut harness = Harness::with_brokers(1);
    harness.add_topic("logs", 2, 1);
    let max = TOPIC_PARTITIONS_COUNT_MAX;

    for actual in [0, 1, 2] {
        let refused = harness.refuse(&add("logs", actual, &[]));
        assert_eq!(
            refused,
            ClusterError::InvalidPartitionsCount {
                actual,
                min: 3,
                max
            }
        );
    }
}

#[test]
fn new_partitions_take_named_replicas() {
    let mut harness = Harness::with_brokers(3);
    harness.add_topic("logs", 1, 2);

    harness.accept(&add("logs", 2, &[&[3, 1]]));

    assert_eq!(harness.partition(GroupNumber(2)).replicas, brokers(&[3, 1]));
    let refused = harness.refuse(&add("logs", 3, &[&[1, 2, 3]]));
    assert!(
        matches!(refused, ClusterError::InvalidAssignment { .. }),
        "{refused}"
    );
    let refused = harness.refuse(&add("logs", 4, &[&[1, 2]]));
    assert!(
        matches!(refused, ClusterError::InvalidAssignment { .. }),
        "{refused}"
    );
}
