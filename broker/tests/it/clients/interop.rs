//! Kafka's clients and ours on the same records: one writes, the other reads.

use futures_util::StreamExt;
use raftmq_client::{Client, Compression, Record, Start};
use tokio::time::timeout;

use super::librdkafka::{create_topic, write};
use super::{BASE_TIME_MS, Cluster, Shown, assert_records, expected_partitions, keys, record};
use crate::support::PATIENCE;

const RECORDS: i64 = 20;
const PARTITIONS: u32 = 5;

fn ours(number: i64, topic: &str) -> Record {
    let sent = record(number);
    let mut record = Record::to(topic.to_owned())
        .partition(0)
        .timestamp_ms(sent.timestamp_ms);
    if let Some(key) = sent.key {
        record = record.key(key);
    }
    if let Some(value) = sent.value {
        record = record.value(value);
    }
    for (key, value) in sent.headers {
        record = record.header(key, value.expect("it has one"));
    }
    record
}

async fn read_ours(client: &Client, topic: &str) -> Vec<Shown> {
    let consumer = client
        .consumer()
        .assign([(topic, 0)])
        .start(Start::Beginning);
    let mut records = consumer.build().await.expect("a consumer");
    let mut read = Vec::new();
    while (read.len() as u64) < RECORDS.cast_unsigned() {
        let record = timeout(PATIENCE, records.next())
            .await
            .expect("records come");
        let record = record.expect("the stream goes on").expect("a record");
        let header = |header: &raftmq_client::Header| {
            let key = String::from_utf8_lossy(&header.key).into_owned();
            (key, header.value.as_ref().map(|value| value.to_vec()))
        };
        read.push(Shown {
            partition: i32::try_from(record.partition).expect("small"),
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(|key| key.to_vec()),
            value: record.value.map(|value| value.to_vec()),
            headers: record.headers.iter().map(header).collect(),
        });
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_kind_of_client_writes_the_other_reads() {
    let cluster = Cluster::shared();
    let client = cluster.dev.client().await;
    for compression in Compression::ALL {
        let topic = format!("ours-{compression}");
        create_topic(&cluster.bootstrap, &topic, 1, &[]);
        let producer = client
            .producer()
            .compression(compression)
            .build()
            .await
            .expect("a producer");
        for number in 0..RECORDS {
            let sent = producer
                .send(ours(number, &topic))
                .await
                .expect("it is sent");
            drop(sent);
        }
        producer.flush().await.expect("everything is delivered");
        let read = super::kcat::read(&cluster, &topic, "0", "beginning");
        assert_records(&read, RECORDS, &topic);
    }
    for compression in super::LIBRDKAFKA_COMPRESSIONS {
        let topic = format!("theirs-{compression}");
        create_topic(&cluster.bootstrap, &topic, 1, &[]);
        write(&cluster.bootstrap, &topic, RECORDS, compression);
        assert_records(&read_ours(&client, &topic).await, RECORDS, &topic);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_lands_on_the_same_partition_whoever_writes_it() {
    let cluster = Cluster::shared();
    let client = cluster.dev.client().await;
    create_topic(
        &cluster.bootstrap,
        "hashed-by-us",
        i32::try_from(PARTITIONS).expect("small"),
        &[],
    );
    let producer = client.producer().build().await.expect("a producer");
    let mut deliveries = Vec::new();
    for key in keys() {
        let record = Record::to("hashed-by-us")
            .key(key.clone())
            .value("v")
            .timestamp_ms(BASE_TIME_MS);
        deliveries.push((key, producer.send(record).await.expect("it is sent")));
    }
    let expected = expected_partitions(PARTITIONS);
    for (key, delivery) in deliveries {
        let delivery = delivery.await.expect("it is acknowledged");
        assert_eq!(delivery.partition, expected[&key], "{key}");
    }
    let mut found = 0;
    for partition in 0..PARTITIONS {
        for shown in super::kcat::read(
            &cluster,
            "hashed-by-us",
            &partition.to_string(),
            "beginning",
        ) {
            let key = String::from_utf8(shown.key.expect("a key")).expect("text");
            assert_eq!(expected[&key], partition, "{key}");
            found += 1;
        }
    }
    assert_eq!(found, expected.len());
}
