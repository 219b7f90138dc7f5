//! The cluster's id, registration, fencing, producer ids.

use raftmq_core::cluster::{
    Broker, Cluster, ClusterError, Command, Endpoints, Outcome, RegisterBroker,
};
use raftmq_core::limits::{BROKERS_COUNT_MAX, PRODUCER_ID_BLOCK_COUNT_MAX};
use raftmq_core::{BrokerEpoch, BrokerId, DirectoryId, Effect, Effects, Machine};

use crate::support::cluster::{CLUSTER_ID, Harness, endpoints, register};

fn create(cluster_id: &str) -> Command {
    Command::CreateCluster {
        cluster_id: cluster_id.to_owned(),
    }
}

#[test]
fn a_cluster_gets_its_id_once() {
    let mut harness = Harness::default();

    let applied = harness.commit(&create("one"));

    assert_eq!(applied.reply, Ok(Outcome::Done));
    assert_eq!(applied.effects, vec![Effect::ImageChanged]);
    assert_eq!(harness.image().cluster_id.as_deref(), Some("one"));
    assert_eq!(harness.image().version, 1);
}

#[test]
fn creating_the_same_cluster_again_changes_nothing() {
    let mut harness = Harness::default();
    harness.commit(&create("one"));
    let before = harness.cluster.clone();

    let again = harness.commit(&create("one"));

    assert_eq!(again.reply, Ok(Outcome::Done));
    assert_eq!(again.effects, vec![]);
    assert_eq!(harness.cluster, before);
}

#[test]
fn another_cluster_id_is_refused() {
    let mut harness = Harness::default();
    harness.commit(&create("one"));

    let refused = harness.refuse(&create("two"));

    let current = Some("one".to_owned());
    assert_eq!(
        refused,
        ClusterError::ClusterIdMismatch {
            current,
            actual: "two".to_owned()
        }
    );
}

#[test]
fn a_registered_broker_starts_fenced() {
    let mut harness = Harness::created();

    let applied = harness.commit(&Command::RegisterBroker(register(7, 1, "rack-a")));

    assert_eq!(
        applied.reply,
        Ok(Outcome::Registered {
            epoch: BrokerEpoch(2)
        })
    );
    let broker = BrokerId(7);
    assert_eq!(
        applied.effects,
        vec![Effect::BrokerChanged { broker }, Effect::ImageChanged]
    );
    assert_eq!(
        **harness.image().broker(broker).unwrap(),
        Broker {
            id: broker,
            endpoints: endpoints(7),
            rack: "rack-a".to_owned(),
            epoch: BrokerEpoch(2),
            incarnation: [1; 16],
            is_fenced: true,
            is_draining: false,
            is_decommissioned: false,
            directory_id: DirectoryId::default(),
        }
    );
    assert!(!harness.image().is_alive(broker));
}

#[test]
fn registering_the_same_process_again_keeps_its_epoch() {
    let mut harness = Harness::created();
    harness.add_live_broker(7, "");
    let before = harness.cluster.clone();

    let again = harness.commit(&Command::RegisterBroker(register(7, 1, "")));

    assert_eq!(
        again.reply,
        Ok(Outcome::Registered {
            epoch: BrokerEpoch(2)
        })
    );
    assert_eq!(again.effects, vec![]);
    assert_eq!(harness.cluster, before, "it is not fenced again");
}

#[test]
fn the_same_process_may_tell_new_endpoints() {
    let mut harness = Harness::created();
    harness.add_live_broker(7, "");
    let moved = RegisterBroker {
        endpoints: endpoints(8),
        ..register(7, 1, "")
    };

    let outcome = harness.accept(&Command::RegisterBroker(moved));

    assert_eq!(
        outcome,
        Outcome::Registered {
            epoch: BrokerEpoch(2)
        }
    );
    let broker = harness.image().broker(BrokerId(7)).unwrap();
    assert_eq!(broker.endpoints, endpoints(8));
    assert!(!broker.is_fenced);
}

#[test]
fn another_process_with_the_id_of_a_live_broker_is_refused() {
    let mut harness = Harness::created();
    let epoch = harness.add_live_broker(7, "");

    let refused = harness.refuse(&Command::RegisterBroker(register(7, 2, "")));

    assert_eq!(
        refused,
        ClusterError::BrokerIdInUse {
            broker: BrokerId(7),
            epoch
        }
    );
}

#[test]
fn a_new_process_of_a_fenced_broker_gets_a_larger_epoch() {
    let mut harness = Harness::created();
    let first = harness.add_live_broker(7, "");
    harness.fence(7);

    let outcome = harness.accept(&Command::RegisterBroker(register(7, 2, "")));

    let Outcome::Registered { epoch } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(epoch > first);
    assert_eq!(harness.epoch_of(7), epoch);
    assert!(!harness.image().is_alive(BrokerId(7)));
}

