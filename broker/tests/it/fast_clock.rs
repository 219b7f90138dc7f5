//! Two brokers that disagree by an hour about the time, and a partition of the one that is ahead, for
//! tests. Real sockets and disks, in this process.

use std::sync::Arc;

use raftmq::env::{Env, WallClock};
use raftmq::node::Node;
use raftmq::replica::Replica;
use raftmq_client::{Client, Record};
use tempfile::TempDir;

use crate::in_process::{eventually, in_service, peer, start, start_changed};

const AHEAD_MS: i64 = 3_600_000;
/// Half of that: what the clock that is ahead would expire at once, and no right one does.
const RETENTION_MS: &str = "1800000";
const RECORDS_COUNT: i64 = 100;

struct FastClock(Arc<dyn WallClock>);

impl WallClock for FastClock {
    fn now_ms(&self) -> i64 {
        self.0.now_ms() + AHEAD_MS
    }
}

/// See the file.
pub(crate) struct Disagreeing {
    first: Node,
    second: Node,
    replica: Arc<Replica>,
    _folders: [TempDir; 2],
}

impl Disagreeing {
    /// A partition on the broker that is ahead, with records that were written a moment ago.
    pub(crate) async fn start() -> Self {
        let folders = [(); 2].map(|()| TempDir::new().expect("a folder"));
        let first = start_changed(1, Vec::new(), &folders[0], |_, env: &mut Env| {
            env.clock = Arc::new(FastClock(env.clock.clone()));
        });
        let first = first.await;
        let second = start(2, vec![peer(1, &first)], &folders[1]).await;
        in_service(&[&first, &second]).await;
        let client = Client::builder().bootstrap(first.grpc_endpoint());
        let client = client.build().await.expect("a client");
        let topic = client.admin().create_topic("kept").assign(0, &[1]);
        // The smallest segments: only whole ones are expired.
        let topic = topic.config("segment.bytes", "16384");
        let topic = topic.config("retention.ms", RETENTION_MS);
        topic.send().await.expect("a topic");
        let replica = first.parts().replicas.find("kept", 0).expect("a replica");
        eventually("a leader", || replica.leading_term().is_some()).await;
        let producer = client.producer().build().await.expect("a producer");
        for _ in 0..RECORDS_COUNT {
            let sent = producer.send(Record::to("kept").value(vec![7; 1_000]));
            let sent = sent.await.expect("accepted");
            sent.await.expect("acknowledged");
        }
        Self {
            first,
            second,
            replica,
            _folders: folders,
        }
    }

    /// Has retention looked at; gives how many records are left.
    pub(crate) async fn left_after_retention(&self) -> i64 {
        self.first.parts().replicas.enforce_retention().await;
        let state = self.replica.machine().read();
        state.log_end().get() - state.log_start().get()
    }

    /// All that were written.
    pub(crate) const fn written_count() -> i64 {
        RECORDS_COUNT
    }

    pub(crate) async fn stop(self) {
        self.second.stop().await;
        self.first.stop().await;
    }
}
