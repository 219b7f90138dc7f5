//! Forwards a stream of records into a topic through the producer's `Sink`.
//!
//! `RAFTMQ_BOOTSTRAP=127.0.0.1:9090 cargo run -p raftmq-client --example sink`

use std::error::Error;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use raftmq_client::{Client, ErrorKind, OffsetAt, Record};

const TOPIC: &str = "example-sink";
const RECORDS_COUNT: u32 = 1_000;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        std::env::var("RAFTMQ_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9090".to_owned());
    let client = Client::builder().bootstrap(&bootstrap).build().await?;
    match client
        .admin()
        .create_topic(TOPIC)
        .partitions(1)
        .send()
        .await
    {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }

    let producer = client.producer().build().await?;
    // One allocation for the topic's name instead of one per record.
    let topic: Arc<str> = Arc::from(TOPIC);
    let records = (0..RECORDS_COUNT)
        .map(|number| Ok(Record::to(Arc::clone(&topic)).value(number.to_string())));
    // `forward` flushes at the end: when it returns, every record is acknowledged.
    stream::iter(records).forward(producer.sink()).await?;
    producer.close().await?;

    let end = client
        .admin()
        .list_offsets(&[(TOPIC, 0, OffsetAt::End)])
        .await?;
    println!(
        "end of partition 0: {:?}",
        end.first().map(|end| end.offset)
    );
    Ok(())
}