#[test]
fn a_broker_of_another_cluster_is_refused() {
    let mut harness = Harness::created();
    let stray = RegisterBroker {
        cluster_id: "other".to_owned(),
        ..register(7, 1, "")
    };

    let refused = harness.refuse(&Command::RegisterBroker(stray));

    let current = Some(CLUSTER_ID.to_owned());
    assert_eq!(
        refused,
        ClusterError::ClusterIdMismatch {
            current,
            actual: "other".to_owned()
        }
    );
}

#[test]
fn before_the_cluster_has_an_id_nobody_registers() {
    let mut harness = Harness::default();

    let refused = harness.refuse(&Command::RegisterBroker(register(7, 1, "")));

    assert!(matches!(
        refused,
        ClusterError::ClusterIdMismatch { current: None, .. }
    ));
}

#[test]
fn there_is_a_limit_to_brokers() {
    let mut harness = Harness::created();
    let limit = u32::try_from(BROKERS_COUNT_MAX).unwrap();
    for id in 1..=limit {
        harness.accept(&Command::RegisterBroker(register(id, 1, "")));
    }

    let refused = harness.refuse(&Command::RegisterBroker(register(limit + 1, 1, "")));

    assert!(matches!(
        refused,
        ClusterError::LimitExceeded {
            actual: 1_001,
            limit: 1_000,
            ..
        }
    ));
    harness.accept(&Command::RegisterBroker(register(
        1,
        1,
        "rack of a known one",
    )));
}

#[test]
fn fencing_and_unfencing_follow_the_epoch() {
    let mut harness = Harness::created();
    let epoch = harness.add_live_broker(7, "");
    let broker = BrokerId(7);

    let fenced = harness.commit(&Command::FenceBroker { id: broker, epoch });
    assert_eq!(fenced.reply, Ok(Outcome::Done));
    assert_eq!(
        fenced.effects,
        vec![Effect::BrokerChanged { broker }, Effect::ImageChanged]
    );
    assert!(!harness.image().is_alive(broker));
    let new_epoch = harness.epoch_of(7);
    assert!(new_epoch > epoch, "it comes back under a new epoch");

    let stale = harness.refuse(&Command::UnfenceBroker { id: broker, epoch });
    assert!(matches!(stale, ClusterError::StaleBrokerEpoch { .. }));
    let epoch = new_epoch;
    let unfenced = harness.commit(&Command::UnfenceBroker { id: broker, epoch });
    assert_eq!(unfenced.effects, fenced.effects);
    assert!(harness.image().is_alive(broker));
    assert_eq!(harness.epoch_of(7), new_epoch);
}

#[test]
fn fencing_again_changes_nothing() {
    let mut harness = Harness::with_brokers(1);
    harness.fence(1);
    let before = harness.cluster.clone();

    let again = harness.fence(1);

    assert_eq!(again.reply, Ok(Outcome::Done));
    assert_eq!(again.effects, vec![]);
    assert_eq!(harness.cluster, before);
}

#[test]
fn unfencing_again_changes_nothing() {
    let mut harness = Harness::with_brokers(1);
    let before = harness.cluster.clone();

    let again = harness.unfence(1);

    assert_eq!(again.reply, Ok(Outcome::Done));
    assert_eq!(again.effects, vec![]);
    assert_eq!(harness.cluster, before);
}

#[test]
fn an_older_registration_can_neither_be_fenced_nor_unfenced() {
    let mut harness = Harness::created();
    let old = harness.add_live_broker(7, "");
    harness.fence(7);
    harness.accept(&Command::RegisterBroker(register(7, 2, "")));
    let current = harness.epoch_of(7);

    let stale = ClusterError::StaleBrokerEpoch {
        broker: BrokerId(7),
        current,
        actual: old,
    };
    let id = BrokerId(7);
    assert_eq!(
        harness.refuse(&Command::FenceBroker { id, epoch: old }),
        stale
    );
    assert_eq!(
        harness.refuse(&Command::UnfenceBroker { id, epoch: old }),
        stale
    );
}

#[test]
fn an_unknown_broker_cannot_be_fenced() {
    let mut harness = Harness::created();

    let refused = harness.refuse(&Command::FenceBroker {
        id: BrokerId(9),
        epoch: BrokerEpoch(1),
    });

    assert_eq!(
        refused,
        ClusterError::UnknownBroker {
            broker: BrokerId(9)
        }
    );
}

#[test]
fn a_fenced_broker_leads_nothing_any_more() {
    let mut harness = Harness::with_brokers(3);
    let led = harness.add_partition_on("a", &[1, 2, 3]);
    let other = harness.add_partition_on("b", &[2, 1, 3]);
    harness.lead(led, 1, 1);
    harness.lead(other, 2, 1);

    let applied = harness.fence(1);

    assert_eq!(harness.partition(led).leader, None);
    assert_eq!(
        harness.partition(led).leader_epoch.0,
        1,
        "the epoch is remembered"
    );
    assert_eq!(harness.partition(other).leader, Some(BrokerId(2)));
    assert_eq!(
        applied.effects,
        vec![
            Effect::BrokerChanged {
                broker: BrokerId(1)
            },
            Effect::GroupChanged { group: led },
            Effect::ImageChanged,
        ]
    );
}

