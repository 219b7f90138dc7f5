//! Commands that declare and delete queues; their groups.

use raftmq_core::cluster::amqp::{ConnectionId, DeclareQueue};
use raftmq_core::cluster::loss::AcceptLoss;
use raftmq_core::cluster::{AmqpCommand, Cluster, ClusterError, Command, CreateTopic, Outcome};
use raftmq_core::exchange::{Arguments, ExchangeKind};
use raftmq_core::{BrokerEpoch, BrokerId, Effect, GroupNumber, Machine, TopicId};

use super::{
    add_queue, bind, connection, declare_exchange, declare_queue, delete_queue, exchange,
    number_argument, queue, refusal, refusal_text, routed, seeded, text_argument, to_queue,
};
use crate::support::cluster::{brokers, report_isr, topic};

#[test]
fn a_queue_is_declared_with_a_group_and_repetition_changes_nothing() {
    let mut harness = seeded();

    let applied = harness.commit(&declare_queue(queue("q")));

    let group = GroupNumber(1);
    let is_new = true;
    assert_eq!(applied.reply, Ok(Outcome::QueueDeclared { group, is_new }));
    assert_eq!(
        applied.effects,
        [Effect::GroupChanged { group }, Effect::ImageChanged]
    );
    let partition = harness.partition(group);
    assert!(partition.is_queue());
    assert_eq!(partition.replicas.len(), 3);
    assert_eq!(harness.image().amqp.queue("/", "q").unwrap().group, group);
    assert_eq!(routed(&harness, "", "q"), [group]);

    let again = harness.commit(&declare_queue(queue("q")));
    let is_new = false;
    assert_eq!(again.reply, Ok(Outcome::QueueDeclared { group, is_new }));
    assert_eq!(again.effects, []);
}

#[test]
fn queues_are_spread_and_led_and_moved_like_partitions() {
    let mut harness = seeded();
    let mut firsts = std::collections::BTreeSet::new();
    for name in ["a", "b", "c"] {
        let group = add_queue(&mut harness, queue(name));
        firsts.insert(harness.partition(group).replicas[0]);
    }
    assert_eq!(firsts.len(), 3, "each leads one");
    let group = GroupNumber(1);

    harness.lead(group, 2, 5).reply.unwrap();
    harness.accept(&report_isr(group, 5, &[2, 3]));
    harness.accept(&Command::SetReplicas {
        group,
        target: brokers(&[2, 3]),
    });

    let partition = harness.partition(group);
    assert_eq!(partition.leader, Some(BrokerId(2)));
    assert_eq!(partition.isr, brokers(&[2, 3]));
    assert!(partition.is_moving());
    harness.fence(2);
    assert_eq!(harness.partition(group).leader, None);
}

#[test]
fn the_group_size_that_is_asked_for_is_taken_as_far_as_there_are_brokers() {
    let mut harness = seeded();
    let sized = |name: &str, size| DeclareQueue {
        arguments: Arguments::new(vec![number_argument("x-quorum-initial-group-size", size)]),
        ..queue(name)
    };

    let one = add_queue(&mut harness, sized("one", 1));
    let many = add_queue(&mut harness, sized("many", 99));

    assert_eq!(harness.partition(one).replicas.len(), 1);
    assert_eq!(harness.partition(many).replicas.len(), 3);
}

/// The texts are RabbitMQ's: clients parse them.
#[test]
fn another_declaration_is_refused_with_the_first_difference() {
    let mut harness = seeded();
    let with_ttl = |ttl| DeclareQueue {
        arguments: Arguments::new(vec![number_argument("x-message-ttl", ttl)]),
        ..queue("q")
    };
    add_queue(&mut harness, with_ttl(1_000));
    let owner = Some(connection(&harness, 1, 1));
    let mut text = |declare| refusal_text(&mut harness, &declare_queue(declare));
    let of = |what: &str| format!("inequivalent arg '{what}' for queue 'q' in vhost '/': ");

    assert_eq!(
        text(DeclareQueue {
            is_durable: false,
            ..with_ttl(1_000)
        }),
        of("durable") + "received 'false' but current is 'true'"
    );
    assert_eq!(
        text(DeclareQueue {
            is_auto_delete: true,
            ..with_ttl(1_000)
        }),
        of("auto_delete") + "received 'true' but current is 'false'"
    );
    assert_eq!(
        text(with_ttl(2_000)),
        of("x-message-ttl")
            + "received the value '2000' of type 'long' but current is the value '1000' of type 'long'"
    );
    assert_eq!(
        text(DeclareQueue {
            owner,
            ..with_ttl(1_000)
        }),
        "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally \
         declared on another connection or the exclusive property value does not match that of the \
         original declaration."
    );
}

