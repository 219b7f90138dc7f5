//! A steady load on every partition of a topic, and the proof of what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use raftmq_client::{Acks, Client, Delivery, DeliveryFuture, OffsetAt, Producer, Record, Start};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::support::PATIENCE;

/// Pause between two records of one partition: a steady load, not a full one.
const PAUSE: Duration = Duration::from_millis(3);

/// Writers of 0, 1, 2, … to each partition of a topic.
#[derive(Debug)]
pub(crate) struct Load {
    topic: &'static str,
    partitions: u32,
    is_over: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Written>>,
}

/// What one partition's writer was told.
#[derive(Debug, Default)]
struct Written {
    deliveries: Vec<Delivery>,
    longest_gap: Duration,
}

/// What became of a load; all of it is there, once and in order.
#[derive(Debug)]
pub(crate) struct Proven {
    pub(crate) records_count: usize,
    /// Longest time between two acknowledgements of one partition.
    pub(crate) longest_gap: Duration,
}

impl Load {
    /// Makes the topic, with a replica on each of three brokers, and begins to write.
    pub(crate) async fn start(client: &Client, topic: &'static str, partitions: u32) -> Self {
        let create = client
            .admin()
            .create_topic(topic)
            .partitions(partitions)
            .replication_factor(3);
        create.send().await.unwrap();
        let producer = client.producer().acks(Acks::All).build().await.unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let acked = Arc::new(AtomicU64::new(0));
        let writers = (0..partitions).map(|partition| {
            let (is_over, acked) = (Arc::clone(&is_over), Arc::clone(&acked));
            tokio::spawn(write(producer.clone(), (topic, partition), is_over, acked))
        });
        let writers = writers.collect();
        Self {
            topic,
            partitions,
            is_over,
            acked,
            writers,
        }
    }

    /// Waits until so many more records are acknowledged.
    pub(crate) async fn wait_for_acks(&self, count: u64) {
        let goal = self.acked.load(Ordering::Relaxed) + count;
        let reached = async {
            while self.acked.load(Ordering::Relaxed) < goal {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reached)
            .await
            .expect("the cluster goes on");
    }

    /// Ends the load, reads everything back and compares.
    pub(crate) async fn prove(self, client: &Client) -> Proven {
        self.is_over.store(true, Ordering::Relaxed);
        let found = {
            let mut written = Vec::new();
            for writer in self.writers {
                written.push(writer.await.unwrap());
            }
            let read = read_all(client, self.topic, self.partitions).await;
            (0..self.partitions)
                .zip(written)
                .map(move |(partition, written)| {
                    let read = read.get(&partition).cloned().unwrap_or_default();
                    (partition, written, read)
                })
        };
        let mut proven = Proven {
            records_count: 0,
            longest_gap: Duration::ZERO,
        };
        for (partition, written, read) in found {
            let numbers: Vec<u64> = read.iter().map(|(_, number)| *number).collect();
            let sent: Vec<u64> = (0..written.deliveries.len() as u64).collect();
            assert_eq!(
                numbers, sent,
                "partition {partition}: lost 0, duplicated 0, order kept"
            );
            for (delivery, (offset, number)) in written.deliveries.iter().zip(&read) {
                let told = delivery.offset.unwrap_or(*offset);
                assert_eq!(
                    told, *offset,
                    "partition {partition}: the offset told for {number}"
                );
            }
            proven.records_count += numbers.len();
            proven.longest_gap = proven.longest_gap.max(written.longest_gap);
        }
        proven
    }
}

/// Sends 0, 1, 2, … to one partition until told to stop.
async fn write(
    producer: Producer,
    (topic, partition): (&'static str, u32),
    is_over: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
) -> Written {
    let (sender, mut waiting) = mpsc::channel::<DeliveryFuture>(10_000);
    let acknowledged = tokio::spawn(async move {
        let mut written = Written::default();
        let mut last_at = Instant::now();
        while let Some(delivery) = waiting.recv().await {
            let delivery = delivery
                .await
                .expect("every record is acknowledged in the end");
            written.deliveries.push(delivery);
            written.longest_gap = written.longest_gap.max(last_at.elapsed());
            last_at = Instant::now();
            acked.fetch_add(1, Ordering::Relaxed);
        }
        written
    });
    send_numbers(&producer, (topic, partition), &is_over, sender).await;
    acknowledged.await.unwrap()
}

/// Sends 0, 1, 2 … to one partition until it is over, and hands the deliveries on in that order. Gives
/// how many there were.
pub(crate) async fn send_numbers(
    producer: &Producer,
    (topic, partition): (&'static str, u32),
    is_over: &AtomicBool,
    sender: mpsc::Sender<DeliveryFuture>,
) -> u64 {
    let mut number = 0_u64;
    while !is_over.load(Ordering::Relaxed) {
        let record = Record::to(topic)
            .partition(partition)
            .value(number.to_string());
        let delivery = producer.send(record).await.expect("the topic is there");
        sender.send(delivery).await.expect("the other end reads on");
        number += 1;
        sleep(PAUSE).await;
    }
    number
}

/// Waits until every replica is in sync, so that the next stop costs no majority.
pub(crate) async fn wait_until_in_sync(client: &Client) {
    let in_sync = async {
        while !is_in_sync(client).await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, in_sync)
        .await
        .expect("the broker catches up");
}

/// Whether every broker is in service and every replica in sync.
pub(crate) async fn is_in_sync(client: &Client) -> bool {
    let cluster = client.admin().describe_cluster().await;
    cluster.is_ok_and(|cluster| {
        cluster.under_replicated_partitions_count == 0
            && cluster.offline_partitions_count == 0
            && cluster.brokers.iter().all(|broker| !broker.fenced)
    })
}

/// Everything in the topic: the numbers of each partition with their offsets, in log order.
async fn read_all(
    client: &Client,
    topic: &'static str,
    partitions: u32,
) -> BTreeMap<u32, Vec<(i64, u64)>> {
    let queries: Vec<_> = (0..partitions)
        .map(|partition| (topic, partition, OffsetAt::End))
        .collect();
    let listed = client.admin().list_offsets(&queries).await.unwrap();
    let mut ends: BTreeMap<u32, i64> = listed
        .iter()
        .map(|found| (found.partition, found.offset.unwrap()))
        .filter(|(_, end)| *end > 0)
        .collect();
    let assigned: Vec<_> = (0..partitions)
        .map(|partition| (topic, partition))
        .collect();
    let consumer = client.consumer().assign(assigned).start(Start::Beginning);
    let mut records = consumer.build().await.unwrap();
    let mut found: BTreeMap<u32, Vec<(i64, u64)>> = BTreeMap::new();
    while !ends.is_empty() {
        let record = timeout(PATIENCE, records.next())
            .await
            .expect("records come");
        let record = record.expect("the stream goes on").unwrap();
        let value = record.value.expect("every record has a value");
        let number = std::str::from_utf8(&value).unwrap().parse().unwrap();
        found
            .entry(record.partition)
            .or_default()
            .push((record.offset, number));
        if ends
            .get(&record.partition)
            .is_some_and(|end| record.offset + 1 >= *end)
        {
            ends.remove(&record.partition);
        }
    }
    found
}
