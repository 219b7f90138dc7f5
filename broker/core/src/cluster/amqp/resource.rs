//! Exchanges and queues as the metadata knows them, and the connection that an exclusive one belongs to.
//!
//! Owns when a second declaration is the same as the first. Does not know where bindings lead.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cluster::amqp::command::{DeclareExchange, DeclareQueue};
use crate::cluster::amqp::error::{AmqpError, Inequivalent};
use crate::codec::{CodecError, Reader, Writer};
use crate::exchange::{Arguments, Exchange};
use crate::ids::{BrokerEpoch, BrokerId, GroupNumber, VhostId};
use crate::planted::{Bug, is_planted};
use crate::queue::arguments::{Difference, KNOWN, first_difference};

/// Arguments of an exchange that must be the same in each declaration.
const EXCHANGE_ARGUMENTS: [&str; 2] = ["alternate-exchange", "x-delayed-type"];
/// The type that a delayed exchange is declared as.
const DELAYED_TYPE: &str = "x-delayed-message";

/// A client's connection, as the metadata knows it: the owner of exclusive queues.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct ConnectionId {
    /// The broker that the client is connected to.
    pub broker: BrokerId,
    /// Its registration: with its end every connection of it is over.
    pub broker_epoch: BrokerEpoch,
    /// Unique in that registration of the broker, never reused in it.
    pub number: u64,
}

impl ConnectionId {
    pub(super) fn write(self, writer: &mut Writer) {
        writer.u32(self.broker.0).u64(self.broker_epoch.0);
        writer.u64(self.number);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, CodecError> {
        Ok(Self {
            broker: BrokerId(reader.u32()?),
            broker_epoch: BrokerEpoch(reader.u64()?),
            number: reader.u64()?,
        })
    }
}

/// What a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceKind {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
}

/// An exchange or a queue by its name, as RabbitMQ writes it in its texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its virtual host.
    pub vhost: String,
    /// Its name.
    pub name: String,
}

impl Resource {
    /// Names an exchange.
    #[must_use]
    pub fn exchange(vhost: &str, name: &str) -> Self {
        Self {
            kind: ResourceKind::Exchange,
            vhost: vhost.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Names a queue.
    #[must_use]
    pub fn queue(vhost: &str, name: &str) -> Self {
        Self {
            kind: ResourceKind::Queue,
            ..Self::exchange(vhost, name)
        }
    }

    /// Says that it is not there.
    #[must_use]
    pub const fn not_found(self) -> AmqpError {
        AmqpError::NotFound { resource: self }
    }

    fn differs(self, argument: &str, received: String, current: String) -> AmqpError {
        AmqpError::Inequivalent(Box::new(Inequivalent {
            argument: argument.to_owned(),
            resource: self,
            received,
            current,
        }))
    }

    /// Compares one field of two declarations.
    fn check_field(
        &self,
        argument: &str,
        received: &dyn fmt::Display,
        current: &dyn fmt::Display,
    ) -> Result<(), AmqpError> {
        let (received, current) = (format!("'{received}'"), format!("'{current}'"));
        if received == current {
            return Ok(());
        }
        Err(self.clone().differs(argument, received, current))
    }

    fn check_arguments(
        &self,
        received: &Arguments,
        current: &Arguments,
        names: &[&'static str],
    ) -> Result<(), AmqpError> {
        let Some(difference) = first_difference(current, received, names) else {
            return Ok(());
        };
        let Difference {
            name,
            received,
            current,
        } = difference;
        Err(self.clone().differs(name, received, current))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ResourceKind::Exchange => "exchange",
            ResourceKind::Queue => "queue",
        };
        write!(f, "{kind} '{}' in vhost '{}'", self.name, self.vhost)
    }
}

/// What an exchange was declared with, beside its [`Settings`](crate::exchange::Settings).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeInfo {
    /// `durable`.
    pub is_durable: bool,
    /// `auto-delete`: it goes with the last binding that starts at it.
    pub is_auto_delete: bool,
    /// Messages with `x-delay` wait before they are routed.
    pub is_delayed: bool,
    /// Its arguments.
    pub arguments: Arguments,
}

impl ExchangeInfo {
    /// Returns the type that clients declare it as.
    #[must_use]
    pub const fn type_name(&self, exchange: &Exchange) -> &'static str {
        type_name(self.is_delayed, exchange.settings().kind.name())
    }

    /// Checks that a second declaration says the same, in RabbitMQ's order.
    pub(super) fn check_same(
        &self,
        exchange: &Exchange,
        declare: &DeclareExchange,
    ) -> Result<(), AmqpError> {
        let resource = Resource::exchange(&declare.vhost, &declare.name);
        let received = type_name(declare.is_delayed, declare.kind.name());
        resource.check_field("type", &received, &self.type_name(exchange))?;
        resource.check_field("durable", &declare.is_durable, &self.is_durable)?;
        resource.check_field("auto_delete", &declare.is_auto_delete, &self.is_auto_delete)?;
        let is_internal = exchange.settings().is_internal;
        resource.check_field("internal", &declare.is_internal, &is_internal)?;
        resource.check_arguments(&declare.arguments, &self.arguments, &EXCHANGE_ARGUMENTS)
    }
}

const fn type_name(is_delayed: bool, kind: &'static str) -> &'static str {
    if is_delayed { DELAYED_TYPE } else { kind }
}

/// A queue. Its replicas are those of the partition with its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueInfo {
    /// Its Raft group.
    pub group: GroupNumber,
    /// Its virtual host.
    pub vhost_id: VhostId,
    /// The name of its virtual host.
    pub vhost: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// `durable`.
    pub is_durable: bool,
    /// `auto-delete`: it goes with its last consumer.
    pub is_auto_delete: bool,
    /// `exclusive`: whose it is.
    pub owner: Option<ConnectionId>,
    /// Its arguments, as declared; [`parse`](crate::queue::arguments::parse) says what they mean.
    pub arguments: Arguments,
}

impl QueueInfo {
    /// Checks that a connection may use the queue; `None` = nobody's connection.
    ///
    /// # Errors
    /// `Locked` for an exclusive queue of another connection.
    pub fn check_access(&self, connection: Option<ConnectionId>) -> Result<(), AmqpError> {
        if self.owner.is_none() || self.owner == connection {
            return Ok(());
        }
        Err(self.locked())
    }

    /// Checks that a second declaration says the same, in RabbitMQ's order: a queue must also be
    /// exclusive in both or in none.
    pub(super) fn check_same(&self, declare: &DeclareQueue) -> Result<(), AmqpError> {
        if self.owner != declare.owner {
            return Err(self.locked());
        }
        if is_planted(Bug::InequivalentDeclareAccepted) {
            return Ok(());
        }
        let resource = self.resource();
        resource.check_field("durable", &declare.is_durable, &self.is_durable)?;
        resource.check_field("auto_delete", &declare.is_auto_delete, &self.is_auto_delete)?;
        resource.check_arguments(&declare.arguments, &self.arguments, &KNOWN)
    }

    fn resource(&self) -> Resource {
        Resource::queue(&self.vhost, &self.name)
    }

    fn locked(&self) -> AmqpError {
        AmqpError::Locked {
            resource: self.resource(),
        }
    }
}
