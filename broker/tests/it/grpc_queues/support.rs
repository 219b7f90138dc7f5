//! What these tests have in common: a broker, clients of both protocols, and the short form of what they do
//! often.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use raftmq_client::{Client, ConsumeOptions, Message, QueueConsumer, QueueDelivery};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Broker, PATIENCE};

pub(super) const VHOST: &str = "/";

/// The broker that tests share, as long as one of them holds it. Each has queues of its own.
pub(super) fn broker() -> Arc<Broker> {
    static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock();
    if let Some(broker) = shared.upgrade() {
        return broker;
    }
    let broker = Arc::new(Broker::start(&[]));
    *shared = Arc::downgrade(&broker);
    broker
}

pub(super) async fn client(broker: &Broker) -> Client {
    let client = Client::builder().bootstrap(&broker.grpc()).build().await;
    let client = client.expect("the broker answers");
    until_ready(&client).await;
    client
}

/// Waits until a cluster that has just begun has its first virtual host.
pub(super) async fn until_ready(client: &Client) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let vhosts = client.admin().list_vhosts().await.expect("a list");
        if vhosts.iter().any(|vhost| vhost.name == VHOST) {
            return;
        }
        assert!(Instant::now() < deadline, "there is no virtual host");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn declare(client: &Client, queue: &str) {
    let declared = client.admin().declare_queue(VHOST, queue).send().await;
    declared.expect("a queue");
}

pub(super) async fn declare_exchange(client: &Client, name: &str, kind: &str) {
    let declared = client.admin().declare_exchange(VHOST, name, kind).send();
    declared.await.expect("an exchange");
}

pub(super) async fn bind(client: &Client, queue: &str, exchange: &str, key: &str) {
    let admin = client.admin();
    let bound = admin.bind_queue(VHOST, queue, exchange, key).await;
    bound.expect("a binding");
}

/// Publishes and waits until it is confirmed.
pub(super) async fn publish(client: &Client, queue: &str, message: impl Into<Message>) {
    let confirmation = client.queue(queue).publish(message).await;
    let confirmed = confirmation.expect("it is sent").await;
    confirmed.expect("a confirm");
}

pub(super) async fn consume(client: &Client, queue: &str, prefetch: u32) -> QueueConsumer {
    let options = ConsumeOptions::new().prefetch(prefetch);
    client
        .queue(queue)
        .consume(options)
        .await
        .expect("a consumer")
}

/// Waits for the next delivery.
pub(super) async fn next(consumer: &mut QueueConsumer) -> QueueDelivery {
    let delivery = timeout(PATIENCE, consumer.next()).await;
    let delivery = delivery.expect("a delivery in time").expect("a delivery");
    delivery.expect("a delivery and no error")
}

/// Waits for the next delivery, acknowledges it and gives its body.
pub(super) async fn take(consumer: &mut QueueConsumer) -> String {
    let delivery = next(consumer).await;
    let text = delivery.text();
    delivery.ack().await.expect("an ack");
    text
}