#[test]
fn a_new_process_leads_nothing_of_what_the_old_one_led() {
    let mut harness = Harness::with_brokers(3);
    let group = harness.add_partition_on("a", &[1, 2, 3]);
    harness.lead(group, 1, 1);
    harness.fence(1);
    harness.accept(&Command::RegisterBroker(register(1, 2, "")));
    harness.unfence(1);

    assert_eq!(harness.partition(group).leader, None);
}

#[test]
fn producer_ids_are_handed_out_once() {
    let mut harness = Harness::with_brokers(2);
    let allocate = |harness: &mut Harness, broker, count| {
        harness.accept(&Command::AllocateProducerIds {
            broker: BrokerId(broker),
            count,
        })
    };

    assert_eq!(
        allocate(&mut harness, 1, 1_000),
        Outcome::ProducerIds {
            first: 0,
            count: 1_000
        }
    );
    assert_eq!(
        allocate(&mut harness, 2, 5),
        Outcome::ProducerIds {
            first: 1_000,
            count: 5
        }
    );
    assert_eq!(
        allocate(&mut harness, 1, 1),
        Outcome::ProducerIds {
            first: 1_005,
            count: 1
        }
    );
    assert_eq!(harness.image().next_producer_id, 1_006);
}

#[test]
fn zero_or_too_many_producer_ids_are_refused() {
    let mut harness = Harness::with_brokers(1);
    let max = PRODUCER_ID_BLOCK_COUNT_MAX;

    for count in [0, max + 1, u32::MAX] {
        let command = Command::AllocateProducerIds {
            broker: BrokerId(1),
            count,
        };
        let refused = harness.refuse(&command);
        assert_eq!(
            refused,
            ClusterError::InvalidProducerIdCount { actual: count, max }
        );
    }
}

#[test]
fn a_stranger_gets_no_producer_ids() {
    let mut harness = Harness::with_brokers(1);

    let command = Command::AllocateProducerIds {
        broker: BrokerId(9),
        count: 1,
    };

    assert_eq!(
        harness.refuse(&command),
        ClusterError::UnknownBroker {
            broker: BrokerId(9)
        }
    );
}

#[test]
fn kafka_listeners_are_kept_and_survive_rows_and_checkpoints() {
    let mut harness = Harness::created();
    let mut registration = register(1, 1, "");
    registration.endpoints.kafka = [("IN".to_owned(), "a:9092".to_owned())].into();
    let known = registration.endpoints.clone();

    harness.accept(&Command::RegisterBroker(registration));

    let broker = harness.image().broker(BrokerId(1)).unwrap();
    assert_eq!(broker.endpoints, known);
    harness.persist();
    let restored = Cluster::restore(harness.rows.iter());
    assert_eq!(restored.as_ref(), Ok(&harness.cluster));
    let checkpoint = harness.cluster.checkpoint();
    let restored = Cluster::restore_checkpoint(&checkpoint);
    assert_eq!(restored, Ok(harness.cluster));
}

#[test]
fn too_many_kafka_listeners_are_refused_and_change_nothing() {
    let mut harness = Harness::created();
    let mut registration = register(1, 1, "");
    let one = |number: u32| (format!("L{number}"), format!("a:{number}"));
    registration.endpoints.kafka = (0..17).map(one).collect();

    // Its bytes are refused before.
    let mut effects = Effects::new();
    let meta = crate::support::meta(9, 1);
    let command = Command::RegisterBroker(registration);
    let reply = harness.cluster.apply(&meta, command, &mut effects);

    assert!(matches!(
        reply,
        Err(ClusterError::LimitExceeded {
            actual: 17,
            limit: 16,
            ..
        })
    ));
    assert!(effects.is_empty() && harness.image().brokers.is_empty());
}

#[test]
fn names_that_are_too_long_are_refused_by_the_machine_too() {
    // The decoder refuses them before: this is the second line of defence.
    let mut harness = Harness::created();
    let long = "x".repeat(256);
    let register = RegisterBroker {
        endpoints: Endpoints {
            peer: long,
            ..endpoints(1)
        },
        ..register(1, 1, "")
    };
    let mut effects = Effects::new();

    let reply = harness.cluster.apply(
        &crate::support::meta(9, 1),
        Command::RegisterBroker(register),
        &mut effects,
    );

    assert!(matches!(
        reply,
        Err(ClusterError::LimitExceeded {
            actual: 256,
            limit: 255,
            ..
        })
    ));
    assert!(effects.is_empty());
}
