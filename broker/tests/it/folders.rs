//! A data folder belongs to one broker of one cluster, and an empty one to nobody who was there before.

use raftmq::node::{Node, NodeError};
use tempfile::TempDir;

use crate::in_process::{in_service, peer, start, try_start};

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

fn refusal(started: Result<Node, NodeError>) -> NodeError {
    match started {
        Ok(_) => panic!("the broker started"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_another_broker_is_refused() {
    let data = folder();
    start(1, Vec::new(), &data).await.stop().await;

    let error = refusal(try_start(2, Vec::new(), &data).await);

    assert_eq!(
        error.to_string(),
        "the data folder belongs to broker 1, not to broker 2"
    );
    start(1, Vec::new(), &data).await.stop().await;
}

/// It would vote with an empty log for a candidate that lacks what it once acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_lost_its_folder_does_not_come_back_under_its_id() {
    let folders = [folder(), folder(), folder()];
    let first = start(1, Vec::new(), &folders[0]).await;
    let second = start(2, vec![peer(1, &first)], &folders[1]).await;
    in_service(&[&first, &second]).await;
    second.stop().await;

    let error = refusal(try_start(2, vec![peer(1, &first)], &folders[2]).await);

    assert!(
        matches!(error, NodeError::WipedBroker { broker_id: 2, .. }),
        "{error}"
    );
    first.stop().await;
}
