//! The way of a published message: may the client do that, which queues does it reach, and what is
//! stored of it.
//!
//! Pure: the image comes in, and a plan, or why there is none, comes out. Owns what headers mean to a
//! broker: `x-delay`, and by what a queue deduplicates.

use bytes::Bytes;
use raftmq_amqp::{Kind, Message, Permission, Publish, Refusal};
use raftmq_amqp_protocol::{ShortString, Text, Value};
use raftmq_core::GroupNumber;
use raftmq_core::cluster::Image;
use raftmq_core::cluster::amqp::{QueueInfo, Vhost};
use raftmq_core::exchange::{self, HeaderValue, PublishError, Route};
use raftmq_core::limits::SHORT_STRING_BYTES_MAX;
use raftmq_core::queue;

use super::arguments::MessageHeaders;
use super::message_form::{self, Deaths};
use super::patterns::Patterns;

/// Longest delay of a message, milliseconds: that of RabbitMQ's plug-in.
const DELAY_MS_MAX: i64 = 4_294_967_295;
const DELAY: &str = "x-delay";
/// The header of RabbitMQ's deduplication plug-in; without it the message id is taken.
const DEDUP_ID: &str = "x-deduplication-header";
const DEDUP_ARGUMENT: &[u8] = b"x-message-deduplication";

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// To these queues, as this.
    Enqueue(Vec<GroupNumber>, queue::Message),
    /// Nowhere: nothing matched.
    Unroutable,
}

/// Who publishes where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) image: &'a Image,
    pub(super) vhost: &'a Vhost,
    /// What the client may do there.
    pub(super) patterns: &'a Patterns,
}

/// Finds the way of a message. `route` is memory that is used again.
///
/// # Errors
/// `Denied`, `Unknown`, `InternalExchange`.
pub(super) fn plan(
    scene: Scene<'_>,
    publish: &Publish,
    route: &mut Route,
) -> Result<Plan, Refusal> {
    let Scene {
        image,
        vhost,
        patterns,
    } = scene;
    let message = &publish.message;
    let name = exchange_name(&message.exchange)?;
    patterns.check(Permission::Write, Kind::Exchange, name)?;
    vhost
        .routing
        .check_publish(name)
        .map_err(|error| refuse_publish(&error, name))?;
    let more_keys: Vec<&[u8]> = publish.more_keys.iter().map(|key| &**key).collect();
    find_queues(vhost, name, message, &more_keys, route);
    if route.queues().is_empty() {
        return Ok(Plan::Unroutable);
    }
    let mut stored = stored(message, Deaths::NotOurs);
    stored.ttl_ms = publish.ttl_ms;
    stored.delay_ms = delay_ms(vhost, name, message);
    stored.dedup_id = dedup_id(image, route.queues(), message);
    Ok(Plan::Enqueue(route.queues().to_vec(), stored))
}

/// What is stored of a message, whatever else is known of it.
pub(super) fn stored(message: &Message, deaths: Deaths) -> queue::Message {
    queue::Message {
        priority: message.properties.view().priority.unwrap_or_default(),
        body: message_form::encode(message, deaths),
        ..queue::Message::default()
    }
}

