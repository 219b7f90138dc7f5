//! Publish and subscribe: a fanout exchange brings each message to every subscriber's queue.
//!
//! `RAFTMQ_BOOTSTRAP=127.0.0.1:9090 cargo run -p raftmq-client --example queue_fanout`

use std::error::Error;

use futures_util::StreamExt as _;
use raftmq_client::{Client, ConsumeOptions};

const VHOST: &str = "/";
const EXCHANGE: &str = "example-news";
const SUBSCRIBERS: [&str; 3] = ["example-news-1", "example-news-2", "example-news-3"];

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        std::env::var("RAFTMQ_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9090".to_owned());
    let client = Client::builder().bootstrap(&bootstrap).build().await?;
    let admin = client.admin();
    admin
        .declare_exchange(VHOST, EXCHANGE, "fanout")
        .send()
        .await?;
    let mut consumers = Vec::new();
    for queue in SUBSCRIBERS {
        // Such a queue goes with its last consumer: nobody has to clean up after a subscriber.
        admin
            .declare_queue(VHOST, queue)
            .auto_delete()
            .send()
            .await?;
        admin.bind_queue(VHOST, queue, EXCHANGE, "").await?;
        let consumer = client.queue(queue).consume(ConsumeOptions::new()).await?;
        consumers.push(consumer);
    }

    let news = client.exchange(EXCHANGE);
    for headline in ["rain", "sunshine"] {
        // A fanout exchange does not look at the routing key.
        news.publish("", headline).await?.await?;
    }

    for (subscriber, consumer) in SUBSCRIBERS.iter().zip(&mut consumers) {
        for headline in ["rain", "sunshine"] {
            let delivery = consumer.next().await.ok_or("the consumer ended")??;
            println!("{subscriber} got {:?}", delivery.text());
            assert_eq!(delivery.text(), headline);
            delivery.ack().await?;
        }
    }
    Ok(())
}
