//! Why a command about AMQP's world is refused. Nothing is changed then.
//!
//! Texts are RabbitMQ's, because clients parse them; the front end puts the name of the code before
//! them. The codes are the front end's, too: each variant says which one RabbitMQ answers with.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cluster::amqp::resource::Resource;

/// How a second declaration differs from the first.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error(
    "inequivalent arg '{argument}' for {resource}: received {received} but current is {current}"
)]
pub struct Inequivalent {
    /// The field or argument that differs.
    pub argument: String,
    /// Of what.
    pub resource: Resource,
    /// What the second one says.
    pub received: String,
    /// What the first one said.
    pub current: String,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum AmqpError {
    /// No such virtual host (530 NOT_ALLOWED).
    #[error("vhost '{vhost}' not found")]
    UnknownVhost {
        /// Its name.
        vhost: String,
    },
    /// No such user.
    #[error("user '{user}' not found")]
    UnknownUser {
        /// Its name.
        user: String,
    },
    /// No such exchange or queue (404 NOT_FOUND).
    #[error("no {resource}")]
    NotFound {
        /// What is missing.
        resource: Resource,
    },
    /// Another connection's exclusive queue, or one that is exclusive only here or only there (405
    /// RESOURCE_LOCKED).
    #[error(
        "cannot obtain exclusive access to locked {resource}. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration."
    )]
    Locked {
        /// The queue.
        resource: Resource,
    },
    /// A second declaration says something else (406 PRECONDITION_FAILED).
    #[error("{0}")]
    Inequivalent(Box<Inequivalent>),
    /// An argument, or a binding, makes no sense (406 PRECONDITION_FAILED).
    #[error("{reason}")]
    Invalid {
        /// RabbitMQ's text.
        reason: String,
    },
    /// Bindings start at an exchange that was to be deleted only if it is unused (406
    /// PRECONDITION_FAILED).
    #[error("{resource} in use")]
    InUse {
        /// The exchange.
        resource: Resource,
    },
    /// The default exchange cannot be declared, deleted or bound (403 ACCESS_REFUSED).
    #[error("operation not permitted on the default exchange")]
    DefaultExchange,
    /// Names that begin with `amq.` are ours (403 ACCESS_REFUSED).
    #[error("{kind} name '{name}' contains reserved prefix 'amq.*'")]
    ReservedName {
        /// `exchange` or `queue`.
        kind: String,
        /// The name.
        name: String,
    },
    /// The exchanges that each virtual host has stay (403 ACCESS_REFUSED).
    #[error("deletion of system {resource} not allowed")]
    SystemExchange {
        /// The exchange.
        resource: Resource,
    },
    /// A name is empty.
    #[error("name of {what} is empty")]
    EmptyName {
        /// What was to be named.
        what: String,
    },
}
