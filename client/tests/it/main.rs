//! The client against a scripted in-memory cluster over real sockets.

mod admin;
mod amqp;
mod consumer;
mod fake;
mod producer;
mod queues;
mod retries;

use std::time::Duration;

use raftmq_client::{Client, ClientBuilder};

use crate::fake::Cluster;

/// A client whose waits are short enough for tests and long enough for a busy machine.
fn settings(cluster: &Cluster) -> ClientBuilder {
    Client::builder()
        .bootstrap(&cluster.endpoint(1))
        .rng_seed(1)
        .connect_timeout(Duration::from_secs(2))
        .request_timeout(Duration::from_secs(10))
        .topic_wait(Duration::from_millis(300))
}

async fn client(cluster: &Cluster) -> Client {
    settings(cluster)
        .build()
        .await
        .expect("the cluster answers")
}
