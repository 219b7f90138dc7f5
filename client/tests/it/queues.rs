//! Queues and calls: what is repeated, what is told unknown, and what goes on over lost streams.

use std::time::Duration;

use futures_util::StreamExt as _;
use raftmq_client::{
    Client, ConsumeOptions, Error, ErrorCode, ErrorKind, Message, QueueConsumer, QueueDelivery,
};
use tokio::time::timeout;

use crate::fake::{ChannelFault, Cluster};
use crate::{client, settings};

const PATIENCE: Duration = Duration::from_secs(20);

async fn declared(cluster: &Cluster, queue: &str) -> Client {
    let client = client(cluster).await;
    let declared = client.admin().declare_queue("/", queue).send().await;
    declared.expect("declared");
    client
}

async fn publish(client: &Client, message: Message) -> Result<(), Error> {
    client
        .queue("q")
        .publish(message)
        .await
        .expect("sent")
        .await
}

async fn next(consumer: &mut QueueConsumer) -> QueueDelivery {
    let next = timeout(PATIENCE, consumer.next()).await;
    next.expect("in time")
        .expect("a delivery")
        .expect("no error")
}

#[tokio::test]
async fn a_message_that_is_deduplicated_is_sent_again_with_the_same_id() {
    let cluster = Cluster::start(2).await;
    let client = declared(&cluster, "q").await;
    cluster.fail_publishes([ChannelFault::StoreThenBreak, ChannelFault::Break]);

    let outcome = publish(&client, Message::new("b").deduplicated()).await;

    assert_eq!(outcome, Ok(()));
    let stored = cluster.stored("q");
    assert_eq!(stored.len(), 2, "the fake does not deduplicate");
    assert_eq!(stored[0], stored[1]);
    assert_eq!(stored[0].headers[0].name, "x-deduplication-header");
    assert_eq!(cluster.channels_count(), 3);
}

#[tokio::test]
async fn a_message_that_may_not_be_repeated_has_an_unknown_outcome() {
    let cluster = Cluster::start(2).await;
    let client = declared(&cluster, "q").await;
    cluster.fail_publishes([ChannelFault::StoreThenBreak]);

    let outcome = publish(&client, Message::new("b")).await;

    let error = outcome.expect_err("nobody knows");
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(cluster.stored("q").len(), 1);
    assert_eq!(publish(&client, Message::new("c")).await, Ok(()));
    cluster.fail_publishes([ChannelFault::StoreThenBreak]);
    let wanted = publish(&client, Message::new("d").at_least_once()).await;
    assert_eq!(wanted, Ok(()));
    assert_eq!(cluster.stored("q").len(), 4);
}

#[tokio::test]
async fn what_no_queue_has_is_sent_again_over_the_same_stream() {
    let cluster = Cluster::start(1).await;
    let client = declared(&cluster, "q").await;
    let refusals = [ErrorCode::Unavailable, ErrorCode::Throttled];
    cluster.fail_publishes(refusals.map(ChannelFault::Refuse));

    assert_eq!(publish(&client, Message::new("b")).await, Ok(()));

    assert_eq!(cluster.stored("q").len(), 1);
    assert_eq!(cluster.channels_count(), 1);
}

#[tokio::test]
async fn a_refusal_and_a_queue_that_is_not_there_are_told() {
    let cluster = Cluster::start(1).await;
    let client = declared(&cluster, "q").await;
    cluster.fail_publishes([ChannelFault::Refuse(ErrorCode::InvalidRequest)]);
    let refused = publish(&client, Message::new("b")).await;
    assert_eq!(refused.expect_err("refused").kind(), ErrorKind::Invalid);
    let nowhere = client
        .queue("other")
        .publish("b")
        .await
        .expect("sent")
        .await;
    assert!(
        matches!(nowhere, Err(Error::Unroutable { .. })),
        "{nowhere:?}"
    );
}

#[tokio::test]
async fn publishers_wait_while_too_much_is_under_way() {
    let cluster = Cluster::start(1).await;
    let client = settings(&cluster)
        .request_timeout(Duration::from_secs(2))
        .build()
        .await
        .expect("the cluster answers");
    let declared = client.admin().declare_queue("/", "q").send().await;
    declared.expect("declared");
    cluster.fail_publishes([ChannelFault::StoreThenSilence; 1_024]);
    let queue = client.queue("q");
    let mut confirmations = Vec::new();
    for _ in 0..1_024 {
        confirmations.push(queue.publish("b").await.expect("sent"));
    }
    let more = timeout(Duration::from_millis(100), queue.publish("b")).await;
    assert!(more.is_err(), "there is no room");

    let first = confirmations.remove(0).await.expect_err("no answer came");
    assert_eq!(first.kind(), ErrorKind::OutcomeUnknown);
    let more = timeout(PATIENCE, queue.publish("b")).await;
    assert!(more.is_ok(), "there is room again");
}

