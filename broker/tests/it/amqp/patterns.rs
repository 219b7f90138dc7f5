//! The six ways in which programs use a message broker, one by one.

use std::collections::BTreeMap;

use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, ExchangeKind};

use super::client::{
    Client, acked, bind, broker, consume, consume_with, declare, declare_exchange, next, own_queue,
    prefetch, publish, send, take, text,
};

const PSEUDO_QUEUE: &str = "amq.rabbitmq.reply-to";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simple_queue_brings_messages_in_order() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare(&client.channel, "simple").await;
    for number in 0..50 {
        publish(
            &client.channel,
            "",
            "simple",
            format!("{number}").as_bytes(),
        )
        .await;
    }
    let reader = Client::connect(&broker.amqp()).await;
    let mut consumer = consume(&reader.channel, "simple", "reader").await;
    for number in 0..50 {
        assert_eq!(take(&mut consumer).await, format!("{number}"));
    }
    client.close().await;
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_take_turns() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare(&client.channel, "round-robin").await;
    let (one, two) = (
        client.another_channel().await,
        client.another_channel().await,
    );
    let mut workers = [
        consume(&one, "round-robin", "one").await,
        consume(&two, "round-robin", "two").await,
    ];
    for number in 0..10 {
        let body = format!("{number}");
        publish(&client.channel, "", "round-robin", body.as_bytes()).await;
    }
    let mut taken = Vec::new();
    for worker in &mut workers {
        let mut of_worker = Vec::new();
        for _ in 0..5 {
            of_worker.push(take(worker).await.parse::<u32>().expect("a number"));
        }
        taken.push(of_worker);
    }
    taken.sort();
    assert_eq!(taken, [vec![0, 2, 4, 6, 8], vec![1, 3, 5, 7, 9]]);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_worker_gets_no_more_than_it_may_hold() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare(&client.channel, "fair").await;
    let (slow, quick) = (
        client.another_channel().await,
        client.another_channel().await,
    );
    prefetch(&slow, 1).await;
    prefetch(&quick, 1).await;
    let mut slow = consume(&slow, "fair", "slow").await;
    let mut quick = consume(&quick, "fair", "quick").await;
    for number in 0..10 {
        publish(&client.channel, "", "fair", format!("{number}").as_bytes()).await;
    }
    let held = next(&mut slow).await;
    let mut taken = Vec::new();
    for _ in 0..9 {
        taken.push(take(&mut quick).await);
    }
    assert!(!taken.contains(&text(&held)), "{taken:?}");
    held.ack(BasicAckOptions::default()).await.expect("an ack");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fanout_exchange_brings_each_message_to_every_subscriber() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare_exchange(
        &client.channel,
        "news",
        ExchangeKind::Fanout,
        FieldTable::default(),
    )
    .await;
    let mut subscribers = Vec::new();
    for _ in 0..3 {
        let subscriber = Client::connect(&broker.amqp()).await;
        let queue = own_queue(&subscriber.channel).await;
        bind(&subscriber.channel, queue.as_str(), "news", "").await;
        let consumer = consume(&subscriber.channel, queue.as_str(), "").await;
        subscribers.push((subscriber, consumer));
    }
    for number in 0..5 {
        publish(
            &client.channel,
            "news",
            "any",
            format!("{number}").as_bytes(),
        )
        .await;
    }
    for (_, consumer) in &mut subscribers {
        for number in 0..5 {
            assert_eq!(take(consumer).await, format!("{number}"));
        }
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_exchange_sorts_by_type() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare_exchange(
        channel,
        "by-type",
        ExchangeKind::Direct,
        FieldTable::default(),
    )
    .await;
    let routes: [(&str, &[&str]); 2] = [
        ("errors", &["error"]),
        ("all-types", &["info", "warning", "error"]),
    ];
    for (queue, keys) in routes {
        declare(channel, queue).await;
        for key in keys {
            bind(channel, queue, "by-type", key).await;
        }
    }
    for key in ["info", "error", "warning", "debug", "error"] {
        publish(channel, "by-type", key, key.as_bytes()).await;
    }
    let mut errors = consume(channel, "errors", "errors").await;
    let mut all = consume(channel, "all-types", "all").await;
    for expected in ["error", "error"] {
        assert_eq!(take(&mut errors).await, expected);
    }
    for expected in ["info", "error", "warning", "error"] {
        assert_eq!(take(&mut all).await, expected);
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_exchange_tells_one_word_from_many() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare_exchange(
        channel,
        "audits",
        ExchangeKind::Topic,
        FieldTable::default(),
    )
    .await;
    for (queue, pattern) in [("many-words", "audit.#"), ("one-word", "audit.*")] {
        declare(channel, queue).await;
        bind(channel, queue, "audits", pattern).await;
    }
    for key in ["audit", "audit.users", "audit.users.alice", "other.users"] {
        publish(channel, "audits", key, key.as_bytes()).await;
    }
    let mut many = consume(channel, "many-words", "many").await;
    let mut one = consume(channel, "one-word", "one").await;
    for expected in ["audit", "audit.users", "audit.users.alice"] {
        assert_eq!(take(&mut many).await, expected);
    }
    assert_eq!(take(&mut one).await, "audit.users");
    publish(channel, "audits", "audit.end", b"end").await;
    assert_eq!(take(&mut one).await, "end", "nothing else was routed there");
    client.close().await;
}

/// Answers so many requests with their double.
async fn serve(channel: &Channel, queue: &str, count: usize) {
    let mut requests = consume(channel, queue, "server").await;
    for _ in 0..count {
        let request = next(&mut requests).await;
        let number: u64 = text(&request).parse().expect("a number");
        let reply_to = request.properties.reply_to().clone().expect("an address");
        let id = request.properties.correlation_id().clone();
        let properties = BasicProperties::default().with_correlation_id(id.expect("an id"));
        let answer = format!("{}", number * 2);
        let sent = send(
            channel,
            "",
            reply_to.as_str(),
            answer.as_bytes(),
            properties,
        )
        .await;
        acked(sent).await;
        request
            .ack(BasicAckOptions::default())
            .await
            .expect("an ack");
    }
}

/// Asks for the doubles of some numbers, all at once, and gives what came, by correlation id.
async fn ask(
    channel: &Channel,
    queue: &str,
    reply_to: &str,
    replies: &mut lapin::Consumer,
) -> BTreeMap<String, String> {
    for number in 1..=5 {
        let properties = BasicProperties::default()
            .with_reply_to(reply_to.into())
            .with_correlation_id(format!("id-{number}").into());
        let body = format!("{number}");
        send(channel, "", queue, body.as_bytes(), properties).await;
    }
    let mut answers = BTreeMap::new();
    for _ in 1..=5 {
        let answer = next(replies).await;
        let id = answer.properties.correlation_id().clone().expect("an id");
        answers.insert(id.to_string(), text(&answer));
    }
    answers
}

fn doubles() -> BTreeMap<String, String> {
    let doubles = (1..=5).map(|number| (format!("id-{number}"), format!("{}", number * 2)));
    doubles.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_call_is_answered_by_a_queue_of_the_callers_own() {
    let broker = broker();
    let server = Client::confirming(&broker.amqp()).await;
    declare(&server.channel, "rpc").await;
    let serving = tokio::spawn(async move {
        serve(&server.channel, "rpc", 5).await;
        server
    });
    let caller = Client::connect(&broker.amqp()).await;
    let own = own_queue(&caller.channel).await;
    let mut replies = consume(&caller.channel, own.as_str(), "replies").await;
    let answers = ask(&caller.channel, "rpc", own.as_str(), &mut replies).await;
    assert_eq!(answers, doubles());
    serving.await.expect("it served").close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_call_is_answered_without_a_queue_by_direct_reply_to() {
    let broker = broker();
    let server = Client::confirming(&broker.amqp()).await;
    declare(&server.channel, "direct-rpc").await;
    let serving = tokio::spawn(async move {
        serve(&server.channel, "direct-rpc", 5).await;
        server
    });
    let caller = Client::connect(&broker.amqp()).await;
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut replies = consume_with(&caller.channel, PSEUDO_QUEUE, "replies", no_ack).await;
    let answers = ask(&caller.channel, "direct-rpc", PSEUDO_QUEUE, &mut replies).await;
    assert_eq!(answers, doubles());
    serving.await.expect("it served").close().await;
}
