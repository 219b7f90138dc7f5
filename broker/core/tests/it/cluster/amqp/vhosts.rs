//! Commands that make and delete virtual hosts, and the first one.

use raftmq_core::Effect;
use raftmq_core::cluster::amqp::{CreateVhost, DEFAULT_VHOST, DeclareExchange, DeclareQueue};
use raftmq_core::cluster::{AmqpCommand, Command, Outcome};
use raftmq_core::exchange::ExchangeKind;

use super::{
    add_queue, bind, create_vhost, declare_exchange, exchange, queue, refusal_text, routed, seed,
    seeded, to_queue,
};
use crate::support::cluster::Harness;

fn delete_vhost(name: &str) -> Command {
    Command::Amqp(AmqpCommand::DeleteVhost {
        vhost: name.to_owned(),
    })
}

#[test]
fn a_virtual_host_has_the_exchanges_that_each_one_has() {
    let mut harness = Harness::created();

    let applied = harness.commit(&create_vhost("mine"));

    assert_eq!(applied.reply, Ok(Outcome::Done));
    assert_eq!(applied.effects, [Effect::ImageChanged]);
    let vhost = harness.image().amqp.vhost("mine").unwrap();
    let exchanges = vhost.routing.exchanges();
    let exchanges: Vec<_> = exchanges
        .map(|(_, exchange)| {
            let settings = exchange.settings();
            (&*settings.name, settings.kind.name(), settings.is_internal)
        })
        .collect();
    assert_eq!(
        exchanges,
        [
            ("amq.direct", "direct", false),
            ("amq.fanout", "fanout", false),
            ("amq.headers", "headers", false),
            ("amq.match", "headers", false),
            ("amq.topic", "topic", false),
            ("amq.rabbitmq.trace", "topic", true),
        ]
    );
    assert!(vhost.exchanges.values().all(|info| info.is_durable));
    assert_eq!(harness.commit(&create_vhost("mine")).effects, []);
}

#[test]
fn what_a_virtual_host_is_for_can_be_changed() {
    let mut harness = seeded();

    let change = Command::Amqp(AmqpCommand::CreateVhost(CreateVhost {
        name: DEFAULT_VHOST.to_owned(),
        description: "everything".to_owned(),
        default_queue_type: "quorum".to_owned(),
    }));
    harness.accept(&change);

    let vhost = harness.image().amqp.vhost("/").unwrap();
    assert_eq!(vhost.description, "everything");
    assert_eq!(vhost.default_queue_type, "quorum");
    assert_eq!(harness.commit(&change).effects, []);
    assert_eq!(
        refusal_text(&mut harness, &create_vhost("")),
        "name of vhost is empty"
    );
}

#[test]
fn names_in_two_virtual_hosts_are_two_things() {
    let mut harness = seeded();
    harness.accept(&create_vhost("other"));
    let here = add_queue(&mut harness, queue("q"));
    let vhost = "other".to_owned();
    let there = add_queue(
        &mut harness,
        DeclareQueue {
            vhost: vhost.clone(),
            ..queue("q")
        },
    );
    harness.accept(&declare_exchange(DeclareExchange {
        vhost,
        ..exchange("x", ExchangeKind::Fanout)
    }));

    assert_ne!(here, there);
    assert_eq!(routed(&harness, "", "q"), [here]);
    assert_eq!(
        refusal_text(&mut harness, &bind(to_queue("x", "q", ""))),
        "no exchange 'x' in vhost '/'"
    );
}

#[test]
fn a_deleted_virtual_host_takes_everything_along() {
    let mut harness = seeded();
    let group = add_queue(&mut harness, queue("q"));
    harness.accept(&bind(to_queue("amq.direct", "q", "k")));
    harness.accept(&create_vhost("other"));

    let applied = harness.commit(&delete_vhost("/"));

    assert_eq!(
        applied.effects,
        [Effect::GroupRemoved { group }, Effect::ImageChanged]
    );
    let amqp = &harness.image().amqp;
    assert!(amqp.queues.is_empty() && amqp.permissions.is_empty());
    assert_eq!((amqp.exchanges_count, amqp.bindings_count), (6, 0));
    assert_eq!(amqp.vhosts.len(), 1);
    assert_eq!(
        refusal_text(&mut harness, &delete_vhost("/")),
        "vhost '/' not found"
    );
}

#[test]
fn the_first_virtual_host_and_user_are_made_once_for_all_time() {
    let mut harness = seeded();
    let amqp = &harness.image().amqp;
    let vhost = amqp.vhost("/").unwrap().id;
    let guest = &amqp.users["guest"];
    assert_eq!(&*guest.password_hash.0, b"hash");
    assert!(guest.tags.contains("administrator"));
    let permissions = amqp.permissions_of(vhost, "guest").unwrap();
    assert_eq!(
        [
            &permissions.configure,
            &permissions.write,
            &permissions.read
        ],
        [".*"; 3]
    );
    assert_eq!(harness.commit(&seed()).effects, []);

    harness.accept(&delete_vhost("/"));
    harness.accept(&Command::Amqp(AmqpCommand::DeleteUser {
        name: "guest".to_owned(),
    }));

    assert_eq!(harness.commit(&seed()).effects, [], "they stay deleted");
}