#[tokio::test]
async fn a_consumer_goes_on_over_a_lost_stream_and_old_deliveries_cannot_be_settled() {
    let cluster = Cluster::start(2).await;
    let client = declared(&cluster, "q").await;
    for body in ["one", "two"] {
        assert_eq!(publish(&client, Message::new(body)).await, Ok(()));
    }
    let options = ConsumeOptions::new().prefetch(1);
    let consumer = client.queue("q").consume(options).await;
    let mut consumer = consumer.expect("a consumer");
    let first = next(&mut consumer).await;
    assert_eq!(
        (first.text(), first.is_redelivered),
        ("one".to_owned(), false)
    );

    cluster.break_channels();

    let again = next(&mut consumer).await;
    assert_eq!(
        (again.text(), again.is_redelivered),
        ("one".to_owned(), true)
    );
    assert_eq!(first.ack().await, Err(Error::DeliveryLost));
    again.ack().await.expect("settled");
    let second = next(&mut consumer).await;
    assert_eq!(second.text(), "two");
    second.requeue().await.expect("settled");
    assert!(next(&mut consumer).await.is_redelivered);
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_waited_for_a_moment() {
    let cluster = Cluster::start(1).await;
    let client = client(&cluster).await;
    let missing = client.queue("q").consume(ConsumeOptions::new()).await;
    let missing = missing.expect_err("there is none");
    assert_eq!(missing.code(), Some(ErrorCode::UnknownQueue));
    assert!(cluster.channels_count() > 1, "it was asked again");
}

#[tokio::test]
async fn a_get_is_asked_again_over_another_stream() {
    let cluster = Cluster::start(2).await;
    let client = declared(&cluster, "q").await;
    assert_eq!(publish(&client, Message::new("b")).await, Ok(()));
    let got = client.queue("q").get().await.expect("an answer");
    let got = got.expect("a message");
    cluster.break_channels();
    let again = timeout(PATIENCE, async {
        loop {
            if let Some(again) = client.queue("q").get().await.expect("an answer") {
                return again;
            }
        }
    });
    assert!(again.await.expect("in time").is_redelivered);
    assert_eq!(got.ack().await, Err(Error::DeliveryLost));
}

#[tokio::test]
async fn requests_want_the_metadata_that_the_client_has_made() {
    let cluster = Cluster::start(1).await;
    let client = declared(&cluster, "q").await;
    assert_eq!(publish(&client, Message::new("b")).await, Ok(()));
    let first = cluster.metadata_wanted();
    let other = client.admin().declare_queue("/", "other").send().await;
    other.expect("declared");
    assert_eq!(publish(&client, Message::new("c")).await, Ok(()));
    assert!(first > 0 && cluster.metadata_wanted() > first);
}

#[tokio::test]
async fn a_call_whose_stream_is_lost_has_an_unknown_outcome_and_the_next_one_goes_on() {
    let cluster = Cluster::start(2).await;
    let client = declared(&cluster, "q").await;
    let caller = client.rpc_client().await.expect("a caller");
    let calling = {
        let caller = caller.clone();
        tokio::spawn(async move { caller.call("q", "b", PATIENCE).await })
    };
    let request = timeout(PATIENCE, async {
        loop {
            if let Some(request) = client.queue("q").get().await.expect("an answer") {
                return request;
            }
        }
    });
    let request = request.await.expect("in time");
    assert_eq!(
        request.message.reply_to.as_deref(),
        Some("amq.rabbitmq.reply-to")
    );
    assert!(request.message.correlation_id.is_some());
    cluster.break_channels();
    let lost = calling.await.expect("no panic").expect_err("it is lost");
    assert_eq!(lost.kind(), ErrorKind::OutcomeUnknown);
    let short = Duration::from_millis(100);
    let unanswered = caller.call("q", "b", short).await.expect_err("nobody");
    assert_eq!(unanswered.kind(), ErrorKind::TimedOut);
}
