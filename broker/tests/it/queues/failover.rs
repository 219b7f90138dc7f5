//! A queue's leader, or the broker of its clients, is gone.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use raftmq::queues::{Published, Queues};
use raftmq_core::GroupNumber;
use raftmq_core::queue::Reply;
use tokio::time::{sleep, timeout};

use super::support::{Brokers, Client, counts, message, publish, until_ready};

/// Time in which nothing more should come.
const QUIET: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_with_the_leader_and_nothing_is_delivered_twice() {
    let mut brokers = Brokers::start(3).await;
    let queue = brokers.declare("q", &[]).await;
    let leader = brokers.leader(queue).expect("a leader");
    let others = brokers.others(queue);
    let publisher = brokers.queues(others[0]).clone();
    let mut consumer = Client::of(brokers.queues(others[1]));
    consumer.consume(queue, 0).await;
    for number in 0..50 {
        publish(&publisher, queue, &format!("{number}")).await;
    }
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(consumer.delivery().await);
    }

    brokers.kill(leader).await;

    let mut number = 50;
    while number < 100 {
        let text = format!("{number}");
        // What became of a message whose leader was lost is not known; it is published again.
        if publisher.publish(&[queue], message(&text)).await == Ok(Published::Enqueued) {
            number += 1;
        }
    }
    let mut texts: BTreeSet<String> = held.iter().map(|(_, text)| text.clone()).collect();
    let mut ids: BTreeSet<u64> = held.iter().map(|(delivery, _)| delivery.id.0).collect();
    while texts.len() < 100 {
        let (delivery, text) = consumer.delivery().await;
        assert!(ids.insert(delivery.id.0), "{delivery:?} came twice");
        assert!(!delivery.is_redelivered, "its channel is open");
        texts.insert(text);
        held.push((delivery, String::new()));
    }
    // A message that was published again may be there twice, each time under another id.
    while let Ok((delivery, text)) = timeout(QUIET, consumer.delivery()).await {
        assert!(ids.insert(delivery.id.0), "{delivery:?} came twice");
        held.push((delivery, text));
    }
    for (delivery, _) in held {
        let settled = consumer.settle(queue, delivery).await;
        assert_eq!(settled, Ok(Reply::Settled { count: 1 }));
    }
    drop(consumer);
    let left = counts(&publisher, queue).await;
    assert_eq!(left.ready, 0);
    drop(publisher);
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settles_reach_the_next_leader() {
    let mut brokers = Brokers::start(3).await;
    let queue = brokers.declare("q", &[]).await;
    let leader = brokers.leader(queue).expect("a leader");
    let queues = brokers.queues(brokers.others(queue)[0]).clone();
    for number in 0..20 {
        publish(&queues, queue, &format!("{number}")).await;
    }
    let mut consumer = Client::of(&queues);
    consumer.consume(queue, 0).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(consumer.delivery().await.0);
    }

    let settle_all = async {
        for delivery in held {
            let settled = consumer.settle(queue, delivery).await;
            assert!(matches!(settled, Ok(Reply::Settled { .. })), "{settled:?}");
        }
    };
    tokio::join!(settle_all, brokers.kill(leader));

    // The close comes behind the settles.
    drop(consumer);
    let left = counts(&queues, queue).await;
    assert_eq!((left.ready, left.consumers), (0, 0));
    drop(queues);
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_clients_of_a_broker_that_is_gone_held_returns_uncounted() {
    let mut brokers = Brokers::start(3).await;
    let queue = brokers.declare("q", &[]).await;
    let others = brokers.others(queue);
    let (lost, kept) = (others[0], others[1]);
    let queues = brokers.queues(kept).clone();
    publish(&queues, queue, "one").await;
    let mut holder = Client::of(brokers.queues(lost));
    holder.consume(queue, 0).await;
    holder.delivery().await;
    assert_eq!(counts(&queues, queue).await.consumers, 1);
    let mut waiting = Client::of(&queues);
    waiting.consume(queue, 0).await;

    brokers.kill(lost).await;

    let (delivery, text) = waiting.delivery().await;
    assert_eq!(
        (&*text, delivery.is_redelivered, delivery.attempts),
        ("one", true, 0)
    );
    assert_eq!(counts(&queues, queue).await.consumers, 1);
    drop(waiting);
    // It was never closed.
    drop(holder);
    drop(queues);
    brokers.stop().await;
}

/// Publishes one message after the other while a broker prepares its stop; says how many.
async fn publish_while_it_leaves(
    brokers: &Brokers,
    leader: u32,
    queues: &Queues,
    queue: GroupNumber,
) -> usize {
    let is_gone = Cell::new(false);
    let leaving = async {
        brokers.node(leader).leave().await;
        is_gone.set(true);
    };
    let publishing = async {
        let mut published = 0;
        while !is_gone.get() || published < 100 {
            let outcome = queues.publish(&[queue], message("m")).await;
            assert_eq!(outcome, Ok(Published::Enqueued));
            published += 1;
        }
        published
    };
    let ((), published) = tokio::join!(leaving, publishing);
    published
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hands_over_goes_on_elsewhere_without_a_refusal() {
    let brokers = Brokers::start(3).await;
    let queue = brokers.declare("q", &[]).await;
    let leader = brokers.leader(queue).expect("a leader");
    let queues = brokers.queues(brokers.others(queue)[0]).clone();
    let mut consumer = Client::of(&queues);
    consumer.consume(queue, 0).await;

    let published = publish_while_it_leaves(&brokers, leader, &queues, queue).await;

    for _ in 0..published {
        let (delivery, _) = consumer.delivery().await;
        consumer.settle(queue, delivery).await.expect("settled");
    }
    until_ready(&queues, queue, 0).await;
    sleep(QUIET).await;
    assert!(consumer.events.try_recv().is_err(), "nothing more comes");
    drop(consumer);
    drop(queues);
    brokers.stop().await;
}
