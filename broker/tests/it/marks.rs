//! A tail that a broker had acknowledged and that is not on its disk any more, without a trace: its
//! peers remember. Real sockets and disks, in this process.

use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;
use raftmq::env::Env;
use raftmq::node::Node;
use raftmq::raft::transport::{Identity, Transport};
use raftmq::raft::{DiskSpace, METADATA_GROUP, RaftHost};
use raftmq_client::{Client, Record};
use raftmq_store::{
    CommitDriver, DiskConfig, DiskEngine, GroupHealth, GroupId, Store, StoreConfig,
};
use tempfile::TempDir;

use crate::in_process::{eventually, in_service, peer, start};
use crate::support::copy_folder;

async fn produce(client: &Client, count: usize) {
    let producer = client.producer().build().await.expect("a producer");
    for number in 0..count {
        let sent = producer
            .send(Record::to("kept").value(format!("{number}")))
            .await;
        sent.expect("accepted").await.expect("acknowledged");
    }
}

/// Whether a broker has flushed the metadata log as far as its leader has it.
fn keeps_metadata_at(leader: &Node, broker: u64) -> bool {
    let group = leader.parts().controller.group().clone();
    let data = group.raft().data_metrics();
    let data = data.borrow_watched();
    let matched = data
        .replication
        .as_ref()
        .and_then(|replication| replication.get(&broker));
    matched.is_some_and(|matched| *matched == data.last_log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_tail_that_vanished_makes_the_replica_recovering_because_the_leader_remembers()
 {
    let folders = [(); 2].map(|()| TempDir::new().expect("a folder"));
    let first = start(1, Vec::new(), &folders[0]).await;
    let second = start(2, vec![peer(1, &first)], &folders[1]).await;
    in_service(&[&first, &second]).await;
    let client = Client::builder().bootstrap(first.grpc_endpoint());
    let client = client.build().await.expect("a client");
    let topic = client.admin().create_topic("kept").assign(0, &[1, 2]);
    topic.send().await.expect("a topic");
    produce(&client, 20).await;
    eventually("a replica of the metadata", || keeps_metadata_at(&first, 2)).await;
    second.stop().await;
    // What the disk shows later: everything up to here, and no trace of more.
    let old = TempDir::new().expect("a folder");
    copy_folder(folders[1].path(), old.path());
    // Elsewhere, because a folder is free only when the last trace of its store is gone.
    let later = TempDir::new().expect("a folder");
    copy_folder(folders[1].path(), later.path());
    let second = start(2, vec![peer(1, &first)], &later).await;
    in_service(&[&first, &second]).await;
    let leader = first.parts().replicas.find("kept", 0).expect("a replica");
    eventually("a leader", || leader.leading_term().is_some()).await;
    produce(&client, 20).await;
    let acknowledged = leader.group().store().last_log_index();
    second.stop().await;

    let opened = DiskEngine::open(old.path(), DiskConfig::default()).expect("it opens");
    let store = Store::open(
        Arc::new(opened),
        CommitDriver::Thread,
        StoreConfig::default(),
    );
    let store = store.expect("a store");
    let group = store.group(leader.id());
    assert_eq!(
        group.health(),
        GroupHealth::Ok,
        "nothing on this disk says so"
    );
    assert!(group.last_log_index() < acknowledged);
    let identity = Identity {
        broker_id: 2,
        ..Identity::default()
    };
    let transport = Transport::new(Env::real(), identity);
    transport.set_address(1, first.peer_endpoint());
    let space = DiskSpace::new(1, store.clone());
    let host = RaftHost::new(2, Env::real(), store.clone(), transport, space);

    let metadata = |id: GroupId| id == METADATA_GROUP;
    assert_eq!(host.ask_for_marks(metadata).await, vec![METADATA_GROUP]);
    let others = |id: GroupId| id != METADATA_GROUP;
    assert_eq!(host.ask_for_marks(others).await, vec![leader.id()]);

    let GroupHealth::Recovering { acknowledged, .. } = group.health() else {
        panic!("{:?}", group.health());
    };
    assert_eq!(
        acknowledged.map(|mark| mark.index),
        leader.group().store().last_log_index(),
        "it votes for nobody who has less"
    );
    assert_eq!(host.ask_for_marks(|_| true).await, vec![], "no news");
    store.shutdown().await.expect("closed");
    first.stop().await;
}
