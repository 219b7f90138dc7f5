//! What clients have declared besides queues: exchanges and bindings, with their arguments.
//!
//! The default exchange and its bindings are nowhere in the metadata: every queue is bound to it by its name.

use std::sync::Arc;
use std::vec;

use raftmq_core::cluster::Image;
use raftmq_core::cluster::amqp::Vhost;
use raftmq_core::exchange::{
    Argument, Arguments, Binding, Destination, ExchangeId, ExchangeKind, HeaderValue,
};
use raftmq_proto::v1::amqp_argument::Value;
use raftmq_proto::v1::{
    AmqpArgument, BindingInfo, ExchangeInfo, ListBindingsResponse, ListExchangesResponse,
};
use tonic::Response;

use super::listing::{Listed, in_parts};

pub(super) const TO_QUEUE: &str = "queue";
pub(super) const TO_EXCHANGE: &str = "exchange";

pub(super) fn list_exchanges(vhost: Arc<Vhost>) -> Response<Listed<ListExchangesResponse>> {
    let default = ExchangeInfo {
        kind: ExchangeKind::Direct.name().to_owned(),
        durable: true,
        ..ExchangeInfo::default()
    };
    let ids = by_name(&vhost).into_iter();
    let others = ids.filter_map(move |(_, id)| exchange_info(&vhost, id));
    let all = std::iter::once(default).chain(others);
    in_parts(all, |exchanges| ListExchangesResponse { exchanges })
}

fn by_name(vhost: &Vhost) -> Vec<(Arc<str>, ExchangeId)> {
    let exchanges = vhost.routing.exchanges();
    let named = exchanges.map(|(id, exchange)| (exchange.settings().name.clone(), id));
    let mut named: Vec<_> = named.collect();
    named.sort_unstable();
    named
}

fn exchange_info(vhost: &Vhost, id: ExchangeId) -> Option<ExchangeInfo> {
    let (exchange, info) = (vhost.routing.exchange(id)?, vhost.exchanges.get(&id)?);
    let settings = exchange.settings();
    Some(ExchangeInfo {
        name: settings.name.to_string(),
        kind: info.type_name(exchange).to_owned(),
        durable: info.is_durable,
        auto_delete: info.is_auto_delete,
        internal: settings.is_internal,
        arguments: arguments(&info.arguments),
    })
}

pub(super) fn list_bindings(
    image: Arc<Image>,
    vhost: Arc<Vhost>,
) -> Response<Listed<ListBindingsResponse>> {
    let queues = vhost.routing.queues();
    let queues: Vec<Arc<str>> = queues.map(|(name, _)| name.clone()).collect();
    let default = queues.into_iter().map(|name| default_binding(&name));
    let all = default.chain(Bindings::new(image, vhost));
    in_parts(all, |bindings| ListBindingsResponse { bindings })
}

fn default_binding(queue: &str) -> BindingInfo {
    BindingInfo {
        source: String::new(),
        destination_kind: TO_QUEUE.to_owned(),
        destination: queue.to_owned(),
        routing_key: queue.to_owned().into(),
        arguments: Vec::new(),
    }
}

/// The bindings of a virtual host by the names of their sources, one after the other: they may be millions.
struct Bindings {
    image: Arc<Image>,
    vhost: Arc<Vhost>,
    sources: vec::IntoIter<(Arc<str>, ExchangeId)>,
    /// The exchange whose turn it is, and the binding of it that came last.
    current: Option<(Arc<str>, ExchangeId, Option<Binding>)>,
}

impl Bindings {
    fn new(image: Arc<Image>, vhost: Arc<Vhost>) -> Self {
        Self {
            image,
            sources: by_name(&vhost).into_iter(),
            vhost,
            current: None,
        }
    }

    /// The next binding of the exchange whose turn it is.
    fn advance(&mut self) -> Option<BindingInfo> {
        let (source, id, last) = self.current.as_mut()?;
        let exchange = self.vhost.routing.exchange(*id)?;
        let binding = match last {
            Some(last) => exchange.bindings_after(last).next(),
            None => exchange.bindings().next(),
        }?;
        let (destination_kind, destination) = named(&self.image, &self.vhost, binding.destination);
        let info = BindingInfo {
            source: source.to_string(),
            destination_kind: destination_kind.to_owned(),
            destination,
            routing_key: binding.key.to_vec().into(),
            arguments: arguments(&binding.arguments),
        };
        *last = Some(binding.clone());
        Some(info)
    }
}

impl Iterator for Bindings {
    type Item = BindingInfo;

    fn next(&mut self) -> Option<BindingInfo> {
        loop {
            if let Some(binding) = self.advance() {
                return Some(binding);
            }
            let (source, id) = self.sources.next()?;
            self.current = Some((source, id, None));
        }
    }
}