#[test]
fn names_and_arguments_that_cannot_be_are_refused() {
    let mut harness = seeded();
    let mut text = |declare| refusal_text(&mut harness, &declare_queue(declare));

    assert_eq!(text(queue("")), "name of queue is empty");
    assert_eq!(
        text(queue("amq.gen-mine")),
        "queue name 'amq.gen-mine' contains reserved prefix 'amq.*'"
    );
    assert_eq!(
        text(DeclareQueue {
            arguments: Arguments::new(vec![text_argument("x-overflow", "no")]),
            ..queue("q")
        }),
        "invalid arg 'x-overflow' for queue 'q' in vhost '/': invalid_overflow"
    );
    let made_up = DeclareQueue {
        is_server_named: true,
        ..queue("amq.gen-1")
    };
    add_queue(&mut harness, made_up);
}

#[test]
fn without_a_live_broker_no_queue_is_made() {
    let mut harness = seeded();
    for id in 1..=3 {
        harness.fence(id);
    }

    let refused = harness.refuse(&declare_queue(queue("q")));

    assert!(matches!(
        refused,
        ClusterError::InvalidReplicationFactor { max: 0, .. }
    ));
}

#[test]
fn a_deleted_queue_takes_bindings_group_and_name_along() {
    let mut harness = seeded();
    let group = add_queue(&mut harness, queue("q"));
    harness.accept(&bind(to_queue("amq.topic", "q", "a.*")));

    let applied = harness.commit(&delete_queue(group));

    assert_eq!(applied.reply, Ok(Outcome::Done));
    assert_eq!(
        applied.effects,
        [Effect::GroupRemoved { group }, Effect::ImageChanged]
    );
    assert_eq!(routed(&harness, "amq.topic", "a.b"), []);
    assert_eq!(routed(&harness, "", "q"), []);
    assert!(harness.image().partition(group).is_none());
    assert_eq!(harness.image().amqp.bindings_count, 0);
    assert_eq!(
        harness
            .image()
            .amqp
            .queue("/", "q")
            .unwrap_err()
            .to_string(),
        "no queue 'q' in vhost '/'"
    );

    // A repeated deletion does not reach a new queue of the same name.
    let new = add_queue(&mut harness, queue("q"));
    assert_eq!(harness.commit(&delete_queue(group)).effects, []);
    assert_eq!(routed(&harness, "", "q"), [new]);
}

#[test]
fn a_partition_is_no_queue_and_is_not_deleted_as_one() {
    let mut harness = seeded();
    let group = harness.add_topic("logs", 1, 1)[0];

    assert_eq!(harness.commit(&delete_queue(group)).effects, []);
    assert!(harness.image().partition(group).is_some());
}

#[test]
fn nobody_gets_a_topic_with_the_id_of_the_hidden_one() {
    let mut harness = seeded();
    let topic_id = TopicId::QUEUES;

    let refused = harness.refuse(&Command::CreateTopic(CreateTopic {
        topic_id,
        ..topic("mine", 1, 1)
    }));

    assert_eq!(refused, ClusterError::TopicIdInUse { topic_id });
}

fn exclusive(name: &str, owner: ConnectionId) -> DeclareQueue {
    DeclareQueue {
        owner: Some(owner),
        ..queue(name)
    }
}

fn close(connection: ConnectionId) -> Command {
    Command::Amqp(AmqpCommand::CloseConnection { connection })
}

#[test]
fn an_exclusive_queue_is_its_connections_alone_and_on_its_broker_only() {
    let mut harness = seeded();
    let (mine, other) = (connection(&harness, 2, 7), connection(&harness, 2, 8));

    let group = add_queue(&mut harness, exclusive("q", mine));

    assert_eq!(harness.partition(group).replicas, brokers(&[2]));
    let again = harness.commit(&declare_queue(exclusive("q", mine)));
    assert_eq!(again.effects, []);
    for declare in [exclusive("q", other), queue("q")] {
        let refused = refusal_text(&mut harness, &declare_queue(declare));
        assert!(refused.starts_with("cannot obtain exclusive access to locked queue 'q'"));
    }
    let known = harness.image().amqp.queue("/", "q").unwrap();
    assert_eq!(known.check_access(Some(mine)), Ok(()));
    assert!(known.check_access(Some(other)).is_err());
    assert!(known.check_access(None).is_err());
}

