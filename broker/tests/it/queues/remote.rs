//! Clients of brokers that do not lead the queue.

use raftmq_core::queue::{AckMode, Attempt, Reply};

use super::support::{Brokers, Client, counts, publish, until_ready};

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

    let publishes = (0..100).map(|number| {
        let message = super::support::message(&format!("{number}"));
        other.publish(&[queue], message)
    });
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
