//! Publishing over gRPC: what AMQP clients read of it, deduplication, and what reaches no queue.

use lapin::types::AMQPValue;
use raftmq_client::{Error, ErrorKind, HeaderValue, Message};

use super::support::{
    VHOST, bind, broker, client, consume, declare, declare_exchange, next, publish, take,
};
use crate::amqp::client as amqp;
use crate::amqp::client::{Client as Lapin, long_text, table};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_grpc_client_publishes_an_amqp_client_reads() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "to-amqp").await;
    let mut message = Message::new("hello")
        .content_type("text/plain")
        .header("region", "eu")
        .header("attempt", 3)
        .correlation_id("c-1")
        .message_id("m-1")
        .reply_to("answers")
        .priority(2);
    message.kind = Some("greeting".to_owned());
    publish(&client, "to-amqp", message).await;

    let reader = Lapin::connect(&broker.amqp()).await;
    let mut consumer = amqp::consume(&reader.channel, "to-amqp", "reader").await;
    let delivery = amqp::next(&mut consumer).await;

    assert_eq!(amqp::text(&delivery), "hello");
    assert_eq!(delivery.routing_key.as_str(), "to-amqp");
    let properties = &delivery.properties;
    let text = |text: &Option<lapin::types::ShortString>| text.clone().map(|text| text.to_string());
    assert_eq!(
        text(properties.content_type()).as_deref(),
        Some("text/plain")
    );
    assert_eq!(text(properties.correlation_id()).as_deref(), Some("c-1"));
    assert_eq!(text(properties.message_id()).as_deref(), Some("m-1"));
    assert_eq!(text(properties.reply_to()).as_deref(), Some("answers"));
    assert_eq!(text(properties.kind()).as_deref(), Some("greeting"));
    assert_eq!(*properties.priority(), Some(2));
    let headers = properties.headers().clone().expect("headers");
    assert_eq!(headers.inner().get("region"), Some(&long_text("eu")));
    let attempt = headers.inner().get("attempt");
    assert_eq!(attempt, Some(&AMQPValue::LongLongInt(3)));
    assert!(headers.inner().contains_key("x-raftmq-id"), "{headers:?}");
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_amqp_client_publishes_a_grpc_client_reads() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "from-amqp").await;
    let writer = Lapin::confirming(&broker.amqp()).await;
    let deaths = table(&[("inner", AMQPValue::Boolean(true))]);
    let headers = table(&[
        ("number", AMQPValue::ShortInt(-7)),
        ("table", AMQPValue::FieldTable(deaths)),
    ]);
    let properties = lapin::BasicProperties::default()
        .with_headers(headers)
        .with_timestamp(1_700_000_000)
        .with_expiration("60000".into())
        .with_app_id("shop".into());
    let sent = amqp::send(&writer.channel, "", "from-amqp", b"hello", properties).await;
    amqp::acked(sent).await;

    let mut consumer = consume(&client, "from-amqp", 1).await;
    let delivery = next(&mut consumer).await;

    assert_eq!(delivery.text(), "hello");
    let message = &delivery.message;
    assert_eq!(
        message.find_header("number"),
        Some(&HeaderValue::Integer(-7))
    );
    let inner = ("inner".to_owned(), HeaderValue::Bool(true));
    let table = HeaderValue::Table(vec![inner]);
    assert_eq!(message.find_header("table"), Some(&table));
    assert_eq!(message.timestamp_s, Some(1_700_000_000));
    assert_eq!(message.expiration.map(|span| span.as_secs()), Some(60));
    assert_eq!(message.app_id.as_deref(), Some("shop"));
    let id = message
        .find_header("x-raftmq-id")
        .and_then(HeaderValue::as_text);
    assert_eq!(id, Some(delivery.raftmq_id.as_str()));
    writer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_under_way_stay_in_order() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "pipelined").await;
    let queue = client.queue("pipelined");
    let mut confirmations = Vec::new();
    for number in 0..2_000 {
        let sent = queue.publish(number.to_string()).await;
        confirmations.push(sent.expect("it is sent"));
    }
    for confirmation in confirmations {
        confirmation.await.expect("a confirm");
    }
    let mut consumer = consume(&client, "pipelined", 100).await;
    for number in 0..2_000 {
        assert_eq!(take(&mut consumer).await, number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_deduplicates_takes_a_repeated_message_once_whoever_publishes_it() {
    let broker = broker();
    let client = client(&broker).await;
    let declared = client.admin().declare_queue(VHOST, "once");
    let declared = declared.argument("x-message-deduplication", true).send();
    declared.await.expect("a queue");
    for _ in 0..3 {
        publish(&client, "once", Message::new("one").deduplicated_by("id-1")).await;
    }
    let writer = Lapin::confirming(&broker.amqp()).await;
    let properties = lapin::BasicProperties::default().with_message_id("id-1".into());
    let sent = amqp::send(&writer.channel, "", "once", b"one", properties).await;
    amqp::acked(sent).await;
    publish(&client, "once", Message::new("two").deduplicated()).await;
    publish(&client, "once", Message::new("three").deduplicated()).await;

    let mut consumer = consume(&client, "once", 1).await;
    for expected in ["one", "two", "three"] {
        assert_eq!(take(&mut consumer).await, expected);
    }
    assert!(
        client
            .queue("once")
            .get()
            .await
            .expect("an answer")
            .is_none()
    );
    writer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_reaches_no_queue_is_unroutable_only_where_that_matters() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "bound").await;
    declare_exchange(&client, "sorted", "direct").await;
    bind(&client, "bound", "sorted", "known").await;
    let exchange = client.exchange("sorted");
    let publish = async |key: &str, message: Message| {
        exchange
            .publish(key, message)
            .await
            .expect("it is sent")
            .await
    };

    assert_eq!(publish("other", Message::new("gone")).await, Ok(()));
    let refused = publish("other", Message::new("b").mandatory()).await;
    let refused = refused.expect_err("nobody takes it");
    assert!(matches!(refused, Error::Unroutable { .. }), "{refused:?}");
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(refused.to_string().contains("'sorted'"), "{refused}");
    assert_eq!(
        publish("known", Message::new("b").mandatory()).await,
        Ok(())
    );

    let nowhere = client.queue("no-such-queue").publish("b").await;
    let nowhere = nowhere.expect("it is sent").await;
    assert!(
        matches!(nowhere, Err(Error::Unroutable { .. })),
        "{nowhere:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses() {
    let broker = broker();
    let client = client(&broker).await;
    let declared = client.admin().declare_queue(VHOST, "small");
    let declared = declared
        .argument("x-max-length", 1)
        .argument("x-overflow", "reject-publish")
        .send();
    declared.await.expect("a queue");
    publish(&client, "small", "fits").await;
    let refused = client.queue("small").publish("does not").await;
    let refused = refused.expect("it is sent").await.expect_err("it is full");
    assert!(
        matches!(refused, Error::MessageRefused { .. }),
        "{refused:?}"
    );
}
