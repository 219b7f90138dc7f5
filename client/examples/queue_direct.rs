//! Routing by type: a direct exchange brings a message to the queues that are bound with its routing key.
//!
//! `RAFTMQ_BOOTSTRAP=127.0.0.1:9090 cargo run -p raftmq-client --example queue_direct`

use std::error::Error;

use raftmq_client::{Client, Error as ClientError, Message};

const VHOST: &str = "/";
const EXCHANGE: &str = "example-by-type";
/// Queues, and the types of messages that each wants.
const ROUTES: [(&str, &[&str]); 2] = [
    ("example-errors", &["error"]),
    ("example-all-types", &["info", "warning", "error"]),
];

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        std::env::var("RAFTMQ_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9090".to_owned());
    let client = Client::builder().bootstrap(&bootstrap).build().await?;
    let admin = client.admin();
    admin
        .declare_exchange(VHOST, EXCHANGE, "direct")
        .send()
        .await?;
    for (queue, keys) in ROUTES {
        admin.declare_queue(VHOST, queue).send().await?;
        admin.purge_queue(VHOST, queue).await?;
        for key in keys {
            admin.bind_queue(VHOST, queue, EXCHANGE, key).await?;
        }
    }

    let exchange = client.exchange(EXCHANGE);
    for key in ["info", "error", "warning"] {
        exchange.publish(key, key).await?.await?;
    }
    // No queue wants this one: it is confirmed and gone, unless the publisher insists.
    exchange.publish("debug", "debug").await?.await?;
    let insisted = Message::new("debug").mandatory();
    let refused = exchange.publish("debug", insisted).await?.await;
    assert!(matches!(refused, Err(ClientError::Unroutable { .. })));

    expect(&client, "example-errors", &["error"]).await?;
    expect(&client, "example-all-types", &["info", "error", "warning"]).await?;
    println!("every message is where its type belongs");
    Ok(())
}

/// Takes everything out of a queue, which must be this.
async fn expect(client: &Client, queue: &str, bodies: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut taken = Vec::new();
    // For a few messages one can ask instead of consuming; `None` says that no message is ready.
    while let Some(delivery) = client.queue(queue).get().await? {
        taken.push(delivery.text());
        delivery.ack().await?;
    }
    assert_eq!(taken, bodies);
    Ok(())
}
