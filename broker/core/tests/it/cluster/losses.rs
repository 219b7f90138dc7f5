//! The last resort: what is refused while there is another way, and what a partition becomes.

use raftmq_core::cluster::election::{Disowned, Survivor, VoteInfo, plan_elections};
use raftmq_core::cluster::loss::{AcceptLoss, LossError, plan_loss};
use raftmq_core::cluster::{Cluster, ClusterError, Command, Outcome};
use raftmq_core::{BrokerId, Effect, GroupNumber, LogIndex, Machine, Term};

use crate::support::cluster::{Harness, brokers, topic_id};

const OPERATOR: &str = "jane";

fn survivor(broker: u32, log_index: u64) -> Survivor {
    Survivor {
        broker: BrokerId(broker),
        vote: VoteInfo::default(),
        last_log: Some((Term(3), LogIndex(log_index))),
        is_recovering: false,
        is_leading: false,
    }
}

fn recovering(broker: u32, log_index: u64) -> Survivor {
    Survivor {
        is_recovering: true,
        ..survivor(broker, log_index)
    }
}

/// Four brokers and a partition on the first three, of which the first two are dead.
fn lost_majority() -> (Harness, GroupNumber) {
    let mut harness = Harness::with_brokers(4);
    let group = harness.add_partition_on("t", &[1, 2, 3]);
    harness.lead(group, 1, 7);
    harness.fence(1);
    harness.fence(2);
    (harness, group)
}

fn plan(
    harness: &Harness,
    group: GroupNumber,
    survivors: &[Survivor],
    keep: Option<u32>,
) -> Result<AcceptLoss, LossError> {
    let partition = harness.partition(group);
    let keep = keep.map(BrokerId);
    plan_loss(
        harness.image(),
        &partition,
        survivors,
        keep,
        OPERATOR.to_owned(),
    )
}

fn planned(harness: &Harness, group: GroupNumber, survivors: &[Survivor]) -> AcceptLoss {
    plan(harness, group, survivors, None).unwrap()
}

fn accept(harness: &mut Harness, order: &AcceptLoss) -> GroupNumber {
    let outcome = harness.accept(&Command::AcceptLoss(order.clone()));
    let Outcome::LossAccepted { group } = outcome else {
        panic!("{outcome:?}")
    };
    group
}

#[test]
fn the_most_complete_replica_that_answers_is_kept_whether_it_recovers_or_not() {
    let (mut harness, group) = lost_majority();
    assert_eq!(
        planned(&harness, group, &[survivor(3, 9)]).kept,
        BrokerId(3)
    );

    harness.unfence(2);
    let order = planned(&harness, group, &[recovering(2, 12), survivor(3, 9)]);

    assert_eq!(order.kept, BrokerId(2));
    assert_eq!(order.last_log, Some((Term(3), LogIndex(12))));
    assert_eq!((order.group, order.accepted_by.as_str()), (group, OPERATOR));
    let equal = [recovering(2, 9), survivor(3, 9)];
    assert_eq!(planned(&harness, group, &equal).kept, BrokerId(2));
    let other = plan(&harness, group, &equal, Some(3)).unwrap();
    assert_eq!(other.kept, BrokerId(3), "the operator knows better");
}

#[test]
fn a_loss_is_refused_while_there_is_a_way_without_one() {
    let (mut harness, group) = lost_majority();
    harness.unfence(2);
    let majority = LossError::HasMajority {
        healthy_count: 2,
        replicas_count: 3,
    };
    let whole = [survivor(2, 1), survivor(3, 9)];

    assert_eq!(plan(&harness, group, &whole, None), Err(majority));
    harness.lead(group, 2, 8);
    let leader = BrokerId(2);
    let led = plan(&harness, group, &[survivor(3, 9)], None);
    assert_eq!(led, Err(LossError::IsLed { leader }));
}

#[test]
fn a_majority_of_the_target_of_a_move_is_a_way_too() {
    let mut harness = Harness::with_brokers(5);
    let group = harness.add_partition_on("t", &[1, 2, 3]);
    harness.lead(group, 1, 7);
    let target = brokers(&[3, 4, 5]);
    harness.accept(&Command::SetReplicas { group, target });
    harness.fence(1);
    harness.fence(2);

    let refused = plan(&harness, group, &[survivor(4, 9), survivor(5, 9)], None);

    assert!(matches!(refused, Err(LossError::HasMajority { .. })));
    let order = planned(&harness, group, &[survivor(4, 9)]);
    assert_eq!(order.kept, BrokerId(4));
}

#[test]
fn nothing_is_kept_of_a_broker_that_is_dead_silent_or_holds_nothing() {
    let (harness, group) = lost_majority();
    let replicas = brokers(&[1, 2, 3]);

    let none = plan(&harness, group, &[], None);
    assert_eq!(
        none,
        Err(LossError::NoneLeft {
            replicas: replicas.clone()
        })
    );
    let dead = plan(&harness, group, &[survivor(1, 99)], None);
    assert_eq!(dead, Err(LossError::NoneLeft { replicas }));
    for broker in [1, 2, 4] {
        let asked = plan(
            &harness,
            group,
            &[survivor(3, 9), survivor(4, 9)],
            Some(broker),
        );
        let broker = BrokerId(broker);
        assert_eq!(asked, Err(LossError::CannotKeep { broker }));
    }
}

