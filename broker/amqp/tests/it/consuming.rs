//! Consumers, deliveries, `basic.get`, `basic.qos`.

use raftmq_amqp::{Answer, Ask, ConsumerKey, Event, GRANT_COUNT, Got, Kind, Refusal, Request};
use raftmq_amqp_protocol::{Method, Value, basic, queue};
use raftmq_core::DeliveryId;
use raftmq_core::queue::{AckMode, Attempt, Outcome, Span};

use crate::support::{
    Client, QUEUE, ack, delivery, delivery_tags, first_properties, short, table, taken, text,
};

fn qos(prefetch_count: u16, global: bool) -> basic::Qos {
    basic::Qos {
        prefetch_size: 0,
        prefetch_count,
        global,
    }
}

#[test]
fn a_consumer_is_asked_for_with_what_it_may_hold() {
    let mut client = Client::with_channel();
    client.send(1, qos(20, false));
    assert!(client.serve().is_empty());
    assert_eq!(client.on_channel(), [Method::from(basic::QosOk {})]);
    let consume = basic::Consume {
        queue: text("q"),
        consumer_tag: text("mine"),
        exclusive: true,
        arguments: table(&[("x-priority", Value::Int(-3))]),
        ..Default::default()
    };
    client.send(1, consume);
    let ask = client.answer(Answer::Consuming { queue: QUEUE });
    let Ask::Consume(consume) = ask else {
        panic!("{ask:?}");
    };
    assert_eq!(
        (consume.queue.as_str(), consume.tag.as_str()),
        ("q", "mine")
    );
    assert_eq!((consume.priority, consume.prefetch), (-3, 20));
    assert_eq!(
        (consume.ack_mode, consume.is_exclusive),
        (AckMode::Manual, true)
    );
    assert_eq!(consume.granted, GRANT_COUNT);
}

#[test]
fn tags_are_made_for_who_gives_none_and_are_not_used_twice() {
    let mut client = Client::with_channel();
    let (_, first) = client.consume("", false);
    let (_, second) = client.consume("", true);
    assert!(first.tag.starts_with("amq.ctag-0.1."));
    assert_ne!(first.tag, second.tag);
    assert_eq!(second.ack_mode, AckMode::Automatic);
    let again = basic::Consume {
        queue: text("q"),
        consumer_tag: first.tag.clone(),
        ..Default::default()
    };
    client.send(1, again);
    client.assert_closed(
        530,
        &format!(
            "NOT_ALLOWED - attempt to reuse consumer tag '{}'",
            first.tag
        ),
    );
}

#[test]
fn a_consumer_that_is_refused_closes_the_channel() {
    let mut client = Client::with_channel();
    client.send(
        1,
        basic::Consume {
            queue: text("q"),
            ..Default::default()
        },
    );
    client.answer(Answer::Refused(Refusal::ExclusiveConsumer(text("q"))));
    client.assert_channel_closed(
        403,
        "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use",
    );
    let mut client = Client::with_channel();
    let consume = basic::Consume {
        queue: text("q"),
        arguments: table(&[("x-priority", Value::LongString(b"high"))]),
        ..Default::default()
    };
    client.send(1, consume);
    client.serve();
    client.assert_channel_closed(
        406,
        "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \
         {unacceptable_type,longstr}",
    );
}

#[test]
fn a_delivery_carries_its_envelope_its_id_and_how_often_it_failed() {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("mine", false);
    let mut first = delivery(channel, consume.consumer, 1);
    first.taken.attempts = 2;
    first.taken.is_redelivered = true;
    client.connection.deliver(first);
    let frames = client.frames();
    let deliver = basic::Deliver {
        consumer_tag: short("mine"),
        delivery_tag: 1,
        redelivered: true,
        exchange: short("logs"),
        routing_key: short("audit"),
    };
    let method = Method::decode(frames[0].payload.clone()).unwrap();
    assert_eq!(method, deliver.into());
    assert_eq!(&frames[2].payload[..], b"body");
    let headers = first_properties(&frames).headers();
    assert_eq!(headers.get("x-delivery-count"), Some(Value::Long(2)));
    assert_eq!(
        headers.get("x-raftmq-id"),
        Some(Value::LongString(b"7-91-0"))
    );
}

#[test]
fn a_dead_letter_keeps_its_id() {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("mine", false);
    let mut dead_letter = delivery(channel, consume.consumer, 1);
    let headers = table(&[("x-raftmq-id", Value::LongString(b"1-1-1"))]);
    dead_letter.taken.message.properties = raftmq_amqp_protocol::BasicProperties {
        headers: Some(headers.as_ref()),
        ..Default::default()
    }
    .encode()
    .unwrap();
    client.connection.deliver(dead_letter);
    assert_eq!(first_properties(&client.frames()).headers(), headers);
}

