//! Queues of one broker: what a client gets, what time does, and how a queue ends.

use std::sync::Arc;

use bytes::Bytes;
use raftmq::queues::{
    ChannelEvent, Counts, DeadLetterRouter, DeadMessage, Published, QueueError, Queues,
};
use raftmq_core::GroupNumber;
use raftmq_core::exchange::{Argument, HeaderValue};
use raftmq_core::queue::{AckMode, Attempt, Command, Message, Refusal, Reply};
use raftmq_store::GroupId;

use super::support::{Brokers, Client, counts, message, publish, until_ready};
use crate::in_process::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_closed_channel_held_is_delivered_again() {
    let brokers = Brokers::start(1).await;
    let queue = brokers.declare("q", &[]).await;
    let queues = brokers.queues(1);
    publish(queues, queue, "one").await;
    publish(queues, queue, "two").await;
    let first = Client::of(queues);

    let got = queues.get(queue, first.channel.id(), AckMode::Manual);
    let got = got.await.expect("an answer");
    let (delivery, body) = got.message.expect("a message");
    assert_eq!(
        (&*body, delivery.is_redelivered, got.ready_count),
        (&b"one"[..], false, 1)
    );
    first.channel.close(Attempt::Counts);

    let mut second = Client::of(queues);
    second.consume(queue, 0).await;
    let (delivery, text) = second.delivery().await;
    assert_eq!(
        (&*text, delivery.is_redelivered, delivery.attempts),
        ("one", true, 1)
    );
    assert_eq!(
        second.settle(queue, delivery).await,
        Ok(Reply::Settled { count: 1 })
    );
    let (delivery, text) = second.delivery().await;
    assert_eq!((&*text, delivery.is_redelivered), ("two", false));
    assert_eq!(
        second.settle(queue, delivery).await,
        Ok(Reply::Settled { count: 1 })
    );
    let expected = Counts {
        ready: 0,
        consumers: 1,
    };
    assert_eq!(counts(queues, queue).await, expected);
    drop(second);
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_and_settings_are_in_force_before_the_first_message() {
    let brokers = Brokers::start(1).await;
    let overflow = Argument {
        name: Bytes::from_static(b"x-overflow"),
        tag: b'S',
        value: HeaderValue::Bytes(Bytes::from_static(b"reject-publish")),
    };
    let length = Argument {
        name: Bytes::from_static(b"x-max-length"),
        tag: b'l',
        value: HeaderValue::Integer(1),
    };
    let queue = brokers.declare_with("q", vec![overflow, length]).await;
    let other = brokers.declare("other", &[]).await;
    let queues = brokers.queues(1);

    assert_eq!(
        queues.publish(&[queue], message("1")).await,
        Ok(Published::Enqueued)
    );
    assert_eq!(
        queues.publish(&[queue], message("2")).await,
        Ok(Published::Refused)
    );
    let both = queues.publish(&[other, queue], message("3")).await;
    assert_eq!(both, Ok(Published::Refused));
    assert_eq!(counts(queues, queue).await.ready, 1);
    assert_eq!(
        counts(queues, other).await.ready,
        1,
        "a fanout reaches who has room"
    );
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_no_entry_could_hold_is_refused_and_the_queue_goes_on() {
    let brokers = Brokers::start(1).await;
    let queue = brokers.declare("q", &[]).await;
    let queues = brokers.queues(1);
    let too_large = Message {
        body: Bytes::from(vec![7; 48 << 20]),
        ..Message::default()
    };

    let refused = queues.publish(&[queue], too_large).await;

    assert_eq!(refused, Ok(Published::Refused));
    publish(queues, queue, "one").await;
    assert_eq!(counts(queues, queue).await.ready, 1);
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_cancels_its_consumers_and_leaves_the_metadata() {
    let brokers = Brokers::start(1).await;
    let queue = brokers.declare("q", &[]).await;
    let queues = brokers.queues(1);
    let mut client = Client::of(queues);
    let consumer = client.consume(queue, 0).await;
    let delete = |if_unused| Command::Delete {
        if_unused,
        if_empty: false,
    };

    let refused = queues.run(queue, delete(true)).await;
    let in_use = Refusal::InUse { consumers_count: 1 };
    assert_eq!(refused, Ok(Reply::Refused(in_use)));
    let deleted = queues.run(queue, delete(false)).await;
    assert_eq!(deleted, Ok(Reply::Removed { count: 0 }));

    let cancelled = ChannelEvent::ConsumerCancelled { queue, consumer };
    assert_eq!(client.next().await, cancelled);
    let images = brokers.node(1).parts().controller.images();
    eventually("the queue is out of the metadata", || {
        images.current().partition(queue).is_none()
    })
    .await;
    let published = queues.publish(&[queue], message("late")).await;
    assert_eq!(published, Err(QueueError::Gone));
    eventually("its group is removed", || {
        let stored = brokers.node(1).parts().host.stored_groups();
        !stored.contains(&GroupId(queue.get()))
    })
    .await;
    drop(client);
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unused_queue_expires_by_itself() {
    let brokers = Brokers::start(1).await;
    let queue = brokers.declare("q", &[("x-expires", 2_000)]).await;

    let images = brokers.node(1).parts().controller.images();
    eventually("the queue is out of the metadata", || {
        images.current().partition(queue).is_none()
    })
    .await;
    brokers.stop().await;
}

/// Sends whatever dies to one queue, with the reason in front.
struct To(GroupNumber);

impl DeadLetterRouter for To {
    fn targets(&self, dead: &DeadMessage<'_>) -> Vec<(GroupNumber, Message)> {
        let text = String::from_utf8_lossy(dead.body);
        let reason = dead.letter.reason.name();
        let from = &dead.queue.name;
        vec![(self.0, message(&format!("{reason} in {from}: {text}")))]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dies_goes_where_the_router_says() {
    let brokers = Brokers::start(1).await;
    let exchange = Argument {
        name: Bytes::from_static(b"x-dead-letter-exchange"),
        tag: b'S',
        value: HeaderValue::Bytes(Bytes::from_static(b"")),
    };
    let queue = brokers.declare_with("q", vec![exchange]).await;
    let graveyard = brokers.declare("graveyard", &[]).await;
    let queues = brokers.queues(1);
    queues.set_router(Arc::new(To(graveyard)));
    let expiring = Message {
        ttl_ms: Some(50),
        ..message("soon")
    };

    let published = queues.publish(&[queue], expiring).await;
    assert_eq!(published, Ok(Published::Enqueued));

    until_ready(queues, graveyard, 1).await;
    let client = Client::of(queues);
    let got = queues.get(graveyard, client.channel.id(), AckMode::Automatic);
    let (_, body) = got.await.expect("an answer").message.expect("a message");
    assert_eq!(&*body, b"expired in q: soon");
    assert_eq!(counts(queues, queue).await.ready, 0);
    drop(client);
    brokers.stop().await;
}

/// Publishes until the queue has it: a loaded machine may cost a broker its place for a moment.
async fn publish_surely(queues: &Queues, queue: GroupNumber, message: Message) {
    while queues.publish(&[queue], message.clone()).await != Ok(Published::Enqueued) {}
}

/// Has large messages go through a queue, ahead of whatever is in it, until its log is purged.
async fn run_through(brokers: &Brokers, queue: GroupNumber) {
    const LARGE: usize = 2 << 20;
    const COUNT: usize = 40;
    let queues = brokers.queues(1);
    let left = counts(queues, queue).await.ready;
    for _ in 0..COUNT {
        let large = Message {
            body: Bytes::from(vec![7; LARGE]),
            priority: 1,
            ..Message::default()
        };
        publish_surely(queues, queue, large).await;
    }
    let client = Client::of(queues);
    while counts(queues, queue).await.ready > left {
        let got = queues.get(queue, client.channel.id(), AckMode::Automatic);
        if let Ok(Some((delivery, body))) = got.await.map(|got| got.message) {
            assert_eq!((body.len(), delivery.is_settled), (LARGE, true));
        }
    }
    let host = &brokers.node(1).parts().host;
    let group = host.get(GroupId(queue.get())).expect("it is open");
    queues.purge().await;
    eventually("the log is purged", || {
        let first = group.store().first_log_index();
        first.is_some_and(|first| first > 20)
    })
    .await;
}

/// Restarts the broker and takes the only message that is left.
async fn left_after_a_restart(brokers: &mut Brokers, queue: GroupNumber) -> (Bytes, bool) {
    brokers.kill(1).await;
    brokers.start_again(1).await;
    let queues = brokers.queues(1).clone();
    eventually("in service", || queues.open_channel().is_ok()).await;
    until_ready(&queues, queue, 1).await;
    let client = Client::of(&queues);
    let got = queues.get(queue, client.channel.id(), AckMode::Automatic);
    let (delivery, body) = got.await.expect("an answer").message.expect("a message");
    (body, delivery.is_redelivered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_old_message_does_not_hold_the_log_and_is_still_there_after_a_restart() {
    let mut brokers = Brokers::start(1).await;
    let queue = brokers.declare("q", &[("x-max-priority", 1)]).await;
    publish_surely(brokers.queues(1), queue, message("old")).await;

    run_through(&brokers, queue).await;

    let (body, is_redelivered) = left_after_a_restart(&mut brokers, queue).await;
    assert_eq!((&*body, is_redelivered), (&b"old"[..], false));
    brokers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_old_delivery_that_nobody_settles_does_not_hold_the_log_either() {
    let mut brokers = Brokers::start(1).await;
    let queue = brokers.declare("q", &[("x-max-priority", 1)]).await;
    publish_surely(brokers.queues(1), queue, message("old")).await;
    let mut holder = Client::of(brokers.queues(1));
    holder.consume(queue, 1).await;
    let (_, text) = holder.delivery().await;
    assert_eq!(text, "old");

    run_through(&brokers, queue).await;

    drop(holder);
    let (body, is_redelivered) = left_after_a_restart(&mut brokers, queue).await;
    assert_eq!((&*body, is_redelivered), (&b"old"[..], true));
    brokers.stop().await;
}
