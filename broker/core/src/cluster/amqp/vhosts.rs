//! Commands that make and delete virtual hosts, and the first one of a cluster.
//!
//! Source: RabbitMQ's virtual hosts and the exchanges that AMQP 0-9-1 (3.1.3.4) wants in each.

use std::sync::Arc;

use imbl::OrdMap;

use crate::cluster::amqp::command::{CreateVhost, PutUser, Seed, SetPermissions};
use crate::cluster::amqp::edit::Edit;
use crate::cluster::amqp::{AmqpError, DEFAULT_VHOST, ExchangeInfo, Permissions, Vhost};
use crate::cluster::brokers::{check_length, over_limit};
use crate::cluster::{Cluster, ClusterError, Outcome, Reply};
use crate::effect::Effects;
use crate::exchange::{Arguments, ExchangeId, ExchangeKind, Routing, Settings};
use crate::ids::{GroupNumber, VhostId};
use crate::limits::{AMQP_PERMISSIONS_COUNT_MAX, AMQP_VHOSTS_COUNT_MAX, CONFIG_VALUE_BYTES_MAX};

/// The exchanges of each virtual host; the last one is internal.
const PREDECLARED: [(&str, ExchangeKind); 6] = [
    ("amq.direct", ExchangeKind::Direct),
    ("amq.fanout", ExchangeKind::Fanout),
    ("amq.headers", ExchangeKind::Headers),
    ("amq.match", ExchangeKind::Headers),
    ("amq.topic", ExchangeKind::Topic),
    (TRACE_EXCHANGE, ExchangeKind::Topic),
];
const TRACE_EXCHANGE: &str = "amq.rabbitmq.trace";
/// The tag of a user who may manage everything.
const ADMINISTRATOR: &str = "administrator";
/// Matches every name.
const EVERYTHING: &str = ".*";

impl Cluster {
    pub(super) fn create_vhost(&mut self, create: CreateVhost) -> Reply {
        check_name("vhost", &create.name)?;
        check_length("default queue type", &create.default_queue_type)?;
        let description_bytes = create.description.len();
        if description_bytes > CONFIG_VALUE_BYTES_MAX {
            let limit = CONFIG_VALUE_BYTES_MAX;
            return Err(over_limit("description", description_bytes, limit));
        }
        if let Ok(known) = self.image.amqp.vhost(&create.name) {
            let known = Arc::clone(known);
            self.change_vhost(&known, create);
            return Ok(Outcome::Done);
        }
        let vhosts_count = self.image.amqp.vhosts.len() + 1;
        if vhosts_count > AMQP_VHOSTS_COUNT_MAX {
            let limit = AMQP_VHOSTS_COUNT_MAX;
            return Err(over_limit("virtual hosts", vhosts_count, limit));
        }
        self.add_vhost(create);
        Ok(Outcome::Done)
    }

    /// Sets what may change of a virtual host.
    fn change_vhost(&mut self, known: &Vhost, create: CreateVhost) {
        let changed = Vhost {
            description: create.description,
            default_queue_type: create.default_queue_type,
            ..known.clone()
        };
        if changed != *known {
            let id = changed.id;
            self.image.amqp.vhosts.insert(id, Arc::new(changed));
            self.dirty.mark_amqp().vhosts.insert(id);
        }
    }

    fn add_vhost(&mut self, create: CreateVhost) {
        let id = VhostId(self.next_amqp_id());
        let name: Arc<str> = create.name.into();
        let mut edit = Edit::new(&Vhost {
            id,
            name: Arc::clone(&name),
            description: create.description,
            default_queue_type: create.default_queue_type,
            routing: Routing::new(),
            exchanges: OrdMap::new(),
            bindings_count: 0,
        });
        for (name, kind) in PREDECLARED {
            let settings = Settings {
                name: name.into(),
                kind,
                is_internal: name == TRACE_EXCHANGE,
                alternate: None,
            };
            let info = ExchangeInfo {
                is_durable: true,
                is_auto_delete: false,
                is_delayed: false,
                arguments: Arguments::NONE,
            };
            edit.add_exchange(ExchangeId(self.next_amqp_id()), settings, info);
        }
        self.image.amqp.vhost_ids.insert(name, id);
        self.dirty.mark_amqp().vhosts.insert(id);
        self.put_edit(edit);
    }

    pub(super) fn delete_vhost(&mut self, name: &str, effects: &mut Effects) -> Reply {
        let vhost = self.vhost_of(name)?;
        let id = vhost.id;
        let queues: Vec<GroupNumber> = vhost.routing.queues().map(|(_, group)| group).collect();
        for group in queues {
            self.forget_queue(group, effects);
        }
        // Without its queues' bindings.
        let vhost = self.vhost_of(name)?;
        let mut edit = Edit::new(&vhost);
        for (exchange, _) in vhost.routing.exchanges() {
            edit.remove_exchange(exchange);
        }
        // Also counts what goes.
        self.put_edit(edit);
        let amqp = &mut self.image.amqp;
        amqp.vhosts.remove(&id);
        amqp.vhost_ids.remove(name);
        let dirty = self.dirty.mark_amqp();
        dirty.vhosts.insert(id);
        let is_here = |key: &&(VhostId, Arc<str>)| key.0 == id;
        let permissions: Vec<_> = amqp.permissions.keys().filter(is_here).cloned().collect();
        for key in permissions {
            amqp.permissions.remove(&key);
            dirty.permissions.insert(key);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn seed_amqp(&mut self, seed: Seed) -> Reply {
        if self.image.amqp.is_seeded {
            return Ok(Outcome::Done);
        }
        let user = PutUser {
            name: seed.user.clone(),
            password_hash: seed.password_hash,
            tags: [ADMINISTRATOR.to_owned()].into(),
        };
        // Whatever is refused is refused before the first change.
        self.check_user(&user)?;
        let permissions_count = self.image.amqp.permissions.len() + 1;
        if permissions_count > AMQP_PERMISSIONS_COUNT_MAX {
            let limit = AMQP_PERMISSIONS_COUNT_MAX;
            return Err(over_limit("permissions", permissions_count, limit));
        }
        if self.image.amqp.vhost(DEFAULT_VHOST).is_err() {
            self.create_vhost(CreateVhost {
                name: DEFAULT_VHOST.to_owned(),
                description: String::new(),
                default_queue_type: String::new(),
            })?;
        }
        if !self.image.amqp.users.contains_key(user.name.as_str()) {
            self.put_user(user)?;
        }
        let everything = || EVERYTHING.to_owned();
        self.set_permissions(SetPermissions {
            vhost: DEFAULT_VHOST.to_owned(),
            user: seed.user,
            permissions: Permissions {
                configure: everything(),
                write: everything(),
                read: everything(),
            },
        })?;
        self.image.amqp.is_seeded = true;
        self.dirty.mark_amqp().head = true;
        Ok(Outcome::Done)
    }

    /// Finds a virtual host for a command.
    pub(super) fn vhost_of(&self, name: &str) -> Result<Arc<Vhost>, AmqpError> {
        self.image.amqp.vhost(name).cloned()
    }

    /// Numbers a virtual host or an exchange.
    pub(super) fn next_amqp_id(&mut self) -> u64 {
        self.image.amqp.last_id += 1;
        self.dirty.mark_amqp().head = true;
        self.image.amqp.last_id
    }
}

/// Checks a name that must not be empty.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), ClusterError> {
    if name.is_empty() {
        return Err(AmqpError::EmptyName {
            what: what.to_owned(),
        }
        .into());
    }
    check_length(what, name)
}
