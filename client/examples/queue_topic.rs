//! Routing by pattern: in the keys of a topic exchange `*` stands for one word, `#` for any number of words.
//!
//! `RAFTMQ_BOOTSTRAP=127.0.0.1:9090 cargo run -p raftmq-client --example queue_topic`

use std::error::Error;

use raftmq_client::Client;

const VHOST: &str = "/";
const EXCHANGE: &str = "example-audits";
const MANY_WORDS: &str = "example-audit-many-words";
const ONE_WORD: &str = "example-audit-one-word";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        std::env::var("RAFTMQ_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9090".to_owned());
    let client = Client::builder().bootstrap(&bootstrap).build().await?;
    let admin = client.admin();
    admin
        .declare_exchange(VHOST, EXCHANGE, "topic")
        .send()
        .await?;
    for (queue, pattern) in [(MANY_WORDS, "audit.#"), (ONE_WORD, "audit.*")] {
        admin.declare_queue(VHOST, queue).send().await?;
        admin.purge_queue(VHOST, queue).await?;
        admin.bind_queue(VHOST, queue, EXCHANGE, pattern).await?;
    }

    let exchange = client.exchange(EXCHANGE);
    for key in ["audit", "audit.users", "audit.users.alice", "other.users"] {
        exchange.publish(key, format!("about {key}")).await?.await?;
    }

    // `audit.#`: `audit` and whatever follows. `audit.*`: exactly one word behind it.
    expect(
        &client,
        MANY_WORDS,
        &["audit", "audit.users", "audit.users.alice"],
    )
    .await?;
    expect(&client, ONE_WORD, &["audit.users"]).await?;
    println!("audit.# took three messages, audit.* one");
    Ok(())
}

/// Takes everything out of a queue: messages with these routing keys.
async fn expect(client: &Client, queue: &str, keys: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut taken = Vec::new();
    while let Some(delivery) = client.queue(queue).get().await? {
        taken.push(delivery.routing_key.clone());
        delivery.ack().await?;
    }
    assert_eq!(taken, keys);
    Ok(())
}
