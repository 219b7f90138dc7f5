//! What a consumer is promised: limits, redelivery, settlement, and the end of consumers and channels.

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicRejectOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::timeout;

use super::client::{
    Client, broker, consume, consume_with, declare, declare_with, next, prefetch, publish, table,
    take, text,
};
use crate::support::PATIENCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returned_message_comes_again_in_its_place_and_says_so() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "returned").await;
    for body in ["1", "2", "3"] {
        publish(channel, "", "returned", body.as_bytes()).await;
    }
    prefetch(channel, 1).await;
    let mut consumer = consume(channel, "returned", "c").await;
    let first = next(&mut consumer).await;
    assert!(!first.redelivered);
    let requeue = BasicRejectOptions { requeue: true };
    first.reject(requeue).await.expect("a reject");
    let again = next(&mut consumer).await;
    assert_eq!((text(&again).as_str(), again.redelivered), ("1", true));
    let headers = again.properties.headers().clone().expect("headers");
    let count = headers.inner().get("x-delivery-count");
    assert_eq!(count, Some(&AMQPValue::LongLongInt(1)));
    assert!(headers.contains_key("x-raftmq-id"));
    again.ack(BasicAckOptions::default()).await.expect("an ack");
    for body in ["2", "3"] {
        assert_eq!(take(&mut consumer).await, body);
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_of_many_settles_everything_up_to_it() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "multiple").await;
    for number in 0..5 {
        publish(channel, "", "multiple", format!("{number}").as_bytes()).await;
    }
    let other = client.another_channel().await;
    let mut consumer = consume(&other, "multiple", "c").await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut consumer).await);
    }
    let multiple = BasicAckOptions { multiple: true };
    held[2].ack(multiple).await.expect("an ack");
    let requeue = BasicNackOptions {
        multiple: true,
        requeue: true,
    };
    held[3].nack(requeue).await.expect("a nack");
    let again = next(&mut consumer).await;
    assert_eq!((text(&again).as_str(), again.redelivered), ("3", true));
    other.close(200, "bye".into()).await.expect("it closes");
    let mut consumer = consume(channel, "multiple", "c").await;
    for body in ["3", "4"] {
        assert_eq!(take(&mut consumer).await, body, "unsettled ones only");
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_client_held_goes_to_another_one() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare(&client.channel, "lost").await;
    for body in ["1", "2"] {
        publish(&client.channel, "", "lost", body.as_bytes()).await;
    }
    let leaving = Client::connect(&broker.amqp()).await;
    let mut consumer = consume(&leaving.channel, "lost", "leaving").await;
    let held = [next(&mut consumer).await, next(&mut consumer).await];
    drop(held);
    leaving.close().await;
    let mut consumer = consume(&client.channel, "lost", "staying").await;
    for body in ["1", "2"] {
        let delivery = next(&mut consumer).await;
        assert_eq!(
            (text(&delivery).as_str(), delivery.redelivered),
            (body, true)
        );
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_message_is_taken_without_a_consumer() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "single").await;
    let get = |no_ack| channel.basic_get("single".into(), BasicGetOptions { no_ack });
    assert!(get(false).await.expect("an answer").is_none());
    for body in ["1", "2", "3"] {
        publish(channel, "", "single", body.as_bytes()).await;
    }
    let first = get(false).await.expect("an answer").expect("a message");
    assert_eq!(
        (text(&first.delivery).as_str(), first.message_count),
        ("1", 2)
    );
    let second = get(true).await.expect("an answer").expect("a message");
    assert_eq!(
        (text(&second.delivery).as_str(), second.message_count),
        ("2", 1)
    );
    first
        .delivery
        .nack(BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        })
        .await
        .expect("a nack");
    let again = get(false).await.expect("an answer").expect("a message");
    assert_eq!(
        (text(&again.delivery).as_str(), again.delivery.redelivered),
        ("1", true)
    );
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_consumer_gets_nothing_more_and_what_it_holds_can_be_settled() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "cancelled").await;
    publish(channel, "", "cancelled", b"1").await;
    let mut consumer = consume(channel, "cancelled", "c").await;
    let held = next(&mut consumer).await;
    let cancelled = channel.basic_cancel("c".into(), BasicCancelOptions::default());
    cancelled.await.expect("it is cancelled");
    publish(channel, "", "cancelled", b"2").await;
    held.ack(BasicAckOptions::default()).await.expect("an ack");
    let left = channel.queue_declare(
        "cancelled".into(),
        QueueDeclareOptions::default().passive(),
        FieldTable::default(),
    );
    let left = left.await.expect("it is there");
    assert_eq!((left.message_count(), left.consumer_count()), (1, 0));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_hears_that_its_queue_is_deleted() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare(&client.channel, "deleted").await;
    let mut consumer = consume(&client.channel, "deleted", "c").await;
    let other = client.another_channel().await;
    let deleted = other.queue_delete("deleted".into(), QueueDeleteOptions::default());
    deleted.await.expect("it is deleted");
    let end = timeout(PATIENCE, consumer.next()).await.expect("an end");
    assert!(end.is_none(), "{end:?}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_without_ack_are_gone_once_they_are_delivered() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "no-ack").await;
    for number in 0..3_000 {
        let body = format!("{number}");
        let sent = super::client::send(channel, "", "no-ack", body.as_bytes(), Default::default());
        let sent = sent.await;
        if number == 2_999 {
            super::client::acked(sent).await;
        }
    }
    let other = client.another_channel().await;
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut consumer = consume_with(&other, "no-ack", "c", no_ack).await;
    for number in 0..3_000 {
        assert_eq!(text(&next(&mut consumer).await), format!("{number}"));
    }
    other.close(200, "bye".into()).await.expect("it closes");
    let left = channel.queue_purge("no-ack".into(), QueuePurgeOptions::default());
    assert_eq!(left.await.expect("it is purged"), 0);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_higher_priority_comes_first() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    let arguments = table(&[("x-max-priority", AMQPValue::LongInt(5))]);
    declare_with(channel, "priorities", arguments).await;
    for (body, priority) in [("low", 1), ("high", 5), ("middle", 3), ("none", 0)] {
        let properties = lapin::BasicProperties::default().with_priority(priority);
        let sent = super::client::send(channel, "", "priorities", body.as_bytes(), properties);
        super::client::acked(sent.await).await;
    }
    let mut consumer = consume(channel, "priorities", "c").await;
    for body in ["high", "middle", "low", "none"] {
        assert_eq!(take(&mut consumer).await, body);
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_one_consumer_is_active_until_it_leaves() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let arguments = table(&[("x-single-active-consumer", AMQPValue::Boolean(true))]);
    declare_with(&client.channel, "single-active", arguments).await;
    let (one, two) = (
        client.another_channel().await,
        client.another_channel().await,
    );
    let mut first = consume(&one, "single-active", "first").await;
    let mut second = consume(&two, "single-active", "second").await;
    for body in ["1", "2"] {
        publish(&client.channel, "", "single-active", body.as_bytes()).await;
    }
    for body in ["1", "2"] {
        assert_eq!(take(&mut first).await, body);
    }
    one.close(200, "bye".into()).await.expect("it closes");
    publish(&client.channel, "", "single-active", b"3").await;
    assert_eq!(take(&mut second).await, "3");
    client.close().await;
}
