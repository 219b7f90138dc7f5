//! Calls over queues, between clients of both protocols.

use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use raftmq_client::{Error, ErrorKind, Message};
use tokio::time::{Instant, sleep};

use super::support::{broker, client, declare};
use crate::amqp::client as amqp;
use crate::amqp::client::Client as Lapin;
use crate::support::PATIENCE;

const PSEUDO_QUEUE: &str = "amq.rabbitmq.reply-to";

fn doubled(text: &str) -> String {
    let number: u64 = text.parse().expect("a number");
    (number * 2).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_answered_each_with_its_own_reply() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "grpc-rpc").await;
    let server = client.rpc_server("grpc-rpc", async |request: raftmq_client::QueueRequest| {
        doubled(&request.text())
    });
    let _server = server.await.expect("a server");
    let caller = client.rpc_client().await.expect("a caller");
    let calls = (1..=20).map(|number: u32| {
        let caller = caller.clone();
        async move {
            let reply = caller.call("grpc-rpc", number.to_string(), PATIENCE).await;
            assert_eq!(reply.expect("a reply").body, (number * 2).to_string());
        }
    });
    futures_util::future::join_all(calls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_server_answers_an_amqp_caller() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "grpc-serves").await;
    let server = client.rpc_server(
        "grpc-serves",
        async |request: raftmq_client::QueueRequest| doubled(&request.text()),
    );
    let _server = server.await.expect("a server");
    let caller = Lapin::connect(&broker.amqp()).await;
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let own = amqp::own_queue(&caller.channel).await;
    for address in [PSEUDO_QUEUE, own.as_str()] {
        let mut replies = amqp::consume_with(&caller.channel, address, "", no_ack).await;
        let properties = lapin::BasicProperties::default()
            .with_reply_to(address.into())
            .with_correlation_id("c-7".into());
        amqp::send(&caller.channel, "", "grpc-serves", b"21", properties).await;
        let reply = amqp::next(&mut replies).await;
        assert_eq!(amqp::text(&reply), "42");
        let id = reply.properties.correlation_id().clone();
        assert_eq!(id.map(|id| id.to_string()).as_deref(), Some("c-7"));
    }
    caller.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_amqp_server_answers_a_grpc_caller() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "amqp-serves").await;
    let server = Lapin::confirming(&broker.amqp()).await;
    let mut requests = amqp::consume(&server.channel, "amqp-serves", "server").await;
    let serving = tokio::spawn(async move {
        let request = amqp::next(&mut requests).await;
        let reply_to = request.properties.reply_to().clone().expect("an address");
        let id = request.properties.correlation_id().clone();
        let properties = lapin::BasicProperties::default().with_correlation_id(id.expect("an id"));
        let answer = doubled(&amqp::text(&request));
        let sent = amqp::send(
            &server.channel,
            "",
            reply_to.as_str(),
            answer.as_bytes(),
            properties,
        );
        amqp::acked(sent.await).await;
        let acked = request.ack(BasicAckOptions::default());
        acked.await.expect("an ack");
        server.close().await;
    });
    let caller = client.rpc_client().await.expect("a caller");
    let reply = caller.call("amqp-serves", "21", PATIENCE).await;
    assert_eq!(reply.expect("a reply").body, "42");
    serving.await.expect("it served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_nobody_answers_ends_and_leaves_the_queue() {
    let broker = broker();
    let client = client(&broker).await;
    declare(&client, "unanswered").await;
    let caller = client.rpc_client().await.expect("a caller");
    let timeout = Duration::from_millis(50);
    let late = caller.call("unanswered", "anybody?", timeout).await;
    assert_eq!(late.expect_err("nobody").kind(), ErrorKind::TimedOut);
    let nowhere = caller.call("no-such", Message::new("b"), PATIENCE).await;
    assert!(
        matches!(nowhere, Err(Error::Unroutable { .. })),
        "{nowhere:?}"
    );
    let deadline = Instant::now() + PATIENCE;
    while client
        .queue("unanswered")
        .get()
        .await
        .expect("an answer")
        .is_some()
    {
        assert!(Instant::now() < deadline, "the request stays");
        sleep(timeout).await;
    }
}
