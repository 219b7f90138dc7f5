//! pika, RabbitMQ's client in Python, unmodified, on three brokers. What it must find stands in
//! `broker/tests/clients/python`.

use super::failover::program_goes_on;
use crate::clients::programs::{pika, run};
use crate::support::{Dev, text as field};

/// What the client checks by itself.
const STEPS: [&str; 14] = [
    "simple",
    "work",
    "fanout",
    "direct",
    "topic",
    "rpc",
    "unroutable",
    "redelivery",
    "dead-letters",
    "expiry",
    "priorities",
    "single-active-consumer",
    "deduplication",
    "refusals",
];

#[test]
fn pika_finds_every_promise_kept_at_three_brokers() {
    let dev = Dev::start(&[]);
    let brokers = [1, 2, 3].map(|id| field(&dev.broker(id), "amqp")).join(",");
    let mut scenario = pika("pika_client.py");
    scenario.args([&brokers, "pika"]);
    let said = run(scenario, "");
    for step in STEPS {
        assert!(said.contains(&format!("ok {step} ")), "{step}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pika_publishes_and_consumes_through_the_death_of_a_queues_leader() {
    program_goes_on("pika-orphaned", pika("pika_failover.py")).await;
}
