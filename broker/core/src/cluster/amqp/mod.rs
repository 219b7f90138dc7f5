//! The AMQP part of the metadata: virtual hosts with their exchanges, bindings and queues; users and
//! permissions.
//!
//! Owns what is declared, when a second declaration is the same as the first, and what goes with what
//! it belonged to. The routing tables are part of the image and follow each change: nothing is built
//! for a publish. A queue's group is a partition of a hidden topic (ADR 0008),
//! so replicas, elections and moves are those of partitions. It deliberately does not know messages,
//! consumers, passwords, what a pattern of a permission matches, nor the wire. Sources: AMQP 0-9-1
//! classes `exchange` and `queue`; RabbitMQ's texts, which clients parse.

mod bindings;
mod codec;
mod command;
mod edit;
mod error;
mod exchanges;
mod queues;
mod resource;
pub(in crate::cluster) mod rows;
mod users;
mod values;
mod vhosts;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};

pub use self::command::{
    AmqpCommand, BindingChange, BindingTarget, ChangeUser, CreateVhost, DeclareExchange,
    DeclareQueue, PutUser, Seed, SetPermissions,
};
pub use self::error::{AmqpError, Inequivalent};
pub use self::resource::{ConnectionId, ExchangeInfo, QueueInfo, Resource, ResourceKind};

use crate::cluster::{Cluster, Reply};
use crate::effect::Effects;
use crate::exchange::{Binding, ExchangeId, Routing};
use crate::ids::{GroupNumber, VhostId};

/// The virtual host that is there from the beginning.
pub const DEFAULT_VHOST: &str = "/";

/// A virtual host.
#[derive(Debug, Clone, PartialEq)]
pub struct Vhost {
    /// Its id, never reused.
    pub id: VhostId,
    /// Its name.
    pub name: Arc<str>,
    /// What it is for, in its owner's words; may be empty.
    pub description: String,
    /// `x-queue-type` of queues that say nothing; empty = none. The front end puts it in.
    pub default_queue_type: String,
    /// Its routing table: exchanges, bindings, names of queues.
    pub routing: Routing,
    /// What routing need not know of its exchanges.
    pub exchanges: OrdMap<ExchangeId, Arc<ExchangeInfo>>,
    /// Bindings of all its exchanges.
    pub bindings_count: usize,
}

impl Vhost {
    /// Finds an exchange; the default exchange is none.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn exchange_id(&self, name: &str) -> Result<ExchangeId, AmqpError> {
        let found = self.routing.exchange_id(name);
        found.ok_or_else(|| Resource::exchange(&self.name, name).not_found())
    }

    /// Finds a queue's group.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn queue_group(&self, name: &str) -> Result<GroupNumber, AmqpError> {
        let found = self.routing.queue(name);
        found.ok_or_else(|| Resource::queue(&self.name, name).not_found())
    }
}

/// What the host made of a password; opaque here, and never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PasswordHash(pub Bytes);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({} bytes)", self.0.len())
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: Arc<str>,
    /// Its salted password hash; empty = it cannot log in with a password.
    pub password_hash: PasswordHash,
    /// RabbitMQ's tags (`administrator`, `monitoring`, …), in ascending order.
    pub tags: BTreeSet<String>,
}

/// What a user may do in a virtual host: regular expressions over names, which the host checks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    /// What it may declare and delete.
    pub configure: String,
    /// What it may publish to, and bind as a destination.
    pub write: String,
    /// What it may consume from, and bind as a source.
    pub read: String,
}

