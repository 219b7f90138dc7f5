//! Calls over a queue: requests wait in it for any of several servers, and each reply finds its caller.
//!
//! `RAFTMQ_BOOTSTRAP=127.0.0.1:9090 cargo run -p raftmq-client --example queue_rpc`

use std::error::Error;
use std::time::Duration;

use raftmq_client::{Client, QueueRequest};

const VHOST: &str = "/";
const QUEUE: &str = "example-rpc";
const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        std::env::var("RAFTMQ_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9090".to_owned());
    let client = Client::builder().bootstrap(&bootstrap).build().await?;
    client.admin().declare_queue(VHOST, QUEUE).send().await?;
    client.admin().purge_queue(VHOST, QUEUE).await?;

    // Two servers share the work. A request is acknowledged once its reply is sent: when a server dies before,
    // another one gets it.
    let _one = client.rpc_server(QUEUE, double).await?;
    let _two = client.rpc_server(QUEUE, double).await?;

    // A caller needs no queue of its own: replies come over its connection.
    let caller = client.rpc_client().await?;
    let calls = (1..=5_u64).map(|number| {
        let caller = caller.clone();
        async move { caller.call(QUEUE, number.to_string(), TIMEOUT).await }
    });
    let replies = futures_util::future::join_all(calls).await;
    for (number, reply) in (1..=5_u64).zip(replies) {
        let reply = reply?;
        println!("twice {number} is {}", String::from_utf8_lossy(&reply.body));
        assert_eq!(reply.body, (number * 2).to_string());
    }
    Ok(())
}

async fn double(request: QueueRequest) -> String {
    match request.text().parse::<u64>() {
        Ok(number) => (number * 2).to_string(),
        Err(error) => format!("no number: {error}"),
    }
}
