//! Random commands: a naive model agrees on who is there and what is routed, refusals change nothing,
//! and rows make the state that the log made.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use raftmq_core::cluster::amqp::{
    BindingChange, BindingTarget, DeclareExchange, DeclareQueue, PasswordHash, Permissions,
    PutUser, SetPermissions,
};
use raftmq_core::cluster::{AmqpCommand, Cluster, Command, Image};
use raftmq_core::exchange::{Arguments, Destination, ExchangeKind};
use raftmq_core::{Effects, GroupNumber, Machine};

use super::{
    bind, connection, create_vhost, declare_exchange, declare_queue, delete_exchange, delete_queue,
    exchange, number_argument, queue, seed, to_queue, unbind,
};
use crate::support::cluster::Harness;
use crate::support::{Rows, meta};

const EXCHANGES: [&str; 5] = ["a", "b", "c", "amq.fanout", ""];
const QUEUES: [&str; 3] = ["p", "q", "r"];
const VHOSTS: [&str; 3] = ["/", "other", "missing"];

/// What a step is to do; connections get the epochs of their brokers when it is their turn.
#[derive(Debug, Clone)]
enum Step {
    Command(Command),
    Exclusive { name: &'static str, broker: u32 },
    Close { broker: u32 },
    Fence { broker: u32 },
    Unfence { broker: u32 },
}

impl Step {
    fn run(&self, harness: &mut Harness) {
        let before = harness.cluster.clone();
        let applied = match self {
            Self::Command(command) => harness.commit(command),
            Self::Exclusive { name, broker } => {
                let owner = Some(connection(harness, *broker, 1));
                harness.commit(&declare_queue(DeclareQueue {
                    owner,
                    ..queue(name)
                }))
            }
            Self::Close { broker } => {
                let connection = connection(harness, *broker, 1);
                harness.commit(&Command::Amqp(AmqpCommand::CloseConnection { connection }))
            }
            Self::Fence { broker } => harness.fence(*broker),
            Self::Unfence { broker } => harness.unfence(*broker),
        };
        if applied.reply.is_err() {
            assert_eq!(harness.cluster, before, "{self:?}");
        }
    }
}

fn any_of(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    proptest::sample::select(names)
}

fn any_change() -> impl Strategy<Value = BindingChange> {
    let target = prop_oneof![
        any_of(&QUEUES).prop_map(|name| BindingTarget::Queue(name.to_owned())),
        any_of(&EXCHANGES).prop_map(|name| BindingTarget::Exchange(name.to_owned())),
    ];
    (any_of(&EXCHANGES), target, any_of(&["k", "l.*"])).prop_map(|(source, target, key)| {
        BindingChange {
            target,
            ..to_queue(source, "", key)
        }
    })
}

fn any_declaration() -> impl Strategy<Value = Command> {
    let kind = proptest::sample::select(vec![ExchangeKind::Fanout, ExchangeKind::Topic]);
    prop_oneof![
        (any_of(&VHOSTS), any_of(&EXCHANGES), kind, any::<bool>()).prop_map(
            |(vhost, name, kind, is_auto_delete)| {
                declare_exchange(DeclareExchange {
                    vhost: vhost.to_owned(),
                    is_auto_delete,
                    ..exchange(name, kind)
                })
            }
        ),
        (any_of(&VHOSTS), any_of(&QUEUES), 0..3_i64).prop_map(|(vhost, name, limit)| {
            declare_queue(DeclareQueue {
                vhost: vhost.to_owned(),
                arguments: Arguments::new(vec![number_argument("x-max-length", limit - 1)]),
                ..queue(name)
            })
        }),
        any_of(&["/", "other"]).prop_map(create_vhost),
    ]
}

fn any_deletion() -> impl Strategy<Value = Command> {
    prop_oneof![
        (any_of(&EXCHANGES), any::<bool>())
            .prop_map(|(name, if_unused)| delete_exchange(name, if_unused)),
        (1..9_u64).prop_map(|group| delete_queue(GroupNumber(group))),
        any_of(&VHOSTS).prop_map(|vhost| Command::Amqp(AmqpCommand::DeleteVhost {
            vhost: vhost.to_owned()
        })),
        any_of(&["guest", "jane"]).prop_map(|name| Command::Amqp(AmqpCommand::DeleteUser {
            name: name.to_owned()
        })),
    ]
}

fn any_user_command() -> impl Strategy<Value = Command> {
    let user = any_of(&["guest", "jane"]);
    prop_oneof![
        (user.clone(), 0..2_u8).prop_map(|(name, hash)| {
            Command::Amqp(AmqpCommand::PutUser(PutUser {
                name: name.to_owned(),
                password_hash: PasswordHash(vec![hash].into()),
                tags: BTreeSet::new(),
            }))
        }),
        (user, any_of(&VHOSTS), 0..2_u8).prop_map(|(user, vhost, read)| {
            Command::Amqp(AmqpCommand::SetPermissions(SetPermissions {
                vhost: vhost.to_owned(),
                user: user.to_owned(),
                permissions: Permissions {
                    read: read.to_string(),
                    ..Permissions::default()
                },
            }))
        }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let broker = 1..4_u32;
    let command = prop_oneof![
        4 => any_declaration(),
        4 => any_change().prop_map(bind),
        2 => any_change().prop_map(unbind),
        1 => any_deletion(),
        1 => any_user_command(),
    ];
    prop_oneof![
        12 => command.prop_map(Step::Command),
        2 => (any_of(&QUEUES), broker.clone())
            .prop_map(|(name, broker)| Step::Exclusive { name, broker }),
        1 => broker.clone().prop_map(|broker| Step::Close { broker }),
        1 => broker.clone().prop_map(|broker| Step::Fence { broker }),
        1 => broker.prop_map(|broker| Step::Unfence { broker }),
    ]
}

/// Everything that must hold of an image, whatever was committed.
fn assert_consistent(image: &Image) {
    let amqp = &image.amqp;
    let (mut exchanges_count, mut bindings_count, mut named) = (0, 0, BTreeSet::new());
    for (name, id) in &amqp.vhost_ids {
        let vhost = &amqp.vhosts[id];
        assert_eq!((&vhost.name, vhost.id), (name, *id));
        exchanges_count += vhost.exchanges.len();
        let mut here = 0;
        for (id, exchange) in vhost.routing.exchanges() {
            assert!(vhost.exchanges.contains_key(&id));
            here += exchange.bindings_count();
            for binding in exchange.bindings() {
                match binding.destination {
                    Destination::Queue(group) => {
                        assert_eq!(amqp.queues[&group].vhost_id, vhost.id);
                    }
                    Destination::Exchange(id) => {
                        assert!(vhost.exchanges.contains_key(&id), "it leads nowhere");
                    }
                }
            }
        }
        assert_eq!(vhost.bindings_count, here);
        bindings_count += here;
        for (name, group) in vhost.routing.queues() {
            assert_eq!(&amqp.queues[&group].name, name);
            assert!(named.insert(group));
        }
    }
    assert_eq!(amqp.vhosts.len(), amqp.vhost_ids.len());
    assert_eq!(amqp.exchanges_count, exchanges_count);
    assert_eq!(amqp.bindings_count, bindings_count);
    assert!(amqp.queues.keys().eq(&named));
    for queue in amqp.queues.values() {
        assert!(image.partition(queue.group).unwrap().is_queue());
        if let Some(owner) = queue.owner {
            assert!(image.is_alive(owner.broker), "an owner is gone");
            let epoch = image.broker(owner.broker).unwrap().epoch;
            assert_eq!(owner.broker_epoch, epoch);
        }
    }
    assert_eq!(image.partitions.len(), amqp.queues.len());
    let owned = amqp.queues.values();
    let owned: BTreeSet<_> = owned
        .filter_map(|queue| Some((queue.owner?, queue.group)))
        .collect();
    assert!(amqp.owned.iter().eq(&owned));
    for (vhost, user) in amqp.permissions.keys() {
        assert!(amqp.vhosts.contains_key(vhost) && amqp.users.contains_key(user));
    }
}

/// Bindings of `/` as a client sees them, by names.
type Model = BTreeMap<(String, String), BTreeSet<Vec<u8>>>;

fn bindings_by_name(image: &Image) -> Model {
    let mut model = Model::new();
    let Ok(vhost) = image.amqp.vhost("/") else {
        return model;
    };
    for (_, exchange) in vhost.routing.exchanges() {
        for binding in exchange.bindings() {
            let to = match binding.destination {
                Destination::Queue(group) => format!("queue {}", image.amqp.queues[&group].name),
                Destination::Exchange(id) => {
                    let to = vhost.routing.exchange(id).unwrap();
                    format!("exchange {}", to.settings().name)
                }
            };
            let ends = (exchange.settings().name.to_string(), to);
            model.entry(ends).or_default().insert(binding.key.to_vec());
        }
    }
    model
}

fn start() -> Harness {
    let mut harness = Harness::with_brokers(3);
    harness.accept(&seed());
    harness
}

proptest! {
    #[test]
    fn the_image_never_contradicts_itself(
        steps in proptest::collection::vec(any_step(), 1..80),
    ) {
        let mut harness = start();
        for step in &steps {
            step.run(&mut harness);
            assert_consistent(harness.image());
        }
    }

    #[test]
    fn a_bind_adds_one_binding_and_nothing_else_and_an_unbind_takes_it_away(
        steps in proptest::collection::vec(any_step(), 1..40),
        change in any_change(),
    ) {
        let mut harness = start();
        for step in &steps {
            step.run(&mut harness);
        }
        let before = bindings_by_name(harness.image());
        let bound = harness.commit(&bind(change.clone())).reply;
        let mut expected = before.clone();
        if bound.is_ok() {
            let to = match &change.target {
                BindingTarget::Queue(name) => format!("queue {name}"),
                BindingTarget::Exchange(name) => format!("exchange {name}"),
            };
            let ends = (change.source.clone(), to);
            expected.entry(ends).or_default().insert(change.key.to_vec());
        }
        prop_assert_eq!(bindings_by_name(harness.image()), expected.clone());
        if expected != before {
            harness.accept(&unbind(change));
            // An auto-delete source may have gone with it, with what led there.
            let after = bindings_by_name(harness.image());
            prop_assert!(after.iter().all(|(ends, keys)| before.get(ends) == Some(keys)));
        }
    }

    #[test]
    fn a_state_restored_half_way_ends_the_same(
        steps in proptest::collection::vec(any_step(), 1..80),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut harness = start();
        for step in &steps {
            step.run(&mut harness);
        }
        let cut = cut.index(harness.log.len() + 1);
        let apply = |cluster: &mut Cluster, at: usize| {
            let command = Cluster::decode(&harness.log[at]).unwrap();
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
        prop_assert_eq!(&from_rows, &half);
        prop_assert_eq!(&from_checkpoint, &half);
        for at in cut..harness.log.len() {
            apply(&mut from_rows, at);
            apply(&mut from_checkpoint, at);
        }
        prop_assert_eq!(&from_rows, &harness.cluster);
        prop_assert_eq!(from_rows.checkpoint(), harness.cluster.checkpoint());
        prop_assert_eq!(&from_checkpoint, &harness.cluster);
    }

    #[test]
    fn a_preview_is_what_the_command_will_say(
        steps in proptest::collection::vec(any_step(), 1..40),
    ) {
        let mut harness = start();
        for step in &steps {
            let Step::Command(command) = step else {
                step.run(&mut harness);
                continue;
            };
            let said = harness.cluster.preview(command.clone());
            prop_assert_eq!(said, harness.commit(command).reply);
        }
    }
}
