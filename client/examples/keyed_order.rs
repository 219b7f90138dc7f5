//! Shows that records with one key keep their order: writes interleaved keys, reads all back.
//!
//! `RAFTMQ_BOOTSTRAP=127.0.0.1:9090 cargo run -p raftmq-client --example keyed_order`

use std::collections::BTreeMap;
use std::error::Error;

use bytes::Bytes;
use futures_util::StreamExt as _;
use raftmq_client::{Client, ErrorKind, OffsetAt, Record, Start};

const TOPIC: &str = "example-keyed-order";
const PARTITIONS_COUNT: u32 = 4;
const KEYS: [&str; 5] = ["ada", "bob", "cyd", "dot", "eve"];
const PER_KEY_COUNT: u32 = 200;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        std::env::var("RAFTMQ_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9090".to_owned());
    let client = Client::builder().bootstrap(&bootstrap).build().await?;
    let creation = client.admin().create_topic(TOPIC);
    match creation.partitions(PARTITIONS_COUNT).send().await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    // Read from where the topic ends now, in case the example ran before.
    let queries: Vec<_> = (0..PARTITIONS_COUNT)
        .map(|partition| (TOPIC, partition, OffsetAt::End))
        .collect();
    let ends = client.admin().list_offsets(&queries).await?;

    let producer = client.producer().build().await?;
    for number in 0..PER_KEY_COUNT {
        for key in KEYS {
            let record = Record::to(TOPIC).key(key).value(number.to_string());
            drop(producer.send(record).await?);
        }
    }
    producer.close().await?;

    let mut builder = client.consumer();
    for end in ends {
        let start = Start::Offset(end.offset.unwrap_or(0));
        builder = builder.assign_from(TOPIC, end.partition, start);
    }
    let mut consumer = builder.build().await?;
    let mut next: BTreeMap<Bytes, u32> = BTreeMap::new();
    let mut left = u32::try_from(KEYS.len())? * PER_KEY_COUNT;
    while left > 0 {
        let Some(record) = consumer.next().await else {
            break;
        };
        let record = record?;
        let expected = next.entry(record.key.unwrap_or_default()).or_default();
        let value = record.value.unwrap_or_default();
        if value != expected.to_string() {
            return Err(format!("expected {expected}, read {value:?}").into());
        }
        *expected += 1;
        left -= 1;
    }
    println!("{} keys kept their order", next.len());
    Ok(())
}
