//! The bytes of commands about AMQP's world: tags 65 to 79 of metadata commands.
//!
//! Format as in `cluster::codec`: the fields in the order of the type. Tags are never reused. Knows no
//! rule about the values.

use crate::cluster::amqp::command::{
    AmqpCommand, BindingChange, BindingTarget, ChangeUser, CreateVhost, DeclareExchange,
    DeclareQueue, PutUser, Seed, SetPermissions,
};
use crate::cluster::amqp::values::{
    read_arguments, read_key, read_kind, read_password, read_tags, unknown, write_arguments,
    write_bytes, write_kind, write_tags,
};
use crate::cluster::amqp::{ConnectionId, PasswordHash, Permissions};
use crate::codec::{CodecError, Reader, Writer};
use crate::ids::GroupNumber;
use crate::limits::{AMQP_PATTERN_BYTES_MAX, CONFIG_VALUE_BYTES_MAX, NAME_BYTES_MAX};

const WHAT: &str = "metadata command";
const TO_QUEUE: u8 = 1;
const TO_EXCHANGE: u8 = 2;

impl AmqpCommand {
    pub(in crate::cluster) const fn tag(&self) -> u8 {
        match self {
            Self::CreateVhost(_) => 65,
            Self::DeleteVhost { .. } => 66,
            Self::DeclareExchange(_) => 67,
            Self::DeleteExchange { .. } => 68,
            Self::DeclareQueue(_) => 69,
            Self::DeleteQueue { .. } => 70,
            Self::Bind(_) => 71,
            Self::Unbind(_) => 72,
            Self::CloseConnection { .. } => 73,
            Self::PutUser(_) => 74,
            Self::DeleteUser { .. } => 75,
            Self::SetPermissions(_) => 76,
            Self::ClearPermissions { .. } => 77,
            Self::Seed(_) => 78,
            Self::ChangeUser(_) => 79,
        }
    }

    pub(in crate::cluster) fn write(&self, writer: &mut Writer) {
        match self {
            Self::CreateVhost(create) => {
                writer.text(&create.name).text(&create.description);
                writer.text(&create.default_queue_type);
            }
            Self::DeleteVhost { vhost } => {
                writer.text(vhost);
            }
            Self::DeclareExchange(declare) => write_declare_exchange(writer, declare),
            Self::DeleteExchange {
                vhost,
                name,
                if_unused,
            } => {
                writer.text(vhost).text(name).flag(*if_unused);
            }
            Self::DeclareQueue(declare) => write_declare_queue(writer, declare),
            Self::DeleteQueue { group } => {
                writer.u64(group.0);
            }
            Self::Bind(change) | Self::Unbind(change) => write_change(writer, change),
            Self::CloseConnection { connection } => connection.write(writer),
            Self::PutUser(put) => {
                write_bytes(writer.text(&put.name), &put.password_hash.0);
                write_tags(writer, &put.tags);
            }
            Self::DeleteUser { name } => {
                writer.text(name);
            }
            Self::SetPermissions(set) => {
                writer.text(&set.vhost).text(&set.user);
                write_permissions(writer, &set.permissions);
            }
            Self::ClearPermissions { vhost, user } => {
                writer.text(vhost).text(user);
            }
            Self::Seed(seed) => {
                write_bytes(writer.text(&seed.user), &seed.password_hash.0);
            }
            Self::ChangeUser(change) => write_change_user(writer, change),
        }
    }

    /// Reads the fields of a command.
    pub(in crate::cluster) fn read(tag: u8, reader: &mut Reader) -> Result<Self, CodecError> {
        Ok(match tag {
            65 => Self::CreateVhost(CreateVhost {
                name: read_name(reader)?,
                description: reader.text("description", CONFIG_VALUE_BYTES_MAX)?,
                default_queue_type: read_name(reader)?,
            }),
            66 => Self::DeleteVhost {
                vhost: read_name(reader)?,
            },
            67 => Self::DeclareExchange(read_declare_exchange(reader)?),
            68 => Self::DeleteExchange {
                vhost: read_name(reader)?,
                name: read_name(reader)?,
                if_unused: reader.flag("if unused")?,
            },
            69 => Self::DeclareQueue(read_declare_queue(reader)?),
            70 => Self::DeleteQueue {
                group: GroupNumber(reader.u64()?),
            },
            71 => Self::Bind(read_change(reader)?),
            72 => Self::Unbind(read_change(reader)?),
            73 => Self::CloseConnection {
                connection: ConnectionId::read(reader)?,
            },
            74 => Self::PutUser(PutUser {
                name: read_name(reader)?,
                password_hash: PasswordHash(read_password(reader)?),
                tags: read_tags(reader)?,
            }),
            75 => Self::DeleteUser {
                name: read_name(reader)?,
            },
            76 => Self::SetPermissions(SetPermissions {
                vhost: read_name(reader)?,
                user: read_name(reader)?,
                permissions: read_permissions(reader)?,
            }),
            77 => Self::ClearPermissions {
                vhost: read_name(reader)?,
                user: read_name(reader)?,
            },
            78 => Self::Seed(Seed {
                user: read_name(reader)?,
                password_hash: PasswordHash(read_password(reader)?),
            }),
            79 => Self::ChangeUser(read_change_user(reader)?),
            tag => return Err(unknown(WHAT, tag)),
        })
    }
}