/// The AMQP part of the image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Amqp {
    /// The first virtual host and user were made; they may have been deleted since.
    pub is_seeded: bool,
    /// The newest id of a virtual host or an exchange: 0 before the first one.
    pub last_id: u64,
    /// Virtual hosts by id.
    pub vhosts: OrdMap<VhostId, Arc<Vhost>>,
    /// Their ids by name.
    pub vhost_ids: OrdMap<Arc<str>, VhostId>,
    /// Queues by their group.
    pub queues: OrdMap<GroupNumber, Arc<QueueInfo>>,
    /// Exclusive queues by their connection.
    pub owned: OrdSet<(ConnectionId, GroupNumber)>,
    /// Users by name.
    pub users: OrdMap<Arc<str>, Arc<User>>,
    /// Permissions by virtual host and user.
    pub permissions: OrdMap<(VhostId, Arc<str>), Arc<Permissions>>,
    /// Exchanges of all virtual hosts.
    pub exchanges_count: usize,
    /// Bindings of all virtual hosts.
    pub bindings_count: usize,
}

impl Amqp {
    /// Finds a virtual host.
    ///
    /// # Errors
    /// `UnknownVhost`.
    pub fn vhost(&self, name: &str) -> Result<&Arc<Vhost>, AmqpError> {
        let found = self.vhost_ids.get(name).and_then(|id| self.vhosts.get(id));
        found.ok_or_else(|| AmqpError::UnknownVhost {
            vhost: name.to_owned(),
        })
    }

    /// Finds a queue.
    ///
    /// # Errors
    /// `UnknownVhost`, `NotFound`.
    pub fn queue(&self, vhost: &str, name: &str) -> Result<&Arc<QueueInfo>, AmqpError> {
        let group = self.vhost(vhost)?.queue_group(name)?;
        let found = self.queues.get(&group);
        found.ok_or_else(|| Resource::queue(vhost, name).not_found())
    }

    /// Finds what a user may do; `None` = it may not even open the virtual host.
    #[must_use]
    pub fn permissions_of(&self, vhost: VhostId, user: &str) -> Option<&Arc<Permissions>> {
        self.permissions.get(&(vhost, Arc::from(user)))
    }
}

/// Which rows of the AMQP part changed.
#[derive(Debug, Clone, Default)]
pub(in crate::cluster) struct AmqpDirty {
    head: bool,
    vhosts: BTreeSet<VhostId>,
    exchanges: BTreeSet<(VhostId, ExchangeId)>,
    queues: BTreeSet<GroupNumber>,
    bindings: BTreeSet<(VhostId, ExchangeId, Binding)>,
    users: BTreeSet<Arc<str>>,
    permissions: BTreeSet<(VhostId, Arc<str>)>,
}

impl Cluster {
    pub(in crate::cluster) fn execute_amqp(
        &mut self,
        command: AmqpCommand,
        effects: &mut Effects,
    ) -> Reply {
        match command {
            AmqpCommand::CreateVhost(create) => self.create_vhost(create),
            AmqpCommand::DeleteVhost { vhost } => self.delete_vhost(&vhost, effects),
            AmqpCommand::DeclareExchange(declare) => self.declare_exchange(declare),
            AmqpCommand::DeleteExchange {
                vhost,
                name,
                if_unused,
            } => self.delete_exchange(&vhost, &name, if_unused),
            AmqpCommand::DeclareQueue(declare) => self.declare_queue(declare, effects),
            AmqpCommand::DeleteQueue { group } => self.delete_queue(group, effects),
            AmqpCommand::Bind(change) => self.bind(&change),
            AmqpCommand::Unbind(change) => self.unbind(&change),
            AmqpCommand::CloseConnection { connection } => {
                self.close_connection(connection, effects)
            }
            AmqpCommand::PutUser(put) => self.put_user(put),
            AmqpCommand::DeleteUser { name } => self.delete_user(&name),
            AmqpCommand::SetPermissions(set) => self.set_permissions(set),
            AmqpCommand::ClearPermissions { vhost, user } => self.clear_permissions(&vhost, &user),
            AmqpCommand::Seed(seed) => self.seed_amqp(seed),
            AmqpCommand::ChangeUser(change) => self.change_user(change),
        }
    }
}
