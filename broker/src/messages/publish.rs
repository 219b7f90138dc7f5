//! The way of a published message: which queues does it reach, and what is stored of it.
//!
//! Pure: the image comes in, and a plan, or why there is none, comes out. Owns what headers mean to a
//! broker: `x-delay`, and by what a queue deduplicates. Does not know who may publish.

use bytes::Bytes;
use raftmq_amqp::Message;
use raftmq_amqp_protocol::{ShortString, Value};
use raftmq_core::GroupNumber;
use raftmq_core::cluster::Image;
use raftmq_core::cluster::amqp::{QueueInfo, Vhost};
use raftmq_core::exchange::{self, HeaderValue, PublishError, Route};
use raftmq_core::limits::SHORT_STRING_BYTES_MAX;
use raftmq_core::queue;

use super::form::{self, Deaths};
use super::headers::MessageHeaders;

/// Longest delay of a message, milliseconds: that of RabbitMQ's plug-in.
const DELAY_MS_MAX: i64 = 4_294_967_295;
const DELAY: &str = "x-delay";
/// The header of RabbitMQ's deduplication plug-in; without it the message id is taken.
const DEDUP_ID: &str = "x-deduplication-header";
const DEDUP_ARGUMENT: &[u8] = b"x-message-deduplication";

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// To these queues, as this.
    Enqueue(Vec<GroupNumber>, queue::Message),
    /// Nowhere: nothing matched.
    Unroutable,
}

/// A message on its way in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) message: &'a Message,
    /// `expiration`, milliseconds.
    pub(crate) ttl_ms: Option<u64>,
    /// Further routing keys.
    pub(crate) more_keys: &'a [ShortString],
}

/// Finds the way of a message through the exchange of this name, which is the message's. `route` is memory
/// that is used again.
///
/// # Errors
/// See [`PublishError`].
pub(crate) fn plan(
    image: &Image,
    vhost: &Vhost,
    exchange: &str,
    incoming: Incoming<'_>,
    route: &mut Route,
) -> Result<Plan, PublishError> {
    vhost.routing.check_publish(exchange)?;
    let message = incoming.message;
    let more_keys: Vec<&[u8]> = incoming.more_keys.iter().map(|key| &**key).collect();
    find_queues(vhost, exchange, message, &more_keys, route);
    if route.queues().is_empty() {
        return Ok(Plan::Unroutable);
    }
    let mut stored = stored(message, Deaths::NotOurs);
    stored.ttl_ms = incoming.ttl_ms;
    stored.delay_ms = delay_ms(vhost, exchange, message);
    stored.dedup_id = dedup_id(image, route.queues(), message);
    Ok(Plan::Enqueue(route.queues().to_vec(), stored))
}

/// What is stored of a message, whatever else is known of it.
pub(crate) fn stored(message: &Message, deaths: Deaths) -> queue::Message {
    queue::Message {
        priority: message.properties.view().priority.unwrap_or_default(),
        body: form::encode(message, deaths),
        ..queue::Message::default()
    }
}

/// Routes a message by its keys and headers.
pub(crate) fn find_queues(
    vhost: &Vhost,
    exchange: &str,
    message: &Message,
    more_keys: &[&[u8]],
    route: &mut Route,
) {
    let headers = message.properties.view().headers.unwrap_or_default();
    let looked_at = exchange::Message {
        routing_key: &message.routing_key,
        more_keys,
        headers: &MessageHeaders(headers),
    };
    vhost.routing.route(exchange, &looked_at, route);
}

/// How long a message waits before it is ready, if its exchange lets messages wait.
// Deviation: RabbitMQ's plug-in routes when the time has come; here the bindings count that are there
// when the message comes.
fn delay_ms(vhost: &Vhost, exchange: &str, message: &Message) -> Option<u64> {
    let id = vhost.routing.exchange_id(exchange)?;
    vhost.exchanges.get(&id).filter(|info| info.is_delayed)?;
    let headers = message.properties.view().headers?;
    let delay_ms = headers.get(DELAY)?.as_i64()?.min(DELAY_MS_MAX);
    u64::try_from(delay_ms).ok().filter(|ms| *ms > 0)
}

/// By what the queues that deduplicate recognise the message; not stored where none does.
fn dedup_id(image: &Image, queues: &[GroupNumber], message: &Message) -> Option<Bytes> {
    let properties = message.properties.view();
    let header = properties.headers.and_then(|headers| headers.get(DEDUP_ID));
    let id = match header {
        Some(value) => dedup_header(value)?,
        None => Bytes::copy_from_slice(properties.message_id?),
    };
    let is_wanted = |group: &GroupNumber| {
        let queue = image.amqp.queues.get(group);
        queue.is_some_and(|queue| is_deduplicating(queue))
    };
    (id.len() <= SHORT_STRING_BYTES_MAX && queues.iter().any(is_wanted)).then_some(id)
}

