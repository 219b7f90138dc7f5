//! `exchange.declare`, `delete`, `bind`, `unbind`, and the bindings of queues: permissions, then a
//! command for the metadata.
//!
//! Knows RabbitMQ's order of checks. What a second declaration may say, and what a name may be, the
//! metadata machine decides.

use raftmq_amqp::{BindTo, BindingOf, DeclareExchange, Kind, Permission, Refusal};
use raftmq_amqp_protocol::{Table, Text, Value};
use raftmq_core::cluster::Image;
use raftmq_core::cluster::amqp::{self, AmqpCommand, BindingChange, BindingTarget};
use raftmq_core::exchange::ExchangeKind;

use super::arguments::arguments;
use super::context::Client;
use super::error::{About, of_amqp};

/// The type of exchanges whose messages may wait (`x-delay`); the one they route by is an argument.
const DELAYED_TYPE: &str = "x-delayed-message";
const DELAYED_TYPE_ARGUMENT: &str = "x-delayed-type";
const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// Makes an exchange, or checks that it is there.
pub(super) async fn declare(client: &Client, declare: &DeclareExchange) -> Result<(), Refusal> {
    let image = client.image();
    let name = &declare.exchange;
    if declare.is_passive {
        let found = client.vhost(&image)?.exchange_id(name);
        return found.map(drop).map_err(of_amqp);
    }
    let (kind, is_delayed) = kind_of(declare)?;
    client.check(&image, Permission::Configure, Kind::Exchange, name)?;
    check_alternate(client, &image, declare)?;
    let about = About::exchange(name.clone());
    let command = AmqpCommand::DeclareExchange(amqp::DeclareExchange {
        vhost: client.vhost.to_string(),
        name: name.to_string(),
        kind,
        is_delayed,
        is_durable: declare.is_durable,
        is_auto_delete: declare.is_auto_delete,
        is_internal: declare.is_internal,
        arguments: arguments(&declare.arguments),
    });
    carry_out(client, command, &about).await
}

/// Removes an exchange, if there is one.
pub(super) async fn delete(client: &Client, name: Text, if_unused: bool) -> Result<(), Refusal> {
    let image = client.image();
    client.check(&image, Permission::Configure, Kind::Exchange, &name)?;
    let command = AmqpCommand::DeleteExchange {
        vhost: client.vhost.to_string(),
        name: name.to_string(),
        if_unused,
    };
    carry_out(client, command, &About::exchange(name)).await
}

/// Makes a binding.
pub(super) async fn bind(client: &Client, binding: BindingOf) -> Result<(), Refusal> {
    let (change, about) = binding_change(client, binding)?;
    carry_out(client, AmqpCommand::Bind(change), &about).await
}

/// Removes a binding, if there is one.
pub(super) async fn unbind(client: &Client, binding: BindingOf) -> Result<(), Refusal> {
    let (change, about) = binding_change(client, binding)?;
    carry_out(client, AmqpCommand::Unbind(change), &about).await
}

async fn carry_out(client: &Client, command: AmqpCommand, about: &About) -> Result<(), Refusal> {
    let outcome = client.shared.propose(command).await;
    outcome
        .map(drop)
        .map_err(|error| about.refuse_command(error))
}

/// A binding writes to its destination and reads from its source.
fn binding_change(client: &Client, binding: BindingOf) -> Result<(BindingChange, About), Refusal> {
    let image = client.image();
    let (target, about) = match binding.destination {
        BindTo::Queue(name) => {
            client.check(&image, Permission::Write, Kind::Queue, &name)?;
            (BindingTarget::Queue(name.to_string()), About::queue(name))
        }
        BindTo::Exchange(name) => {
            client.check(&image, Permission::Write, Kind::Exchange, &name)?;
            let target = BindingTarget::Exchange(name.to_string());
            (target, About::exchange(name))
        }
    };
    client.check(&image, Permission::Read, Kind::Exchange, &binding.source)?;
    let change = BindingChange {
        vhost: client.vhost.to_string(),
        source: binding.source.to_string(),
        target,
        key: binding.routing_key.as_bytes().into(),
        arguments: arguments(&binding.arguments),
        connection: Some(client.connection),
    };
    Ok((change, about))
}

/// Who lets messages go on to another exchange reads from this one and writes to that.
fn check_alternate(
    client: &Client,
    image: &Image,
    declare: &DeclareExchange,
) -> Result<(), Refusal> {
    let Some(alternate) = text_argument(&declare.arguments, ALTERNATE_EXCHANGE) else {
        return Ok(());
    };
    let exchange = &declare.exchange;
    client.check(image, Permission::Read, Kind::Exchange, exchange)?;
    client.check(image, Permission::Write, Kind::Exchange, alternate)
}

/// An argument that is text; what has another type, the metadata machine refuses.
pub(super) fn text_argument<'a>(arguments: &'a Table, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str)
}

fn kind_of(declare: &DeclareExchange) -> Result<(ExchangeKind, bool), Refusal> {
    let name = declare.kind.as_str();
    if name != DELAYED_TYPE {
        let kind = ExchangeKind::from_name(name);
        let kind = kind.ok_or_else(|| Refusal::UnknownExchangeType(declare.kind.clone()))?;
        return Ok((kind, false));
    }
    let routed_by = text_argument(&declare.arguments, DELAYED_TYPE_ARGUMENT);
    let kind = routed_by.and_then(ExchangeKind::from_name).ok_or_else(|| {
        Refusal::BadArgument(
            "Invalid argument, 'x-delayed-type' must be an existing exchange type".to_owned(),
        )
    })?;
    Ok((kind, true))
}

#[cfg(test)]
mod tests {
    use raftmq_amqp_protocol::TableBuilder;

    use super::*;

    fn declared(kind: &str, delayed_type: Option<&'static str>) -> DeclareExchange {
        let mut arguments = TableBuilder::new();
        if let Some(delayed_type) = delayed_type {
            let value = Value::LongString(delayed_type.as_bytes());
            arguments = arguments.with(DELAYED_TYPE_ARGUMENT, value);
        }
        DeclareExchange {
            exchange: Text::from_static("x"),
            kind: Text::try_from(kind).unwrap(),
            is_passive: false,
            is_durable: true,
            is_auto_delete: false,
            is_internal: false,
            arguments: arguments.finish().unwrap(),
        }
    }

    #[test]
    fn a_type_is_one_of_four_or_a_delayed_one_of_them() {
        let topic = Ok((ExchangeKind::Topic, false));
        assert_eq!(kind_of(&declared("topic", None)), topic);
        let delayed = declared(DELAYED_TYPE, Some("fanout"));
        assert_eq!(kind_of(&delayed), Ok((ExchangeKind::Fanout, true)));
        let unknown = Refusal::UnknownExchangeType(Text::from_static("x-random"));
        assert_eq!(kind_of(&declared("x-random", None)), Err(unknown));
        for delayed_type in [None, Some("x-delayed-message"), Some("")] {
            let refused = kind_of(&declared(DELAYED_TYPE, delayed_type));
            assert!(
                matches!(refused, Err(Refusal::BadArgument(_))),
                "{refused:?}"
            );
        }
    }
}