#[test]
fn the_partition_goes_on_in_a_new_group_from_the_replica_that_is_kept() {
    let (mut harness, group) = lost_majority();
    harness.unfence(2);
    let order = planned(&harness, group, &[recovering(2, 4), survivor(3, 9)]);

    let applied = harness.commit(&Command::AcceptLoss(order));

    let new = GroupNumber(group.get() + 1);
    assert_eq!(applied.reply, Ok(Outcome::LossAccepted { group: new }));
    let effects = vec![
        Effect::GroupRemoved { group },
        Effect::GroupChanged { group: new },
        Effect::ImageChanged,
    ];
    assert_eq!(applied.effects, effects);
    assert_eq!(harness.image().partition(group), None);
    let partition = harness.partition(new);
    assert_eq!(partition.replicas, brokers(&[3]));
    assert_eq!(partition.isr, brokers(&[3]));
    assert_eq!(partition.leader, None);
    assert_eq!(partition.leader_epoch, Term(7), "epochs never go back");
    assert_eq!(partition.target, Some(brokers(&[3, 2])), "not the dead one");
    assert_eq!(partition.adding, brokers(&[2]));
    let topic = harness.image().topic("t").unwrap();
    assert_eq!(topic.partitions, vec![new]);
    let loss = harness.image().loss(new).unwrap();
    assert_eq!((loss.of_group, loss.kept), (group, BrokerId(3)));
    assert_eq!(loss.last_log, Some((Term(3), LogIndex(9))));
    assert_eq!(loss.accepted_by, OPERATOR);
}

#[test]
fn repeating_it_gives_the_same_answer_and_changes_nothing() {
    let (mut harness, group) = lost_majority();
    let order = planned(&harness, group, &[survivor(3, 9)]);
    let new = accept(&mut harness, &order);
    let before = harness.cluster.clone();

    let again = harness.commit(&Command::AcceptLoss(order));

    assert_eq!(again.reply, Ok(Outcome::LossAccepted { group: new }));
    assert_eq!((again.effects, &harness.cluster), (vec![], &before));
}

#[test]
fn a_decision_that_was_overtaken_is_refused() {
    let (mut harness, group) = lost_majority();
    let order = planned(&harness, group, &[survivor(3, 9)]);
    harness.unfence(2);
    harness.lead(group, 2, 8);
    let command = Command::AcceptLoss(order.clone());

    let refused = harness.refuse(&command);

    assert_eq!(refused, ClusterError::PartitionChanged { group });
    let partition_epoch = harness.partition(group).partition_epoch;
    let by_nobody = AcceptLoss {
        partition_epoch,
        kept: BrokerId(4),
        ..order.clone()
    };
    let broker = BrokerId(4);
    let refused = harness.refuse(&Command::AcceptLoss(by_nobody));
    assert_eq!(refused, ClusterError::NotAReplica { group, broker });
    let dead = AcceptLoss {
        partition_epoch,
        kept: BrokerId(1),
        ..order
    };
    let broker = BrokerId(1);
    let refused = harness.refuse(&Command::AcceptLoss(dead));
    assert_eq!(refused, ClusterError::BrokerFenced { broker });
}

/// An old majority that returns speaks of a group that is no more: it elects nobody.
#[test]
fn replicas_of_the_old_group_say_nothing_about_the_new_one() {
    let (mut harness, group) = lost_majority();
    let order = planned(&harness, group, &[survivor(3, 9)]);
    let new = accept(&mut harness, &order);
    harness.unfence(1);
    harness.unfence(2);
    let old = vec![survivor(1, 99), survivor(2, 99)];
    let replies = [(group, old), (new, vec![survivor(3, 10)])].into();

    let orders = plan_elections(harness.image(), &Disowned::new(), &replies);

    let elected: Vec<_> = orders
        .iter()
        .map(|one| (one.group, one.candidate))
        .collect();
    assert_eq!(elected, vec![(new, BrokerId(3))]);
    let holds = |id| harness.partition(new).has_replica(BrokerId(id));
    assert!(!holds(1) && !holds(2), "they wipe what they have");
}

#[test]
fn the_record_survives_rows_and_checkpoints_and_goes_with_the_topic() {
    let (mut harness, group) = lost_majority();
    harness.persist();
    let order = planned(&harness, group, &[survivor(3, 9)]);
    let new = accept(&mut harness, &order);
    harness.persist();

    let restored = Cluster::restore(harness.rows.iter()).unwrap();
    assert_eq!(restored, harness.cluster);
    let restored = Cluster::restore_checkpoint(&harness.cluster.checkpoint()).unwrap();
    assert_eq!(restored, harness.cluster);

    harness.accept(&Command::DeleteTopic {
        topic_id: topic_id("t"),
    });
    assert_eq!(harness.image().loss(new), None);
    harness.persist();
    let restored = Cluster::restore(harness.rows.iter()).unwrap();
    assert_eq!(restored, harness.cluster);
}

#[test]
fn an_empty_log_can_be_kept_and_a_partition_can_be_lost_twice() {
    let (mut harness, group) = lost_majority();
    let empty = Survivor {
        last_log: None,
        ..survivor(3, 0)
    };
    let order = planned(&harness, group, &[empty]);
    assert_eq!(order.last_log, None);
    let second = accept(&mut harness, &order);
    let order = planned(&harness, second, &[recovering(3, 1)]);

    let third = accept(&mut harness, &order);

    assert_eq!(harness.partition(third).replicas, brokers(&[3]));
    assert_eq!(harness.image().losses.len(), 1, "the newest is kept");
}
