//! `queue.declare`, `delete` and `purge`: permissions, then the metadata and the queue itself.
//!
//! Owns names that the broker makes up, and what a declaration says where the client said nothing.
//! What arguments mean, the core decides.

use raftmq_amqp::{Answer, DeclareQueue, Kind, Permission, QueueDeclared, Refusal};
use raftmq_amqp_protocol::{Text, Value};
use raftmq_core::GroupNumber;
use raftmq_core::cluster::amqp::{self, AmqpCommand};
use raftmq_core::cluster::{Image, Outcome};
use raftmq_core::exchange::Arguments;
use raftmq_core::queue::{Command, Reply};
use tokio::time::timeout;

use super::arguments::{argument, arguments};
use super::context::Client;
use super::error::About;
use super::exchanges::text_argument;
use super::limits::ENDED_WAIT;

/// How names begin that the broker makes up.
const GENERATED_PREFIX: &str = "amq.gen-";
const QUEUE_TYPE: &str = "x-queue-type";
const EXPIRES: &str = "x-expires";
const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";

/// Makes a queue, or checks that it is there.
pub(super) async fn declare(client: &Client, declare: DeclareQueue) -> Result<Answer, Refusal> {
    let image = client.image();
    if declare.is_passive {
        let group = client.queue(&image, &declare.queue)?.group;
        return show(client, group, declare.queue).await;
    }
    let is_server_named = declare.queue.is_empty();
    let name = if is_server_named {
        generated_name(client.shared.parts.env().random_id())
    } else {
        declare.queue.clone()
    };
    client.check(&image, Permission::Configure, Kind::Queue, &name)?;
    check_dead_letters(client, &image, &declare, &name)?;
    let about = About::queue(name.clone());
    let vhost = client.vhost(&image)?;
    let arguments = with_queue_type(&declare, &vhost.default_queue_type);
    let may_expire = declare.arguments.get(EXPIRES).is_some();
    let command = AmqpCommand::DeclareQueue(amqp::DeclareQueue {
        vhost: client.vhost.to_string(),
        name: name.to_string(),
        is_server_named,
        is_durable: declare.is_durable,
        is_auto_delete: declare.is_auto_delete,
        owner: declare.is_exclusive.then_some(client.connection),
        arguments,
    });
    loop {
        let outcome = client.shared.propose(command.clone()).await;
        let outcome = outcome.map_err(|error| about.refuse_command(error))?;
        let Outcome::QueueDeclared {
            group,
            is_new: false,
        } = outcome
        else {
            // Nobody has been there yet.
            return Ok(declared(name, 0, 0));
        };
        let used = use_again(client, group, may_expire, &about).await;
        // It has ended, and the metadata are still to be told: then this makes a new one.
        if used != Err(about.unknown()) || !until_gone(client, group).await {
            return used;
        }
    }
}

/// Notes that a queue is used, and shows it.
async fn use_again(
    client: &Client,
    group: GroupNumber,
    may_expire: bool,
    about: &About,
) -> Result<Answer, Refusal> {
    if may_expire {
        run(client, group, Command::Touch, about).await?;
    }
    show(client, group, about.name.clone()).await
}

/// Waits until the image shows a queue no more; `false` if that takes too long.
async fn until_gone(client: &Client, group: GroupNumber) -> bool {
    let mut images = client.shared.parts.controller.images();
    let gone = async {
        let mut image = images.current();
        while image.amqp.queues.contains_key(&group) {
            image = images.newer_than(image.version).await;
        }
    };
    timeout(ENDED_WAIT, gone).await.is_ok()
}

/// Removes a queue, if there is one.
pub(super) async fn delete(
    client: &Client,
    name: Text,
    if_unused: bool,
    if_empty: bool,
) -> Result<Answer, Refusal> {
    let image = client.image();
    client.check(&image, Permission::Configure, Kind::Queue, &name)?;
    let group = match client.queue(&image, &name) {
        Ok(queue) => queue.group,
        Err(Refusal::Unknown(..)) => return Ok(Answer::Removed { message_count: 0 }),
        Err(refusal) => return Err(refusal),
    };
    let about = About::queue(name);
    let command = Command::Delete {
        if_unused,
        if_empty,
    };
    let message_count = match run(client, group, command, &about).await {
        Ok(reply) => removed(&reply),
        // Somebody else was quicker.
        Err(Refusal::Unknown(..)) => 0,
        Err(refusal) => return Err(refusal),
    };
    let command = AmqpCommand::DeleteQueue { group };
    let outcome = client.shared.propose(command).await;
    outcome.map_err(|error| about.refuse_command(error))?;
    Ok(Answer::Removed { message_count })
}

/// Drops a queue's ready messages.
pub(super) async fn purge(client: &Client, name: Text) -> Result<Answer, Refusal> {
    let image = client.image();
    client.check(&image, Permission::Read, Kind::Queue, &name)?;
    let group = client.queue(&image, &name)?.group;
    let reply = run(client, group, Command::Purge, &About::queue(name)).await?;
    let message_count = removed(&reply);
    Ok(Answer::Removed { message_count })
}

