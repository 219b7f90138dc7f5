//! Brokers in the test's own process, on real sockets and disks: for what no client can see.

use std::time::Duration;

use raftmq::config::{NodeConfig, PeerAddress};
use raftmq::env::Env;
use raftmq::node::{Node, NodeError};
use raftmq_store::StoreError;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(60);

/// Free ports, and no HTTP and Kafka.
fn loopback() -> NodeConfig {
    let mut config = NodeConfig::default();
    for listen in [&mut config.grpc_listen, &mut config.peer_listen] {
        "127.0.0.1:0".clone_into(listen);
    }
    config.http_listen.clear();
    config.kafka.listeners.clear();
    config.amqp.listen = Some("127.0.0.1:0".to_owned());
    config
}

pub(crate) async fn start(broker_id: u32, peers: Vec<PeerAddress>, data: &TempDir) -> Node {
    start_changed(broker_id, peers, data, |_, _| {}).await
}

/// [`start`] with another configuration or clock.
pub(crate) async fn start_changed(
    broker_id: u32,
    peers: Vec<PeerAddress>,
    data: &TempDir,
    change: impl FnOnce(&mut NodeConfig, &mut Env),
) -> Node {
    let mut config = config_of(broker_id, peers, data);
    let mut env = Env::real();
    change(&mut config, &mut env);
    open(config, env).await.expect("the broker starts")
}

pub(crate) async fn try_start(
    broker_id: u32,
    peers: Vec<PeerAddress>,
    data: &TempDir,
) -> Result<Node, NodeError> {
    open(config_of(broker_id, peers, data), Env::real()).await
}

fn config_of(broker_id: u32, peers: Vec<PeerAddress>, data: &TempDir) -> NodeConfig {
    let mut config = loopback();
    config.broker_id = broker_id;
    config.peers = peers;
    config.data_dir = data.path().to_path_buf();
    config
}

/// Waits while the folder is still in use: the last tasks of a stopped broker let go of it a moment
/// later, which in a process of its own nobody would see.
async fn open(config: NodeConfig, env: Env) -> Result<Node, NodeError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Node::start(config.clone(), env.clone()).await {
            Err(NodeError::Store(StoreError::InUse { .. })) if Instant::now() < deadline => {
                sleep(Duration::from_millis(20)).await;
            }
            started => return started,
        }
    }
}

/// How others reach a broker.
pub(crate) fn peer(id: u32, node: &Node) -> PeerAddress {
    PeerAddress {
        id,
        endpoint: node.peer_endpoint().to_owned(),
    }
}

pub(crate) async fn in_service(nodes: &[&Node]) {
    let is_ready = |node: &&Node| node.parts().not_ready_because().is_empty();
    eventually("brokers in service", || nodes.iter().all(is_ready)).await;
}

/// Polls with a bound: the broker's own events have no seam at this level.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not reached in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
