//! Why the host refuses, and which reply code and text that is: the one table of this protocol.
//!
//! Texts are RabbitMQ's, because clients parse them. Errors that need no host (tags, order of
//! methods, bytes) are made where they are found.

use raftmq_amqp_protocol::{ReplyCode, Text};

use crate::exception::Exception;

/// What a permission is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Declare, delete.
    Configure,
    /// Publish, bind.
    Write,
    /// Consume, purge, get.
    Read,
}

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
}

/// A reason, in the words of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Name or password is wrong, or the user may not connect from there.
    Login,
    /// There is no such virtual host.
    UnknownVhost,
    /// The user may not enter the virtual host.
    VhostDenied,
    /// The virtual host has as many connections as it may have.
    VhostFull {
        /// How many.
        limit: u64,
    },
    /// There is no such queue or exchange.
    Unknown(Kind, Text),
    /// There is no such binding where that matters.
    NoBinding {
        /// The binding key.
        routing_key: Text,
    },
    /// The user may not do that.
    Denied(Permission, Kind, Text),
    /// The user may not publish with that routing key.
    TopicDenied {
        /// The routing key.
        routing_key: Text,
        /// The exchange.
        exchange: Text,
    },
    /// The name begins with `amq.`, and nothing of that name is there.
    ReservedName(Kind, Text),
    /// Only bindings may publish to the exchange.
    InternalExchange(Text),
    /// The exchange type does not exist.
    UnknownExchangeType(Text),
    /// It is there, and was declared differently.
    Inequivalent {
        /// The argument or property.
        name: String,
        /// What it is of.
        kind: Kind,
        /// Its name.
        of: Text,
        /// As in `the value '1' of type 'signedint'`, `'true'` or `none`.
        received: String,
        /// As above.
        current: String,
    },
    /// Nobody may do that; the whole text.
    Forbidden(String),
    /// An argument is wrong; the whole text.
    BadArgument(String),
    /// Another connection's exclusive queue.
    Locked(Text),
    /// It has consumers or bindings (`if-unused`).
    InUse(Kind, Text),
    /// The queue has messages (`if-empty`).
    NotEmpty(Text),
    /// The queue has an exclusive consumer, or others where this one wants to be it.
    ExclusiveConsumer(Text),
    /// The queue has as many consumers as it may have, or there are as many queues as there may be.
    TooMany(String),
    /// No leader was found in time.
    Unavailable(Kind, Text),
    /// Not offered by this broker; what it is.
    NotImplemented(String),
    /// A bug of ours.
    Internal(String),
}

/// What texts name beside the object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) user: &'a str,
    pub(crate) vhost: &'a str,
}

impl Refusal {
    /// Turns the reason into what the client is told.
    pub(crate) fn exception(&self, place: Place<'_>) -> Exception {
        Exception::new(self.code(), self.explanation(place))
    }

    const fn code(&self) -> ReplyCode {
        match self {
            Self::Login
            | Self::Denied(..)
            | Self::TopicDenied { .. }
            | Self::ReservedName(..)
            | Self::InternalExchange(_)
            | Self::Forbidden(_)
            | Self::ExclusiveConsumer(_) => ReplyCode::AccessRefused,
            Self::UnknownVhost | Self::VhostDenied | Self::VhostFull { .. } => {
                ReplyCode::NotAllowed
            }
            Self::Unknown(..) | Self::NoBinding { .. } | Self::Unavailable(..) => {
                ReplyCode::NotFound
            }
            Self::Locked(_) => ReplyCode::ResourceLocked,
            Self::UnknownExchangeType(_)
            | Self::Inequivalent { .. }
            | Self::BadArgument(_)
            | Self::InUse(..)
            | Self::NotEmpty(_)
            | Self::TooMany(_) => ReplyCode::PreconditionFailed,
            Self::NotImplemented(_) => ReplyCode::NotImplemented,
            Self::Internal(_) => ReplyCode::InternalError,
        }
    }

    fn explanation(&self, Place { user, vhost }: Place<'_>) -> String {
        let queue = |name: &Text| describe(Kind::Queue, name, vhost);
        let named = |kind: &Kind, name: &Text| describe(*kind, name, vhost);
        let vhost_refused = format!("access to vhost '{vhost}' refused for user '{user}'");
        match self {
            Self::Login => "Login was refused".to_owned(),
            Self::UnknownVhost => format!("vhost {vhost} not found"),
            Self::VhostDenied => vhost_refused,
            Self::VhostFull { limit } => {
                format!("{vhost_refused}: connection limit ({limit}) is reached")
            }
            Self::Unknown(kind, name) => format!("no {}", named(kind, name)),
            Self::NoBinding { routing_key } => {
                format!("no binding {routing_key} in vhost '{vhost}'")
            }
            Self::Denied(permission, kind, name) => {
                let (permission, what) = (permission.name(), named(kind, name));
                format!("{permission} access to {what} refused for user '{user}'")
            }
            Self::TopicDenied {
                routing_key,
                exchange,
            } => {
                let what = named(&Kind::Exchange, exchange);
                format!("write access to topic '{routing_key}' in {what} refused for user '{user}'")
            }
            Self::ReservedName(kind, name) => {
                let kind = kind.name();
                format!("{kind} name '{name}' contains reserved prefix 'amq.*'")
            }
            Self::InternalExchange(name) => {
                format!(
                    "cannot publish to internal {}",
                    named(&Kind::Exchange, name)
                )
            }
            Self::UnknownExchangeType(kind) => format!("unknown exchange type '{kind}'"),
            Self::Inequivalent {
                name,
                kind,
                of,
                received,
                current,
            } => {
                let of = named(kind, of);
                format!(
                    "inequivalent arg '{name}' for {of}: received {received} but current is {current}"
                )
            }
            Self::Locked(name) => locked(&queue(name)),
            Self::InUse(kind, name) => format!("{} in use", named(kind, name)),
            Self::NotEmpty(name) => format!("{} not empty", queue(name)),
            Self::ExclusiveConsumer(name) => format!("{} in exclusive use", queue(name)),
            Self::Unavailable(kind, name) => {
                format!(
                    "failed to perform operation on {} due to timeout",
                    named(kind, name)
                )
            }
            Self::Forbidden(text)
            | Self::BadArgument(text)
            | Self::TooMany(text)
            | Self::NotImplemented(text)
            | Self::Internal(text) => text.clone(),
        }
    }
}

fn locked(what: &str) -> String {
    format!(
        "cannot obtain exclusive access to locked {what}. It could be originally declared on \
         another connection or the exclusive property value does not match that of the original \
         declaration."
    )
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Exchange => "exchange",
        }
    }
}

impl Permission {
    const fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// Names an object as RabbitMQ does.
fn describe(kind: Kind, name: &str, vhost: &str) -> String {
    format!("{} '{name}' in vhost '{vhost}'", kind.name())
}