#[test]
fn a_large_body_is_cut_into_frames_of_what_was_agreed() {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("mine", false);
    let mut large = delivery(channel, consume.consumer, 1);
    large.taken.message.body = bytes::Bytes::from(vec![5; 9_000]).into();
    client.connection.deliver(large);
    let frames = client.frames();
    let sizes: Vec<usize> = frames
        .iter()
        .skip(2)
        .map(|frame| frame.payload.len())
        .collect();
    assert_eq!(sizes, [4_088, 4_088, 824]);
}

#[test]
fn a_message_is_fetched_or_there_is_none() {
    let mut client = Client::with_channel();
    let get = basic::Get {
        queue: text("q"),
        ..Default::default()
    };
    client.send(1, get.clone());
    let ask = client.answer(Answer::Got(None));
    assert_eq!(
        ask,
        Ask::Get {
            queue: text("q"),
            ack_mode: AckMode::Manual
        }
    );
    assert_eq!(
        client.on_channel(),
        [Method::from(basic::GetEmpty::default())]
    );
    client.send(1, get.clone());
    let got = Got {
        taken: taken(1),
        ready_count: 4,
    };
    client.answer(Answer::Got(Some(Box::new(got.clone()))));
    let get_ok = basic::GetOk {
        delivery_tag: 1,
        redelivered: false,
        exchange: short("logs"),
        routing_key: short("audit"),
        message_count: 4,
    };
    assert_eq!(client.on_channel(), [Method::from(get_ok)]);
    client.send(1, get);
    let mut got = got;
    got.taken.is_settled = true;
    client.answer(Answer::Got(Some(Box::new(got))));
    assert_eq!(delivery_tags(&client.on_channel()), [2]);
    client.send(1, ack(2, false));
    client.serve();
    client.assert_channel_closed(406, "PRECONDITION_FAILED - unknown delivery tag 2");
}

#[test]
fn the_limit_of_a_channel_holds_deliveries_back_until_some_are_settled() {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("a", false);
    client.send(1, qos(2, true));
    let consumer = consume.consumer;
    let credit = Request::Credit {
        channel,
        consumer,
        prefetch: 2,
        granted: GRANT_COUNT,
    };
    assert_eq!(client.serve(), [credit]);
    client.send(1, qos(0, true));
    client.serve();
    client.send(1, qos(2, true));
    client.serve();
    client.methods();
    let (_, other) = client.consume("b", false);
    assert_eq!(other.prefetch, 2);
    for (id, consumer) in [
        (1, consumer),
        (2, other.consumer),
        (3, consumer),
        (4, consumer),
    ] {
        client.connection.deliver(delivery(channel, consumer, id));
    }
    assert_eq!(delivery_tags(&client.on_channel()), [1, 2]);
    client.send(1, ack(1, false));
    assert_eq!(client.serve().len(), 1);
    assert_eq!(delivery_tags(&client.on_channel()), [3]);
    client.send(1, qos(0, true));
    client.serve();
    assert_eq!(delivery_tags(&client.on_channel()), [4]);
}

#[test]
fn what_was_held_back_returns_when_its_consumer_is_cancelled() {
    let mut client = Client::with_channel();
    client.send(1, qos(1, true));
    client.serve();
    client.methods();
    let (channel, consume) = client.consume("a", false);
    for id in 1..=3 {
        client
            .connection
            .deliver(delivery(channel, consume.consumer, id));
    }
    assert_eq!(delivery_tags(&client.on_channel()), [1]);
    client.send(
        1,
        basic::Cancel {
            consumer_tag: text("a"),
            no_wait: false,
        },
    );
    client.answer(Answer::Done);
    let settle = Request::Settle {
        channel,
        queue: QUEUE,
        spans: vec![Span {
            first: DeliveryId(2),
            last: DeliveryId(3),
        }],
        outcome: Outcome::Returned(Attempt::CountsNot),
    };
    assert_eq!(client.requests(), [settle]);
    let cancel_ok = basic::CancelOk {
        consumer_tag: text("a"),
    };
    assert_eq!(client.on_channel(), [Method::from(cancel_ok.clone())]);
    client.send(1, ack(1, false));
    assert_eq!(client.serve().len(), 1, "the client still holds the first");
    client.send(
        1,
        basic::Cancel {
            consumer_tag: text("a"),
            no_wait: false,
        },
    );
    assert!(client.serve().is_empty());
    assert_eq!(
        client.on_channel(),
        [Method::from(cancel_ok)],
        "once more is no error"
    );
}

