//! What a broker knows again after a kill: exchanges, bindings, queues with their arguments, and messages in
//! whatever state they were.

use std::time::Duration;

use lapin::options::{BasicAckOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Consumer, ExchangeKind};
use tokio::time::Instant;

use super::client::{
    Client, acked, bind, consume, declare_exchange, declare_with, long_text, next, prefetch,
    publish, send, table, take, text,
};
use super::errors::{declare_as, refused};
use crate::support::{Broker, serve};

/// Longer than what comes before the kill takes, so that a delayed message lives through it as such.
const DELAY_MS: u16 = 3_000;

fn killed_and_started(broker: Broker) -> Broker {
    let Broker { process, folder } = broker;
    process.kill();
    let process = serve(&folder.path().join("data"), &[]);
    Broker { process, folder }
}

fn arguments() -> FieldTable {
    table(&[("x-max-priority", AMQPValue::LongInt(5))])
}

/// Declares a delaying exchange and a queue bound to it, and leaves one message held, one ready, one delayed.
async fn leave_messages(broker: &Broker) -> (Client, Consumer) {
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    let kind = ExchangeKind::Custom("x-delayed-message".to_owned());
    let direct = table(&[("x-delayed-type", long_text("direct"))]);
    declare_exchange(channel, "lasting", kind, direct).await;
    declare_with(channel, "kept", arguments()).await;
    bind(channel, "kept", "lasting", "k").await;
    let delay = table(&[("x-delay", AMQPValue::LongInt(DELAY_MS.into()))]);
    let delayed = BasicProperties::default().with_headers(delay);
    acked(send(channel, "lasting", "k", b"delayed", delayed).await).await;
    publish(channel, "lasting", "k", b"held").await;
    prefetch(channel, 1).await;
    let mut consumer = consume(channel, "kept", "holder").await;
    assert_eq!(text(&next(&mut consumer).await), "held");
    publish(channel, "lasting", "k", b"ready").await;
    (client, consumer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_killed_knows_everything_again() {
    let broker = Broker::start(&[]);
    let began = Instant::now();
    let holder = leave_messages(&broker).await;

    let broker = killed_and_started(broker);

    drop(holder);

    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    let kind = ExchangeKind::Direct;
    let found = channel.exchange_declare("lasting".into(), kind, passive, FieldTable::default());
    found.await.expect("the exchange is there");
    let durable = QueueDeclareOptions::durable();
    let other = refused(&client, |channel| {
        declare_as(channel, "kept", durable, FieldTable::default())
    });
    let words = "PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue 'kept' in vhost \
                 '/': received none but current is the value '5' of type 'signedint'";
    assert_eq!(other.await, (406, words.to_owned()));
    declare_with(channel, "kept", arguments()).await;
    publish(channel, "lasting", "k", b"new").await;

    let mut consumer = consume(channel, "kept", "c").await;
    let held = next(&mut consumer).await;
    assert_eq!((text(&held).as_str(), held.redelivered), ("held", true));
    held.ack(BasicAckOptions::default()).await.expect("an ack");
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let delivery = next(&mut consumer).await;
        assert!(!delivery.redelivered, "{delivery:?}");
        delivery
            .ack(BasicAckOptions::default())
            .await
            .expect("an ack");
        bodies.push(text(&delivery));
    }
    assert!(
        began.elapsed() >= Duration::from_millis(DELAY_MS.into()),
        "{bodies:?}"
    );
    bodies.sort();
    assert_eq!(bodies, ["delayed", "new", "ready"]);
    publish(channel, "", "kept", b"end").await;
    assert_eq!(take(&mut consumer).await, "end");
    client.close().await;
}
