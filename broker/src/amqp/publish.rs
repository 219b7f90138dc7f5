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
use super::context::Client;
use super::message_form::{self, Deaths};

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

/// Finds the way of a message. `route` is memory that is used again.
///
/// # Errors
/// `Denied`, `Unknown`, `InternalExchange`, `UnknownVhost`.
pub(super) fn plan(
    client: &Client,
    image: &Image,
    publish: &Publish,
    route: &mut Route,
) -> Result<Plan, Refusal> {
    let message = &publish.message;
    let name = exchange_name(&message.exchange)?;
    client.check(image, Permission::Write, Kind::Exchange, name)?;
    let vhost = client.vhost(image)?;
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
