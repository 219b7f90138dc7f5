//! Random commands: the same log makes the same state, refusals change nothing, and the image
//! never contradicts itself.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use raftmq_core::cluster::{Command, CreateTopic, Image, RegisterBroker};
use raftmq_core::{BrokerEpoch, BrokerId, DirectoryId, Effect, GroupNumber, Term};

use crate::support::cluster::{
    Harness, brokers, configs, register, report_isr, report_leader, topic, topic_id,
};

const NAMES: [&str; 4] = ["a", "b", "c", "not allowed"];

fn any_name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&NAMES[..])
}

fn any_ids() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(1..6_u32, 0..4)
}

fn any_broker_command() -> impl Strategy<Value = Command> {
    let id = 1..6_u32;
    let epoch = 1..60_u64;
    prop_oneof![
        (id.clone(), 1..3_u8).prop_map(|(id, incarnation)| Command::RegisterBroker(register(
            id,
            incarnation,
            ""
        ))),
        (id.clone(), epoch.clone()).prop_map(|(id, epoch)| Command::FenceBroker {
            id: BrokerId(id),
            epoch: BrokerEpoch(epoch),
        }),
        (id.clone(), epoch).prop_map(|(id, epoch)| Command::UnfenceBroker {
            id: BrokerId(id),
            epoch: BrokerEpoch(epoch),
        }),
        (id.clone(), any::<bool>()).prop_map(|(id, is_draining)| Command::SetBrokerDraining {
            id: BrokerId(id),
            is_draining,
        }),
        (0..6_u32, 1..3_u8, 0..3_u8).prop_map(|(id, incarnation, folder)| {
            Command::RegisterBroker(RegisterBroker {
                directory_id: DirectoryId([folder; 16]),
                ..register(id, incarnation, "")
            })
        }),
        id.clone()
            .prop_map(|id| Command::DecommissionBroker { id: BrokerId(id) }),
        id.clone()
            .prop_map(|id| Command::RemoveBroker { id: BrokerId(id) }),
        (id, 0..3_u32).prop_map(|(id, count)| Command::AllocateProducerIds {
            broker: BrokerId(id),
            count,
        }),
    ]
}

fn any_topic_command() -> impl Strategy<Value = Command> {
    let value = proptest::sample::select(vec!["-1", "1000", "x"]);
    prop_oneof![
        (any_name(), 0..4_u32, 0..4_u32).prop_map(|(name, partitions, factor)| {
            Command::CreateTopic(topic(name, partitions, factor))
        }),
        (any_name(), proptest::collection::vec(any_ids(), 1..3)).prop_map(|(name, lists)| {
            let assignments = lists.iter().map(|ids| brokers(ids)).collect();
            Command::CreateTopic(CreateTopic {
                assignments,
                ..topic(name, 0, 0)
            })
        }),
        any_name().prop_map(|name| Command::DeleteTopic {
            topic_id: topic_id(name)
        }),
        (any_name(), 0..6_u32).prop_map(|(name, partitions_count)| Command::AddPartitions {
            topic_id: topic_id(name),
            partitions_count,
            assignments: vec![],
        }),
        (any_name(), value.clone()).prop_map(|(name, value)| Command::AlterTopicConfigs {
            topic_id: topic_id(name),
            set: configs(&[("retention.ms", value)]),
            unset: vec![],
        }),
        value.prop_map(|value| Command::AlterClusterConfigs {
            set: configs(&[("retention.ms", value)]),
            unset: vec![],
        }),
    ]
}

fn any_partition_command() -> impl Strategy<Value = Command> {
    let group = (1..12_u64).prop_map(GroupNumber);
    prop_oneof![
        (group.clone(), 1..6_u32, 1..8_u64)
            .prop_map(|(group, leader, epoch)| report_leader(group, leader, epoch)),
        (group.clone(), 1..8_u64, any_ids())
            .prop_map(|(group, epoch, isr)| report_isr(group, epoch, &isr)),
        group.clone().prop_map(|group| Command::ClearLeader {
            groups: vec![group]
        }),
        (group.clone(), any_ids()).prop_map(|(group, ids)| Command::SetReplicas {
            group,
            target: brokers(&ids)
        }),
        group
            .clone()
            .prop_map(|group| Command::CancelReassignment { group }),
        (group, any_ids(), 0..4_u64).prop_map(|(group, ids, move_epoch)| {
            Command::CompleteReassignment {
                group,
                replicas: brokers(&ids),
                move_epoch,
                membership: None,
            }
        }),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => any_broker_command(),
        3 => any_topic_command(),
        4 => any_partition_command(),
    ]
}

