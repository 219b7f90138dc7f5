//! What can be proposed about AMQP's world. The bytes stand in `codec`. Knows nothing of the state.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cluster::amqp::{ConnectionId, PasswordHash, Permissions};
use crate::exchange::{Arguments, ExchangeKind};
use crate::ids::GroupNumber;

/// A virtual host to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateVhost {
    /// Its name.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// `x-queue-type` of queues that say nothing; empty = none.
    pub default_queue_type: String,
}

/// `exchange.declare`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclareExchange {
    /// The virtual host.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// How it chooses among its bindings.
    pub kind: ExchangeKind,
    /// Declared as `x-delayed-message`: `kind` is what `x-delayed-type` says.
    pub is_delayed: bool,
    /// `durable`. Kept for the comparison of declarations: everything is replicated and flushed.
    pub is_durable: bool,
    /// `auto-delete`: it goes with the last binding that starts at it.
    pub is_auto_delete: bool,
    /// `internal`: only bindings may publish to it.
    pub is_internal: bool,
    /// Its arguments; `alternate-exchange` means something.
    pub arguments: Arguments,
}

/// `queue.declare`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclareQueue {
    /// The virtual host.
    pub vhost: String,
    /// Its name; the front end makes one up for a client that gave none.
    pub name: String,
    /// The name was made up, and may begin with `amq.`.
    pub is_server_named: bool,
    /// `durable`. Kept for the comparison of declarations: everything is replicated and flushed.
    pub is_durable: bool,
    /// `auto-delete`: it goes with its last consumer.
    pub is_auto_delete: bool,
    /// `exclusive`: it belongs to this connection, stands on its broker only, and goes with it.
    pub owner: Option<ConnectionId>,
    /// Its arguments.
    pub arguments: Arguments,
}

/// Where a binding leads, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindingTarget {
    /// A queue.
    Queue(String),
    /// Another exchange (RabbitMQ's `exchange.bind`).
    Exchange(String),
}

/// `queue.bind`, `queue.unbind`, `exchange.bind`, `exchange.unbind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingChange {
    /// The virtual host.
    pub vhost: String,
    /// The exchange at which it starts.
    pub source: String,
    /// Where it leads.
    pub target: BindingTarget,
    /// The binding key: any bytes.
    pub key: Arc<[u8]>,
    /// The arguments, which headers exchanges match by.
    pub arguments: Arguments,
    /// Who asks, for exclusive queues; `None` = nobody's connection.
    pub connection: Option<ConnectionId>,
}

/// A user to be made or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutUser {
    /// Its name.
    pub name: String,
    /// Its salted password hash, made by the proposer; empty = no login with a password.
    pub password_hash: PasswordHash,
    /// Its tags.
    pub tags: BTreeSet<String>,
}

/// What is to be changed of a user; one with a password may be new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeUser {
    /// Its name.
    pub name: String,
    /// Its salted password hash, made by the proposer; `None` = as it is.
    pub password_hash: Option<PasswordHash>,
    /// All its tags; `None` = as they are, and none for a new user.
    pub tags: Option<BTreeSet<String>>,
}

/// What a user may do in a virtual host from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPermissions {
    /// The virtual host.
    pub vhost: String,
    /// The user.
    pub user: String,
    /// The patterns, checked by the proposer.
    pub permissions: Permissions,
}

/// The first virtual host, `/`, and the first user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The user's name (`guest`).
    pub user: String,
    /// Its salted password hash.
    pub password_hash: PasswordHash,
}

/// What can be proposed about AMQP's world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmqpCommand {
    /// Makes a virtual host with the exchanges that each one has. Repetition changes nothing; what it
    /// is for and its default queue type are those of the last command.
    CreateVhost(CreateVhost),
    /// Deletes a virtual host with everything in it. Repetition is refused (`UnknownVhost`).
    DeleteVhost {
        /// The virtual host.
        vhost: String,
    },
    /// Makes an exchange. Repetition changes nothing; another declaration is refused.
    DeclareExchange(DeclareExchange),
    /// Deletes an exchange with its bindings (`exchange.delete`). Repetition changes nothing.
    DeleteExchange {
        /// The virtual host.
        vhost: String,
        /// The exchange.
        name: String,
        /// Only if no binding starts at it.
        if_unused: bool,
    },
    /// Makes a queue. Repetition changes nothing; another declaration is refused.
    DeclareQueue(DeclareQueue),
    /// Deletes a queue with its bindings and its group. Whether it is unused and empty, its own machine
    /// decided before (`queue.delete`, expiry, auto-delete). Repetition changes nothing, and a new
    /// queue of the same name is another one.
    DeleteQueue {
        /// Its group.
        group: GroupNumber,
    },
    /// Adds a binding. Repetition changes nothing.
    Bind(BindingChange),
    /// Removes a binding, and an auto-delete exchange with its last one. Repetition changes nothing.
    Unbind(BindingChange),
    /// A connection is closed: its exclusive queues go. Repetition changes nothing.
    CloseConnection {
        /// The connection.
        connection: ConnectionId,
    },
    /// Makes a user, or changes what it was made with. Repetition changes nothing.
    PutUser(PutUser),
    /// Deletes a user with its permissions. Repetition is refused (`UnknownUser`).
    DeleteUser {
        /// Its name.
        name: String,
    },
    /// Sets what a user may do in a virtual host. Repetition changes nothing.
    SetPermissions(SetPermissions),
    /// Takes it away again. Repetition changes nothing.
    ClearPermissions {
        /// The virtual host.
        vhost: String,
        /// The user.
        user: String,
    },
    /// Makes `/` and a first user who may do everything there, once for all time.
    Seed(Seed),
    /// Changes what is named of a user, or makes one that has a password. Refused for a user that is
    /// neither there nor given a password (`UnknownUser`). Repetition changes nothing.
    ChangeUser(ChangeUser),
}
