//! The promise under kill -9: each broker in turn, thirty times, under load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use raftmq_client::{Acks, Client, Delivery, OffsetAt, Producer, Record, Start};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Dev, PATIENCE};

const TOPIC: &str = "kills";
const PARTITIONS: u32 = 6;
const KILLS: u64 = 30;
/// Pause between two records of one partition: a steady load, not a full one.
const PAUSE: Duration = Duration::from_millis(3);
/// Records that must be acknowledged while a broker is dead, before it comes back.
const ACKS_WITHOUT_BROKER: u64 = 300;

/// Sends 0, 1, 2, … to one partition until told to stop; gives each number's delivery.
async fn write(
    producer: Producer,
    partition: u32,
    is_over: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
) -> Vec<Delivery> {
    let (sender, mut waiting) = mpsc::channel(10_000);
    let acknowledged = tokio::spawn(async move {
        let mut deliveries = Vec::new();
        while let Some(delivery) = waiting.recv().await {
            let delivery: raftmq_client::DeliveryFuture = delivery;
            deliveries.push(
                delivery
                    .await
                    .expect("every record is acknowledged in the end"),
            );
            acked.fetch_add(1, Ordering::Relaxed);
        }
        deliveries
    });
    let mut number = 0_u64;
    while !is_over.load(Ordering::Relaxed) {
        let record = Record::to(TOPIC)
            .partition(partition)
            .value(number.to_string());
        let delivery = producer.send(record).await.expect("the topic is there");
        sender.send(delivery).await.expect("the other end reads on");
        number += 1;
        sleep(PAUSE).await;
    }
    drop(sender);
    acknowledged.await.unwrap()
}

/// Waits until `acked` has grown by `count`.
async fn wait_for_acks(acked: &AtomicU64, count: u64) {
    let goal = acked.load(Ordering::Relaxed) + count;
    let reached = async {
        while acked.load(Ordering::Relaxed) < goal {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, reached)
        .await
        .expect("the cluster goes on without one broker");
}

/// Waits until every replica is in sync, so that the next kill costs no majority.
async fn wait_until_in_sync(client: &Client) {
    let in_sync = async {
        loop {
            let cluster = client.admin().describe_cluster().await;
            let is_whole = cluster.is_ok_and(|cluster| {
                cluster.under_replicated_partitions_count == 0
                    && cluster.offline_partitions_count == 0
                    && cluster.brokers.iter().all(|broker| !broker.fenced)
            });
            if is_whole {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, in_sync)
        .await
        .expect("the broker catches up");
}

/// Everything in the topic: the numbers of each partition with their offsets, in log order.
async fn read_all(client: &Client) -> BTreeMap<u32, Vec<(i64, u64)>> {
    let queries: Vec<_> = (0..PARTITIONS)
        .map(|partition| (TOPIC, partition, OffsetAt::End))
        .collect();
    let listed = client.admin().list_offsets(&queries).await.unwrap();
    let mut ends: BTreeMap<u32, i64> = listed
        .iter()
        .map(|found| (found.partition, found.offset.unwrap()))
        .filter(|(_, end)| *end > 0)
        .collect();
    let assigned: Vec<_> = (0..PARTITIONS)
        .map(|partition| (TOPIC, partition))
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_kills_under_load_lose_double_and_reorder_nothing() {
    let started_at = Instant::now();
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    let create = client
        .admin()
        .create_topic(TOPIC)
        .partitions(PARTITIONS)
        .replication_factor(3);
    create.send().await.unwrap();
    let producer = client.producer().acks(Acks::All).build().await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let acked = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let (is_over, acked) = (Arc::clone(&is_over), Arc::clone(&acked));
            tokio::spawn(write(producer.clone(), partition, is_over, acked))
        })
        .collect();
    wait_for_acks(&acked, ACKS_WITHOUT_BROKER).await;

    let mut gaps = Vec::new();
    for kill in 0..KILLS {
        let id = kill % 3 + 1;
        eprintln!(
            "{:.1} s: kill {kill}: broker {id}",
            started_at.elapsed().as_secs_f64()
        );
        let killed_at = Instant::now();
        dev.kill(id);
        wait_for_acks(&acked, ACKS_WITHOUT_BROKER).await;
        gaps.push(killed_at.elapsed());
        dev.restart(id);
        wait_until_in_sync(&client).await;
    }

    is_over.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.unwrap());
    }
    let found = read_all(&client).await;
    let mut records_count = 0;
    for (partition, deliveries) in (0..PARTITIONS).zip(&written) {
        let read = &found[&partition];
        let numbers: Vec<u64> = read.iter().map(|(_, number)| *number).collect();
        let sent: Vec<u64> = (0..deliveries.len() as u64).collect();
        assert_eq!(
            numbers, sent,
            "partition {partition}: lost 0, duplicated 0, order kept"
        );
        for (delivery, (offset, number)) in deliveries.iter().zip(read) {
            let told = delivery.offset.unwrap_or(*offset);
            assert_eq!(
                told, *offset,
                "partition {partition}: the offset told for {number}"
            );
        }
        records_count += numbers.len();
    }
    gaps.sort();
    println!(
        "{KILLS} kills, {records_count} records: lost 0, duplicated 0, order kept; time to \
         {ACKS_WITHOUT_BROKER} acknowledgements after a kill: shortest {:?}, median {:?}, longest {:?}; {:.1} s",
        gaps[0],
        gaps[gaps.len() / 2],
        gaps[gaps.len() - 1],
        started_at.elapsed().as_secs_f64(),
    );
}