fn named(image: &Image, vhost: &Vhost, destination: Destination) -> (&'static str, String) {
    match destination {
        Destination::Queue(group) => {
            let queue = image.amqp.queues.get(&group);
            let name = queue.map_or_else(String::new, |queue| queue.name.to_string());
            (TO_QUEUE, name)
        }
        Destination::Exchange(id) => {
            let exchange = vhost.routing.exchange(id);
            let name = exchange.map(|exchange| exchange.settings().name.to_string());
            (TO_EXCHANGE, name.unwrap_or_default())
        }
    }
}

/// Arguments of a declaration or binding.
pub(super) fn arguments(arguments: &Arguments) -> Vec<AmqpArgument> {
    arguments.as_slice().iter().map(argument).collect()
}

fn argument(argument: &Argument) -> AmqpArgument {
    let value = match &argument.value {
        HeaderValue::Void => None,
        HeaderValue::Bool(flag) => Some(Value::Flag(*flag)),
        HeaderValue::Integer(number) => Some(Value::Integer(*number)),
        HeaderValue::Float(bits) => Some(Value::Real(f64::from_bits(*bits))),
        HeaderValue::Decimal(scale, digits) => Some(Value::Decimal(format!("{digits}e-{scale}"))),
        HeaderValue::Timestamp(seconds) => Some(Value::TimestampS(*seconds)),
        HeaderValue::Bytes(bytes) => Some(match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Raw(bytes.clone()),
        }),
        HeaderValue::Nested(bytes) => Some(Value::Raw(bytes.clone())),
    };
    AmqpArgument {
        name: String::from_utf8_lossy(&argument.name).into_owned(),
        value,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raftmq_core::cluster::amqp::ExchangeInfo as DeclaredExchange;
    use raftmq_core::exchange::{Routing, Settings};
    use raftmq_core::ids::VhostId;

    use super::*;

    fn add_exchange(vhost: &mut Vhost, id: u64, name: &str) {
        let settings = Settings {
            name: name.into(),
            kind: ExchangeKind::Topic,
            is_internal: false,
            alternate: None,
        };
        assert!(vhost.routing.add_exchange(ExchangeId(id), settings));
        let info = DeclaredExchange {
            is_durable: true,
            is_auto_delete: false,
            is_delayed: false,
            arguments: Arguments::NONE,
        };
        vhost.exchanges.insert(ExchangeId(id), Arc::new(info));
    }

    fn bind(vhost: &mut Vhost, source: u64, to: u64, key: &str) {
        let binding = Binding::new(Destination::Exchange(ExchangeId(to)), key.as_bytes());
        vhost.routing.bind(ExchangeId(source), binding).unwrap();
    }

    /// Exchanges `b`, which has most bindings, `a`, `c`, which has none.
    fn vhost() -> Arc<Vhost> {
        let mut vhost = Vhost {
            id: VhostId(1),
            name: "v".into(),
            description: String::new(),
            default_queue_type: String::new(),
            routing: Routing::new(),
            exchanges: Default::default(),
            bindings_count: 0,
        };
        for (id, name) in [(2, "b"), (3, "a"), (4, "c")] {
            add_exchange(&mut vhost, id, name);
        }
        for key in ["z", "x", "y"] {
            bind(&mut vhost, 2, 3, key);
        }
        bind(&mut vhost, 3, 4, "k");
        Arc::new(vhost)
    }

    #[test]
    fn bindings_come_once_each_by_the_names_of_their_sources() {
        let listed = Bindings::new(Arc::default(), vhost()).map(|binding| {
            let key = String::from_utf8(binding.routing_key.to_vec()).unwrap();
            (binding.source, binding.destination, key)
        });
        let listed: Vec<_> = listed.collect();
        let expected = [
            ("a", "c", "k"),
            ("b", "a", "x"),
            ("b", "a", "y"),
            ("b", "a", "z"),
        ];
        let expected = expected.map(|(source, to, key)| (source.into(), to.into(), key.into()));
        assert_eq!(listed, expected);
    }

    #[test]
    fn values_keep_their_type_and_bytes_that_are_no_text_stay_bytes() {
        let value_of = |value| {
            let name = Bytes::from_static(b"x-\xff");
            argument(&Argument {
                name,
                tag: 0,
                value,
            })
        };
        let bytes = Bytes::from_static;
        for (value, expected) in [
            (HeaderValue::Void, None),
            (HeaderValue::Integer(-1), Some(Value::Integer(-1))),
            (
                HeaderValue::Bytes(bytes(b"text")),
                Some(Value::Text("text".to_owned())),
            ),
            (
                HeaderValue::Bytes(bytes(b"\xff")),
                Some(Value::Raw(bytes(b"\xff"))),
            ),
            (
                HeaderValue::Decimal(2, 314),
                Some(Value::Decimal("314e-2".to_owned())),
            ),
        ] {
            let shown = value_of(value);
            assert_eq!(shown.name, "x-\u{fffd}");
            assert_eq!(shown.value, expected);
        }
    }
}