#[test]
fn a_consumer_whose_queue_is_gone_is_told_and_late_deliveries_return() {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("a", false);
    let consumer = consume.consumer;
    client
        .connection
        .tell(Event::ConsumerCancelled { channel, consumer });
    let cancel = basic::Cancel {
        consumer_tag: text("a"),
        no_wait: true,
    };
    assert_eq!(client.on_channel(), [Method::from(cancel)]);
    client.connection.deliver(delivery(channel, consumer, 1));
    assert!(matches!(
        client.requests()[..],
        [Request::Settle {
            outcome: Outcome::Returned(Attempt::CountsNot),
            ..
        }]
    ));
    assert_eq!(client.methods(), []);
}

#[test]
fn who_deletes_a_queue_hears_that_before_its_consumer_is_told() {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("a", false);
    let consumer = consume.consumer;
    let delete = queue::Delete {
        queue: text("q"),
        ..Default::default()
    };
    client.send(1, delete);
    let requests = client.requests();
    client
        .connection
        .tell(Event::ConsumerCancelled { channel, consumer });
    assert_eq!(client.on_channel(), []);
    client.answer_friendly(&requests[0]);
    let [Method::Queue(queue::Method::DeleteOk(_)), cancel] = &client.on_channel()[..] else {
        panic!("delete-ok and cancel are due");
    };
    let expected = basic::Cancel {
        consumer_tag: text("a"),
        no_wait: true,
    };
    assert_eq!(*cancel, Method::from(expected));
}

#[test]
fn a_consumer_is_granted_more_as_the_client_takes_frames() {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("a", true);
    let consumer = consume.consumer;
    for id in 1..=GRANT_COUNT / 2 {
        assert!(client.requests().is_empty());
        let mut message = delivery(channel, consumer, id);
        message.taken.is_settled = true;
        client.connection.deliver(message);
    }
    assert_eq!(client.on_channel().len() as u64, GRANT_COUNT / 2);
    let granted = GRANT_COUNT / 2 + GRANT_COUNT;
    let credit = Request::Credit {
        channel,
        consumer,
        prefetch: 0,
        granted,
    };
    assert_eq!(client.requests(), [credit]);
    assert!(client.connection.flush().is_empty() && client.requests().is_empty());
}

#[test]
fn a_delivery_that_cannot_be_handed_over_costs_its_consumer_nothing() {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("a", true);
    let consumer = consume.consumer;
    for _ in 1..=GRANT_COUNT / 2 {
        assert!(client.requests().is_empty());
        client.connection.pass_over(channel, consumer);
    }
    assert_eq!(client.on_channel(), []);
    let credit = Request::Credit {
        channel,
        consumer,
        prefetch: 0,
        granted: GRANT_COUNT / 2 + GRANT_COUNT,
    };
    assert_eq!(client.requests(), [credit]);
    client.connection.pass_over(channel, ConsumerKey(99));
    assert_eq!(client.on_channel(), []);
    assert!(client.requests().is_empty());
}

#[test]
fn a_prefetch_in_bytes_and_recovery_without_requeue_are_not_there() {
    let mut client = Client::with_channel();
    client.send(
        1,
        basic::Qos {
            prefetch_size: 9,
            ..qos(1, false)
        },
    );
    client.assert_closed(540, "NOT_IMPLEMENTED - prefetch_size!=0 (9)");
    let mut client = Client::with_channel();
    client.send(1, basic::Recover { requeue: false });
    client.assert_closed(540, "NOT_IMPLEMENTED - requeue=false");
}

#[test]
fn without_a_name_the_queue_is_the_one_that_was_declared_last() {
    let mut client = Client::with_channel();
    client.send(1, basic::Get::default());
    client.serve();
    client.assert_channel_closed(404, "NOT_FOUND - no previously declared queue");
    let mut client = Client::with_channel();
    client.send(1, crate::support::declare(""));
    client.serve();
    client.send(1, basic::Get::default());
    let ask = client.answer(Answer::Refused(Refusal::Unavailable(
        Kind::Queue,
        text("amq.gen-1"),
    )));
    assert!(matches!(ask, Ask::Get { queue, .. } if queue == text("amq.gen-1")));
    client.assert_channel_closed(
        404,
        "NOT_FOUND - failed to perform operation on queue 'amq.gen-1' in vhost '/' due to timeout",
    );
}

#[test]
fn a_cancelled_consumer_is_told_so_even_if_its_queue_was_quicker() {
    let mut client = Client::with_channel();
    let (channel, consume) = client.consume("a", false);
    let consumer = consume.consumer;
    client.send(
        1,
        basic::Cancel {
            consumer_tag: text("a"),
            no_wait: false,
        },
    );
    let requests = client.requests();
    client
        .connection
        .tell(Event::ConsumerCancelled { channel, consumer });
    client.answer_friendly(&requests[0]);
    let cancel = basic::Cancel {
        consumer_tag: text("a"),
        no_wait: true,
    };
    let cancel_ok = basic::CancelOk {
        consumer_tag: text("a"),
    };
    assert_eq!(
        client.on_channel(),
        [Method::from(cancel), cancel_ok.into()]
    );
}
