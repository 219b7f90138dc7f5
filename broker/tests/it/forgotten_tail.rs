//! A broker's disk from which a tail that it had acknowledged vanished without a trace, and a peer that
//! remembers. Real sockets and disks, in this process, for tests.

use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;
use raftmq::env::Env;
use raftmq::node::Node;
use raftmq::raft::transport::{Identity, Transport};
use raftmq::raft::{DiskSpace, RaftHost};
use raftmq::replica::Replica;
use raftmq_client::{Client, Record};
use raftmq_store::{CommitDriver, DiskConfig, DiskEngine, GroupHealth, Store, StoreConfig};
use tempfile::TempDir;

use crate::in_process::{eventually, in_service, peer, start};
use crate::support::copy_folder;

/// The groups of broker 2 on the old disk, none of them open yet, and broker 1.
pub(crate) struct ForgottenTail {
    pub(crate) first: Node,
    /// Of the partition, on broker 1.
    pub(crate) leader: Arc<Replica>,
    pub(crate) host: RaftHost,
    store: Store,
    _folders: Vec<TempDir>,
}

impl ForgottenTail {
    /// A partition of two replicas, of which the second lacks the last acknowledged records.
    pub(crate) async fn open() -> Self {
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
        second.stop().await;

        let store = open_store(&old);
        let identity = Identity {
            broker_id: 2,
            ..Identity::default()
        };
        let transport = Transport::new(Env::real(), identity);
        transport.set_address(1, first.peer_endpoint());
        let space = DiskSpace::new(1, store.clone());
        let host = RaftHost::new(2, Env::real(), store.clone(), transport, space);
        let this = Self {
            first,
            leader,
            host,
            store,
            _folders: folders.into_iter().chain([old, later]).collect(),
        };
        assert_eq!(this.health(), GroupHealth::Ok, "nothing here says so");
        assert!(this.last_log_index() < this.leader.group().store().last_log_index());
        this
    }

    /// What the old disk is known to lack of the partition.
    pub(crate) fn health(&self) -> GroupHealth {
        self.store.group(self.leader.id()).health()
    }

    fn last_log_index(&self) -> Option<u64> {
        self.store.group(self.leader.id()).last_log_index()
    }

    pub(crate) async fn close(self) {
        self.store.shutdown().await.expect("closed");
        self.first.stop().await;
    }
}

fn open_store(data: &TempDir) -> Store {
    let engine = DiskEngine::open(data.path(), DiskConfig::default()).expect("it opens");
    let (driver, config) = (CommitDriver::Thread, StoreConfig::default());
    Store::open(Arc::new(engine), driver, config).expect("a store")
}

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
