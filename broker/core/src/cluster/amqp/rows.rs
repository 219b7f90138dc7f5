//! The rows of AMQP's world: one for each virtual host, exchange, queue, binding, user and permission.
//!
//! Keys, behind the family `a`: 1 the head; 2 + virtual host; 3 + virtual host + exchange; 4 + group of a
//! queue; 5 + virtual host + the whole binding, whose value is empty; 6 + user; 7 + virtual host + user. In
//! this order each row finds what it belongs to. The routing tables are built from them once, when the
//! state is restored. Keys and formats are append-only (STYLE rule 23).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use crate::cluster::amqp::codec::{
    read_connection, read_name, read_permissions, write_connection, write_permissions,
};
use crate::cluster::amqp::exchanges::alternate_in;
use crate::cluster::amqp::values::{
    read_arguments, read_binding, read_kind, read_password, read_tags, write_arguments,
    write_binding, write_bytes, write_kind, write_tags,
};
use crate::cluster::amqp::{Amqp, AmqpDirty, ExchangeInfo, PasswordHash, QueueInfo, User, Vhost};
use crate::cluster::image::Image;
use crate::codec::{CodecError, Reader, RestoreError, Writer};
use crate::exchange::{Binding, Bound, Destination, Exchange, ExchangeId, Routing, Settings};
use crate::ids::{GroupNumber, VhostId};
use crate::limits::{CONFIG_VALUE_BYTES_MAX, NAME_BYTES_MAX};

/// The first byte of the key of every row of AMQP's world.
pub(in crate::cluster) const FAMILY: u8 = b'a';

const VERSION: u8 = 1;
const HEAD: u8 = 1;
const VHOST: u8 = 2;
const EXCHANGE: u8 = 3;
const QUEUE: u8 = 4;
const BINDING: u8 = 5;
const USER: u8 = 6;
const PERMISSIONS: u8 = 7;

const MISSING_VHOST: &str = "something belongs to a virtual host that is not there";

/// Gives every row that changed, in ascending order of keys.
pub(in crate::cluster) fn take_dirty(
    dirty: AmqpDirty,
    amqp: &Amqp,
    change: &mut impl FnMut(Bytes, Option<Bytes>),
) {
    if dirty.head {
        change(key(HEAD, |_| ()), Some(write_head(amqp)));
    }
    for id in dirty.vhosts {
        let row = amqp.vhosts.get(&id).map(|vhost| write_vhost(vhost));
        change(vhost_key(id), row);
    }
    for (vhost, id) in dirty.exchanges {
        let known = amqp.vhosts.get(&vhost);
        let row = known.and_then(|vhost| {
            let exchange = vhost.routing.exchange(id)?;
            Some(write_exchange(exchange, vhost.exchanges.get(&id)?))
        });
        change(exchange_key(vhost, id), row);
    }
    for group in dirty.queues {
        let row = amqp.queues.get(&group).map(|queue| write_queue(queue));
        change(queue_key(group), row);
    }
    for (key, row) in binding_rows(&dirty.bindings, amqp) {
        change(key, row);
    }
    for name in dirty.users {
        let row = amqp.users.get(&name).map(|user| write_user(user));
        change(user_key(&name), row);
    }
    for (vhost, user) in dirty.permissions {
        let known = amqp.permissions.get(&(vhost, Arc::clone(&user)));
        let row = known.map(|permissions| {
            let mut writer = Writer::new();
            write_permissions(writer.u8(VERSION), permissions);
            writer.finish()
        });
        change(permissions_key(vhost, &user), row);
    }
}

/// The rows of bindings by key: their bytes have another order than the bindings.
fn binding_rows(
    bindings: &BTreeSet<(VhostId, ExchangeId, Binding)>,
    amqp: &Amqp,
) -> BTreeMap<Bytes, Option<Bytes>> {
    let row = |(vhost, source, binding): &(VhostId, ExchangeId, Binding)| {
        let known = amqp.vhosts.get(vhost);
        let exchange = known.and_then(|vhost| vhost.routing.exchange(*source));
        let is_there = exchange.is_some_and(|exchange| exchange.has_binding(binding));
        let row = is_there.then(|| Bytes::from_static(&[VERSION]));
        (binding_key(*vhost, *source, binding), row)
    };
    bindings.iter().map(row).collect()
}

/// Marks every row.
pub(in crate::cluster) fn everything(amqp: &Amqp) -> AmqpDirty {
    let mut dirty = AmqpDirty {
        head: amqp.last_id > 0 || amqp.is_seeded,
        vhosts: amqp.vhosts.keys().copied().collect(),
        queues: amqp.queues.keys().copied().collect(),
        users: amqp.users.keys().cloned().collect(),
        permissions: amqp.permissions.keys().cloned().collect(),
        ..AmqpDirty::default()
    };
    for (vhost, known) in &amqp.vhosts {
        for (id, exchange) in known.routing.exchanges() {
            dirty.exchanges.insert((*vhost, id));
            let bindings = exchange.bindings().cloned();
            let bindings = bindings.map(|binding| (*vhost, id, binding));
            dirty.bindings.extend(bindings);
        }
    }
    dirty
}