/// Everything that must hold of an image, whatever was committed.
fn assert_consistent(image: &Image) {
    let mut groups = BTreeSet::new();
    for topic in image.topics.values() {
        assert_eq!(image.topic_ids.get(topic.name.as_str()), Some(&topic.id));
        assert!(!topic.partitions.is_empty());
        for (index, group) in topic.partitions.iter().enumerate() {
            assert!(groups.insert(*group), "group {group} is in two places");
            let partition = image.partition(*group).unwrap();
            assert_eq!(partition.topic_id, topic.id);
            assert_eq!(partition.index.0 as usize, index);
        }
    }
    assert_eq!(image.topics.len(), image.topic_ids.len());
    assert_eq!(image.partitions.len(), groups.len());
    for partition in image.partitions.values() {
        assert!(partition.group <= image.last_group);
        assert!(!partition.replicas.is_empty());
        let replicas: BTreeSet<BrokerId> = partition.replicas.iter().copied().collect();
        assert_eq!(
            replicas.len(),
            partition.replicas.len(),
            "a replica is named twice"
        );
        let (adding, removing) = (&partition.adding, &partition.removing);
        match &partition.target {
            Some(target) => {
                assert!(adding.iter().all(|id| target.contains(id)));
                assert!(removing.iter().all(|id| !target.contains(id)));
                assert!(target.iter().all(|id| partition.has_replica(*id)));
                assert!(partition.move_epoch > 0);
            }
            None => assert!(adding.is_empty() && removing.is_empty()),
        }
        assert!(partition.isr.is_sorted());
        assert!(partition.isr.iter().all(|id| partition.has_replica(*id)));
        if let Some(leader) = partition.leader {
            assert!(image.is_alive(leader), "a dead broker leads");
            assert!(partition.has_replica(leader), "a stranger leads");
            assert!(partition.isr.contains(&leader), "a leader is out of sync");
            assert!(partition.leader_epoch > Term(0));
        }
    }
}

/// Checks that an effect was told for everything that changed.
fn assert_told(before: &Image, after: &Image, effects: &[Effect]) {
    let told: BTreeSet<GroupNumber> = effects
        .iter()
        .filter_map(|effect| {
            let Effect::GroupChanged { group } = effect else {
                return None;
            };
            Some(*group)
        })
        .collect();
    for partition in after.partitions.values() {
        if before.partition(partition.group) != Some(partition) {
            assert!(
                told.contains(&partition.group),
                "a change of {} was not told",
                partition.group
            );
        }
    }
    for group in before.partitions.keys() {
        let is_gone = after.partition(*group).is_none();
        let removed = effects.contains(&Effect::GroupRemoved { group: *group });
        assert_eq!(is_gone, removed, "group {group}");
    }
    assert_eq!(before != after, effects.contains(&Effect::ImageChanged));
}

/// Epochs only grow, for as long as a thing lives.
fn assert_monotonic(before: &Image, after: &Image) {
    for (group, old) in &before.partitions {
        let Some(new) = after.partition(*group) else {
            continue;
        };
        assert!(new.leader_epoch >= old.leader_epoch);
        assert!(new.partition_epoch >= old.partition_epoch);
        assert!(new.move_epoch >= old.move_epoch);
        assert!(old == new || new.partition_epoch > old.partition_epoch);
        // Nobody is let go while a move runs.
        let is_kept = |id| new.has_replica(id);
        assert!(!new.is_moving() || old.all_replicas().all(is_kept));
    }
    for (id, old) in &before.brokers {
        let is_removed = after.removed_brokers.contains(id);
        let now = after.broker(*id);
        assert_eq!(now.is_none(), is_removed);
        assert!(now.is_none_or(|now| now.epoch >= old.epoch));
    }
    assert!(after.last_group >= before.last_group);
    assert!(after.next_producer_id >= before.next_producer_id);
}

proptest! {
    #[test]
    fn the_image_never_contradicts_itself(
        commands in proptest::collection::vec(any_command(), 1..80),
    ) {
        let mut harness = Harness::with_brokers(3);
        for command in &commands {
            let before = harness.image().clone();
            let applied = harness.commit(command);
            let after = harness.image();
            prop_assert!(applied.reply.is_ok() || before == *after, "{command:?}");
            assert_consistent(after);
            assert_told(&before, after, &applied.effects);
            assert_monotonic(&before, after);
        }
    }

    #[test]
    fn a_state_restored_half_way_ends_the_same(
        commands in proptest::collection::vec(any_command(), 1..80),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut harness = Harness::with_brokers(3);
        for command in &commands {
            harness.commit(command);
        }
        harness.assert_restored_after(cut.index(harness.log.len() + 1));
    }

    #[test]
    fn a_preview_is_what_the_command_will_say(
        commands in proptest::collection::vec(any_command(), 1..40),
    ) {
        let mut harness = Harness::with_brokers(3);
        for command in &commands {
            let said = harness.cluster.preview(command.clone());
            let done = harness.commit(command).reply;
            // A registration's epoch is its log index, which a preview cannot know.
            if !matches!(command, Command::RegisterBroker(_)) {
                prop_assert_eq!(said, done);
            }
        }
    }

    #[test]
    fn group_numbers_and_producer_ids_are_given_once(
        commands in proptest::collection::vec(any_command(), 1..80),
    ) {
        let mut harness = Harness::with_brokers(3);
        let mut owners: BTreeMap<GroupNumber, _> = BTreeMap::new();
        let mut next_id = 0;
        for command in &commands {
            let reply = harness.commit(command).reply;
            if let Ok(raftmq_core::cluster::Outcome::ProducerIds { first, count }) = reply {
                prop_assert_eq!(first, next_id);
                next_id += i64::from(count);
            }
            for partition in harness.image().partitions.values() {
                let owner = (partition.topic_id, partition.index);
                let known = *owners.entry(partition.group).or_insert(owner);
                prop_assert_eq!(known, owner);
            }
        }
    }
}
