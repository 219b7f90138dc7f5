//! Clients of different brokers: where a queue is led is nobody's concern.

use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::time::{Instant, sleep};

use super::client::{
    Client, acked, bind, confirmation, consume, consume_with, declare, next, own_queue, publish,
    send, take, text,
};
use crate::support::{Dev, PATIENCE, others_than, text as field};

const BROKERS: u64 = 3;

pub(super) fn endpoint(dev: &Dev, id: u64) -> String {
    field(&dev.broker(id), "amqp")
}

/// Waits until a broker shows a queue: what another one was told comes a moment later.
pub(super) async fn until_known(client: &Client, queue: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let channel = client.another_channel().await;
        let options = QueueDeclareOptions::default().passive();
        let found = channel.queue_declare(queue.into(), options, FieldTable::default());
        if found.await.is_ok() {
            return;
        }
        assert!(Instant::now() < deadline, "{queue} is not known");
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_and_consumers_meet_from_any_broker() {
    let dev = Dev::start(&[]);
    for consuming in 1..=BROKERS {
        let reader = Client::connect(&endpoint(&dev, consuming)).await;
        let queue = format!("on-{consuming}");
        declare(&reader.channel, &queue).await;
        bind(&reader.channel, &queue, "amq.topic", &format!("{queue}.#")).await;
        let mut consumer = consume(&reader.channel, &queue, "c").await;
        for publishing in 1..=BROKERS {
            let writer = Client::confirming(&endpoint(&dev, publishing)).await;
            until_known(&writer, &queue).await;
            let key = format!("{queue}.from.{publishing}");
            publish(&writer.channel, "amq.topic", &key, key.as_bytes()).await;
            assert_eq!(take(&mut consumer).await, key);
            writer.close().await;
        }
        reader.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_finds_its_caller_on_another_broker() {
    let dev = Dev::start(&[]);
    let server = Client::confirming(&endpoint(&dev, 1)).await;
    declare(&server.channel, "far-rpc").await;
    let caller = Client::connect(&endpoint(&dev, 2)).await;
    until_known(&caller, "far-rpc").await;
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let pseudo_queue = "amq.rabbitmq.reply-to";
    let mut replies = consume_with(&caller.channel, pseudo_queue, "r", no_ack).await;
    let properties = BasicProperties::default().with_reply_to(pseudo_queue.into());
    send(&caller.channel, "", "far-rpc", b"ping", properties).await;
    let mut requests = consume(&server.channel, "far-rpc", "s").await;
    let request = next(&mut requests).await;
    let to = request.properties.reply_to().clone().expect("an address");
    publish(&server.channel, "", to.as_str(), b"pong").await;
    assert_eq!(text(&next(&mut replies).await), "pong");
    caller.close().await;
    // Whoever asks whether the caller still waits hears that it does not.
    let channel = server.another_channel().await;
    let options = QueueDeclareOptions::default().passive();
    let probed = channel.queue_declare(to.as_str().into(), options, FieldTable::default());
    assert_eq!(super::client::refusal(&probed.await.unwrap_err()).0, 404);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_missing_after_one_leader_after_the_other_was_killed() {
    const KILLS: u32 = 3;
    let dev = Dev::start(&[]);
    let client = Client::connect(&endpoint(&dev, 1)).await;
    declare(&client.channel, "kept").await;
    client.close().await;
    let mut confirmed = Vec::new();
    for round in 0..KILLS {
        let leader = dev.queue_leader("kept");
        let client = Client::confirming(&endpoint(&dev, others_than(leader)[0])).await;
        until_known(&client, "kept").await;
        let mut sent = Vec::new();
        for number in 0..100 {
            if number == 50 {
                dev.kill(leader);
            }
            let body = format!("{round}-{number}");
            let properties = BasicProperties::default();
            let one = send(&client.channel, "", "kept", body.as_bytes(), properties).await;
            sent.push((body, one));
        }
        for (body, one) in sent {
            // A nack says that it may not be there.
            if confirmation(one).await.is_ack() {
                confirmed.push(body);
            }
        }
        client.close().await;
        dev.restart(leader);
    }
    assert!(confirmed.len() >= 100, "{}", confirmed.len());
    let client = Client::connect(&endpoint(&dev, 1)).await;
    let mut consumer = consume(&client.channel, "kept", "c").await;
    let mut expected = confirmed.iter();
    let mut wanted = expected.next();
    while let Some(body) = wanted {
        let taken = take(&mut consumer).await;
        if taken == *body {
            wanted = expected.next();
        }
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exclusive_queues_of_a_killed_broker_go() {
    let dev = Dev::start(&[]);
    let owner = Client::connect(&endpoint(&dev, 2)).await;
    let queue = own_queue(&owner.channel).await;
    let other = Client::confirming(&endpoint(&dev, 1)).await;
    let deadline = Instant::now() + PATIENCE;
    let code = |queue: lapin::types::ShortString| {
        let other = &other;
        async move {
            let channel = other.another_channel().await;
            let options = QueueDeclareOptions::default().passive();
            let found = channel.queue_declare(queue, options, FieldTable::default());
            super::client::refusal(&found.await.unwrap_err()).0
        }
    };
    while code(queue.clone()).await != 405 {
        assert!(
            Instant::now() < deadline,
            "broker 1 does not know the queue"
        );
        sleep(std::time::Duration::from_millis(20)).await;
    }
    dev.kill(2);
    dev.restart(2);
    while code(queue.clone()).await != 404 {
        assert!(Instant::now() < deadline, "the queue stays");
        sleep(std::time::Duration::from_millis(50)).await;
    }
    acked(send(&other.channel, "", "x", b"", BasicProperties::default()).await).await;
    other.close().await;
}
