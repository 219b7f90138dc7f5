//! The disk gets its space back: after retention, after compaction, after a topic is deleted. One
//! broker in this process, a real socket, a real disk; sizes are those of the files.

use std::path::Path;
use std::sync::Arc;

use raftmq::node::Node;
use raftmq::replica::Replica;
use raftmq_client::{Client, Producer, Record};
use tempfile::TempDir;

use crate::in_process::{eventually, in_service, start};

const RECORD_BYTES: usize = 1_000_000;
const RECORDS: u64 = 400;
const KEYS: u64 = 8;
const MB: u64 = 1_000_000;
/// What an idle broker may hold beside its records: the segment that is written, preallocated, those
/// that are freed only a few at once, and those with survivors.
const IDLE_BYTES_MAX: u64 = 350 * MB;

fn bytes_on_disk(folder: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |file: std::fs::DirEntry| match file.metadata() {
        Ok(meta) if meta.is_dir() => bytes_on_disk(&file.path()),
        Ok(meta) => meta.len(),
        // Freed while we look.
        Err(_) => 0,
    };
    files.flatten().map(size).sum()
}

async fn create(client: &Client, topic: &str, policy: &str) {
    let create = client.admin().create_topic(topic);
    let create = create
        .config("cleanup.policy", policy)
        .config("segment.bytes", "8388608");
    create.send().await.expect("a topic");
}

/// Sends [`RECORDS`] records to a topic, of [`KEYS`] keys.
async fn fill(producer: &Producer, topic: &str) {
    let mut waiting = Vec::new();
    for number in 0..RECORDS {
        let record = Record::to(topic)
            .key(format!("{}", number % KEYS))
            .value(vec![
                u8::try_from(number % 251).expect("a byte");
                RECORD_BYTES
            ]);
        waiting.push(producer.send(record).await.expect("accepted"));
        if waiting.len() >= 16 {
            for sent in waiting.drain(..) {
                sent.await.expect("acknowledged");
            }
        }
    }
    for sent in waiting {
        sent.await.expect("acknowledged");
    }
}

async fn replica_of(node: &Node, topic: &str) -> Arc<Replica> {
    let replica = node.parts().replicas.find(topic, 0).expect("a replica");
    eventually("a leader", || replica.leading_term().is_some()).await;
    replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_compaction_and_deletion_give_the_disk_its_space_back() {
    let folder = TempDir::new().expect("a folder");
    let node = start(1, Vec::new(), &folder).await;
    in_service(&[&node]).await;
    let client = Client::builder().bootstrap(node.grpc_endpoint());
    let client = client.build().await.expect("a client");
    let producer = client.producer().build().await.expect("a producer");
    let size = || bytes_on_disk(folder.path());
    let filled = RECORDS * RECORD_BYTES as u64;
    let mut figures = Vec::new();

    create(&client, "expiring", "delete").await;
    replica_of(&node, "expiring").await;
    fill(&producer, "expiring").await;
    let before = size();
    assert!(before >= filled);
    let deleted = client.admin().delete_records("expiring", 0, -1).await;
    deleted.expect("deleted");
    eventually("space after retention", || size() < IDLE_BYTES_MAX).await;
    figures.push(("retention", before, size()));

    create(&client, "compacted", "compact").await;
    let replica = replica_of(&node, "compacted").await;
    fill(&producer, "compacted").await;
    let before = size();
    assert!(before >= filled);
    node.parts().replicas.clean_compacted().await;
    eventually("space after compaction", || size() < IDLE_BYTES_MAX).await;
    figures.push(("compaction", before, size()));
    let log_end = i64::try_from(RECORDS).expect("few records");
    let mut offset = 0;
    while offset < log_end {
        let read = replica.read_committed(offset, 1).await.expect("readable");
        let header = raftmq_records::BatchHeader::parse(&read.batches[0]).expect("a batch");
        offset = header.next_offset();
    }

    create(&client, "doomed", "delete").await;
    replica_of(&node, "doomed").await;
    fill(&producer, "doomed").await;
    let before = size();
    assert!(before >= filled);
    for topic in ["expiring", "compacted", "doomed"] {
        client.admin().delete_topic(topic).await.expect("deleted");
    }
    drop(replica);
    eventually("space after deletion", || size() < IDLE_BYTES_MAX).await;
    figures.push(("deletion of all topics", before, size()));
    for (what, before, after) in figures {
        println!("{what}: {} MB before, {} MB after", before / MB, after / MB);
    }
    node.stop().await;
}
