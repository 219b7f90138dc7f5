//! From an empty folder to a member of a cluster: who founds it, who waits, who must not join.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::EmptyNode;
use raftmq_core::cluster::{Image, config_keys};
use raftmq_core::ids::DirectoryId;
use raftmq_store::Store;
use tokio::time::sleep;

use super::joining::SEED;
use super::{Node, NodeError, Parts};
use crate::config::NodeConfig;
use crate::controller::{HelloReply, hello};
use crate::hosting::Kind;
use crate::raft::machine::HostedMachine;
use crate::raft::{Beginning, Group, GroupKind, METADATA_GROUP, RaftHost};

/// Voters of the metadata group that a cluster begins with.
const METADATA_VOTERS_MAX: usize = 3;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);
const BROKER_ID_ROW: &str = "broker.id";
const CLUSTER_ID_ROW: &str = "cluster.id";
const DIRECTORY_ID_ROW: &str = "directory.id";
/// Id of a broker that was told nothing and founds a cluster.
const BROKER_ID_DEFAULT: u32 = 1;

/// What a data folder says of itself, and of whom it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// Its broker, or the one that it is to belong to; 0 = the cluster chooses one.
    pub(super) broker_id: u32,
    /// Made at random with the folder.
    pub(super) directory_id: DirectoryId,
    /// Its cluster; empty when it belongs to none yet.
    pub(super) cluster_id: String,
}

/// Checks that the folder is this broker's, and gives an empty one a name. An empty one that is to
/// join a cluster belongs to no broker before that.
pub(super) async fn check_data(
    config: &NodeConfig,
    store: &Store,
    random: [u8; 16],
) -> Result<Folder, NodeError> {
    let read = |row: &str| store.node_row(row).map_err(NodeError::Store);
    let text = |row: Bytes| String::from_utf8_lossy(&row).into_owned();
    let cluster_id = read(CLUSTER_ID_ROW)?.map(text).unwrap_or_default();
    let configured = config.broker_id;
    let broker_id = match read(BROKER_ID_ROW)?.map(text) {
        Some(found) => {
            let found = found.parse().unwrap_or_default();
            if configured != 0 && found != configured {
                return Err(NodeError::ForeignBroker { found, configured });
            }
            found
        }
        None if config.join.is_some() => configured,
        None => {
            let id = configured.max(BROKER_ID_DEFAULT);
            put(store, BROKER_ID_ROW, id.to_string()).await?;
            id
        }
    };
    let known = read(DIRECTORY_ID_ROW)?;
    let known = known.and_then(|row| <[u8; 16]>::try_from(&*row).ok());
    let directory_id = DirectoryId(known.unwrap_or(random));
    if known.is_none() {
        let row = Bytes::copy_from_slice(&directory_id.0);
        let kept = store.put_node_row(DIRECTORY_ID_ROW, row).await;
        kept.map_err(NodeError::Store)?;
    }
    Ok(Folder {
        broker_id,
        directory_id,
        cluster_id,
    })
}

async fn put(store: &Store, row: &str, text: String) -> Result<(), NodeError> {
    let kept = store.put_node_row(row, Bytes::from(text)).await;
    kept.map_err(NodeError::Store)
}

/// The folder belongs to this broker of this cluster from now on. The cluster comes last: without it
/// the broker asks again, and is given the same id.
pub(super) async fn keep_membership(
    store: &Store,
    broker_id: u32,
    cluster_id: &str,
) -> Result<(), NodeError> {
    put(store, BROKER_ID_ROW, broker_id.to_string()).await?;
    put(store, CLUSTER_ID_ROW, cluster_id.to_owned()).await
}

/// Opens the metadata group, once it is known how far it must reach.
pub(super) async fn open_metadata(
    host: &RaftHost,
    machine: Arc<dyn HostedMachine>,
) -> Result<Arc<Group>, NodeError> {
    if !host.store().was_shut_down_cleanly() {
        host.ask_for_marks(|id| id == METADATA_GROUP).await;
    }
    let beginning = Beginning::default();
    let opened = host.open(METADATA_GROUP, GroupKind::Metadata, machine, &beginning);
    opened
        .await
        .map_err(|error| NodeError::on_store(host.store(), &error))
}

impl Node {
    /// Founds the cluster, or makes sure that the one that is there may be joined.
    pub(super) async fn join_cluster(
        &self,
        config: &NodeConfig,
        is_new: bool,
    ) -> Result<(), NodeError> {
        if !is_new {
            self.check_same_cluster(config).await?;
        }
        let raft = self.parts.controller.group().raft();
        let is_initialized = raft.is_initialized().await;
        if is_initialized.map_err(|error| NodeError::on_store(self.parts.host.store(), &error))?
            || !is_new
        {
            return Ok(());
        }
        let me = config.broker_id;
        let mut ids: Vec<u32> = config.peers.iter().map(|peer| peer.id).collect();
        if ids.is_empty() {
            ids.push(me);
        }
        ids.sort_unstable();
        ids.dedup();
        let voters: Vec<u32> = ids.into_iter().take(METADATA_VOTERS_MAX).collect();
        if voters.first() != Some(&me) {
            return self.check_not_wiped(config).await;
        }
        self.found(config, &voters).await
    }