/// Routes a message by its keys and headers.
pub(super) fn find_queues(
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

fn exchange_name(name: &ShortString) -> Result<&str, Refusal> {
    // No exchange has a name that is not text.
    name.to_str().ok_or_else(|| {
        let shown = String::from_utf8_lossy(name).into_owned();
        Refusal::Unknown(Kind::Exchange, Text::try_from(shown).unwrap_or_default())
    })
}

fn refuse_publish(error: &PublishError, name: &str) -> Refusal {
    let name = Text::try_from(name).unwrap_or_default();
    match error {
        PublishError::UnknownExchange => Refusal::Unknown(Kind::Exchange, name),
        PublishError::Internal { .. } => Refusal::InternalExchange(name),
    }
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
    use raftmq_amqp::{ChannelKey, PublishNumber, PublishTo};
    use raftmq_amqp_protocol::{BasicProperties, Table, TableBuilder};
    use raftmq_core::cluster::amqp::Permissions;
    use raftmq_core::exchange::{Arguments, ExchangeKind};

    use super::*;
    use crate::amqp::arguments::arguments;
    use crate::amqp::world::{VHOST, World};

    fn headers(name: &'static str, value: Value<'_>) -> Table {
        TableBuilder::new().with(name, value).finish().unwrap()
    }

    fn publish(exchange: &str, key: &str, headers: &Table) -> Publish {
        let properties = BasicProperties {
            headers: Some(headers.as_ref()),
            message_id: Some(b"m-1"),
            priority: Some(4),
            ..BasicProperties::default()
        };
        Publish {
            channel: ChannelKey {
                number: 1,
                opening: 1,
            },
            number: PublishNumber(1),
            to: PublishTo::Exchange,
            is_mandatory: false,
            is_confirmed: true,
            ttl_ms: Some(9),
            more_keys: Vec::new(),
            message: Message {
                exchange: ShortString::try_from(exchange).unwrap(),
                routing_key: ShortString::try_from(key).unwrap(),
                properties: properties.encode().unwrap(),
                body: Bytes::from_static(b"body").into(),
            },
        }
    }

    fn planned(world: &World, write: &str, publish: &Publish) -> Result<Plan, Refusal> {
        let patterns = Patterns::new(&Permissions {
            write: write.to_owned(),
            ..Permissions::default()
        });
        let image = world.image();
        let scene = Scene {
            image,
            vhost: image.amqp.vhost(VHOST).unwrap(),
            patterns: &patterns,
        };
        plan(scene, publish, &mut Route::new())
    }

    #[test]
    fn a_message_is_stored_with_what_its_queue_must_know() {
        let mut world = World::new();
        let queue = world.queue("q", Arguments::NONE);
        let publish = publish("", "q", &Table::default());

        let Ok(Plan::Enqueue(queues, message)) = planned(&world, ".*", &publish) else {
            panic!("it reaches the queue");
        };

        assert_eq!(queues, [queue]);
        assert_eq!((message.priority, message.ttl_ms), (4, Some(9)));
        assert_eq!((message.delay_ms, &message.dedup_id), (None, &None));
        let stored = message_form::decode(message.body).unwrap();
        assert_eq!(stored.message, publish.message);
        assert_eq!(stored.deaths, Deaths::NotOurs);
    }

    #[test]
    fn who_may_not_write_or_names_no_exchange_is_refused_and_what_matches_nothing_is_unroutable() {
        let mut world = World::new();
        world.exchange("internal-x", ExchangeKind::Fanout, false);
        let plan = |write: &str, exchange: &str| {
            let publish = publish(exchange, "nowhere", &Table::default());
            planned(&world, write, &publish)
        };
        let name = Text::from_static("amq.default");
        let denied = Refusal::Denied(Permission::Write, Kind::Exchange, name);
        assert_eq!(plan("^amq.topic$", ""), Err(denied));
        assert_eq!(plan("^amq.topic$", "amq.topic"), Ok(Plan::Unroutable));
        assert_eq!(plan(".*", ""), Ok(Plan::Unroutable));
        let unknown = Refusal::Unknown(Kind::Exchange, Text::from_static("gone"));
        assert_eq!(plan(".*", "gone"), Err(unknown));
        let internal = Refusal::InternalExchange(Text::from_static("internal-x"));
        assert_eq!(plan(".*", "internal-x"), Err(internal));
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
            let publish = publish(exchange, "k", &headers(DELAY, Value::Long(delay_ms)));
            let Ok(Plan::Enqueue(_, message)) = planned(&world, ".*", &publish) else {
                panic!("it reaches the queue");
            };
            assert_eq!(message.delay_ms, expected, "{exchange} {delay_ms}");
        }
    }

    #[test]
    fn a_message_is_recognised_by_its_header_or_its_id_where_a_queue_asks_for_that() {
        let mut world = World::new();
        let once = headers("x-message-deduplication", Value::Bool(true));
        world.queue("once", arguments(&once));
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
            let publish = publish("", queue, headers);
            let Ok(Plan::Enqueue(_, message)) = planned(&world, ".*", &publish) else {
                panic!("it reaches the queue");
            };
            assert_eq!(message.dedup_id.as_deref(), expected, "{queue}");
        }
    }
}
