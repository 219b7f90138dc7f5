//! Consuming over gRPC: prefetch, settlement, and what returns when a stream ends.

use futures_util::StreamExt;
use raftmq_client::{ConsumeOptions, ErrorCode, Message};

use super::support::{VHOST, broker, client, consume, declare, next, publish, take};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_requeued_comes_again_and_what_is_rejected_goes_to_the_dead_letters() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "buried").await;
    let declared = client.admin().declare_queue(VHOST, "dying");
    let declared = declared
        .argument("x-dead-letter-exchange", "")
        .argument("x-dead-letter-routing-key", "buried")
        .send();
    declared.await.expect("a queue");
    publish(&client, "dying", "message").await;
    let mut consumer = consume(&client, "dying", 1).await;

    let first = next(&mut consumer).await;
    assert!(!first.is_redelivered && first.failed_attempts == 0);
    let id = first.raftmq_id.clone();
    first.requeue().await.expect("a requeue");
    let second = next(&mut consumer).await;
    assert!(second.is_redelivered);
    assert_eq!((second.failed_attempts, &second.raftmq_id), (1, &id));
    second.reject().await.expect("a rejection");

    let mut graves = consume(&client, "buried", 1).await;
    let dead = next(&mut graves).await;
    assert_eq!((dead.text(), &dead.raftmq_id), ("message".to_owned(), &id));
    assert!(dead.message.find_header("x-death").is_some(), "{dead:?}");
    dead.ack().await.expect("an ack");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_worker_gets_no_more_than_it_may_hold() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "grpc-fair").await;
    let mut slow = consume(&client, "grpc-fair", 1).await;
    let mut quick = consume(&client, "grpc-fair", 1).await;
    for number in 0..10 {
        publish(&client, "grpc-fair", number.to_string()).await;
    }
    let held = next(&mut slow).await;
    let mut taken = Vec::new();
    for _ in 0..9 {
        taken.push(take(&mut quick).await);
    }
    assert!(!taken.contains(&held.text()), "{taken:?}");
    held.ack().await.expect("an ack");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_consumer_held_comes_to_another_when_it_ends() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "handed-on").await;
    publish(&client, "handed-on", "message").await;
    let mut first = consume(&client, "handed-on", 1).await;
    let held = next(&mut first).await;
    drop((first, held));

    let mut second = consume(&client, "handed-on", 1).await;
    let again = next(&mut second).await;
    assert!(again.is_redelivered);
    again.ack().await.expect("an ack");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_can_be_settled_after_its_consumer_was_dropped() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "outlived").await;
    publish(&client, "outlived", "message").await;
    let mut consumer = consume(&client, "outlived", 1).await;
    let held = next(&mut consumer).await;
    drop(consumer);
    held.ack().await.expect("an ack");
    publish(&client, "outlived", "next").await;

    let mut other = consume(&client, "outlived", 1).await;
    assert_eq!(take(&mut other).await, "next", "the first is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_got_once_and_an_empty_queue_says_so() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "got").await;
    for body in ["one", "two"] {
        publish(&client, "got", body).await;
    }
    let queue = client.queue("got");
    let first = queue.get().await.expect("an answer").expect("a message");
    assert_eq!((first.text(), first.ready_messages), ("one".to_owned(), 1));
    first.ack().await.expect("an ack");
    let second = queue.get().await.expect("an answer").expect("a message");
    assert_eq!(second.text(), "two");
    second.ack().await.expect("an ack");
    assert!(queue.get().await.expect("an answer").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priorities_and_expiry_count_as_for_amqp_clients() {
    let broker = broker();
    let client = client(&broker).await;
    let declared = client.admin().declare_queue(VHOST, "urgent");
    let declared = declared.argument("x-max-priority", 9).send();
    declared.await.expect("a queue");
    let expired = Message::new("late").expiration(std::time::Duration::ZERO);
    publish(&client, "urgent", expired).await;
    publish(&client, "urgent", Message::new("low").priority(1)).await;
    publish(&client, "urgent", Message::new("high").priority(9)).await;
    let mut consumer = consume(&client, "urgent", 1).await;
    for expected in ["high", "low"] {
        assert_eq!(take(&mut consumer).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_without_acknowledgements_gets_everything_once() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "unacknowledged").await;
    let options = ConsumeOptions::new().no_ack();
    let consumer = client.queue("unacknowledged").consume(options).await;
    let mut consumer = consumer.expect("a consumer");
    let queue = client.queue("unacknowledged");
    for number in 0..3_000 {
        drop(queue.publish(number.to_string()).await.expect("it is sent"));
    }
    for number in 0..3_000 {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.text(), number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_ends_with_its_queue() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "deleted").await;
    let mut consumer = consume(&client, "deleted", 1).await;
    let deleted = client.admin().delete_queue(VHOST, "deleted").send().await;
    deleted.expect("it is deleted");
    let ended = consumer.next().await.expect("an error");
    let ended = ended.expect_err("the queue is gone");
    assert_eq!(ended.code(), Some(ErrorCode::UnknownQueue));
    assert!(consumer.next().await.is_none());
}
