//! Where dead letters go, and what is written on them: RabbitMQ's dead-letter exchanges.
//!
//! Owns the routing of a dead letter by the image, and the rule that ends cycles. The headers are
//! `deaths`'s. Does not know when a message dies, nor when a dead letter has arrived.

use bytes::Bytes;
use raftmq_amqp::Message;
use raftmq_amqp_protocol::{ShortString, Value};
use raftmq_core::GroupNumber;
use raftmq_core::exchange::Route;
use raftmq_core::queue;
use raftmq_core::queue::arguments::{Declared, parse};

use super::deaths::{self, Obituary};
use super::message_form::{self, Deaths};
use super::publish::{find_queues, stored};
use crate::queues::{DeadLetterRouter, DeadMessage};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeadLetterRoutes;

impl DeadLetterRouter for DeadLetterRoutes {
    fn targets(&self, dead: &DeadMessage<'_>) -> Vec<(GroupNumber, queue::Message)> {
        match message_form::decode(dead.body.clone()) {
            Ok(stored) => route_dead(dead, stored),
            Err(error) => {
                tracing::error!(queue = %dead.queue.group, %error, "a dead letter cannot be read");
                Vec::new()
            }
        }
    }
}

fn route_dead(
    dead: &DeadMessage<'_>,
    stored_form: message_form::Stored,
) -> Vec<(GroupNumber, queue::Message)> {
    let info = dead.queue;
    let declared = parse(&info.arguments, &info.name, &info.vhost).unwrap_or_default();
    let Some(exchange) = &declared.dead_letter_exchange else {
        return Vec::new();
    };
    let Some(vhost) = dead.image.amqp.vhosts.get(&info.vhost_id) else {
        return Vec::new();
    };
    let obituary = Obituary {
        queue: &info.name,
        reason: dead.letter.reason,
        time_s: u64::try_from(dead.now_ms / 1_000).unwrap_or_default(),
        id: dead.letter.message.id(info.group),
    };
    let (properties, history) = deaths::write(&stored_form, &obituary, keeps_cc(&declared));
    let message = Message {
        exchange: short(exchange),
        routing_key: match &declared.dead_letter_routing_key {
            Some(key) => short(key),
            None => stored_form.message.routing_key,
        },
        properties,
        body: stored_form.message.body,
    };
    let more_keys = copies_to(&message);
    let more_keys: Vec<&[u8]> = more_keys.iter().map(|key| &key[..]).collect();
    let mut route = Route::new();
    find_queues(vhost, exchange, &message, &more_keys, &mut route);
    let is_cycle = |group: &GroupNumber| {
        let queue = dead.image.amqp.queues.get(group);
        let is_cycle = queue.is_some_and(|queue| history.is_cycle(&queue.name));
        if is_cycle {
            tracing::trace!(target: "raftmq::mark", name = "amqp_dead_letter_cycle_ended");
        }
        is_cycle
    };
    let targets: Vec<GroupNumber> = route
        .queues()
        .iter()
        .copied()
        .filter(|group| !is_cycle(group))
        .collect();
    if targets.is_empty() {
        return Vec::new();
    }
    let letter = queue::Message {
        dedup_id: Some(letter_id(dead)),
        ..stored(&message, Deaths::Ours)
    };
    let letters = targets.into_iter().map(|group| (group, letter.clone()));
    letters.collect()
}

/// A queue that deduplicates takes a dead letter once, however often it is published.
fn letter_id(dead: &DeadMessage<'_>) -> Bytes {
    format!("dead-{}-{}", dead.queue.group, dead.letter.id).into()
}

/// `CC` leads dead letters, too, unless the queue names a routing key for them.
const fn keeps_cc(declared: &Declared) -> deaths::Cc {
    if declared.dead_letter_routing_key.is_none() {
        deaths::Cc::Kept
    } else {
        deaths::Cc::Removed
    }
}

fn copies_to(message: &Message) -> Vec<Bytes> {
    let headers = message.properties.view().headers.unwrap_or_default();
    let Some(Value::Array(keys)) = headers.get("CC") else {
        return Vec::new();
    };
    let keys = keys.iter().filter_map(Value::as_str);
    keys.map(|key| Bytes::copy_from_slice(key.as_bytes()))
        .collect()
}

fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap_or_default()
}
