//! Makes what clients use: queues, exchanges, bindings; what AMQP clients declare themselves.
//!
//! Owns which argument of the wire is which of the core's. What arguments mean, and what a second declaration
//! may say, the core decides.

use bytes::Bytes;
use raftmq_core::cluster::amqp::{
    AmqpCommand, BindingChange, BindingTarget, DeclareExchange, DeclareQueue,
};
use raftmq_core::exchange::{Argument, Arguments, ExchangeKind, HeaderValue};
use raftmq_proto::into_status;
use raftmq_proto::v1::amqp_argument::Value;
use raftmq_proto::v1::{
    AmqpArgument, BindingInfo, DeclareExchangeRequest, DeclareQueueRequest, Error,
};
use tonic::Status;

use super::declared::{TO_EXCHANGE, TO_QUEUE};
use super::vhosts::QUEUE_TYPE;
use super::{AmqpAdminFrontEnd, vhost};

/// The type of exchanges whose messages may wait (`x-delay`); the one they route by is an argument.
const DELAYED_TYPE: &str = "x-delayed-message";
const DELAYED_TYPE_ARGUMENT: &str = "x-delayed-type";

impl AmqpAdminFrontEnd {
    pub(super) async fn make_queue(&self, request: DeclareQueueRequest) -> Result<(), Status> {
        let DeclareQueueRequest {
            vhost: vhost_name,
            name,
            transient,
            auto_delete,
            arguments: given,
        } = request;
        let default_type = vhost(&self.image(), &vhost_name)?
            .default_queue_type
            .clone();
        let command = AmqpCommand::DeclareQueue(DeclareQueue {
            vhost: vhost_name,
            name,
            is_server_named: false,
            is_durable: !transient,
            is_auto_delete: auto_delete,
            owner: None,
            arguments: with_queue_type(arguments(given).map_err(into_status)?, default_type),
        });
        self.propose(command).await
    }

    pub(super) async fn make_exchange(
        &self,
        request: DeclareExchangeRequest,
    ) -> Result<(), Status> {
        let arguments = arguments(request.arguments).map_err(into_status)?;
        let (kind, is_delayed) = kind_of(&request.kind, &arguments).map_err(into_status)?;
        let command = AmqpCommand::DeclareExchange(DeclareExchange {
            vhost: request.vhost,
            name: request.name,
            kind,
            is_delayed,
            is_durable: !request.transient,
            is_auto_delete: request.auto_delete,
            is_internal: request.internal,
            arguments: Arguments::new(arguments),
        });
        self.propose(command).await
    }
}

/// What a binding is made, or removed, by.
pub(super) fn binding_change(
    vhost: String,
    binding: Option<BindingInfo>,
) -> Result<BindingChange, Status> {
    let refused = |reason: String| into_status(Error::invalid_request(reason));
    let binding = binding.ok_or_else(|| refused("a binding is missing".to_owned()))?;
    let target = match binding.destination_kind.as_str() {
        TO_QUEUE => BindingTarget::Queue(binding.destination),
        TO_EXCHANGE => BindingTarget::Exchange(binding.destination),
        other => {
            return Err(refused(format!(
                "a binding leads to \"queue\" or \"exchange\", not to {other:?}"
            )));
        }
    };
    Ok(BindingChange {
        vhost,
        source: binding.source,
        target,
        key: binding.routing_key.to_vec().into(),
        arguments: Arguments::new(arguments(binding.arguments).map_err(into_status)?),
        connection: None,
    })
}

/// The arguments, with the virtual host's type of queues if the client names none.
fn with_queue_type(mut given: Vec<Argument>, default_type: String) -> Arguments {
    let is_given = given.iter().any(|one| one.name == QUEUE_TYPE.as_bytes());
    if !default_type.is_empty() && !is_given {
        given.push(text_argument(QUEUE_TYPE, default_type));
    }
    Arguments::new(given)
}

fn text_argument(name: &'static str, text: String) -> Argument {
    let (tag, value) = (b'S', HeaderValue::Bytes(text.into()));
    let name = Bytes::from_static(name.as_bytes());
    Argument { name, tag, value }
}