pub(super) fn read_name(reader: &mut Reader) -> Result<String, CodecError> {
    reader.text("name", NAME_BYTES_MAX)
}

fn write_declare_exchange(writer: &mut Writer, declare: &DeclareExchange) {
    writer.text(&declare.vhost).text(&declare.name);
    write_kind(writer, declare.kind);
    writer.flag(declare.is_delayed).flag(declare.is_durable);
    writer
        .flag(declare.is_auto_delete)
        .flag(declare.is_internal);
    write_arguments(writer, &declare.arguments);
}

fn read_declare_exchange(reader: &mut Reader) -> Result<DeclareExchange, CodecError> {
    Ok(DeclareExchange {
        vhost: read_name(reader)?,
        name: read_name(reader)?,
        kind: read_kind(reader)?,
        is_delayed: reader.flag("delayed")?,
        is_durable: reader.flag("durable")?,
        is_auto_delete: reader.flag("auto-delete")?,
        is_internal: reader.flag("internal")?,
        arguments: read_arguments(reader)?,
    })
}

fn write_declare_queue(writer: &mut Writer, declare: &DeclareQueue) {
    writer.text(&declare.vhost).text(&declare.name);
    writer
        .flag(declare.is_server_named)
        .flag(declare.is_durable);
    writer.flag(declare.is_auto_delete);
    write_connection(writer, declare.owner);
    write_arguments(writer, &declare.arguments);
}

fn read_declare_queue(reader: &mut Reader) -> Result<DeclareQueue, CodecError> {
    Ok(DeclareQueue {
        vhost: read_name(reader)?,
        name: read_name(reader)?,
        is_server_named: reader.flag("server-named")?,
        is_durable: reader.flag("durable")?,
        is_auto_delete: reader.flag("auto-delete")?,
        owner: read_connection(reader)?,
        arguments: read_arguments(reader)?,
    })
}

fn write_change(writer: &mut Writer, change: &BindingChange) {
    writer.text(&change.vhost).text(&change.source);
    match &change.target {
        BindingTarget::Queue(name) => writer.u8(TO_QUEUE).text(name),
        BindingTarget::Exchange(name) => writer.u8(TO_EXCHANGE).text(name),
    };
    write_bytes(writer, &change.key);
    write_arguments(writer, &change.arguments);
    write_connection(writer, change.connection);
}

fn read_change(reader: &mut Reader) -> Result<BindingChange, CodecError> {
    Ok(BindingChange {
        vhost: read_name(reader)?,
        source: read_name(reader)?,
        target: match reader.u8()? {
            TO_QUEUE => BindingTarget::Queue(read_name(reader)?),
            TO_EXCHANGE => BindingTarget::Exchange(read_name(reader)?),
            tag => return Err(unknown("target of a binding", tag)),
        },
        key: read_key(reader)?,
        arguments: read_arguments(reader)?,
        connection: read_connection(reader)?,
    })
}

fn write_change_user(writer: &mut Writer, change: &ChangeUser) {
    writer.text(&change.name);
    writer.flag(change.password_hash.is_some());
    if let Some(password_hash) = &change.password_hash {
        write_bytes(writer, &password_hash.0);
    }
    writer.flag(change.tags.is_some());
    if let Some(tags) = &change.tags {
        write_tags(writer, tags);
    }
}

fn read_change_user(reader: &mut Reader) -> Result<ChangeUser, CodecError> {
    let name = read_name(reader)?;
    let has_password = reader.flag("password")?;
    let password_hash = has_password.then(|| read_password(reader).map(PasswordHash));
    let password_hash = password_hash.transpose()?;
    let has_tags = reader.flag("tags")?;
    Ok(ChangeUser {
        name,
        password_hash,
        tags: has_tags.then(|| read_tags(reader)).transpose()?,
    })
}

pub(super) fn write_connection(writer: &mut Writer, connection: Option<ConnectionId>) {
    writer.flag(connection.is_some());
    if let Some(connection) = connection {
        connection.write(writer);
    }
}

pub(super) fn read_connection(reader: &mut Reader) -> Result<Option<ConnectionId>, CodecError> {
    let is_there = reader.flag("connection")?;
    is_there.then(|| ConnectionId::read(reader)).transpose()
}

pub(super) fn write_permissions(writer: &mut Writer, permissions: &Permissions) {
    writer.text(&permissions.configure).text(&permissions.write);
    writer.text(&permissions.read);
}

pub(super) fn read_permissions(reader: &mut Reader) -> Result<Permissions, CodecError> {
    let mut pattern = || reader.text("pattern", AMQP_PATTERN_BYTES_MAX);
    Ok(Permissions {
        configure: pattern()?,
        write: pattern()?,
        read: pattern()?,
    })
}