    /// Only the first voter founds, and only when a majority says that there is no cluster yet:
    /// a founder that lost its disk must not found a second one.
    async fn found(&self, config: &NodeConfig, voters: &[u32]) -> Result<(), NodeError> {
        let majority = voters.len() / 2 + 1;
        loop {
            let answers = self.ask(voters).await;
            if let Some(answer) = answers.iter().find(|answer| !answer.cluster_id.is_empty()) {
                return refuse_wiped(config, answer);
            }
            if answers.len() + 1 >= majority {
                break;
            }
            sleep(ASK_AGAIN_AFTER).await;
        }
        let nodes: BTreeMap<u64, EmptyNode> = voters
            .iter()
            .map(|id| (u64::from(*id), EmptyNode::default()))
            .collect();
        let raft = self.parts.controller.group().raft();
        let founded = raft.initialize(nodes).await;
        founded.map_err(|error| NodeError::on_store(self.parts.host.store(), &error))?;
        let elected = raft.trigger().elect(true).await;
        elected.map_err(|error| NodeError::on_store(self.parts.host.store(), &error))
    }

    /// Waits until enough peers have answered that at least one of them knows a cluster that this
    /// broker may have been part of: a broker that lost its disk must not vote with an empty log.
    async fn check_not_wiped(&self, config: &NodeConfig) -> Result<(), NodeError> {
        let others = others(config);
        let brokers_count = others.len() + 1;
        let majority = brokers_count / 2 + 1;
        loop {
            let answers = self.ask(&others).await;
            for answer in &answers {
                refuse_wiped(config, answer)?;
            }
            if answers.len() + 1 >= majority {
                return Ok(());
            }
            sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// Peers that answer must be of the cluster that the data folder belongs to. Those that do not
    /// answer are not waited for: a cluster must start again broker by broker.
    async fn check_same_cluster(&self, config: &NodeConfig) -> Result<(), NodeError> {
        let ours = self.parts.host.transport().identity().cluster_id;
        for answer in self.ask(&others(config)).await {
            let theirs = answer.cluster_id;
            if !theirs.is_empty() && theirs != ours {
                return Err(NodeError::ForeignCluster { ours, theirs });
            }
        }
        Ok(())
    }

    async fn ask(&self, brokers: &[u32]) -> Vec<HelloReply> {
        let host = &self.parts.host;
        let others = brokers.iter().filter(|id| **id != host.broker_id());
        let asks = others.map(|id| hello(host, *id));
        futures_util::future::join_all(asks)
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The configured brokers without this one, or the seed.
fn others(config: &NodeConfig) -> Vec<u32> {
    let peers = config.peers.iter().map(|peer| peer.id);
    let seed = config.join.iter().map(|_| SEED);
    peers
        .filter(|id| *id != config.broker_id)
        .chain(seed)
        .collect()
}

fn refuse_wiped(config: &NodeConfig, answer: &HelloReply) -> Result<(), NodeError> {
    if !answer.knows_asker {
        return Ok(());
    }
    let (cluster_id, broker_id) = (answer.cluster_id.clone(), config.broker_id);
    Err(NodeError::WipedBroker {
        cluster_id,
        broker_id,
    })
}

/// Keeps addresses, cluster id and replicas as the metadata image says. Runs for ever.
pub(super) async fn follow_images(parts: Parts) {
    let metadata = parts.controller.group();
    let known_end = metadata.known_end();
    let mut images = parts.controller.images();
    let mut judges = metadata.has_applied(known_end);
    let mut image = images.current();
    let mut epochs = BTreeMap::new();
    set_addresses(&parts, &image);
    if !parts.host.store().was_shut_down_cleanly() {
        parts.host.ask_for_marks(|_| true).await;
    }
    loop {
        follow(&parts, &image, judges).await;
        for broker in image.brokers.values() {
            let (id, epoch) = (broker.id.get(), broker.epoch);
            if epochs.insert(id, epoch) != Some(epoch) {
                parts.host.look_again_at(id);
            }
        }
        images.newer_than(image.version).await;
        // In this order: the image is as new as what was found applied.
        judges = metadata.has_applied(known_end);
        image = images.current();
    }
}

fn set_addresses(parts: &Parts, image: &Image) {
    let transport = parts.host.transport();
    for broker in image.brokers.values() {
        if broker.id.get() != parts.host.broker_id() {
            transport.set_address(broker.id.get(), &broker.endpoints.peer);
        }
    }
}

/// Does as the image says. Until it `judges`, nothing is removed: after a start, and where damage threw the
/// metadata back, the image may be older than one that this broker followed before, and know nothing of
/// replicas that it has been given since.
async fn follow(parts: &Parts, image: &Image, judges: bool) {
    set_addresses(parts, image);
    let transport = parts.host.transport();
    let rate = image.config_i64(None, config_keys::LEADER_REPLICATION_THROTTLED_RATE);
    transport.throttle().set_rate(rate);
    if let Some(cluster_id) = image.cluster_id.as_deref()
        && transport.identity().cluster_id != cluster_id
    {
        let row = Bytes::copy_from_slice(cluster_id.as_bytes());
        if let Err(error) = parts.host.store().put_node_row(CLUSTER_ID_ROW, row).await {
            tracing::error!(%error, "cluster id not kept");
            return;
        }
        transport.set_identity(|identity| cluster_id.clone_into(&mut identity.cluster_id));
    }
    let kinds: [&dyn Kind; 2] = [&parts.replicas, &parts.queues];
    parts.hosting.follow(image, judges, &kinds).await;
}
