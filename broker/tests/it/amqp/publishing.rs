//! What a publisher is told: confirms, nacks, returns; and where messages go that match nothing.

use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, QueueDeleteOptions};

use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Confirmation, ExchangeKind};

use super::client::{
    Client, acked, bind, broker, confirmation, consume, declare, declare_exchange, declare_with,
    long_text, publish, send, table, take,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_publish_in_flight_is_confirmed() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare(&client.channel, "confirmed").await;
    let mut sent = Vec::new();
    for number in 0..500 {
        let body = format!("{number}");
        let properties = BasicProperties::default().with_delivery_mode(2);
        sent.push(
            send(
                &client.channel,
                "",
                "confirmed",
                body.as_bytes(),
                properties,
            )
            .await,
        );
    }
    for one in sent {
        acked(one).await;
    }
    let mut consumer = consume(&client.channel, "confirmed", "c").await;
    for number in 0..500 {
        assert_eq!(take(&mut consumer).await, format!("{number}"));
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_that_rejects_is_a_nack_and_keeps_what_it_has() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let arguments = table(&[
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-overflow", long_text("reject-publish")),
    ]);
    declare_with(&client.channel, "full", arguments).await;
    for body in ["one", "two"] {
        publish(&client.channel, "", "full", body.as_bytes()).await;
    }
    let sent = send(
        &client.channel,
        "",
        "full",
        b"three",
        BasicProperties::default(),
    )
    .await;
    let confirmed = confirmation(sent).await;
    assert!(matches!(confirmed, Confirmation::Nack(_)), "{confirmed:?}");
    let mut consumer = consume(&client.channel, "full", "c").await;
    for body in ["one", "two"] {
        assert_eq!(take(&mut consumer).await, body);
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mandatory_message_that_reaches_no_queue_comes_back_and_is_confirmed() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default().with_message_id("m-1".into());
    let sent = client
        .channel
        .basic_publish("".into(), "nowhere".into(), options, b"back", properties)
        .await
        .expect("it is sent");
    let Confirmation::Ack(Some(returned)) = confirmation(sent).await else {
        panic!("it is returned, then confirmed");
    };
    let BasicReturnMessage {
        delivery,
        reply_code,
        reply_text,
        ..
    } = returned;
    assert_eq!((reply_code, reply_text.as_str()), (312, "NO_ROUTE"));
    assert_eq!(delivery.routing_key.as_str(), "nowhere");
    assert_eq!(delivery.data, b"back");
    let id = delivery.properties.message_id().clone();
    assert_eq!(id.expect("an id").as_str(), "m-1");
    // Without the flag it is dropped, and confirmed all the same.
    publish(&client.channel, "", "nowhere", b"dropped").await;
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_matches_nothing_goes_to_the_alternate_exchange() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare_exchange(
        channel,
        "unmatched",
        ExchangeKind::Fanout,
        FieldTable::default(),
    )
    .await;
    let arguments = table(&[("alternate-exchange", long_text("unmatched"))]);
    declare_exchange(channel, "matched", ExchangeKind::Direct, arguments).await;
    declare(channel, "strays").await;
    bind(channel, "strays", "unmatched", "").await;
    declare(channel, "known").await;
    bind(channel, "known", "matched", "known").await;
    publish(channel, "matched", "known", b"1").await;
    publish(channel, "matched", "unknown", b"2").await;
    let mut strays = consume(channel, "strays", "strays").await;
    assert_eq!(take(&mut strays).await, "2");
    let mut known = consume(channel, "known", "known").await;
    assert_eq!(take(&mut known).await, "1");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_go_to_the_keys_in_cc_and_bcc_and_bcc_is_not_seen() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    for queue in ["to", "cc", "bcc"] {
        declare(channel, queue).await;
    }
    let keys = |key: &str| AMQPValue::FieldArray(FieldArray::from(vec![long_text(key)]));
    let headers = table(&[("CC", keys("cc")), ("BCC", keys("bcc"))]);
    let properties = BasicProperties::default().with_headers(headers);
    acked(send(channel, "", "to", b"hello", properties).await).await;
    for queue in ["to", "cc", "bcc"] {
        let mut consumer = consume(channel, queue, queue).await;
        let delivery = super::client::next(&mut consumer).await;
        let headers = delivery.properties.headers().clone().expect("headers");
        assert!(headers.contains_key("CC") && !headers.contains_key("BCC"));
        assert_eq!(delivery.data, b"hello");
        assert_eq!(delivery.routing_key.as_str(), "to");
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_exchanges_match_all_or_any() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    for (queue, mode) in [("all-match", "all"), ("any-match", "any")] {
        declare(channel, queue).await;
        let arguments = table(&[
            ("x-match", long_text(mode)),
            ("size", AMQPValue::LongInt(1)),
            ("colour", long_text("red")),
        ]);
        let bound = channel.queue_bind(
            queue.into(),
            "amq.headers".into(),
            "".into(),
            Default::default(),
            arguments,
        );
        bound.await.expect("a binding");
    }
    for (body, colour) in [("both", "red"), ("one", "blue")] {
        let headers = table(&[
            ("size", AMQPValue::LongLongInt(1)),
            ("colour", long_text(colour)),
        ]);
        let properties = BasicProperties::default().with_headers(headers);
        acked(send(channel, "amq.headers", "", body.as_bytes(), properties).await).await;
    }
    let mut any = consume(channel, "any-match", "any").await;
    assert_eq!(take(&mut any).await, "both");
    assert_eq!(take(&mut any).await, "one");
    let deleted = channel.queue_delete("all-match".into(), QueueDeleteOptions::default());
    assert_eq!(deleted.await.expect("it is deleted"), 1, "messages in it");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_exchanges_look_at_names_with_an_x_only_if_told_to() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    for mode in ["all", "any", "all-with-x", "any-with-x"] {
        declare(channel, mode).await;
        let arguments = table(&[
            ("x-match", long_text(mode)),
            ("x-kind", long_text("a")),
            ("size", AMQPValue::LongInt(1)),
        ]);
        let bound = channel.queue_bind(
            mode.into(),
            "amq.headers".into(),
            "".into(),
            Default::default(),
            arguments,
        );
        bound.await.expect("a binding");
    }
    let (kind, size) = (("x-kind", long_text("a")), ("size", AMQPValue::LongInt(1)));
    for (body, headers) in [
        ("kind", table(std::slice::from_ref(&kind))),
        ("size", table(std::slice::from_ref(&size))),
        ("both", table(&[kind, size])),
    ] {
        let properties = BasicProperties::default().with_headers(headers);
        acked(send(channel, "amq.headers", "", body.as_bytes(), properties).await).await;
    }
    for (mode, expected) in [
        ("all", &["size", "both"][..]),
        ("any", &["size", "both"]),
        ("all-with-x", &["both"]),
        ("any-with-x", &["kind", "size", "both"]),
    ] {
        let mut consumer = consume(channel, mode, mode).await;
        for body in expected {
            assert_eq!(take(&mut consumer).await, *body, "{mode}");
        }
        let deleted = channel.queue_delete(mode.into(), QueueDeleteOptions::default());
        assert_eq!(deleted.await.expect("it is deleted"), 0, "{mode}");
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_is_confirmed_and_not_delivered() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    let arguments = table(&[("x-message-deduplication", AMQPValue::Boolean(true))]);
    declare_with(channel, "once", arguments).await;
    for (id, body) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
        let properties = BasicProperties::default().with_message_id(id.into());
        acked(send(channel, "", "once", body.as_bytes(), properties).await).await;
    }
    let mut consumer = consume(channel, "once", "c").await;
    for body in ["1", "2", "4"] {
        assert_eq!(take(&mut consumer).await, body);
    }
    client.close().await;
}