/// Has a queue's machine do something.
///
/// # Errors
/// What the machine, or the way to it, refuses.
pub(super) async fn run(
    client: &Client,
    group: GroupNumber,
    command: Command,
    about: &About,
) -> Result<Reply, Refusal> {
    let reply = client.shared.queues().run(group, command).await;
    let reply = reply.map_err(|error| about.refuse_queue(&error))?;
    if let Reply::Refused(refusal) = reply {
        return Err(about.refuse_machine(refusal));
    }
    Ok(reply)
}

async fn show(client: &Client, group: GroupNumber, name: Text) -> Result<Answer, Refusal> {
    let counts = client.shared.queues().counts(group).await;
    let about = About::queue(name.clone());
    let counts = counts.map_err(|error| about.refuse_queue(&error))?;
    Ok(declared(name, counts.ready, counts.consumers))
}

fn declared(queue: Text, message_count: u64, consumer_count: u64) -> Answer {
    Answer::QueueDeclared(QueueDeclared {
        queue,
        message_count,
        consumer_count,
    })
}

const fn removed(reply: &Reply) -> u64 {
    if let Reply::Removed { count } = reply {
        return *count;
    }
    0
}

/// Who sends dead letters on reads from the queue and writes to the exchange.
fn check_dead_letters(
    client: &Client,
    image: &Image,
    declare: &DeclareQueue,
    name: &str,
) -> Result<(), Refusal> {
    let Some(exchange) = text_argument(&declare.arguments, DEAD_LETTER_EXCHANGE) else {
        return Ok(());
    };
    client.check(image, Permission::Read, Kind::Queue, name)?;
    client.check(image, Permission::Write, Kind::Exchange, exchange)
}

/// The arguments, with the virtual host's type of queues if the client names none.
fn with_queue_type(declare: &DeclareQueue, default_queue_type: &str) -> Arguments {
    let given = arguments(&declare.arguments);
    let is_given = declare.arguments.get(QUEUE_TYPE).is_some();
    if default_queue_type.is_empty() || is_given {
        return given;
    }
    let default = Value::LongString(default_queue_type.as_bytes());
    let default = argument(QUEUE_TYPE.as_bytes(), default);
    let all = given.as_slice().iter().cloned().chain([default]);
    Arguments::new(all.collect())
}

/// A name like RabbitMQ's: 128 random bits, in letters that are safe in addresses.
fn generated_name(random: [u8; 16]) -> Text {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const BITS: u32 = 6;
    let mut rest = u128::from_be_bytes(random);
    let mut name = GENERATED_PREFIX.to_owned();
    for _ in 0..u128::BITS.div_ceil(BITS) {
        let [.., low] = rest.to_be_bytes();
        name.push(char::from(LETTERS[usize::from(low & 0x3f)]));
        rest >>= BITS;
    }
    Text::try_from(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use raftmq_amqp_protocol::{Table, TableBuilder};
    use raftmq_core::exchange::HeaderValue;

    use super::*;

    fn declare(arguments: Table) -> DeclareQueue {
        DeclareQueue {
            queue: Text::from_static("q"),
            is_passive: false,
            is_durable: true,
            is_exclusive: false,
            is_auto_delete: false,
            arguments,
        }
    }

    #[test]
    fn a_generated_name_looks_like_rabbitmqs_and_differs_in_every_bit() {
        let zero = generated_name([0; 16]);
        assert_eq!(zero.as_str(), "amq.gen-AAAAAAAAAAAAAAAAAAAAAA");
        let mut seen = std::collections::BTreeSet::from([zero]);
        for bit in 0..128_u32 {
            seen.insert(generated_name((1_u128 << bit).to_be_bytes()));
        }
        assert_eq!(seen.len(), 129);
    }

    #[test]
    fn the_virtual_hosts_type_counts_where_the_client_names_none() {
        let names = |arguments: &Arguments| -> Vec<_> {
            let all = arguments.as_slice().iter();
            all.map(|one| (one.name.clone(), one.value.clone()))
                .collect()
        };
        let quorum = HeaderValue::Bytes(bytes::Bytes::from_static(b"quorum"));
        let put_in = with_queue_type(&declare(Table::default()), "quorum");
        assert_eq!(names(&put_in), [(QUEUE_TYPE.into(), quorum)]);
        assert_eq!(
            with_queue_type(&declare(Table::default()), ""),
            Arguments::NONE
        );
        let classic = TableBuilder::new().with(QUEUE_TYPE, Value::LongString(b"classic"));
        let given = declare(classic.finish().unwrap());
        assert_eq!(
            with_queue_type(&given, "quorum"),
            arguments(&given.arguments)
        );
    }
}
