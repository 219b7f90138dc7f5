//! Writes ten records, then reads a whole topic from the beginning, and jumps back by a seek.
//!
//! `RAFTMQ_BOOTSTRAP=127.0.0.1:9090 cargo run -p raftmq-client --example consume`

use std::error::Error;

use futures_util::StreamExt as _;
use raftmq_client::{Client, ErrorKind, OutOfRange, Record, Start};

const TOPIC: &str = "example-consume";
const RECORDS_COUNT: usize = 10;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        std::env::var("RAFTMQ_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9090".to_owned());
    let client = Client::builder().bootstrap(&bootstrap).build().await?;
    match client
        .admin()
        .create_topic(TOPIC)
        .partitions(2)
        .send()
        .await
    {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    let producer = client.producer().build().await?;
    for number in 0..RECORDS_COUNT {
        let record = Record::to(TOPIC).partition(0).value(number.to_string());
        // The outcome of each is not looked at here: `close` reports a failure of any.
        drop(producer.send(record).await?);
    }
    producer.close().await?;

    let mut consumer = client
        .consumer()
        .assign_topic(TOPIC)
        .start(Start::Beginning)
        .out_of_range(OutOfRange::Earliest)
        .build()
        .await?;
    for _ in 0..RECORDS_COUNT {
        let Some(record) = consumer.next().await else {
            break;
        };
        let record = record?;
        println!(
            "partition {} offset {}: {:?}",
            record.partition, record.offset, record.value
        );
    }

    consumer.seek(TOPIC, 0, Start::Offset(3))?;
    if let Some(record) = consumer.next().await {
        println!("after the seek: offset {}", record?.offset);
    }
    println!("position {:?}", consumer.position(TOPIC, 0)?);
    println!("high watermark {:?}", consumer.high_watermark(TOPIC, 0)?);
    Ok(())
}
