//! Requests that cannot be: what a client is told, and that the broker goes on.

use std::time::Duration;

use raftmq_client::{Client, ConsumeOptions, Error, ErrorCode, ErrorKind, Message};

use super::support::{VHOST, broker, client, consume, declare, publish, take, until_ready};
use crate::support::Broker;

/// A client that does not wait for what might still come to be.
async fn impatient(broker: &Broker) -> Client {
    let client = Client::builder().bootstrap(&broker.grpc());
    let client = client.topic_wait(Duration::ZERO).build().await;
    let client = client.expect("the broker answers");
    until_ready(&client).await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_nobody_has_are_told() {
    let broker = broker();
    let client = impatient(&broker).await;
    let missing = client.queue("no-such").consume(ConsumeOptions::new()).await;
    let missing = missing.expect_err("there is no such queue");
    assert_eq!(missing.code(), Some(ErrorCode::UnknownQueue));
    assert!(missing.to_string().contains("'no-such'"), "{missing}");
    let missing = client.queue("no-such").get().await;
    let missing = missing.expect_err("there is no such queue");
    assert_eq!(missing.code(), Some(ErrorCode::UnknownQueue));
    let elsewhere = client.vhost("no-such").queue("q").publish("b").await;
    let elsewhere = elsewhere.expect("it is sent").await;
    let elsewhere = elsewhere.expect_err("there is no such virtual host");
    assert_eq!(elsewhere.code(), Some(ErrorCode::UnknownVhost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_is_not_there_refuses_and_the_stream_goes_on() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "goes-on").await;
    let refused = client.exchange("no-such").publish("k", "b").await;
    let refused = refused.expect("it is sent").await;
    let refused = refused.expect_err("there is no such exchange");
    assert_eq!(refused.code(), Some(ErrorCode::InvalidRequest));
    assert!(refused.to_string().contains("'no-such'"), "{refused}");
    publish(&client, "goes-on", "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_message_cannot_carry_is_refused_alone() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "strict").await;
    let long = "x".repeat(256);
    for message in [
        Message::new("b").header(long.clone(), 1),
        Message::new("b").message_id(long.clone()),
        Message::new("b").expiration(Duration::from_secs(u32::MAX.into())),
        Message::new("b").header("CC", "no array"),
        Message::new("b").reply_to("amq.rabbitmq.reply-to"),
    ] {
        let refused = client.queue("strict").publish(message).await;
        let refused = refused.expect("it is sent").await.expect_err("it is wrong");
        assert_eq!(refused.code(), Some(ErrorCode::InvalidRequest), "{refused}");
        assert!(!refused.is_retriable());
    }
    let large = vec![0; (16 << 20) + 1];
    let refused = client.queue("strict").publish(large).await;
    let refused = refused.expect_err("it is too large");
    assert!(matches!(refused, Error::RecordTooLarge { .. }), "{refused}");

    publish(&client, "strict", vec![7; 16 << 20]).await;
    let mut consumer = consume(&client, "strict", 1).await;
    assert_eq!(take(&mut consumer).await.len(), 16 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_cannot_be_is_refused() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "guarded").await;
    let queue = client.queue("guarded");
    let greedy = queue.consume(ConsumeOptions::new().prefetch(1 << 20)).await;
    let greedy = greedy.expect_err("nobody may hold so much");
    assert_eq!(greedy.code(), Some(ErrorCode::InvalidRequest), "{greedy}");
    let alone = queue.consume(ConsumeOptions::new().exclusive()).await;
    let _alone = alone.expect("the only consumer");
    let second = queue.consume(ConsumeOptions::new()).await;
    let second = second.expect_err("there is an exclusive one");
    assert_eq!(second.kind(), ErrorKind::Invalid, "{second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declarations_that_contradict_each_other_are_refused() {
    let broker = broker();
    let client = client(&broker).await;
    let admin = client.admin();
    declare(&client, "declared").await;
    declare(&client, "declared").await;
    let other = admin.declare_queue(VHOST, "declared");
    let other = other.argument("x-max-length", 5).send().await;
    let other = other.expect_err("it is there, and different");
    assert_eq!(other.code(), Some(ErrorCode::InvalidRequest), "{other}");
    let kind = admin
        .declare_exchange(VHOST, "odd", "x-random")
        .send()
        .await;
    let kind = kind.expect_err("there is no such type");
    assert!(kind.to_string().contains("x-random"), "{kind}");
    let unbound = admin.bind_queue(VHOST, "declared", "no-such", "k").await;
    assert!(unbound.is_err());
}
