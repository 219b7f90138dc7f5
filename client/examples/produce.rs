//! Sends a few records and waits for their acknowledgements.
//!
//! `RAFTMQ_BOOTSTRAP=127.0.0.1:9090 cargo run -p raftmq-client --example produce`

use std::error::Error;

use raftmq_client::{Acks, Client, Compression, ErrorKind, Record};

const TOPIC: &str = "example-produce";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        std::env::var("RAFTMQ_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9090".to_owned());
    let client = Client::builder().bootstrap(&bootstrap).build().await?;
    match client
        .admin()
        .create_topic(TOPIC)
        .partitions(3)
        .send()
        .await
    {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }

    let producer = client
        .producer()
        .acks(Acks::All)
        .compression(Compression::Lz4)
        .build()
        .await?;
    // `send` returns as soon as the record is in its batch, so that records share batches.
    let mut deliveries = Vec::new();
    for number in 0..10 {
        let record = Record::to(TOPIC)
            .key(format!("key-{}", number % 3))
            .value(format!("value {number}"))
            .header("source", "example");
        deliveries.push(producer.send(record).await?);
    }
    for delivery in deliveries {
        let delivered = delivery.await?;
        println!(
            "partition {} offset {:?}",
            delivered.partition, delivered.offset
        );
    }
    producer.close().await?;
    Ok(())
}