fn dedup_header(value: Value<'_>) -> Option<Bytes> {
    match (value.as_bytes(), value.as_i64()) {
        (Some(bytes), _) => Some(Bytes::copy_from_slice(bytes)),
        (None, Some(number)) => Some(number.to_string().into()),
        (None, None) => None,
    }
}

fn is_deduplicating(queue: &QueueInfo) -> bool {
    let mut arguments = queue.arguments.as_slice().iter();
    arguments.any(|one| one.name == DEDUP_ARGUMENT && one.value == HeaderValue::Bool(true))
}

#[cfg(test)]
mod tests {
    use raftmq_amqp_protocol::{BasicProperties, Table, TableBuilder};
    use raftmq_core::exchange::{Argument, Arguments, ExchangeKind};

    use super::*;
    use crate::messages::world::{VHOST, World};

    fn headers(name: &'static str, value: Value<'_>) -> Table {
        TableBuilder::new().with(name, value).finish().unwrap()
    }

    fn message(exchange: &str, key: &str, headers: &Table) -> Message {
        let properties = BasicProperties {
            headers: Some(headers.as_ref()),
            message_id: Some(b"m-1"),
            priority: Some(4),
            ..BasicProperties::default()
        };
        Message {
            exchange: ShortString::try_from(exchange).unwrap(),
            routing_key: ShortString::try_from(key).unwrap(),
            properties: properties.encode().unwrap(),
            body: Bytes::from_static(b"body").into(),
        }
    }

    fn planned(world: &World, message: &Message) -> Result<Plan, PublishError> {
        let image = world.image();
        let incoming = Incoming {
            message,
            ttl_ms: Some(9),
            more_keys: &[],
        };
        let exchange = message.exchange.to_str().unwrap();
        let vhost = image.amqp.vhost(VHOST).unwrap();
        plan(image, vhost, exchange, incoming, &mut Route::new())
    }

    #[test]
    fn a_message_is_stored_with_what_its_queue_must_know() {
        let mut world = World::new();
        let queue = world.queue("q", Arguments::NONE);
        let published = message("", "q", &Table::default());

        let Ok(Plan::Enqueue(queues, message)) = planned(&world, &published) else {
            panic!("it reaches the queue");
        };

        assert_eq!(queues, [queue]);
        assert_eq!((message.priority, message.ttl_ms), (4, Some(9)));
        assert_eq!((message.delay_ms, &message.dedup_id), (None, &None));
        let stored = form::decode(message.body).unwrap();
        assert_eq!(stored.message, published);
        assert_eq!(stored.deaths, Deaths::NotOurs);
    }

    #[test]
    fn a_delay_counts_where_the_exchange_lets_messages_wait() {
        let mut world = World::new();
        world.queue("q", Arguments::NONE);
        for (exchange, is_delayed) in [("waiting", true), ("prompt", false)] {
            world.exchange(exchange, ExchangeKind::Direct, is_delayed);
            world.bind(exchange, "q", "k");
        }
        for (exchange, delay_ms, expected) in [
            ("waiting", 300, Some(300)),
            ("waiting", -1, None),
            ("waiting", i64::MAX, Some(4_294_967_295)),
            ("prompt", 300, None),
        ] {
            let published = message(exchange, "k", &headers(DELAY, Value::Long(delay_ms)));
            let Ok(Plan::Enqueue(_, message)) = planned(&world, &published) else {
                panic!("it reaches the queue");
            };
            assert_eq!(message.delay_ms, expected, "{exchange} {delay_ms}");
        }
    }

    #[test]
    fn a_message_is_recognised_by_its_header_or_its_id_where_a_queue_asks_for_that() {
        let mut world = World::new();
        let once = Argument {
            name: Bytes::from_static(DEDUP_ARGUMENT),
            tag: b't',
            value: HeaderValue::Bool(true),
        };
        world.queue("once", Arguments::new(vec![once]));
        world.queue("often", Arguments::NONE);
        let none = Table::default();
        let named = headers(DEDUP_ID, Value::LongString(b"h"));
        let numbered = headers(DEDUP_ID, Value::Int(7));
        for (queue, headers, expected) in [
            ("once", &none, Some(&b"m-1"[..])),
            ("once", &named, Some(b"h")),
            ("once", &numbered, Some(b"7")),
            ("often", &named, None),
        ] {
            let published = message("", queue, headers);
            let Ok(Plan::Enqueue(_, message)) = planned(&world, &published) else {
                panic!("it reaches the queue");
            };
            assert_eq!(message.dedup_id.as_deref(), expected, "{queue}");
        }
    }
}
