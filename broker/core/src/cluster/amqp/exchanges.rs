//! Commands that declare and delete exchanges.
//!
//! Source: AMQP 0-9-1 `exchange.declare`, `exchange.delete`, with RabbitMQ's rules and texts. Passive
//! declarations need no command: the front end looks into the image.

use std::sync::Arc;

use crate::cluster::amqp::command::DeclareExchange;
use crate::cluster::amqp::edit::Edit;
use crate::cluster::amqp::vhosts::check_name;
use crate::cluster::amqp::{AmqpError, ExchangeInfo, Resource, Vhost};
use crate::cluster::brokers::over_limit;
use crate::cluster::{Cluster, ClusterError, Outcome, Reply};
use crate::exchange::{Arguments, ExchangeId, Settings};
use crate::limits::AMQP_EXCHANGES_COUNT_MAX;
use crate::queue::arguments::{find, text, type_name};

/// What begins with it is ours.
const RESERVED_PREFIX: &str = "amq.";
const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

impl Cluster {
    pub(super) fn declare_exchange(&mut self, declare: DeclareExchange) -> Reply {
        let vhost = self.vhost_of(&declare.vhost)?;
        check_not_default(&declare.name)?;
        if let Some(id) = vhost.routing.exchange_id(&declare.name) {
            check_same(&vhost, id, &declare)?;
            return Ok(Outcome::Done);
        }
        check_name("exchange", &declare.name)?;
        check_not_reserved("exchange", &declare.name)?;
        check_alternate(&declare)?;
        let exchanges_count = self.image.amqp.exchanges_count + 1;
        if exchanges_count > AMQP_EXCHANGES_COUNT_MAX {
            let limit = AMQP_EXCHANGES_COUNT_MAX;
            return Err(over_limit("exchanges", exchanges_count, limit));
        }
        let settings = Settings {
            name: declare.name.into(),
            kind: declare.kind,
            is_internal: declare.is_internal,
            alternate: alternate_in(&declare.arguments),
        };
        let info = ExchangeInfo {
            is_durable: declare.is_durable,
            is_auto_delete: declare.is_auto_delete,
            is_delayed: declare.is_delayed,
            arguments: declare.arguments,
        };
        let mut edit = Edit::new(&vhost);
        edit.add_exchange(ExchangeId(self.next_amqp_id()), settings, info);
        self.put_edit(edit);
        Ok(Outcome::Done)
    }

    pub(super) fn delete_exchange(&mut self, vhost: &str, name: &str, if_unused: bool) -> Reply {
        let vhost = self.vhost_of(vhost)?;
        check_not_default(name)?;
        let resource = || Resource::exchange(&vhost.name, name);
        if name.starts_with(RESERVED_PREFIX) {
            let resource = resource();
            return Err(AmqpError::SystemExchange { resource }.into());
        }
        let Some(id) = vhost.routing.exchange_id(name) else {
            return Ok(Outcome::Done);
        };
        let exchange = vhost.routing.exchange(id);
        let is_used = exchange.is_some_and(|exchange| exchange.bindings_count() > 0);
        if if_unused && is_used {
            let resource = resource();
            return Err(AmqpError::InUse { resource }.into());
        }
        let mut edit = Edit::new(&vhost);
        edit.remove_exchange(id);
        self.put_edit(edit);
        Ok(Outcome::Done)
    }
}

fn check_same(vhost: &Vhost, id: ExchangeId, declare: &DeclareExchange) -> Result<(), AmqpError> {
    let (Some(exchange), Some(info)) = (vhost.routing.exchange(id), vhost.exchanges.get(&id))
    else {
        return Err(Resource::exchange(&declare.vhost, &declare.name).not_found());
    };
    info.check_same(exchange, declare)
}

/// Reads the exchange that takes what matches nothing, if there is one.
pub(super) fn alternate_in(arguments: &Arguments) -> Option<Arc<str>> {
    let argument = find(arguments, ALTERNATE_EXCHANGE)?;
    text(argument).ok().map(Into::into)
}

fn check_alternate(declare: &DeclareExchange) -> Result<(), AmqpError> {
    let Some(argument) = find(&declare.arguments, ALTERNATE_EXCHANGE) else {
        return Ok(());
    };
    text(argument).map(|_| ()).map_err(|_| AmqpError::Invalid {
        reason: format!(
            "invalid type '{}' for arg '{ALTERNATE_EXCHANGE}' in {}",
            type_name(argument.tag),
            Resource::exchange(&declare.vhost, &declare.name)
        ),
    })
}

/// Refuses what concerns the default exchange: it has no name.
pub(super) fn check_not_default(name: &str) -> Result<(), AmqpError> {
    if name.is_empty() {
        return Err(AmqpError::DefaultExchange);
    }
    Ok(())
}

/// Refuses a client's name that begins with `amq.`.
pub(super) fn check_not_reserved(kind: &str, name: &str) -> Result<(), ClusterError> {
    if !name.starts_with(RESERVED_PREFIX) {
        return Ok(());
    }
    Err(AmqpError::ReservedName {
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
    .into())
}
