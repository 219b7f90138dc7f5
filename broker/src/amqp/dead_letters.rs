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
use crate::messages::form::{self, Deaths};
use crate::messages::publish::{find_queues, stored};
use crate::queues::{DeadLetterRouter, DeadMessage};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeadLetterRoutes;

impl DeadLetterRouter for DeadLetterRoutes {
    fn targets(&self, dead: &DeadMessage<'_>) -> Vec<(GroupNumber, queue::Message)> {
        match form::decode(dead.body.clone()) {
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
    stored_form: form::Stored,
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

#[cfg(test)]
mod tests {
    use raftmq_amqp_protocol::{Table, TableBuilder};
    use raftmq_core::exchange::{Arguments, ExchangeKind};
    use raftmq_core::queue::{DeadLetter, DeathReason, MessageRef};
    use raftmq_core::{DeadLetterId, LogIndex};

    use super::*;
    use crate::amqp::arguments::arguments;
    use crate::messages::world::World;

    fn table(entries: &[(&'static str, &'static str)]) -> Table {
        let mut table = TableBuilder::new();
        for (name, value) in entries {
            table = table.with(name, Value::LongString(value.as_bytes()));
        }
        table.finish().unwrap()
    }

    fn die(
        world: &World,
        queue: GroupNumber,
        reason: DeathReason,
        body: &Bytes,
    ) -> Vec<(GroupNumber, queue::Message)> {
        let image = world.image();
        DeadLetterRoutes.targets(&DeadMessage {
            image,
            queue: &image.amqp.queues[&queue],
            letter: DeadLetter {
                id: DeadLetterId(3),
                message: MessageRef {
                    log_index: LogIndex(7),
                    position: 0,
                },
                size: 1,
                reason,
                attempts: 0,
            },
            body,
            now_ms: 5_000,
        })
    }

    fn form(key: &'static str) -> Bytes {
        let message = Message {
            routing_key: ShortString::from_static(key),
            ..Message::default()
        };
        form::encode(&message, Deaths::NotOurs)
    }

    #[test]
    fn a_dead_letter_goes_where_the_exchange_leads_with_the_messages_key() {
        let mut world = World::new();
        world.exchange("graves", ExchangeKind::Direct, false);
        let dead = world.queue("dead", Arguments::NONE);
        world.bind("graves", "dead", "k");
        let dying = world.queue(
            "dying",
            arguments(&table(&[("x-dead-letter-exchange", "graves")])),
        );
        let letters = die(&world, dying, DeathReason::Rejected, &form("k"));
        assert_eq!(letters.len(), 1);
        let (target, letter) = &letters[0];
        assert_eq!(*target, dead);
        assert_eq!(letter.dedup_id, Some(format!("dead-{dying}-3").into()));
        let stored = form::decode(letter.body.clone()).unwrap();
        assert_eq!(stored.deaths, Deaths::Ours);
        assert_eq!(&stored.message.exchange[..], b"graves");
        assert_eq!(&stored.message.routing_key[..], b"k");
        assert_eq!(
            die(&world, dying, DeathReason::Rejected, &form("other")),
            []
        );
    }

    #[test]
    fn a_cycle_without_a_rejection_ends_and_one_with_a_rejection_goes_on() {
        let mut world = World::new();
        let round = table(&[
            ("x-dead-letter-exchange", ""),
            ("x-dead-letter-routing-key", "round"),
        ]);
        let round = world.queue("round", arguments(&round));
        let rejected = die(&world, round, DeathReason::Rejected, &form("round"));
        assert_eq!(rejected.len(), 1, "a client wanted that");
        let again = &rejected[0].1.body;
        assert_eq!(die(&world, round, DeathReason::Expired, again), []);
        assert_eq!(die(&world, round, DeathReason::Expired, &form("round")), []);
    }

    #[test]
    fn without_an_exchange_or_with_bytes_that_cannot_be_read_nobody_gets_it() {
        let mut world = World::new();
        let plain = world.queue("plain", Arguments::NONE);
        assert_eq!(die(&world, plain, DeathReason::Rejected, &form("k")), []);
        let gone = table(&[("x-dead-letter-exchange", "gone")]);
        let gone = world.queue("to-nowhere", arguments(&gone));
        assert_eq!(die(&world, gone, DeathReason::Rejected, &form("k")), []);
        let bad = Bytes::from_static(b"\x09");
        assert_eq!(die(&world, gone, DeathReason::Rejected, &bad), []);
    }
}
