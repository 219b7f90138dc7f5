//! The simplest use of a queue: one program puts messages in, another takes them out, in order.
//!
//! `RAFTMQ_BOOTSTRAP=127.0.0.1:9090 cargo run -p raftmq-client --example queue_simple`

use std::error::Error;

use futures_util::StreamExt as _;
use raftmq_client::{Client, ConsumeOptions, Message};

const VHOST: &str = "/";
const QUEUE: &str = "example-simple";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        std::env::var("RAFTMQ_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9090".to_owned());
    let client = Client::builder().bootstrap(&bootstrap).build().await?;
    // A queue is declared once; declaring it again the same way changes nothing.
    client.admin().declare_queue(VHOST, QUEUE).send().await?;
    client.admin().purge_queue(VHOST, QUEUE).await?;

    let queue = client.queue(QUEUE);
    // The first `await` hands the message over; the confirmation says that a majority of the queue's replicas has
    // it on disk. Waiting for them at the end lets messages go out without waiting for each other.
    let mut confirmations = Vec::new();
    for number in 0..5 {
        let message = Message::new(format!("message {number}"))
            .content_type("text/plain")
            .header("number", number);
        confirmations.push(queue.publish(message).await?);
    }
    for confirmation in confirmations {
        confirmation.await?;
    }

    let mut consumer = queue.consume(ConsumeOptions::new()).await?;
    for number in 0..5 {
        let delivery = consumer.next().await.ok_or("the consumer ended")??;
        println!("got {:?} ({})", delivery.text(), delivery.raftmq_id);
        assert_eq!(delivery.text(), format!("message {number}"));
        // Until this the message is the queue's: it would come again if this program died.
        delivery.ack().await?;
    }
    Ok(())
}
