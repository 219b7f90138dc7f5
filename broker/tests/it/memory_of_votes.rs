//! A replica that begins anew on a broker which had one before: for whom it votes. And what a replica
//! takes whose disk is full.

use raftmq_store::log_id;
use tempfile::TempDir;

use crate::lone_replica::Lone;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_begins_anew_votes_for_nobody_who_lacks_the_newest_membership() {
    let data = TempDir::new().expect("a folder");
    let settled_at = log_id(5, 70);
    let replica = Lone::open(&data, Some(settled_at)).await;

    assert!(!replica.votes_for(8, log_id(5, 69)).await, "it lacks one");
    assert!(!replica.votes_for(8, log_id(4, 900)).await, "an older term");
    assert!(replica.votes_for(8, settled_at).await);

    // The mark is as durable as the vote.
    replica.close().await;
    let replica = Lone::open(&data, None).await;
    assert!(!replica.votes_for(9, log_id(5, 69)).await, "still");
    assert!(replica.votes_for(9, log_id(6, 1)).await);
    replica.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_a_partition_that_never_moved_votes_as_raft_says() {
    let data = TempDir::new().expect("a folder");
    let replica = Lone::open(&data, None).await;

    assert!(replica.votes_for(8, log_id(1, 1)).await);
    replica.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_is_full_takes_no_records() {
    let data = TempDir::new().expect("a folder");
    let replica = Lone::open_with_reserve(&data, None, u64::MAX).await;

    assert!(!replica.takes_records(b"records").await);
    replica.close().await;
    let replica = Lone::open(&data, None).await;
    assert!(replica.takes_records(b"records").await);
    replica.close().await;
}
