//! Those who do not take what they should: clients that do not read, and full targets of dead letters. They
//! hold up neither others nor the log.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use raftmq::queues::{DeadLetterRouter, DeadMessage, Published, Queues};
use raftmq_core::GroupNumber;
use raftmq_core::exchange::{Argument, HeaderValue};
use raftmq_core::queue::{AckMode, Attach, Command, Message, Reply};
use raftmq_store::GroupId;

use super::support::{Brokers, Client, counts, message, publish, until_ready};
use crate::in_process::eventually;

async fn publish_many(queues: &Queues, queue: GroupNumber, count: usize) {
    const AT_ONCE: usize = 1_000;
    for first in (0..count).step_by(AT_ONCE) {
        let end = count.min(first + AT_ONCE);
        let texts = (first..end).map(|number| number.to_string());
        let published = texts.map(|text| queues.publish(&[queue], message(&text)));
        for outcome in join_all(published).await {
            assert_eq!(outcome, Ok(Published::Enqueued));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_holds_up_no_other() {
    /// More than twice what waits for a channel.
    const COUNT: usize = 9_000;
    /// What each of two consumers gets at least.
    const SHARE: usize = 4_400;
    let brokers = Brokers::start(1).await;
    let queue = brokers.declare("q", &[]).await;
    let queues = brokers.queues(1);
    let mut idle = Client::of(queues);
    let mut busy = Client::of(queues);
    idle.consume(queue, 0).await;
    busy.consume(queue, 0).await;

    publish_many(queues, queue, COUNT).await;

    for _ in 0..SHARE {
        busy.delivery().await;
    }
    let mut last = None;
    for _ in 0..SHARE {
        let (delivery, _) = idle.delivery().await;
        assert!(last < Some(delivery.id), "in order, and once");
        last = Some(delivery.id);
    }
    drop((idle, busy));
    brokers.stop().await;
}

/// A message of a MiB, whose bytes are its number.
fn large(number: u8, priority: u8) -> Message {
    Message {
        body: Bytes::from(vec![number; 1 << 20]),
        priority,
        ..Message::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_has_not_read_yet_does_not_hold_the_log_and_is_not_lost() {
    /// More than waits for a channel.
    const UNREAD: u8 = 12;
    const READ: u8 = 80;
    let brokers = Brokers::start(1).await;
    let queue = brokers.declare("q", &[("x-max-priority", 1)]).await;
    let queues = brokers.queues(1);
    for number in 0..UNREAD {
        let published = queues.publish(&[queue], large(number, 0)).await;
        assert_eq!(published, Ok(Published::Enqueued));
    }
    let reader = Client::of(queues);
    for number in 0..READ {
        let published = queues.publish(&[queue], large(number, 1)).await;
        assert_eq!(published, Ok(Published::Enqueued));
        let got = queues.get(queue, reader.channel.id(), AckMode::Automatic);
        let (_, body) = got.await.expect("an answer").message.expect("a message");
        assert_eq!(body[0], number);
    }
    let mut idle = Client::of(queues);
    let attach = Command::Attach(Attach {
        channel: idle.channel.id(),
        tag: "idle".to_owned(),
        priority: 0,
        is_exclusive: false,
        ack_mode: AckMode::Automatic,
        prefetch: 0,
        granted: 1_000,
    });
    let attached = queues.run(queue, attach).await;
    assert!(
        matches!(attached, Ok(Reply::Attached { .. })),
        "{attached:?}"
    );
    until_ready(queues, queue, 0).await;

    let host = &brokers.node(1).parts().host;
    let group = host.get(GroupId(queue.get())).expect("it is open");
    queues.purge().await;
    eventually("the log is purged", || {
        let first = group.store().first_log_index();
        first.is_some_and(|first| first > u64::from(UNREAD))
    })
    .await;

    for number in 0..UNREAD {
        let (delivery, body) = idle.delivery().await;
        let is_it = body.bytes().all(|byte| byte == number);
        assert!(delivery.is_settled && is_it && body.len() == 1 << 20);
    }
    drop((idle, reader));
    brokers.stop().await;
}

/// Sends whatever dies to several queues.
struct ToAll(Vec<GroupNumber>);

impl DeadLetterRouter for ToAll {
    fn targets(&self, dead: &DeadMessage<'_>) -> Vec<(GroupNumber, Message)> {
        let copy = |target: &GroupNumber| {
            let body = dead.body.clone();
            let message = Message {
                body,
                ..Message::default()
            };
            (*target, message)
        };
        self.0.iter().map(copy).collect()
    }
}

fn text(name: &'static str, value: &'static str) -> Argument {
    Argument {
        name: Bytes::from_static(name.as_bytes()),
        tag: b'S',
        value: HeaderValue::Bytes(Bytes::from_static(value.as_bytes())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_target_costs_the_others_no_second_copy_of_a_dead_letter() {
    let brokers = Brokers::start(1).await;
    let exchange = text("x-dead-letter-exchange", "");
    let queue = brokers.declare_with("q", vec![exchange]).await;
    let fine = brokers.declare("fine", &[]).await;
    let one = Argument {
        name: Bytes::from_static(b"x-max-length"),
        tag: b'l',
        value: HeaderValue::Integer(1),
    };
    let refuses = text("x-overflow", "reject-publish");
    let full = brokers.declare_with("full", vec![one, refuses]).await;
    let queues = brokers.queues(1);
    publish(queues, full, "in the way").await;
    queues.set_router(Arc::new(ToAll(vec![fine, full])));
    let expiring = Message {
        ttl_ms: Some(50),
        ..message("soon")
    };

    let published = queues.publish(&[queue], expiring).await;
    assert_eq!(published, Ok(Published::Enqueued));
    until_ready(queues, fine, 1).await;
    let removed = queues.run(full, Command::Purge).await;
    assert_eq!(removed, Ok(Reply::Removed { count: 1 }));

    until_ready(queues, full, 1).await;
    let client = Client::of(queues);
    let got = queues.get(full, client.channel.id(), AckMode::Automatic);
    let (_, body) = got.await.expect("an answer").message.expect("a message");
    assert_eq!(&*body, b"soon");
    assert_eq!(counts(queues, fine).await.ready, 1, "it had its copy");
    drop(client);
    brokers.stop().await;
}
