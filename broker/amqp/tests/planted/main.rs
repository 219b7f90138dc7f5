//! The planted bugs do harm: each one breaks a promise that the other tests hold.
//!
//! One test only, in a binary of its own: a bug, once chosen, stays for the whole process.
//! Built with the feature `planted-bugs`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests fail a test in the same way as the test itself"
)]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../it/support.rs"]
mod support;

use raftmq_amqp::planted::{Bug, is_planted, plant};
use raftmq_amqp::{Answer, Got, PublishOutcome, Request};
use raftmq_amqp_protocol::{Method, basic, confirm};
use raftmq_core::DeliveryId;
use raftmq_core::queue::Span;

use self::support::{Client, ack, delivery, delivery_tags, taken, text};

/// The confirms of a client whose second and third publish are settled, and then of the first.
fn confirms() -> (Vec<Method>, Vec<Method>) {
    let mut client = Client::with_channel();
    client.send(1, confirm::Select { no_wait: true });
    for _ in 0..3 {
        client.publish(1, b"x");
    }
    let publishes = client.publishes();
    let mut settle = |at: usize| {
        let (channel, number) = (publishes[at].channel, publishes[at].number);
        let outcome = PublishOutcome::Committed;
        client.connection.published(channel, number, outcome);
    };
    settle(1);
    settle(2);
    let first = client.on_channel();
    let (channel, number) = (publishes[0].channel, publishes[0].number);
    let outcome = PublishOutcome::Committed;
    client.connection.published(channel, number, outcome);
    (first, client.on_channel())
}

/// What is settled when three deliveries are held and the second is acked with `multiple`.
fn settled() -> Vec<Span> {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("mine", false);
    for id in 1..=3 {
        client
            .connection
            .deliver(delivery(channel, consume.consumer, id));
    }
    client.send(1, ack(2, true));
    let requests = client.requests();
    let [Request::Settle { spans, .. }] = &requests[..] else {
        panic!("{requests:?}");
    };
    spans.clone()
}

/// The delivery tags of a delivery and of a message that is fetched behind it.
fn tags() -> Vec<u64> {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("mine", false);
    client
        .connection
        .deliver(delivery(channel, consume.consumer, 1));
    client.send(
        1,
        basic::Get {
            queue: text("q"),
            ..Default::default()
        },
    );
    let got = Got {
        taken: taken(2),
        ready_count: 0,
    };
    client.answer(Answer::Got(Some(Box::new(got))));
    delivery_tags(&client.on_channel())
}

/// How many deliveries a client holds at once that set a limit of one.
fn held_count() -> usize {
    let mut client = Client::with_channel();
    client.send(
        1,
        basic::Qos {
            prefetch_count: 1,
            global: true,
            ..Default::default()
        },
    );
    client.serve();
    client.methods();
    let (channel, consume) = client.consume("mine", false);
    for id in 1..=2 {
        client
            .connection
            .deliver(delivery(channel, consume.consumer, id));
    }
    client.on_channel().len()
}

/// What is published by a channel that was closed for an error.
fn published_by_a_closed_channel() -> usize {
    let mut client = Client::with_channel();
    client.send(1, ack(9, false));
    client.serve();
    client.methods();
    client.publish(1, b"x");
    client.publishes().len()
}

#[test]
fn each_planted_bug_breaks_its_promise() {
    let out_of_order = vec![ack(2, false), ack(3, false)];
    assert_eq!(confirms(), (out_of_order.clone(), vec![ack(1, false)]));
    plant(Bug::ConfirmedTwice);
    assert!(is_planted(Bug::ConfirmedTwice) && !is_planted(Bug::ConfirmTooMuch));
    let (first, second) = confirms();
    assert_eq!(first, out_of_order);
    assert_ne!(second, [ack(1, false)], "publishes are confirmed again");
    plant(Bug::ConfirmTooMuch);
    let (first, _) = confirms();
    assert_eq!(
        first,
        [ack(2, true), ack(3, true)],
        "the first publish is confirmed with them"
    );

    let span = |last| Span {
        first: DeliveryId(1),
        last: DeliveryId(last),
    };
    assert_eq!(settled(), [span(2)]);
    plant(Bug::MultipleSettlesTooMuch);
    assert_eq!(settled(), [span(3)], "the delivery behind is settled");

    assert_eq!(tags(), [1, 2]);
    plant(Bug::DeliveryTagReused);
    assert_eq!(tags(), [1, 1], "two deliveries have one tag");

    assert_eq!(held_count(), 1);
    plant(Bug::GlobalPrefetchIgnored);
    assert_eq!(held_count(), 2, "the client holds more than it wanted");

    assert_eq!(published_by_a_closed_channel(), 0);
    plant(Bug::ClosedChannelWorks);
    assert_eq!(
        published_by_a_closed_channel(),
        1,
        "a closed channel publishes"
    );
}