#[test]
fn exclusive_queues_go_with_their_connection() {
    let mut harness = seeded();
    let (mine, other) = (connection(&harness, 2, 7), connection(&harness, 2, 8));
    let first = add_queue(&mut harness, exclusive("first", mine));
    let second = add_queue(&mut harness, exclusive("second", mine));
    add_queue(&mut harness, exclusive("theirs", other));
    add_queue(&mut harness, queue("everyones"));

    let applied = harness.commit(&close(mine));

    let removed = |group| Effect::GroupRemoved { group };
    assert_eq!(
        applied.effects,
        [removed(first), removed(second), Effect::ImageChanged]
    );
    let names: Vec<_> = harness.image().amqp.queues.values().collect();
    let names: Vec<_> = names.iter().map(|queue| &*queue.name).collect();
    assert_eq!(names, ["theirs", "everyones"]);
    assert_eq!(harness.commit(&close(mine)).effects, []);
}

#[test]
fn exclusive_queues_go_when_their_broker_is_fenced() {
    let mut harness = seeded();
    let (on_two, on_three) = (connection(&harness, 2, 1), connection(&harness, 3, 1));
    let group = add_queue(&mut harness, exclusive("two", on_two));
    add_queue(&mut harness, exclusive("three", on_three));

    let applied = harness.fence(2);

    assert!(applied.effects.contains(&Effect::GroupRemoved { group }));
    assert!(harness.image().amqp.queue("/", "two").is_err());
    assert!(harness.image().amqp.queue("/", "three").is_ok());
    assert_eq!(harness.image().amqp.owned.len(), 1);
}

#[test]
fn a_connection_of_a_registration_that_is_over_gets_no_queue() {
    let mut harness = seeded();
    let old = connection(&harness, 2, 1);
    harness.fence(2);

    let stale = harness.refuse(&declare_queue(exclusive("q", old)));
    assert!(matches!(stale, ClusterError::StaleBrokerEpoch { .. }));
    let fenced = connection(&harness, 2, 1);
    let fenced = harness.refuse(&declare_queue(exclusive("q", fenced)));
    let broker = BrokerId(2);
    assert_eq!(fenced, ClusterError::BrokerFenced { broker });
    let nobody = ConnectionId {
        broker: BrokerId(9),
        broker_epoch: BrokerEpoch(1),
        number: 1,
    };
    let unknown = harness.refuse(&declare_queue(exclusive("q", nobody)));
    let broker = BrokerId(9);
    assert_eq!(unknown, ClusterError::UnknownBroker { broker });
}

#[test]
fn a_binding_of_another_connections_queue_is_refused() {
    let mut harness = seeded();
    let mine = connection(&harness, 1, 1);
    add_queue(&mut harness, exclusive("q", mine));

    let refused = refusal(&mut harness, &bind(to_queue("amq.fanout", "q", "")));

    assert!(refused.to_string().starts_with("cannot obtain exclusive"));
    let mut change = to_queue("amq.fanout", "q", "");
    change.connection = Some(mine);
    harness.accept(&bind(change));
}

/// `loss.rs`: the queue goes on in a new group.
#[test]
fn after_an_accepted_loss_name_and_bindings_lead_to_the_new_group() {
    let mut harness = seeded();
    let old = add_queue(&mut harness, queue("q"));
    // It would go with its last binding, but does not lose it.
    let mut source = exchange("x", ExchangeKind::Fanout);
    source.is_auto_delete = true;
    harness.accept(&declare_exchange(source));
    harness.accept(&bind(to_queue("x", "q", "")));
    let accept = Command::AcceptLoss(AcceptLoss {
        group: old,
        partition_epoch: harness.partition(old).partition_epoch,
        kept: BrokerId(1),
        last_log: None,
        accepted_by: "jane".to_owned(),
    });

    let outcome = harness.accept(&accept);

    let Outcome::LossAccepted { group } = outcome else {
        panic!("{outcome:?}")
    };
    assert_ne!(group, old);
    assert!(harness.partition(group).is_queue());
    assert_eq!(routed(&harness, "", "q"), [group]);
    assert_eq!(routed(&harness, "x", ""), [group]);
    assert_eq!(harness.image().amqp.bindings_count, 1);
    assert!(!harness.image().amqp.queues.contains_key(&old));
    harness.persist();
    assert_eq!(Cluster::restore(harness.rows.iter()), Ok(harness.cluster));
}