/// Reads a row; `key` is what follows the family.
pub(in crate::cluster) fn read_row(
    key: Bytes,
    value: &mut Reader,
    amqp: &mut Amqp,
) -> Result<(), RestoreError> {
    let key_bytes = key.len() + 1;
    let mut key = Reader::new(key);
    value.version("row of AMQP's world", VERSION)?;
    match key.u8()? {
        HEAD => {
            amqp.last_id = value.u64()?;
            amqp.is_seeded = value.flag("seeded")?;
        }
        VHOST => read_vhost(VhostId(key.u64()?), value, amqp)?,
        EXCHANGE => {
            let (vhost, id) = (VhostId(key.u64()?), ExchangeId(key.u64()?));
            read_exchange(id, value, vhost_of(amqp, vhost)?)?;
            amqp.exchanges_count += 1;
        }
        QUEUE => read_queue(GroupNumber(key.u64()?), value, amqp)?,
        BINDING => {
            let vhost = VhostId(key.u64()?);
            let (source, binding) = read_binding(&mut key)?;
            put_binding(amqp, vhost, source, binding)?;
        }
        USER => {
            let name: Arc<str> = text(key.rest())?.into();
            let user = read_user(Arc::clone(&name), value)?;
            amqp.users.insert(name, Arc::new(user));
        }
        PERMISSIONS => {
            let vhost = VhostId(key.u64()?);
            let user: Arc<str> = text(key.rest())?.into();
            let permissions = read_permissions(value)?;
            let key = (vhost, user);
            amqp.permissions.insert(key, Arc::new(permissions));
        }
        _ => {
            return Err(RestoreError::UnknownRow {
                family: FAMILY,
                key_bytes,
            });
        }
    }
    Ok(key.finish()?)
}

/// Checks that the rows belong together, and to the rest of the image.
pub(in crate::cluster) fn check(image: &Image) -> Result<(), RestoreError> {
    let contradiction = |what| Err(RestoreError::Contradiction { what });
    let amqp = &image.amqp;
    if amqp.vhosts.len() != amqp.vhost_ids.len() {
        return contradiction("two virtual hosts have one name");
    }
    let newest = amqp.vhosts.keys().next_back().map_or(0, |id| id.0);
    let exchanges = amqp
        .vhosts
        .values()
        .flat_map(|vhost| vhost.exchanges.keys());
    let newest = exchanges.map(|id| id.0).fold(newest, u64::max);
    if newest > amqp.last_id {
        return contradiction("an id of AMQP's world above the last one");
    }
    for queue in amqp.queues.values() {
        let partition = image.partition(queue.group);
        if !partition.is_some_and(|partition| partition.is_queue()) {
            return contradiction("a queue has no group");
        }
    }
    let is_known = |(vhost, user): &(VhostId, Arc<str>)| {
        amqp.vhosts.contains_key(vhost) && amqp.users.contains_key(user)
    };
    if !amqp.permissions.keys().all(is_known) {
        return contradiction("permissions of nobody, or for nothing");
    }
    Ok(())
}

fn vhost_of(amqp: &mut Amqp, id: VhostId) -> Result<&mut Vhost, RestoreError> {
    let known = amqp.vhosts.get_mut(&id).map(Arc::make_mut);
    known.ok_or(RestoreError::Contradiction {
        what: MISSING_VHOST,
    })
}

fn write_head(amqp: &Amqp) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(VERSION).u64(amqp.last_id).flag(amqp.is_seeded);
    writer.finish()
}

fn write_vhost(vhost: &Vhost) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(VERSION).text(&vhost.name);
    writer.text(&vhost.description);
    writer.text(&vhost.default_queue_type);
    writer.finish()
}

fn read_vhost(id: VhostId, value: &mut Reader, amqp: &mut Amqp) -> Result<(), CodecError> {
    let name: Arc<str> = read_name(value)?.into();
    let vhost = Vhost {
        id,
        name: Arc::clone(&name),
        description: value.text("description", CONFIG_VALUE_BYTES_MAX)?,
        default_queue_type: read_name(value)?,
        routing: Routing::new(),
        exchanges: OrdMap::new(),
        bindings_count: 0,
    };
    amqp.vhost_ids.insert(name, id);
    amqp.vhosts.insert(id, Arc::new(vhost));
    Ok(())
}

fn write_exchange(exchange: &Exchange, info: &ExchangeInfo) -> Bytes {
    let settings = exchange.settings();
    let mut writer = Writer::new();
    writer.u8(VERSION).text(&settings.name);
    write_kind(&mut writer, settings.kind);
    writer.flag(settings.is_internal).flag(info.is_durable);
    writer.flag(info.is_auto_delete).flag(info.is_delayed);
    write_arguments(&mut writer, &info.arguments);
    writer.finish()
}

