//! `basic.ack`, `nack`, `reject`, `recover`: what clients say of deliveries.

use raftmq_amqp::{ChannelKey, Event, Request};
use raftmq_amqp_protocol::{Method, basic};
use raftmq_core::DeliveryId;
use raftmq_core::queue::{Attempt, Outcome, Span};

use crate::support::{Client, QUEUE, ack, delivery, delivery_tags, nack};

/// A client that holds deliveries 1 to 5 under the tags 1 to 5.
fn holding_five() -> (Client, ChannelKey) {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("mine", false);
    for id in 1..=5 {
        client
            .connection
            .deliver(delivery(channel, consume.consumer, id));
    }
    assert_eq!(delivery_tags(&client.on_channel()), [1, 2, 3, 4, 5]);
    (client, channel)
}

fn settle(channel: ChannelKey, first: u64, last: u64, outcome: Outcome) -> Request {
    let (first, last) = (DeliveryId(first), DeliveryId(last));
    Request::Settle {
        channel,
        queue: QUEUE,
        spans: vec![Span { first, last }],
        outcome,
    }
}

#[test]
fn each_way_of_settling_says_what_becomes_of_the_message() {
    let returned = Outcome::Returned(Attempt::Counts);
    let reject = |delivery_tag, requeue| basic::Reject {
        delivery_tag,
        requeue,
    };
    let cases: [(Method, Outcome); 5] = [
        (ack(2, false), Outcome::Acked),
        (nack(2, false, true), returned),
        (nack(2, false, false), Outcome::Rejected),
        (reject(2, true).into(), returned),
        (reject(2, false).into(), Outcome::Rejected),
    ];
    for (method, outcome) in cases {
        let (mut client, channel) = holding_five();
        client.send(1, method);
        assert_eq!(client.requests(), [settle(channel, 2, 2, outcome)]);
        assert_eq!(client.methods(), []);
    }
}

#[test]
fn multiple_settles_what_came_up_to_the_tag_and_nothing_behind() {
    let (mut client, channel) = holding_five();
    client.send(1, ack(3, true));
    assert_eq!(client.requests(), [settle(channel, 1, 3, Outcome::Acked)]);
    client.send(1, nack(0, true, false));
    assert_eq!(
        client.requests(),
        [settle(channel, 4, 5, Outcome::Rejected)]
    );
    client.send(1, ack(0, true));
    assert!(
        client.requests().is_empty(),
        "nothing is left, and that is no error"
    );
    assert_eq!(client.methods(), []);
}

#[test]
fn a_tag_that_is_settled_or_was_never_there_closes_the_channel() {
    for (method, tag) in [
        (ack(2, false), 2),
        (ack(2, true), 2),
        (nack(9, true, true), 9),
        (ack(0, false), 0),
        (ack(u64::MAX, true), u64::MAX),
    ] {
        let (mut client, _) = holding_five();
        client.send(1, ack(2, false));
        client.send(1, method);
        client.serve();
        client.assert_channel_closed(
            406,
            &format!("PRECONDITION_FAILED - unknown delivery tag {tag}"),
        );
    }
}

#[test]
fn recovery_returns_everything() {
    let (mut client, channel) = holding_five();
    client.send(1, ack(1, false));
    client.serve();
    client.send(1, basic::Recover { requeue: true });
    let returned = Outcome::Returned(Attempt::Counts);
    assert_eq!(client.requests(), [settle(channel, 2, 5, returned)]);
    assert_eq!(client.on_channel(), [Method::from(basic::RecoverOk {})]);
    client.send(1, basic::RecoverAsync { requeue: true });
    assert!(client.requests().is_empty());
    assert_eq!(client.methods(), []);
}

#[test]
fn what_the_queue_took_back_can_be_settled_to_no_effect() {
    let (mut client, channel) = holding_five();
    client.connection.tell(Event::TakenBack {
        channel,
        queue: QUEUE,
        deliveries: vec![DeliveryId(2), DeliveryId(4)],
    });
    client.send(1, ack(2, false));
    assert!(client.requests().is_empty());
    client.send(1, ack(5, true));
    let span = |id| Span::one(DeliveryId(id));
    let spans = vec![span(1), span(3), span(5)];
    let outcome = Outcome::Acked;
    assert_eq!(
        client.requests(),
        [Request::Settle {
            channel,
            queue: QUEUE,
            spans,
            outcome
        }]
    );
    assert_eq!(client.methods(), []);
}
