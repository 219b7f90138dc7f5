//! What happens to messages in their queues: dead letters, expiry, delays; and that nothing of them changes.

use lapin::options::{BasicGetOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ExchangeKind};
use tokio::time::{Instant, sleep};

use super::client::{
    Client, acked, bind, broker, consume, declare, declare_exchange, declare_with, long_text, next,
    publish, send, table, text,
};
use crate::support::PATIENCE;

/// The death that is noted first: queue, reason, count.
pub(super) fn last_death(properties: &BasicProperties) -> (String, String, i64) {
    let headers = properties.headers().clone().expect("headers");
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else {
        panic!("no deaths: {headers:?}");
    };
    let Some(AMQPValue::FieldTable(death)) = deaths.as_slice().first() else {
        panic!("no death: {deaths:?}");
    };
    let text = |name: &str| match death.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    let Some(AMQPValue::LongLongInt(count)) = death.inner().get("count") else {
        panic!("no count: {death:?}");
    };
    (text("queue"), text("reason"), *count)
}

/// Takes a message as soon as there is one.
pub(super) async fn get(channel: &Channel, queue: &str) -> lapin::message::Delivery {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
        if let Some(got) = got.await.expect("an answer") {
            return got.delivery;
        }
        assert!(Instant::now() < deadline, "nothing comes to {queue}");
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_message_goes_to_the_dead_letter_exchange_with_its_history() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare_exchange(
        channel,
        "graves",
        ExchangeKind::Fanout,
        FieldTable::default(),
    )
    .await;
    declare(channel, "dead").await;
    bind(channel, "dead", "graves", "").await;
    let arguments = table(&[("x-dead-letter-exchange", long_text("graves"))]);
    declare_with(channel, "dying", arguments).await;
    let properties = BasicProperties::default().with_message_id("m".into());
    acked(send(channel, "", "dying", b"bad", properties).await).await;
    let mut consumer = consume(channel, "dying", "c").await;
    let delivery = next(&mut consumer).await;
    let reject = BasicRejectOptions { requeue: false };
    delivery.reject(reject).await.expect("a reject");
    let dead = get(channel, "dead").await;
    assert_eq!(dead.data, b"bad");
    assert_eq!(dead.exchange.as_str(), "graves");
    assert_eq!(
        dead.properties
            .message_id()
            .clone()
            .expect("an id")
            .as_str(),
        "m"
    );
    let death = last_death(&dead.properties);
    assert_eq!(death, ("dying".to_owned(), "rejected".to_owned(), 1));
    let id = |properties: &BasicProperties| {
        let headers = properties.headers().clone().expect("headers");
        headers.inner().get("x-raftmq-id").cloned()
    };
    assert_eq!(
        id(&dead.properties),
        id(&delivery.properties),
        "the same message"
    );
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_message_dies_and_a_retry_queue_brings_it_back() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    let back = table(&[
        ("x-dead-letter-exchange", long_text("")),
        ("x-dead-letter-routing-key", long_text("work-again")),
        ("x-message-ttl", AMQPValue::LongInt(100)),
    ]);
    declare_with(channel, "wait", back).await;
    declare(channel, "work-again").await;
    publish(channel, "", "wait", b"later").await;
    let expired = get(channel, "work-again").await;
    assert_eq!(text(&expired), "later");
    let death = last_death(&expired.properties);
    assert_eq!(death, ("wait".to_owned(), "expired".to_owned(), 1));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_message_dies_when_the_queue_is_too_long() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    let arguments = table(&[
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-dead-letter-exchange", long_text("")),
        ("x-dead-letter-routing-key", long_text("overflown")),
    ]);
    declare(channel, "overflown").await;
    declare_with(channel, "short", arguments).await;
    for body in ["old", "new"] {
        publish(channel, "", "short", body.as_bytes()).await;
    }
    let dead = get(channel, "overflown").await;
    assert_eq!(text(&dead), "old");
    assert_eq!(last_death(&dead.properties).1, "maxlen");
    assert_eq!(text(&get(channel, "short").await), "new");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_is_ready_when_its_time_has_come() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    let arguments = table(&[("x-delayed-type", long_text("direct"))]);
    let kind = ExchangeKind::Custom("x-delayed-message".to_owned());
    declare_exchange(channel, "delaying", kind, arguments).await;
    declare(channel, "delayed").await;
    bind(channel, "delayed", "delaying", "k").await;
    let headers = table(&[("x-delay", AMQPValue::LongInt(300))]);
    let properties = BasicProperties::default().with_headers(headers);
    let began = Instant::now();
    acked(send(channel, "delaying", "k", b"later", properties).await).await;
    publish(channel, "delaying", "k", b"now").await;
    let mut consumer = consume(channel, "delayed", "c").await;
    assert_eq!(super::client::take(&mut consumer).await, "now");
    assert_eq!(super::client::take(&mut consumer).await, "later");
    assert!(began.elapsed().as_millis() >= 300);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_and_every_property_come_as_they_were_sent() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "whole").await;
    let headers = table(&[
        ("text", long_text("grün")),
        ("number", AMQPValue::LongLongInt(-7)),
        (
            "nested",
            AMQPValue::FieldTable(table(&[("x", AMQPValue::Void)])),
        ),
    ]);
    let properties = BasicProperties::default()
        .with_content_type("application/x".into())
        .with_content_encoding("gzip".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(3)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("600000".into())
        .with_message_id("m".into())
        .with_timestamp(1_700_000_000)
        .with_type("t".into())
        .with_user_id("guest".into())
        .with_app_id("a".into());
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    acked(send(channel, "", "whole", &body, properties.clone()).await).await;
    acked(send(channel, "", "whole", b"", properties.clone()).await).await;
    for expected in [&body[..], b""] {
        let delivery = get(channel, "whole").await;
        assert!(delivery.data == expected, "{} bytes", delivery.data.len());
        let mut headers = delivery.properties.headers().clone().expect("headers");
        let added = headers.inner().get("x-raftmq-id").cloned();
        assert!(added.is_some(), "the one thing that is added");
        headers = FieldTable::from(
            headers
                .inner()
                .iter()
                .filter(|(name, _)| name.as_str() != "x-raftmq-id")
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<std::collections::BTreeMap<_, _>>(),
        );
        assert_eq!(
            delivery.properties.clone().with_headers(headers),
            properties
        );
    }
    client.close().await;
}