fn read_exchange(
    id: ExchangeId,
    value: &mut Reader,
    vhost: &mut Vhost,
) -> Result<(), RestoreError> {
    let name = read_name(value)?;
    let kind = read_kind(value)?;
    let is_internal = value.flag("internal")?;
    let (is_durable, is_auto_delete) = (value.flag("durable")?, value.flag("auto-delete")?);
    let is_delayed = value.flag("delayed")?;
    let arguments = read_arguments(value)?;
    let settings = Settings {
        name: name.into(),
        kind,
        is_internal,
        alternate: alternate_in(&arguments),
    };
    let info = ExchangeInfo {
        is_durable,
        is_auto_delete,
        is_delayed,
        arguments,
    };
    if !vhost.routing.add_exchange(id, settings) {
        let what = "two exchanges have one name, or one has none";
        return Err(RestoreError::Contradiction { what });
    }
    vhost.exchanges.insert(id, Arc::new(info));
    Ok(())
}

fn write_queue(queue: &QueueInfo) -> Bytes {
    let mut writer = Writer::new();
    writer.u8(VERSION).u64(queue.vhost_id.0).text(&queue.name);
    writer.flag(queue.is_durable).flag(queue.is_auto_delete);
    write_connection(&mut writer, queue.owner);
    write_arguments(&mut writer, &queue.arguments);
    writer.finish()
}

fn read_queue(group: GroupNumber, value: &mut Reader, amqp: &mut Amqp) -> Result<(), RestoreError> {
    let vhost_id = VhostId(value.u64()?);
    let name: Arc<str> = read_name(value)?.into();
    let vhost = vhost_of(amqp, vhost_id)?;
    if vhost.routing.queue(&name).is_some() {
        let what = "two queues have one name";
        return Err(RestoreError::Contradiction { what });
    }
    vhost.routing.add_queue(Arc::clone(&name), group);
    let queue = QueueInfo {
        group,
        vhost_id,
        vhost: Arc::clone(&vhost.name),
        name,
        is_durable: value.flag("durable")?,
        is_auto_delete: value.flag("auto-delete")?,
        owner: read_connection(value)?,
        arguments: read_arguments(value)?,
    };
    if let Some(owner) = queue.owner {
        amqp.owned.insert((owner, group));
    }
    amqp.queues.insert(group, Arc::new(queue));
    Ok(())
}

fn put_binding(
    amqp: &mut Amqp,
    vhost_id: VhostId,
    source: ExchangeId,
    binding: Binding,
) -> Result<(), RestoreError> {
    let what = "a binding has no source or no destination";
    let nowhere = Err(RestoreError::Contradiction { what });
    if let Destination::Queue(group) = binding.destination {
        let queue = amqp.queues.get(&group);
        if queue.is_none_or(|queue| queue.vhost_id != vhost_id) {
            return nowhere;
        }
    }
    let vhost = vhost_of(amqp, vhost_id)?;
    if vhost.routing.bind(source, binding) != Ok(Bound::Added) {
        return nowhere;
    }
    vhost.bindings_count += 1;
    amqp.bindings_count += 1;
    Ok(())
}

fn write_user(user: &User) -> Bytes {
    let mut writer = Writer::new();
    write_bytes(writer.u8(VERSION), &user.password_hash.0);
    write_tags(&mut writer, &user.tags);
    writer.finish()
}

fn read_user(name: Arc<str>, value: &mut Reader) -> Result<User, CodecError> {
    Ok(User {
        name,
        password_hash: PasswordHash(read_password(value)?),
        tags: read_tags(value)?,
    })
}

fn text(bytes: Bytes) -> Result<String, CodecError> {
    if bytes.len() > NAME_BYTES_MAX {
        return Err(CodecError::OverLimit {
            what: "name".to_owned(),
            actual: bytes.len(),
            limit: NAME_BYTES_MAX,
        });
    }
    String::from_utf8(bytes.into()).map_err(|_| CodecError::NotUtf8)
}

fn key(kind: u8, write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::new();
    write(writer.u8(FAMILY).u8(kind));
    writer.finish()
}

fn vhost_key(id: VhostId) -> Bytes {
    key(VHOST, |writer| {
        writer.u64(id.0);
    })
}

fn exchange_key(vhost: VhostId, id: ExchangeId) -> Bytes {
    key(EXCHANGE, |writer| {
        writer.u64(vhost.0).u64(id.0);
    })
}

fn queue_key(group: GroupNumber) -> Bytes {
    key(QUEUE, |writer| {
        writer.u64(group.0);
    })
}

fn binding_key(vhost: VhostId, source: ExchangeId, binding: &Binding) -> Bytes {
    key(BINDING, |writer| {
        write_binding(writer.u64(vhost.0), source, binding);
    })
}

fn user_key(name: &str) -> Bytes {
    key(USER, |writer| {
        writer.raw(name.as_bytes());
    })
}

fn permissions_key(vhost: VhostId, user: &str) -> Bytes {
    key(PERMISSIONS, |writer| {
        writer.u64(vhost.0).raw(user.as_bytes());
    })
}
