//! Brokers in the test's own process, on real sockets and disks: for what no client can see.

use std::time::Duration;

use raftmq::config::{NodeConfig, PeerAddress};
use raftmq::env::Env;
use raftmq::node::Node;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(60);

/// Free ports, and no HTTP.
fn loopback() -> NodeConfig {
    let mut config = NodeConfig::default();
    for listen in [&mut config.grpc_listen, &mut config.peer_listen] {
        "127.0.0.1:0".clone_into(listen);
    }
    config.http_listen.clear();
    config
}

pub(crate) async fn start(broker_id: u32, peers: Vec<PeerAddress>, data: &TempDir) -> Node {
    let mut config = loopback();
    config.broker_id = broker_id;
    config.peers = peers;
    config.data_dir = data.path().to_path_buf();
    Node::start(config, Env::real())
        .await
        .expect("the broker starts")
}

/// Polls with a bound: the broker's own events have no seam at this level.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not reached in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
