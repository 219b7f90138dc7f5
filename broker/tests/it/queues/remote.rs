//! Clients of brokers that do not lead the queue.

use std::time::Duration;

use raftmq::queues::Published;
use raftmq_core::queue::{AckMode, Attach, Attempt, Command, Reply};
use tokio::time::timeout;

use super::support::{Brokers, Client, counts, message, publish, until_ready};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_used_through_any_broker() {
    let brokers = Brokers::start(3).await;
    let queue = brokers.declare("q", &[]).await;
    let others = brokers.others(queue);
    let (one, other) = (brokers.queues(others[0]), brokers.queues(others[1]));
    let mut consumer = Client::of(other);
    consumer.consume(queue, 1).await;

    for number in 0..10 {
        publish(one, queue, &format!("{number}")).await;
    }

    for number in 0..10 {
        let (delivery, text) = consumer.delivery().await;
        assert_eq!(
            (text, delivery.is_redelivered),
            (format!("{number}"), false)
        );
        let settled = consumer.settle(queue, delivery).await;
        assert_eq!(settled, Ok(Reply::Settled { count: 1 }));
    }
    assert_eq!(counts(one, queue).await.ready, 0);
    drop(consumer);
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_and_gets_of_one_channel_take_effect_in_the_order_of_calls() {
    let brokers = Brokers::start(3).await;
    let queue = brokers.declare("q", &[]).await;
    let other = brokers.queues(brokers.others(queue)[0]);
    let client = Client::of(other);

    let publishes = (0..100).map(|number| other.publish(&[queue], message(&format!("{number}"))));
    let publishes: Vec<_> = publishes.collect();
    let got = other.get(queue, client.channel.id(), AckMode::Automatic);

    let (_, body) = got.await.expect("an answer").message.expect("a message");
    assert_eq!(&*body, b"0");
    for published in publishes {
        published.await.expect("enqueued");
    }
    for number in 1..100 {
        let got = other.get(queue, client.channel.id(), AckMode::Automatic);
        let (_, body) = got.await.expect("an answer").message.expect("a message");
        assert_eq!(&*body, format!("{number}").as_bytes());
    }
    drop(client);
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_channel_that_closes_gives_everything_back_uncounted_or_counted_as_it_says() {
    let brokers = Brokers::start(3).await;
    let queue = brokers.declare("q", &[]).await;
    let other = brokers.queues(brokers.others(queue)[0]);
    publish(other, queue, "one").await;
    let mut first = Client::of(other);
    first.consume(queue, 0).await;
    let (delivery, _) = first.delivery().await;
    assert_eq!(delivery.attempts, 0);

    first.channel.close(Attempt::CountsNot);

    until_ready(other, queue, 1).await;
    let mut second = Client::of(other);
    second.consume(queue, 0).await;
    let (delivery, _) = second.delivery().await;
    assert_eq!((delivery.is_redelivered, delivery.attempts), (true, 0));
    drop(second);
    until_ready(other, queue, 1).await;
    assert_eq!(counts(other, queue).await.consumers, 0);
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_consumer_is_answered_once_all_that_it_was_delivered_has_come() {
    // More than a channel has room for: the rest waits at the leader.
    const COUNT: u32 = 4_500;
    let brokers = Brokers::start(3).await;
    let queue = brokers.declare("q", &[]).await;
    let other = brokers.queues(brokers.others(queue)[0]);
    let published = (0..COUNT).map(|number| other.publish(&[queue], message(&number.to_string())));
    for published in published.collect::<Vec<_>>() {
        assert_eq!(published.await, Ok(Published::Enqueued));
    }
    let mut client = Client::of(other);
    let attach = Command::Attach(Attach {
        channel: client.channel.id(),
        tag: "consumer".to_owned(),
        priority: 0,
        is_exclusive: false,
        ack_mode: AckMode::Automatic,
        prefetch: 0,
        granted: u64::from(COUNT),
    });
    let Ok(Reply::Attached { consumer }) = other.run(queue, attach).await else {
        panic!("not attached");
    };

    let mut detached = Box::pin(other.run(queue, Command::Detach { consumer }));

    let early = timeout(Duration::from_millis(500), &mut detached).await;
    assert!(early.is_err(), "answered before its deliveries: {early:?}");
    // Meanwhile others are answered on the same way.
    assert_eq!(counts(other, queue).await.consumers, 0);
    for number in 0..COUNT {
        assert_eq!(client.delivery().await.1, number.to_string());
    }
    assert_eq!(detached.await, Ok(Reply::Done));
    assert!(client.events.try_recv().is_err(), "nothing comes after it");
    drop(client);
    brokers.stop().await;
}
