//! Loads are measured: a plan says what is written to the partitions that it moves, and evens that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use raftmq_client::Record;
use serde_json::Value;

use crate::support::{Dev, ok, wait_until, with_bootstrap};

const TOPIC: &str = "loaded";
const PARTITIONS: u32 = 4;
const RECORD_BYTES: usize = 64 * 1024;
/// What counts as a load.
const BUSY_BYTES_PER_S: u64 = 64 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_shows_what_is_written_to_the_partitions_that_it_changes() {
    let dev = Dev::start(&[]);
    let bootstrap = dev.bootstrap();
    let client = dev.client().await;
    let mut create = client.admin().create_topic(TOPIC);
    for partition in 0..PARTITIONS {
        create = create.assign(partition, &[1, 2, 3]);
    }
    create.send().await.unwrap();
    let producer = client.producer().build().await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = {
        let is_over = Arc::clone(&is_over);
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let mut sent = Vec::new();
                for partition in 0..PARTITIONS {
                    let record = Record::to(TOPIC).partition(partition);
                    let record = record.value(vec![7; RECORD_BYTES]);
                    sent.push(producer.send(record).await.unwrap());
                }
                for delivery in sent {
                    delivery.await.unwrap();
                }
            }
        })
    };

    // All of them prefer broker 1 for their leader: some are to prefer another.
    let args = ["cluster", "rebalance", "--dry-run", "-o", "json"];
    let args = with_bootstrap(&args, &bootstrap);
    let is_busy = |change: &Value| {
        change["in_bytes_per_second"].as_u64() >= Some(BUSY_BYTES_PER_S)
            && change["size_bytes"].as_u64() >= Some(RECORD_BYTES as u64)
    };
    wait_until(|| {
        let planned: Value = serde_json::from_str(&ok(&args)).unwrap();
        let changes = planned["changes"].as_array().unwrap();
        !changes.is_empty() && changes.iter().all(is_busy)
    });
    is_over.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    let args = ["cluster", "rebalance", "--dry-run"];
    let table = ok(&with_bootstrap(&args, &bootstrap));
    assert!(table.contains("BYTES/S IN"), "{table}");
}
