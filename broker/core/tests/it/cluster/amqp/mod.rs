//! AMQP's world in the metadata machine, one file for each kind of command or question.

mod bindings;
mod codec;
mod exchanges;
mod properties;
mod queues;
mod rows;
mod users;
mod vhosts;

use bytes::Bytes;
use raftmq_core::cluster::amqp::{
    BindingChange, BindingTarget, ConnectionId, CreateVhost, DeclareExchange, DeclareQueue,
    PasswordHash, Seed,
};
use raftmq_core::cluster::{AmqpCommand, AmqpError, ClusterError, Command, Outcome};
use raftmq_core::exchange::{Argument, Arguments, ExchangeKind, HeaderValue, Message, Route};
use raftmq_core::{BrokerId, GroupNumber};

use crate::support::cluster::Harness;

/// A cluster of three brokers with `/` and `guest`.
fn seeded() -> Harness {
    let mut harness = Harness::with_brokers(3);
    harness.accept(&seed());
    harness
}

fn seed() -> Command {
    Command::Amqp(AmqpCommand::Seed(Seed {
        user: "guest".to_owned(),
        password_hash: PasswordHash(Bytes::from_static(b"hash")),
    }))
}

fn create_vhost(name: &str) -> Command {
    Command::Amqp(AmqpCommand::CreateVhost(CreateVhost {
        name: name.to_owned(),
        description: String::new(),
        default_queue_type: String::new(),
    }))
}

/// A durable exchange of `/`, to be changed.
fn exchange(name: &str, kind: ExchangeKind) -> DeclareExchange {
    DeclareExchange {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        kind,
        is_delayed: false,
        is_durable: true,
        is_auto_delete: false,
        is_internal: false,
        arguments: Arguments::NONE,
    }
}

fn declare_exchange(declare: DeclareExchange) -> Command {
    Command::Amqp(AmqpCommand::DeclareExchange(declare))
}

fn delete_exchange(name: &str, if_unused: bool) -> Command {
    Command::Amqp(AmqpCommand::DeleteExchange {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        if_unused,
    })
}

/// A durable queue of `/`, to be changed.
fn queue(name: &str) -> DeclareQueue {
    DeclareQueue {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        is_server_named: false,
        is_durable: true,
        is_auto_delete: false,
        owner: None,
        arguments: Arguments::NONE,
    }
}

fn declare_queue(declare: DeclareQueue) -> Command {
    Command::Amqp(AmqpCommand::DeclareQueue(declare))
}

fn delete_queue(group: GroupNumber) -> Command {
    Command::Amqp(AmqpCommand::DeleteQueue { group })
}

/// Makes a queue, which must be new.
fn add_queue(harness: &mut Harness, declare: DeclareQueue) -> GroupNumber {
    let outcome = harness.accept(&declare_queue(declare));
    let Outcome::QueueDeclared {
        group,
        is_new: true,
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    group
}

fn to_queue(source: &str, name: &str, key: &str) -> BindingChange {
    BindingChange {
        vhost: "/".to_owned(),
        source: source.to_owned(),
        target: BindingTarget::Queue(name.to_owned()),
        key: key.as_bytes().into(),
        arguments: Arguments::NONE,
        connection: None,
    }
}

fn to_exchange(source: &str, name: &str, key: &str) -> BindingChange {
    BindingChange {
        target: BindingTarget::Exchange(name.to_owned()),
        ..to_queue(source, "", key)
    }
}

fn bind(change: BindingChange) -> Command {
    Command::Amqp(AmqpCommand::Bind(change))
}

fn unbind(change: BindingChange) -> Command {
    Command::Amqp(AmqpCommand::Unbind(change))
}

/// A connection to a broker in its present registration.
fn connection(harness: &Harness, broker: u32, number: u64) -> ConnectionId {
    ConnectionId {
        broker: BrokerId(broker),
        broker_epoch: harness.epoch_of(broker),
        number,
    }
}

fn text_argument(name: &str, value: &str) -> Argument {
    Argument {
        name: Bytes::copy_from_slice(name.as_bytes()),
        tag: b'S',
        value: HeaderValue::Bytes(Bytes::copy_from_slice(value.as_bytes())),
    }
}

fn number_argument(name: &str, value: i64) -> Argument {
    Argument {
        name: Bytes::copy_from_slice(name.as_bytes()),
        tag: b'l',
        value: HeaderValue::Integer(value),
    }
}

/// The queues of `/` that a message reaches.
fn routed(harness: &Harness, exchange: &str, key: &str) -> Vec<GroupNumber> {
    let mut route = Route::new();
    let vhost = harness.image().amqp.vhost("/").unwrap();
    let message = Message::new(key.as_bytes());
    vhost.routing.route(exchange, &message, &mut route);
    route.queues().to_vec()
}

/// Commits a command that must be refused for a reason of AMQP's world.
fn refusal(harness: &mut Harness, command: &Command) -> AmqpError {
    let refused = harness.refuse(command);
    let ClusterError::Amqp(error) = refused else {
        panic!("{refused}")
    };
    error
}

/// As [`refusal`]: the text that a client will read.
fn refusal_text(harness: &mut Harness, command: &Command) -> String {
    refusal(harness, command).to_string()
}
