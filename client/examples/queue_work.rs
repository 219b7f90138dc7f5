//! Several workers share a queue: round-robin, and then fairly, so that a busy worker is passed over.
//!
//! `RAFTMQ_BOOTSTRAP=127.0.0.1:9090 cargo run -p raftmq-client --example queue_work`

use std::error::Error;

use futures_util::StreamExt as _;
use raftmq_client::{Client, ConsumeOptions, Queue, QueueConsumer, QueueDelivery};

const VHOST: &str = "/";
const QUEUE: &str = "example-work";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        std::env::var("RAFTMQ_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9090".to_owned());
    let client = Client::builder().bootstrap(&bootstrap).build().await?;
    client.admin().declare_queue(VHOST, QUEUE).send().await?;
    client.admin().purge_queue(VHOST, QUEUE).await?;
    let queue = client.queue(QUEUE);

    // Each worker may hold many messages: the queue gives them out in turn, whoever is busy.
    let mut one = queue.consume(ConsumeOptions::new()).await?;
    let mut two = queue.consume(ConsumeOptions::new()).await?;
    publish(&queue, 10).await?;
    for worker in [&mut one, &mut two] {
        for _ in 0..5 {
            next(worker).await?.ack().await?;
        }
    }
    println!("round-robin: five tasks each");
    drop((one, two));

    // Each worker may hold one message: who has not acknowledged gets no other.
    let mut slow = queue.consume(ConsumeOptions::new().prefetch(1)).await?;
    let mut quick = queue.consume(ConsumeOptions::new().prefetch(1)).await?;
    publish(&queue, 10).await?;
    let long_task = next(&mut slow).await?;
    for _ in 0..9 {
        let task = next(&mut quick).await?;
        assert_ne!(task.text(), long_task.text());
        task.ack().await?;
    }
    println!("fair: the quick worker did nine tasks while the slow one did one");
    long_task.ack().await?;
    Ok(())
}

async fn publish(queue: &Queue, count: usize) -> Result<(), Box<dyn Error>> {
    for number in 0..count {
        queue.publish(format!("task {number}")).await?.await?;
    }
    Ok(())
}

async fn next(worker: &mut QueueConsumer) -> Result<QueueDelivery, Box<dyn Error>> {
    Ok(worker.next().await.ok_or("the worker ended")??)
}
