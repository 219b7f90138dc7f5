//! Direct reply-to: requests and replies without a queue.

use raftmq_amqp::{Answer, Ask, Event, Kind, Message, PublishTo, Refusal, ReplyAddress};
use raftmq_amqp_protocol::{BasicProperties, Method, basic, queue};

use crate::support::{Client, declare, publish, short, text};

const PSEUDO_QUEUE: &str = "amq.rabbitmq.reply-to";

fn consume_replies(no_ack: bool) -> basic::Consume {
    basic::Consume {
        queue: text(PSEUDO_QUEUE),
        consumer_tag: text(if no_ack { "replies" } else { "other" }),
        no_ack,
        ..Default::default()
    }
}

/// A client that waits for replies, and its address.
fn waiting() -> (Client, ReplyAddress) {
    let mut client = Client::with_channel();
    client.send(1, consume_replies(true));
    assert!(client.serve().is_empty(), "no queue is asked");
    let consume_ok = basic::ConsumeOk {
        consumer_tag: text("replies"),
    };
    assert_eq!(client.on_channel(), [Method::from(consume_ok)]);
    let properties = BasicProperties {
        reply_to: Some(PSEUDO_QUEUE.as_bytes()),
        correlation_id: Some(b"7"),
        ..Default::default()
    };
    client.send_content(1, publish("requests"), &properties, b"question");
    let publishes = client.publishes();
    let view = publishes[0].message.properties.view();
    assert_eq!(view.correlation_id, Some(&b"7"[..]));
    let address = ReplyAddress::parse(view.reply_to.unwrap()).unwrap();
    assert_eq!(address.channel, publishes[0].channel);
    (client, address)
}

#[test]
fn a_reply_finds_the_one_who_asked() {
    let (mut asking, address) = waiting();
    let mut answering = Client::with_channel();
    answering.publish(1, b"elsewhere");
    let to = address.to_text();
    answering.send_content(1, publish(&to), &BasicProperties::default(), b"answer");
    let publishes = answering.publishes();
    assert_eq!(publishes[0].to, PublishTo::Exchange);
    assert_eq!(publishes[1].to, PublishTo::Reply(address.clone()));
    let message = Box::new(publishes[1].message.clone());
    let channel = address.channel;
    asking.connection.tell(Event::Reply { channel, message });
    let frames = asking.frames();
    let deliver = basic::Deliver {
        consumer_tag: short("replies"),
        delivery_tag: 1,
        redelivered: false,
        exchange: short(""),
        routing_key: address.to_short(),
    };
    let method = Method::decode(frames[0].payload.clone()).unwrap();
    assert_eq!(method, deliver.into());
    assert_eq!(&frames[2].payload[..], b"answer");
}

#[test]
fn a_reply_to_who_waits_no_more_is_dropped() {
    let (mut client, address) = waiting();
    client.send(
        1,
        basic::Cancel {
            consumer_tag: text("replies"),
            no_wait: false,
        },
    );
    assert!(client.serve().is_empty());
    client.methods();
    let message = Box::new(Message::default());
    client.connection.tell(Event::Reply {
        channel: address.channel,
        message,
    });
    assert_eq!(client.methods(), []);
}

#[test]
fn there_is_one_consumer_of_replies_and_it_acknowledges_nothing() {
    let mut client = Client::with_channel();
    client.send(1, consume_replies(false));
    client.serve();
    client.assert_channel_closed(
        406,
        "PRECONDITION_FAILED - reply consumer cannot acknowledge",
    );
    let (mut client, _) = waiting();
    client.send(
        1,
        basic::Consume {
            consumer_tag: text("more"),
            ..consume_replies(true)
        },
    );
    client.serve();
    client.assert_channel_closed(406, "PRECONDITION_FAILED - reply consumer already set");
    let (mut client, _) = waiting();
    client.send(1, consume_replies(true));
    client.assert_closed(530, "NOT_ALLOWED - attempt to reuse consumer tag 'replies'");
}

#[test]
fn whether_somebody_still_waits_can_be_asked() {
    let (mut client, address) = waiting();
    let name = address.to_text();
    client.send(
        1,
        queue::Declare {
            passive: true,
            ..declare(&name)
        },
    );
    assert_eq!(client.answer(Answer::Done), Ask::ProbeReply { to: address });
    let declare_ok = queue::DeclareOk {
        queue: name.clone(),
        message_count: 0,
        consumer_count: 1,
    };
    assert_eq!(client.on_channel(), [Method::from(declare_ok)]);
    client.send(
        1,
        queue::Declare {
            passive: true,
            ..declare(&name)
        },
    );
    client.answer(Answer::Refused(Refusal::Unknown(Kind::Queue, name.clone())));
    client.assert_channel_closed(404, &format!("NOT_FOUND - no queue '{name}' in vhost '/'"));
}
