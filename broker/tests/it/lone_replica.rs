//! One replica without its broker, on a real disk, and what its peers ask of it, for tests.

use std::sync::Arc;

use openraft::raft::{AppendEntriesRequest, VoteRequest};
use raftmq::controller::{ClusterBinding, HostedCluster};
use raftmq::env::Env;
use raftmq::raft::machine::envelope;
use raftmq::raft::transport::{Identity, Inbound, Method, Refusal, Served, Transport, codec};
use raftmq::raft::{Beginning, DiskSpace, GroupKind, LogId, RaftHost};
use raftmq_core::cluster::Cluster;
use raftmq_core::partition::{Append, Command};
use raftmq_core::{Offset, Term};
use raftmq_store::{
    CommitDriver, DiskConfig, DiskEngine, Entry, GroupId, Payload, Store, StoreConfig, Vote, log_id,
};
use tempfile::TempDir;

const GROUP: GroupId = GroupId(7);

/// The store and the groups of broker 1.
pub(crate) struct Lone {
    store: Store,
    host: RaftHost,
}

impl Lone {
    /// Opens a folder; the replica begins with `settled_at` if it has nothing.
    pub(crate) async fn open(data: &TempDir, settled_at: Option<LogId>) -> Self {
        Self::open_with_reserve(data, settled_at, 1).await
    }

    /// [`Self::open`], with room on the disk that is not for records.
    pub(crate) async fn open_with_reserve(
        data: &TempDir,
        settled_at: Option<LogId>,
        reserve_bytes: u64,
    ) -> Self {
        let engine = DiskEngine::open(data.path(), DiskConfig::default()).expect("it opens");
        let (driver, config) = (CommitDriver::Thread, StoreConfig::default());
        let store = Store::open(Arc::new(engine), driver, config).expect("a store");
        let transport = Transport::new(Env::real(), Identity::default());
        let space = DiskSpace::new(reserve_bytes, store.clone());
        space.look().await.expect("a disk");
        let host = RaftHost::new(1, Env::real(), store.clone(), transport, space);
        let beginning = Beginning {
            first_voters: Vec::new(),
            settled_at,
        };
        let machine = HostedCluster::new(Cluster::default(), ClusterBinding::new());
        let opened = host.open(GROUP, GroupKind::Partition, Arc::new(machine), &beginning);
        opened.await.expect("it opens");
        Self { store, host }
    }

    /// Whether the replica votes for broker 2 in a term, whose log ends there.
    pub(crate) async fn votes_for(&self, term: u64, last_log: LogId) -> bool {
        let request = VoteRequest::new(Vote::new(term, 2), Some(last_log));
        let answer = self.serve(Method::Vote, codec::encode_vote(&request)).await;
        let response = codec::decode_vote_response(answer.expect("an answer"));
        response.expect("a response").vote_granted
    }

    /// Whether the replica takes records from broker 2, as the first of its log.
    pub(crate) async fn takes_records(&self, batches: &'static [u8]) -> bool {
        let append = Command::Append(Append {
            leader_epoch: Term(8),
            base_offset: Offset(0),
            segment_bytes: 0,
            batches: batches.into(),
        });
        let command = raftmq_store::Command(envelope(0, &append.encode()));
        let entry = Entry {
            log_id: log_id(8, 0),
            payload: Payload::Normal(command),
        };
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(8, 2),
            prev_log_id: None,
            entries: vec![entry],
            leader_commit: None,
        };
        let body = codec::encode_append(&request).into_bytes();
        match self.serve(Method::Append, body).await {
            Ok(_) => true,
            Err((Refusal::DiskFull, _)) => false,
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn serve(&self, method: Method, body: bytes::Bytes) -> Served {
        let call = Inbound {
            sender: 2,
            sender_epoch: 0,
            cluster_id: String::new(),
            group_id: GROUP.0,
            method: method as u32,
            body,
        };
        self.host.serve(method, call).await
    }

    pub(crate) async fn close(self) {
        self.host.close(GROUP).await;
        self.store.shutdown().await.expect("closed");
    }
}
