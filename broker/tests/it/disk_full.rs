//! A disk that runs full: records are refused with an error that says so, everything else goes on, and
//! service resumes by itself. A real process, on a real disk of which it may use a part.

use std::time::Duration;

use futures_util::StreamExt;
use raftmq_client::{Client, Error, Producer, Record, Start};

use crate::support::{Broker, get, wait_until};

/// One preallocated segment of 64 MiB and what stands beside it leave more than the reserve and a
/// quarter, two leave less.
pub(crate) const CAPACITY: &str = "limits.disk-capacity-bytes=150000000";
pub(crate) const RESERVE: &str = "limits.disk-reserve-bytes=50000000";
pub(crate) const VALUE_BYTES: usize = 512 * 1024;
pub(crate) const RECORDS_MAX: usize = 1_000;

async fn produce_one(producer: &Producer) -> Result<i64, Error> {
    let record = Record::to("t").value(vec![b'x'; VALUE_BYTES]);
    let sent = producer.send(record).await?.await?;
    Ok(sent.offset.unwrap_or(-1))
}

/// Without retries of its own: a refusal is seen at once.
async fn producer(client: &Client) -> Producer {
    let builder = client.producer().idempotence(false).retries(0);
    let built = builder.linger(Duration::ZERO).build().await;
    built.expect("a producer")
}

async fn fill(producer: &Producer) -> (i64, Error) {
    let mut last = -1;
    for _ in 0..RECORDS_MAX {
        match produce_one(producer).await {
            Ok(offset) => last = offset,
            Err(error) => return (last, error),
        }
    }
    panic!("the disk never ran full");
}

fn level(broker: &Broker) -> String {
    let metrics = get(&broker.http(), "/metrics");
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with("raftmq_broker_disk_full_level"));
    line.and_then(|line| line.split(' ').next_back())
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_records_keeps_the_rest_alive_and_resumes_by_itself() {
    let broker = Broker::start(&["--set", CAPACITY, "--set", RESERVE]);
    let client = Client::builder().bootstrap(&broker.grpc()).build().await;
    let client = client.expect("a client");
    let admin = client.admin();
    let topic = admin.create_topic("t").config("segment.bytes", "1048576");
    topic.send().await.expect("a topic");
    let producer = producer(&client).await;

    let (last, error) = fill(&producer).await;

    assert!(error.is_retriable(), "{error}");
    let said = error.to_string();
    assert!(said.contains("no room for records of t-0"), "{said}");
    assert!(last > 50, "only {last} records fitted");
    assert_ne!(level(&broker), "0");
    wait_until(|| broker.ok(&["broker", "list"]).contains("disk full"));
    // Consumers, the metadata group and deletions go on.
    let consumer = client.consumer().assign_from("t", 0, Start::Beginning);
    let mut consumer = consumer.build().await.expect("a consumer");
    let read = consumer.next().await.expect("a record");
    let value = read.expect("readable").value.expect("a value");
    assert_eq!(value.len(), VALUE_BYTES);
    let more = admin.create_topic("more").send().await;
    more.expect("topics are created while the disk is full");
    assert!(produce_one(&producer).await.is_err(), "still full");

    admin.delete_records("t", 0, -1).await.expect("deleted");

    wait_until(|| level(&broker) == "0");
    let offset = produce_one(&producer).await.expect("service resumed");
    assert!(offset > last);
    assert_eq!(broker.process.stop(), Some(0));
}
