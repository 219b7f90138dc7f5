//! What ends the life of a message in its queue, or a delivery at its consumer: limits of count, bytes, time
//! and deliveries.

use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer, ExchangeKind};

use super::client::{
    Client, acked, bind, broker, confirmation, consume, declare, declare_exchange, declare_with,
    long_text, next, prefetch, publish, send, table, take, text,
};
use super::messages::{get, last_death};

/// Arguments, and those that send dead letters to a queue.
fn dying_into(queue: &str, more: &[(&str, AMQPValue)]) -> FieldTable {
    let mut arguments = table(more);
    for (name, value) in [
        ("x-dead-letter-exchange", ""),
        ("x-dead-letter-routing-key", queue),
    ] {
        arguments.insert(name.into(), long_text(value));
    }
    arguments
}

async fn ready_count(channel: &Channel, queue: &str) -> u32 {
    let passive = QueueDeclareOptions::default().passive();
    let found = channel.queue_declare(queue.into(), passive, FieldTable::default());
    found.await.expect("it is there").message_count()
}

async fn consume_with_priority(channel: &Channel, queue: &str, priority: i32) -> Consumer {
    let arguments = table(&[("x-priority", AMQPValue::LongInt(priority))]);
    let options = BasicConsumeOptions::default();
    let tag = format!("priority-{priority}");
    let consumer = channel.basic_consume(queue.into(), tag.into(), options, arguments);
    consumer.await.expect("a consumer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_fails_too_often_is_dead_lettered() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "given-up").await;
    let arguments = dying_into("given-up", &[("x-delivery-limit", AMQPValue::LongInt(2))]);
    declare_with(channel, "tried", arguments).await;
    publish(channel, "", "tried", b"poison").await;
    let mut consumer = consume(channel, "tried", "c").await;
    for attempt in 0..3 {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.redelivered, attempt > 0);
        let requeue = BasicRejectOptions { requeue: true };
        delivery.reject(requeue).await.expect("a reject");
    }
    let dead = get(channel, "given-up").await;
    assert_eq!(text(&dead), "poison");
    let death = last_death(&dead.properties);
    assert_eq!(death, ("tried".to_owned(), "delivery_limit".to_owned(), 1));
    assert_eq!(ready_count(channel, "tried").await, 0);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_may_expire_by_itself_and_its_dead_letter_does_not() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "expired").await;
    declare_with(channel, "perishable", dying_into("expired", &[])).await;
    let properties = BasicProperties::default().with_expiration("100".into());
    acked(send(channel, "", "perishable", b"milk", properties).await).await;
    publish(channel, "", "perishable", b"salt").await;
    let dead = get(channel, "expired").await;
    assert_eq!(text(&dead), "milk");
    assert_eq!(last_death(&dead.properties).1, "expired");
    assert_eq!(dead.properties.expiration(), &None, "it would expire again");
    assert_eq!(text(&get(channel, "perishable").await), "salt");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_messages_die_when_the_queue_has_too_many_bytes() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "too-much").await;
    let limit = [("x-max-length-bytes", AMQPValue::LongInt(3_000))];
    declare_with(channel, "narrow", dying_into("too-much", &limit)).await;
    let body = |first: u8| [&[first][..], &[b'x'; 1_199]].concat();
    for first in *b"123" {
        publish(channel, "", "narrow", &body(first)).await;
    }
    let dead = get(channel, "too-much").await;
    assert_eq!(dead.data, body(b'1'));
    assert_eq!(last_death(&dead.properties).1, "maxlen");
    for first in *b"23" {
        assert_eq!(get(channel, "narrow").await.data, body(first));
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_queue_refuses_may_be_dead_lettered_too() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "turned-away").await;
    let limits = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", long_text("reject-publish-dlx")),
    ];
    declare_with(channel, "strict", dying_into("turned-away", &limits)).await;
    publish(channel, "", "strict", b"first").await;
    let second = send(channel, "", "strict", b"second", BasicProperties::default()).await;
    assert!(confirmation(second).await.is_nack());
    let dead = get(channel, "turned-away").await;
    assert_eq!(text(&dead), "second");
    assert_eq!(last_death(&dead.properties).1, "maxlen");
    assert_eq!(text(&get(channel, "strict").await), "first");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_comes_back_without_a_rejection_ends_its_round() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    let kind = ExchangeKind::Fanout;
    declare_exchange(channel, "rounds", kind, FieldTable::default()).await;
    let arguments = table(&[
        ("x-dead-letter-exchange", long_text("rounds")),
        ("x-message-ttl", AMQPValue::LongInt(50)),
    ]);
    declare_with(channel, "round", arguments).await;
    declare(channel, "witness").await;
    for queue in ["round", "witness"] {
        bind(channel, queue, "rounds", "").await;
    }
    let mut witness = consume(channel, "witness", "c").await;
    // Would the first come back to its queue, it would die there again before the second.
    for body in ["first", "second", "third"] {
        publish(channel, "", "round", body.as_bytes()).await;
        assert_eq!(take(&mut witness).await, body);
    }
    assert_eq!(ready_count(channel, "round").await, 0);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_of_higher_priority_is_served_first_while_it_may_take_more() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare(&client.channel, "ranked").await;
    let (low, high) = (
        client.another_channel().await,
        client.another_channel().await,
    );
    prefetch(&high, 2).await;
    let mut low = consume_with_priority(&low, "ranked", 1).await;
    let mut high = consume_with_priority(&high, "ranked", 10).await;
    for body in ["1", "2", "3", "4"] {
        publish(&client.channel, "", "ranked", body.as_bytes()).await;
    }
    let held = [next(&mut high).await, next(&mut high).await];
    assert_eq!(held.each_ref().map(text), ["1", "2"]);
    for body in ["3", "4"] {
        assert_eq!(take(&mut low).await, body);
    }
    held[0]
        .ack(BasicAckOptions::default())
        .await
        .expect("an ack");
    publish(&client.channel, "", "ranked", b"5").await;
    assert_eq!(take(&mut high).await, "5");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_for_too_long_goes_to_another_one_and_the_channel_stays_open() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let arguments = table(&[("x-consumer-timeout", AMQPValue::LongInt(1_000))]);
    declare_with(&client.channel, "impatient", arguments).await;
    publish(&client.channel, "", "impatient", b"1").await;
    let slow = client.another_channel().await;
    let mut consumer = consume(&slow, "impatient", "slow").await;
    let held = next(&mut consumer).await;
    let cancelled = slow.basic_cancel("slow".into(), BasicCancelOptions::default());
    cancelled.await.expect("it is cancelled");

    let mut consumer = consume(&client.channel, "impatient", "quick").await;
    let again = next(&mut consumer).await;
    assert_eq!((text(&again).as_str(), again.redelivered), ("1", true));
    again.ack(BasicAckOptions::default()).await.expect("an ack");

    // Too late, and no harm.
    assert!(held.ack(BasicAckOptions::default()).await.expect("an ack"));
    let open = slow.basic_qos(1, BasicQosOptions::default());
    open.await.expect("the channel is open");
    publish(&client.channel, "", "impatient", b"2").await;
    assert_eq!(take(&mut consumer).await, "2");
    client.close().await;
}
