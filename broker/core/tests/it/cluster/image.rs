//! Look-ups in the image, and that a clone is a snapshot.

use raftmq_core::cluster::Command;
use raftmq_core::{BrokerId, GroupNumber, PartitionIndex};

use crate::support::cluster::{Harness, configs, topic_id};

#[test]
fn a_published_image_does_not_change_any_more() {
    let mut harness = Harness::with_brokers(2);
    harness.add_topic("logs", 1, 1);
    let published = harness.image().clone();

    harness.fence(1);
    harness.add_topic("more", 1, 1);
    harness.accept(&Command::DeleteTopic {
        topic_id: topic_id("logs"),
    });

    assert!(published.is_alive(BrokerId(1)));
    assert!(published.topic("logs").is_some());
    assert!(published.topic("more").is_none());
    assert!(published.version < harness.image().version);
}

#[test]
fn what_does_not_exist_is_not_found() {
    let harness = Harness::with_brokers(1);
    let image = harness.image();

    assert!(image.broker(BrokerId(9)).is_none());
    assert!(!image.is_alive(BrokerId(9)));
    assert!(image.topic("logs").is_none());
    assert!(image.partition(GroupNumber(1)).is_none());
    assert!(image.partition_of("logs", PartitionIndex(0)).is_none());
}

#[test]
fn a_partition_is_found_by_topic_and_index() {
    let mut harness = Harness::with_brokers(1);
    harness.add_topic("first", 2, 1);
    harness.add_topic("second", 2, 1);

    let found = |topic, index| {
        let partition = harness.image().partition_of(topic, PartitionIndex(index));
        partition.map(|partition| partition.group.0)
    };
    assert_eq!(found("first", 0), Some(1));
    assert_eq!(found("second", 1), Some(4));
    assert_eq!(found("second", 2), None);
    assert_eq!(found("second", u32::MAX), None);
}

#[test]
fn the_partitions_of_a_broker_are_those_it_holds_or_will_hold() {
    let mut harness = Harness::with_brokers(3);
    let first = harness.add_partition_on("first", &[1, 2]);
    let second = harness.add_partition_on("second", &[2, 1]);
    let moving = harness.add_partition_on("moving", &[2]);
    harness.accept(&Command::SetReplicas {
        group: moving,
        target: vec![BrokerId(3)],
    });

    let on = |id| -> Vec<GroupNumber> {
        let partitions = harness.image().partitions_on(BrokerId(id));
        partitions.map(|partition| partition.group).collect()
    };
    assert_eq!(on(1), vec![first, second]);
    assert_eq!(on(2), vec![first, second, moving]);
    assert_eq!(on(3), vec![moving]);
}

#[test]
fn fenced_brokers_are_not_alive() {
    let mut harness = Harness::with_brokers(3);
    harness.fence(2);

    let alive: Vec<u32> = harness
        .image()
        .alive_brokers()
        .map(|broker| broker.id.0)
        .collect();
    assert_eq!(alive, vec![1, 3]);
}

fn changed(harness: &Harness, before: &raftmq_core::cluster::Image) -> Vec<GroupNumber> {
    harness
        .image()
        .groups_changed_since(before)
        .into_iter()
        .collect()
}

#[test]
fn only_the_groups_that_differ_have_changed() {
    let mut harness = Harness::with_brokers(3);
    let logs = harness.add_topic("logs", 40, 3);
    let before = harness.image().clone();
    assert_eq!(changed(&harness, &before), vec![]);

    harness.lead(logs[7], 1, 1);
    assert_eq!(changed(&harness, &before), vec![logs[7]]);

    let more = harness.add_topic("more", 2, 1);
    assert_eq!(changed(&harness, &before), vec![logs[7], more[0], more[1]]);

    let before = harness.image().clone();
    harness.accept(&Command::DeleteTopic {
        topic_id: topic_id("logs"),
    });
    assert_eq!(changed(&harness, &before), logs);
}

#[test]
fn a_topics_setting_changes_its_own_groups_only() {
    let mut harness = Harness::with_brokers(1);
    let logs = harness.add_topic("logs", 2, 1);
    harness.add_topic("more", 2, 1);
    let before = harness.image().clone();

    harness.accept(&Command::AlterTopicConfigs {
        topic_id: topic_id("logs"),
        set: configs(&[("retention.ms", "1000")]),
        unset: vec![],
    });

    assert_eq!(changed(&harness, &before), logs);
}

#[test]
fn a_fenced_broker_changes_every_group() {
    let mut harness = Harness::with_brokers(3);
    let logs = harness.add_topic("logs", 3, 1);
    let before = harness.image().clone();

    harness.fence(2);

    assert_eq!(changed(&harness, &before), logs);
}
