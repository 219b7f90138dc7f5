//! Exchanges, bindings and routing: which queues a message goes to (AMQP 0-9-1, 3.1.3).
//!
//! Owns the [`Routing`] table of one virtual host and the matching of every exchange type, with
//! RabbitMQ's semantics: `#` and `*`, the four modes of `x-match`, exchange to exchange, alternate
//! exchanges, each queue once per message. Pure data that shares structure when it is cloned, so
//! the metadata machine can own it and publish it after each change; results come in one order on
//! every replica. It deliberately does not know who may declare, bind or publish what, what a
//! queue is beyond its group, when an auto-delete exchange goes, nor the wire.

mod binding;
mod direct;
mod error;
mod fanout;
mod headers;
mod index;
mod limits;
mod position;
mod route;
mod routing;
mod small_map;
mod targets;
mod topic;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::binding::{Argument, Arguments, Binding, HeaderValue};
pub use self::error::{BindError, PublishError};
pub use self::limits::{ARGUMENTS_COUNT_MAX, BINDING_KEY_BYTES_MAX};
pub use self::route::{Headers, Message, NoHeaders, Route};
pub use self::routing::{Bound, Exchange, Routing, Settings};

use crate::ids::GroupNumber;

/// Names an exchange for as long as it lives; never reused, so a binding to a deleted exchange
/// cannot reach a new one of the same name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ExchangeId(pub u64);

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Where a binding leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Destination {
    /// A queue, named by its Raft group.
    Queue(GroupNumber),
    /// Another exchange of the same virtual host.
    Exchange(ExchangeId),
}

/// How an exchange chooses among its bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ExchangeKind {
    /// The routing key equals the binding key.
    Direct,
    /// Every binding.
    Fanout,
    /// The routing key's words match the binding key's, with `*` and `#`.
    Topic,
    /// The message's headers match the binding's arguments.
    Headers,
}

impl ExchangeKind {
    /// Finds a kind by the name that clients declare.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "direct" => Some(Self::Direct),
            "fanout" => Some(Self::Fanout),
            "topic" => Some(Self::Topic),
            "headers" => Some(Self::Headers),
            _ => None,
        }
    }

    /// Returns the name that clients declare.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}
