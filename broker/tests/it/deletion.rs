//! A deleted topic leaves nothing running, and what comes right after it is not missed.

use std::sync::Weak;

use raftmq::replica::Replica;
use raftmq_client::{Client, Record};
use tempfile::TempDir;

use crate::in_process::{eventually, in_service, start};

/// Enough that the brokers are still removing replicas when the next topic comes.
const PARTITIONS_COUNT: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_created_right_after_a_large_one_was_deleted_is_served() {
    let folder = TempDir::new().expect("a folder");
    let node = start(1, Vec::new(), &folder).await;
    in_service(&[&node]).await;
    let client = Client::builder()
        .bootstrap(node.grpc_endpoint())
        .build()
        .await
        .expect("a client");
    let admin = client.admin();
    let large = admin.create_topic("large").partitions(PARTITIONS_COUNT);
    large.send().await.expect("a topic");
    let replicas = &node.parts().replicas;
    let large: Vec<Weak<Replica>> = replicas
        .all()
        .iter()
        .map(std::sync::Arc::downgrade)
        .collect();
    assert_eq!(large.len(), PARTITIONS_COUNT as usize);

    admin.delete_topic("large").await.expect("deleted");
    admin.create_topic("next").send().await.expect("a topic");
    let producer = client.producer().build().await.expect("a producer");
    let sent = producer.send(Record::to("next").value("first")).await;
    sent.expect("accepted").await.expect("acknowledged");

    eventually("no task holds a deleted replica", || {
        large.iter().all(|replica| replica.strong_count() == 0)
    })
    .await;
    assert_eq!(
        node.parts().host.stored_groups().len(),
        2,
        "metadata and one partition"
    );
    node.stop().await;
}
