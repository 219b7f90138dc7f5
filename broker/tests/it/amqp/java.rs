//! RabbitMQ's Java client, unmodified. What it must find stands in `broker/tests/clients/java`.

use super::client::{Client, acked, broker, consume, declare, next, send, text};
use super::failover::program_goes_on;
use crate::clients::programs::{rabbit, run};
use crate::support::{Dev, text as field};
use lapin::BasicProperties;
use lapin::options::BasicAckOptions;

/// What the client checks by itself.
const STEPS: [&str; 24] = [
    "simple",
    "round-robin",
    "work",
    "fanout",
    "direct",
    "topic",
    "headers",
    "exchange-to-exchange",
    "alternate-exchange",
    "copies",
    "delays",
    "rpc",
    "confirms",
    "returns",
    "requeue",
    "ack-multiple",
    "dead-letters",
    "expiry",
    "length-limit",
    "priorities",
    "single-active-consumer",
    "deduplication",
    "refusals",
    "login",
];

fn scenario(brokers: &str, prefix: &str, steps: &[&str]) -> String {
    let mut scenario = rabbit("Rabbit.java");
    scenario.args([brokers, prefix]).args(steps);
    run(scenario, "")
}

#[test]
fn rabbitmqs_java_client_finds_every_promise_kept_at_three_brokers() {
    let dev = Dev::start(&[]);
    let brokers = [1, 2, 3].map(|id| field(&dev.broker(id), "amqp")).join(",");
    let said = scenario(&brokers, "java", &STEPS);
    for step in STEPS {
        assert!(said.contains(&format!("ok {step} ")), "{step}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_java_client_publishes_and_consumes_through_the_death_of_a_queues_leader() {
    program_goes_on("java-orphaned", rabbit("RabbitFailover.java")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_in_java_is_answered_by_a_server_in_rust() {
    let broker = broker();
    let server = Client::confirming(&broker.amqp()).await;
    declare(&server.channel, "mixed-rpc").await;
    let calling = {
        let endpoint = broker.amqp();
        tokio::task::spawn_blocking(move || scenario(&endpoint, "mixed", &["rpc-call"]))
    };
    let mut requests = consume(&server.channel, "mixed-rpc", "server").await;
    for _ in 0..5 {
        let request = next(&mut requests).await;
        let number: u64 = text(&request).parse().expect("a number");
        let to = request.properties.reply_to().clone().expect("an address");
        let id = request.properties.correlation_id().clone().expect("an id");
        let properties = BasicProperties::default().with_correlation_id(id);
        let answer = format!("{}", number * 2);
        acked(
            send(
                &server.channel,
                "",
                to.as_str(),
                answer.as_bytes(),
                properties,
            )
            .await,
        )
        .await;
        request
            .ack(BasicAckOptions::default())
            .await
            .expect("an ack");
    }
    let said = calling.await.expect("it ends");
    assert!(said.contains("ok rpc-call "), "{said}");
    server.close().await;
}
