//! The planted bugs of the host do harm: what other tests find does not hold.
//!
//! In a binary of its own: a bug, once chosen, stays for the whole process.
//! Built with the feature `planted-bugs`.

use std::time::Duration;

use raftmq::planted::{Bug, plant};
use raftmq_client::{Client, Record};
use raftmq_records::BatchHeader;
use raftmq_store::log_id;
use tempfile::TempDir;

#[path = "it/in_process.rs"]
mod in_process;
#[path = "it/lone_replica.rs"]
mod lone_replica;

use in_process::{eventually, in_service, peer, start, try_start};
use lone_replica::Lone;

const RECORDS: i64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survivors_that_are_not_sent_are_missing_on_a_new_replica() {
    plant(Bug::SurvivorsNotSent);
    let folders = [
        TempDir::new().expect("a folder"),
        TempDir::new().expect("a folder"),
    ];
    let first = start(1, Vec::new(), &folders[0]).await;
    let second = try_start(2, vec![peer(1, &first)], &folders[1]).await;
    let second = second.expect("the broker starts");
    in_service(&[&first, &second]).await;
    let client = Client::builder().bootstrap(first.grpc_endpoint());
    let client = client.build().await.expect("a client");
    let topic = client.admin().create_topic("t").assign(0, &[1]);
    let topic = topic
        .config("cleanup.policy", "compact")
        .config("segment.bytes", "16384");
    topic.send().await.expect("a topic");
    let replica = first.parts().replicas.find("t", 0).expect("a replica");
    eventually("a leader", || replica.leading_term().is_some()).await;
    let producer = client.producer().linger(Duration::ZERO).build().await;
    let producer = producer.expect("a producer");
    for number in 0..RECORDS {
        let record = Record::to("t")
            .key(format!("{number}"))
            .value(vec![7; 1_000]);
        let sent = producer.send(record).await.expect("accepted");
        sent.await.expect("acknowledged");
    }
    first.parts().replicas.clean_compacted().await;
    let store = replica.group().store();
    eventually("a purge", || {
        store.first_log_index().is_some_and(|first| first > 10)
    })
    .await;

    let moved = client.admin().alter_replicas("t", 0, &[1, 2]).await;
    moved.expect("a move begins");
    eventually("a replica on the second broker", || {
        second.parts().replicas.find("t", 0).is_ok()
    })
    .await;
    let copy = second.parts().replicas.find("t", 0).expect("a replica");
    eventually("a copy", || {
        copy.machine().read().log_end().get() == RECORDS
    })
    .await;

    let here = replica.read_committed(0, 1_000).await.expect("readable");
    let header = BatchHeader::parse(&here.batches[0]).expect("a batch");
    assert_eq!(header.base_offset, 0, "the first one is a survivor");
    let there = copy.read_committed(0, 1_000).await.expect("readable");
    assert!(there.batches.is_empty(), "it is missing on the new replica");
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_replica_votes_for_whoever_asks() {
    plant(Bug::WipedReplicaVotes);
    let data = TempDir::new().expect("a folder");
    let replica = Lone::open(&data, Some(log_id(5, 70))).await;

    assert!(replica.votes_for(8, log_id(5, 69)).await);
    replica.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_takes_records_although_its_disk_is_full() {
    plant(Bug::FullFollowerTakesRecords);
    let data = TempDir::new().expect("a folder");
    let replica = Lone::open_with_reserve(&data, None, u64::MAX).await;

    assert!(replica.takes_records(b"records").await);
    replica.close().await;
}
