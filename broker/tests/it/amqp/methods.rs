//! Methods and flags that few clients use: `basic.recover`, a limit of all consumers of a channel, no-wait.

use std::time::Duration;

use lapin::options::{
    BasicAckOptions, BasicPublishOptions, BasicQosOptions, BasicRecoverOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation};
use tokio::time::timeout;

use super::client::{Client, broker, confirmation, consume, declare, next, publish, take, text};

/// How long nothing must come.
const QUIET: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovered_channel_gets_again_what_it_holds() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "recovered").await;
    for body in ["1", "2"] {
        publish(channel, "", "recovered", body.as_bytes()).await;
    }
    let mut consumer = consume(channel, "recovered", "c").await;
    for body in ["1", "2"] {
        assert_eq!(text(&next(&mut consumer).await), body);
    }
    let recovered = channel.basic_recover(BasicRecoverOptions { requeue: true });
    recovered.await.expect("they come again");
    for body in ["1", "2"] {
        let again = next(&mut consumer).await;
        assert_eq!((text(&again).as_str(), again.redelivered), (body, true));
        again.ack(BasicAckOptions::default()).await.expect("an ack");
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_the_channel_is_that_of_all_its_consumers_together() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let reading = client.another_channel().await;
    let limited = reading.basic_qos(2, BasicQosOptions { global: true });
    limited.await.expect("a limit");
    for queue in ["limited-1", "limited-2"] {
        declare(&client.channel, queue).await;
        for body in ["1", "2"] {
            publish(&client.channel, "", queue, body.as_bytes()).await;
        }
    }
    let mut first = consume(&reading, "limited-1", "first").await;
    let held = [next(&mut first).await, next(&mut first).await];
    let mut second = consume(&reading, "limited-2", "second").await;
    assert!(timeout(QUIET, next(&mut second)).await.is_err());
    held[0]
        .ack(BasicAckOptions::default())
        .await
        .expect("an ack");
    let one = next(&mut second).await;
    assert_eq!(text(&one), "1");
    assert!(timeout(QUIET, next(&mut second)).await.is_err());
    one.ack(BasicAckOptions::default()).await.expect("an ack");
    assert_eq!(take(&mut second).await, "2");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_and_bound_without_waiting_is_there_for_what_follows() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    let declare_nowait = QueueDeclareOptions {
        nowait: true,
        ..QueueDeclareOptions::durable()
    };
    let declared = channel.queue_declare("unwaited".into(), declare_nowait, FieldTable::default());
    declared.await.expect("it is sent");
    let bound = channel.queue_bind(
        "unwaited".into(),
        "amq.direct".into(),
        "unwaited-key".into(),
        QueueBindOptions { nowait: true },
        FieldTable::default(),
    );
    bound.await.expect("it is sent");
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default();
    let sent = channel.basic_publish(
        "amq.direct".into(),
        "unwaited-key".into(),
        mandatory,
        b"1",
        properties,
    );
    let confirmed = confirmation(sent.await.expect("it is sent")).await;
    assert_eq!(confirmed, Confirmation::Ack(None), "it is not returned");
    let mut consumer = consume(channel, "unwaited", "c").await;
    assert_eq!(take(&mut consumer).await, "1");
    client.close().await;
}
