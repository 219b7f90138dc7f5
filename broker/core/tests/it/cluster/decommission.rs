//! A broker that leaves for good, its id, and the data folders behind ids.

use raftmq_core::cluster::{Cluster, ClusterError, Command, Outcome, RegisterBroker};
use raftmq_core::{BrokerEpoch, BrokerId, DirectoryId, Effect, Machine};

use crate::support::cluster::{Harness, register, topic_id};

const FOLDER: DirectoryId = DirectoryId([5; 16]);

fn of_folder(id: u32, folder: DirectoryId) -> RegisterBroker {
    RegisterBroker {
        directory_id: folder,
        ..register(id, 1, "")
    }
}

fn decommission(id: u32) -> Command {
    Command::DecommissionBroker { id: BrokerId(id) }
}

fn remove(id: u32) -> Command {
    Command::RemoveBroker { id: BrokerId(id) }
}

fn drain(id: u32, is_draining: bool) -> Command {
    let id = BrokerId(id);
    Command::SetBrokerDraining { id, is_draining }
}

#[test]
fn a_decommissioned_broker_drains_and_is_removed_when_it_holds_nothing() {
    let mut harness = Harness::with_brokers(3);
    harness.add_partition_on("logs", &[3]);
    let broker = BrokerId(3);
    let refused = harness.refuse(&remove(3));
    assert_eq!(refused, ClusterError::NotDecommissioned { broker });

    assert_eq!(harness.accept(&decommission(3)), Outcome::Done);

    let known = harness.image().broker(broker).unwrap().clone();
    assert!(known.is_decommissioned && known.is_draining);
    let refused = harness.refuse(&remove(3));
    let partitions_count = 1;
    assert_eq!(
        refused,
        ClusterError::BrokerHoldsReplicas {
            broker,
            partitions_count
        }
    );
    let topic_id = topic_id("logs");
    harness.accept(&Command::DeleteTopic { topic_id });
    let removed = harness.commit(&remove(3));
    assert_eq!(removed.reply, Ok(Outcome::Done));
    assert!(removed.effects.contains(&Effect::BrokerChanged { broker }));
    assert!(harness.image().broker(broker).is_none());
    let version = harness.image().version;
    harness.accept(&remove(3));
    assert_eq!(
        harness.image().version,
        version,
        "repetition changes nothing"
    );
}

#[test]
fn the_id_of_a_removed_broker_is_never_used_again() {
    let mut harness = Harness::with_brokers(3);
    harness.accept(&decommission(3));
    harness.accept(&remove(3));
    let broker = BrokerId(3);

    let refused = harness.refuse(&Command::RegisterBroker(register(3, 7, "")));
    assert_eq!(refused, ClusterError::BrokerRemoved { broker });
    let refused = harness.refuse(&decommission(3));
    assert_eq!(refused, ClusterError::BrokerRemoved { broker });

    let outcome = harness.accept(&Command::RegisterBroker(of_folder(0, FOLDER)));
    let id = BrokerId(4);
    let epoch = harness.epoch_of(4);
    assert_eq!(outcome, Outcome::IdAllotted { id, epoch });
    harness.persist();
    let restored = Cluster::restore(harness.rows.iter()).unwrap();
    assert_eq!(restored, harness.cluster);
    let checkpoint = harness.cluster.checkpoint();
    assert_eq!(
        Cluster::restore_checkpoint(&checkpoint).unwrap(),
        harness.cluster
    );
}

#[test]
fn a_folder_that_asks_again_gets_the_same_id() {
    let mut harness = Harness::with_brokers(2);
    let ask = Command::RegisterBroker(of_folder(0, FOLDER));
    let epoch = BrokerEpoch(harness.log.len() as u64 + 1);
    let id = BrokerId(3);

    assert_eq!(harness.accept(&ask), Outcome::IdAllotted { id, epoch });
    assert_eq!(harness.accept(&ask), Outcome::IdAllotted { id, epoch });

    let other = Command::RegisterBroker(of_folder(0, DirectoryId([6; 16])));
    let outcome = harness.accept(&other);
    assert!(
        matches!(
            outcome,
            Outcome::IdAllotted {
                id: BrokerId(4),
                ..
            }
        ),
        "{outcome:?}"
    );
}

#[test]
fn an_id_belongs_to_one_folder() {
    let mut harness = Harness::created();
    harness.accept(&Command::RegisterBroker(of_folder(7, FOLDER)));
    let other = Command::RegisterBroker(RegisterBroker {
        incarnation: [2; 16],
        ..of_folder(7, DirectoryId([6; 16]))
    });
    let broker = BrokerId(7);

    for is_alive in [false, true] {
        let refused = harness.refuse(&other);
        assert_eq!(
            refused,
            ClusterError::BrokerIdOfAnotherDirectory { broker, is_alive }
        );
        harness.unfence(7);
    }
    let again = RegisterBroker {
        incarnation: [3; 16],
        ..of_folder(7, FOLDER)
    };
    harness.fence(7);
    harness.accept(&Command::RegisterBroker(again));
}

#[test]
fn a_broker_of_before_folders_had_names_gets_one() {
    let mut harness = Harness::with_brokers(1);
    harness.fence(1);

    let named = RegisterBroker {
        incarnation: [2; 16],
        ..of_folder(1, FOLDER)
    };
    harness.accept(&Command::RegisterBroker(named));
    harness.accept(&Command::RegisterBroker(register(1, 3, "")));

    let known = harness.image().broker(BrokerId(1)).unwrap();
    assert_eq!(
        known.directory_id, FOLDER,
        "an older process forgets no name"
    );
}

#[test]
fn the_last_broker_stays_and_an_unknown_one_is_named() {
    let mut harness = Harness::with_brokers(2);
    let unknown = ClusterError::UnknownBroker {
        broker: BrokerId(9),
    };
    assert_eq!(harness.refuse(&decommission(9)), unknown);
    assert_eq!(harness.refuse(&remove(9)), unknown);
    harness.accept(&decommission(2));

    let broker = BrokerId(1);
    let refused = harness.refuse(&decommission(1));
    assert_eq!(refused, ClusterError::LastBroker { broker });
}

#[test]
fn undraining_ends_a_decommission_that_is_not_over() {
    let mut harness = Harness::with_brokers(2);
    harness.accept(&decommission(2));
    harness.accept(&drain(2, true));
    assert!(
        harness
            .image()
            .broker(BrokerId(2))
            .unwrap()
            .is_decommissioned
    );

    harness.accept(&drain(2, false));

    let known = harness.image().broker(BrokerId(2)).unwrap();
    assert!(!known.is_decommissioned && !known.is_draining);
    let broker = BrokerId(2);
    let refused = harness.refuse(&remove(2));
    assert_eq!(refused, ClusterError::NotDecommissioned { broker });
}

#[test]
fn a_decommissioned_broker_that_starts_again_is_still_decommissioned() {
    let mut harness = Harness::with_brokers(2);
    harness.accept(&decommission(2));
    harness.fence(2);

    harness.accept(&Command::RegisterBroker(register(2, 9, "")));

    assert!(
        harness
            .image()
            .broker(BrokerId(2))
            .unwrap()
            .is_decommissioned
    );
}