fn kind_of(name: &str, arguments: &[Argument]) -> Result<(ExchangeKind, bool), Error> {
    let unknown = |name: &str| Error::invalid_request(format!("unknown exchange type {name:?}"));
    if name != DELAYED_TYPE {
        let kind = ExchangeKind::from_name(name).ok_or_else(|| unknown(name))?;
        return Ok((kind, false));
    }
    let mut named = arguments.iter();
    let named = named.find(|one| one.name == DELAYED_TYPE_ARGUMENT.as_bytes());
    let Some(HeaderValue::Bytes(routed_by)) = named.map(|one| &one.value) else {
        return Err(Error::invalid_request(format!(
            "an exchange of type {DELAYED_TYPE} needs the argument {DELAYED_TYPE_ARGUMENT}"
        )));
    };
    let routed_by = String::from_utf8_lossy(routed_by);
    let kind = ExchangeKind::from_name(&routed_by).ok_or_else(|| unknown(&routed_by))?;
    Ok((kind, true))
}

fn arguments(given: Vec<AmqpArgument>) -> Result<Vec<Argument>, Error> {
    given.into_iter().map(argument).collect()
}

fn argument(given: AmqpArgument) -> Result<Argument, Error> {
    let (tag, value) = match given.value {
        None => (b'V', HeaderValue::Void),
        Some(Value::Flag(flag)) => (b't', HeaderValue::Bool(flag)),
        Some(Value::Integer(number)) => (b'l', HeaderValue::Integer(number)),
        Some(Value::Real(number)) => (b'd', HeaderValue::Float(number.to_bits())),
        Some(Value::Text(text)) => (b'S', HeaderValue::Bytes(text.into())),
        Some(Value::Raw(bytes)) => (b'x', HeaderValue::Bytes(bytes)),
        Some(Value::TimestampS(seconds)) => (b'T', HeaderValue::Timestamp(seconds)),
        Some(Value::Decimal(_)) => {
            let name = given.name;
            return Err(Error::invalid_request(format!(
                "argument {name:?} cannot be a decimal number here"
            )));
        }
    };
    let name = Bytes::from(given.name);
    Ok(Argument { name, tag, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, text: &str) -> AmqpArgument {
        AmqpArgument {
            name: name.to_owned(),
            value: Some(Value::Text(text.to_owned())),
        }
    }

    #[test]
    fn the_virtual_hosts_type_counts_where_the_client_names_none() {
        let quorum = || "quorum".to_owned();
        let put_in = with_queue_type(Vec::new(), quorum());
        let expected = text_argument(QUEUE_TYPE, quorum());
        assert_eq!(put_in.as_slice(), [expected]);
        let classic = arguments(vec![text(QUEUE_TYPE, "classic")]).unwrap();
        let kept = with_queue_type(classic.clone(), quorum());
        assert_eq!(kept.as_slice(), classic);
        assert_eq!(with_queue_type(Vec::new(), String::new()), Arguments::NONE);
    }

    #[test]
    fn a_type_is_one_of_four_or_a_delayed_one_of_them() {
        let delayed = |by: &str| arguments(vec![text(DELAYED_TYPE_ARGUMENT, by)]).unwrap();
        assert_eq!(kind_of("topic", &[]), Ok((ExchangeKind::Topic, false)));
        let fanout = kind_of(DELAYED_TYPE, &delayed("fanout"));
        assert_eq!(fanout, Ok((ExchangeKind::Fanout, true)));
        assert!(kind_of("x-random", &[]).is_err());
        assert!(kind_of(DELAYED_TYPE, &[]).is_err());
        assert!(kind_of(DELAYED_TYPE, &delayed("x-random")).is_err());
    }

    #[test]
    fn a_binding_leads_to_a_queue_or_to_an_exchange_and_nowhere_else() {
        let binding = |kind: &str| BindingInfo {
            source: "logs".to_owned(),
            destination_kind: kind.to_owned(),
            destination: "to".to_owned(),
            routing_key: Bytes::from_static(b"k"),
            arguments: Vec::new(),
        };
        let change = binding_change("/".to_owned(), Some(binding("queue"))).unwrap();
        assert_eq!(change.target, BindingTarget::Queue("to".to_owned()));
        assert_eq!(&change.key[..], b"k");
        for refused in [Some(binding("topic")), None] {
            let status = binding_change("/".to_owned(), refused).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
        }
    }
}
