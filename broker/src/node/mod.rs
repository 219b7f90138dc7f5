//! One broker: opens what is on disk, joins or founds the cluster, serves, and stops.
//!
//! Wires the parts together and owns their tasks; decides nothing itself.

mod bootstrap;
mod error;
mod gauges;
mod joining;
mod peer_handler;
mod readiness;
mod scrub;
mod serving;
mod space;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use raftmq_core::cluster::{Cluster, Endpoints};
use raftmq_store::{
    CommitDriver, DiskConfig, DiskEngine, Durability, Store, StoreConfig, StoreError,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use error::NodeError;

use crate::amqp;
use crate::config::{self, NodeConfig};
use crate::controller::{ClusterBinding, Controller, HostedCluster, ProducerIds, Registration};
use crate::env::{Env, Listener};
use crate::hosting::{Hosting, Reports};
use crate::http::Metrics;
use crate::messages::replies::Replies;
use crate::queues::{DeadLetterRouter, Queues};
use crate::raft::machine::HostedMachine;
use crate::raft::status::RaftStatus;
use crate::raft::transport::{Identity, Transport};
use crate::raft::{DiskSpace, RaftHost};
use crate::replica::Replicas;

/// How often retention is looked at.
const RETENTION_INTERVAL: Duration = Duration::from_secs(10);
/// How often leaders compare the image with what they are; a lost report costs this long.
const REPEAT_REPORTS_INTERVAL: Duration = Duration::from_secs(5);
/// Share of memory settings: the commit queue may hold twice the tail cache.
const QUEUE_PER_CACHE: usize = 2;

/// A running broker. Dropping it aborts its tasks, as a crash would.
pub struct Node {
    parts: Parts,
    endpoints: Endpoints,
    /// Where AMQP clients connect; empty when left out.
    amqp_endpoint: String,
    amqp: Option<amqp::FrontEnd>,
    stopping: CancellationToken,
    /// Cancelled when a task ends that should run for ever.
    broken: CancellationToken,
    tasks: JoinSet<()>,
}

/// The parts of a broker that others call. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Parts {
    env: Env,
    /// Raft groups.
    pub host: RaftHost,
    /// The metadata service.
    pub controller: Controller,
    /// The replicas of partitions and queues.
    pub hosting: Hosting,
    /// Partitions.
    pub replicas: Replicas,
    /// Queues.
    pub queues: Queues,
    /// Producer ids.
    pub producer_ids: ProducerIds,
    /// The way of replies that are no queue's.
    pub(crate) replies: Replies,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Node")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

struct Listeners {
    grpc: Box<dyn Listener>,
    peer: Box<dyn Listener>,
    http: Option<Box<dyn Listener>>,
    /// By name, as the configuration orders them.
    kafka: Vec<(String, Box<dyn Listener>)>,
    amqp: Option<Box<dyn Listener>>,
}

impl Node {
    /// Opens the data folder and starts a broker on it.
    ///
    /// # Errors
    ///
    /// See [`NodeError`].
    pub async fn start(config: NodeConfig, env: Env) -> Result<Self, NodeError> {
        // Before anything registers a metric.
        Metrics::install().map_err(|error| NodeError::Internal(error.to_string()))?;
        let (path, disk) = (config.data_dir.clone(), disk_config(&config));
        let opened = tokio::task::spawn_blocking(move || DiskEngine::open(&path, disk));
        let engine = opened
            .await
            .map_err(|error| NodeError::Internal(error.to_string()))?;
        let engine = Arc::new(engine.map_err(NodeError::Store)?);
        let store = Store::open(engine, CommitDriver::Thread, store_config(&config));
        Self::start_with(config, env, store.map_err(NodeError::Store)?).await
    }

    /// Starts a broker on an open store: what simulations use. An empty `http_listen` leaves the
    /// HTTP listener out.
    ///
    /// # Errors
    ///
    /// See [`NodeError`].
    pub async fn start_with(
        mut config: NodeConfig,
        env: Env,
        store: Store,
    ) -> Result<Self, NodeError> {
        let folder = bootstrap::check_data(&config, &store, env.random_id()).await?;
        let listeners = listen(&config, &env).await?;
        let endpoints = endpoints(&config, &listeners);
        let amqp_listener = listeners.amqp.as_ref();
        let amqp_endpoint = amqp_listener.map(|listener| listener.local_endpoint());
        let registration = Registration {
            incarnation: env.random_id(),
            endpoints: endpoints.clone(),
            rack: config.rack.clone(),
            directory_id: folder.directory_id,
        };
        let (transport, is_new) = enter(&mut config, &env, &store, &registration, folder).await?;
        let space = DiskSpace::new(config.limits.disk_reserve_bytes, store.clone());
        // Before any group is opened: replaying writes.
        space.look().await.map_err(NodeError::Store)?;
        let host = RaftHost::new(config.broker_id, env.clone(), store, transport, space);
        let machine = HostedCluster::new(Cluster::default(), ClusterBinding::new());
        let machine = Arc::new(machine);
        let hosted: Arc<dyn HostedMachine> = machine.clone();
        let group = bootstrap::open_metadata(&host, hosted).await?;
        let controller = Controller::new(env.clone(), host.clone(), group, machine);
        let reports = Reports::default();
        let produce_bytes_max =
            usize::try_from(config.limits.produce_in_flight_bytes_max).unwrap_or(usize::MAX);
        let hosting = Hosting::new(host.clone(), controller.clone(), reports.clone());
        let replicas = Replicas::new(hosting.clone(), produce_bytes_max);
        let router: Arc<dyn DeadLetterRouter> = Arc::new(amqp::DeadLetterRoutes);
        let queues = Queues::new(hosting.clone(), router, produce_bytes_max);
        let producer_ids = ProducerIds::new(controller.clone(), config.broker_id);
        let replies = serving::replies(&env, &host, &listeners, registration.incarnation);
        let parts = Parts {
            env: env.clone(),
            host,
            controller,
            hosting,
            replicas,
            queues,
            producer_ids,
            replies,
        };
        let stopping = CancellationToken::new();
        let mut node = Self {
            parts,
            endpoints,
            amqp_endpoint: amqp_endpoint.unwrap_or_default(),
            amqp: None,
            stopping,
            broken: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        node.serve(&config, listeners)?;
        node.join_cluster(&config, is_new).await?;
        node.run_services(&config, registration, reports);
        Ok(node)
    }

    fn run_services(&mut self, config: &NodeConfig, registration: Registration, reports: Reports) {
        let Parts {
            host,
            controller,
            hosting,
            replicas,
            queues,
            ..
        } = self.parts.clone();
        let defaults = config.kafka_defaults.clone();
        let suspects = controller.clone();
        host.transport()
            .set_on_refused(Arc::new(move |broker| suspects.suspect(broker)));
        if !config.scrub_interval.is_zero() {
            self.spawn(scrub::run(host.store().clone(), config.scrub_interval));
        }
        self.spawn(async move { host.run_repeats().await });
        self.spawn(space::run(
            self.parts.clone(),
            config.limits.disk_reserve_bytes,
        ));
        self.spawn(bootstrap::follow_images(self.parts.clone()));
        // Without a recorder, as in a simulation, nobody would see it.
        if let Some(recorder) = Metrics::installed() {
            self.spawn(gauges::run(self.parts.clone(), recorder));
        }
        {
            let controller = controller.clone();
            self.spawn(async move { controller.run_heartbeats(registration).await });
        }
        {
            let controller = controller.clone();
            self.spawn(async move { controller.run_duties(defaults).await });
        }
        {
            let controller = controller.clone();
            self.spawn(async move { controller.run_balancing().await });
        }
        {
            let controller = controller.clone();
            self.spawn(async move { controller.run_emptying().await });
        }
        self.spawn(async move { controller.run_reports(reports).await });
        self.spawn_hosting(hosting);
        {
            let queues = queues.clone();
            self.spawn(async move { queues.run_purges().await });
        }
        {
            let queues = queues.clone();
            self.spawn(async move { queues.run_gauges().await });
        }
        self.spawn(async move { queues.run_channels().await });
        {
            let replicas = replicas.clone();
            self.spawn(async move { replicas.run_purges().await });
        }
        let cleaned = replicas.clone();
        self.spawn(async move {
            loop {
                tokio::time::sleep(RETENTION_INTERVAL).await;
                replicas.enforce_retention().await;
            }
        });
        self.spawn(async move { cleaned.run_cleaner().await });
    }

    fn spawn_hosting(&mut self, hosting: Hosting) {
        {
            let hosting = hosting.clone();
            self.spawn(async move { hosting.run_events().await });
        }
        {
            let hosting = hosting.clone();
            self.spawn(async move { hosting.run_hand_overs().await });
        }
        {
            let hosting = hosting.clone();
            self.spawn(async move { hosting.run_measuring().await });
        }
        self.spawn(async move {
            loop {
                tokio::time::sleep(REPEAT_REPORTS_INTERVAL).await;
                hosting.repeat_reports();
            }
        });
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        // Dropped, and thereby told, also when the task panics.
        let guard = self.broken.clone().drop_guard();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stopping.cancelled() => drop(guard.disarm()),
                () = task => {}
            }
        });
    }

    /// This broker.
    #[must_use]
    pub fn broker_id(&self) -> u32 {
        self.parts.host.broker_id()
    }

    /// Where gRPC clients connect.
    #[must_use]
    pub fn grpc_endpoint(&self) -> &str {
        &self.endpoints.grpc
    }

    /// Where metrics and health are; empty when left out.
    #[must_use]
    pub fn http_endpoint(&self) -> &str {
        &self.endpoints.http
    }

    /// Where Kafka clients connect, by listener name; what they are told.
    #[must_use]
    pub fn kafka_endpoints(&self) -> &BTreeMap<String, String> {
        &self.endpoints.kafka
    }

    /// Where AMQP clients connect; empty when left out.
    #[must_use]
    pub fn amqp_endpoint(&self) -> &str {
        &self.amqp_endpoint
    }

    /// Where other brokers connect.
    #[must_use]
    pub fn peer_endpoint(&self) -> &str {
        &self.endpoints.peer
    }

    /// The parts that others call.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Every Raft group of this broker at this moment.
    #[must_use]
    pub fn raft_status(&self) -> Vec<RaftStatus> {
        let host = &self.parts.host;
        host.groups()
            .iter()
            .map(|group| RaftStatus::of(host.broker_id(), group))
            .collect()
    }

    /// Waits for a failure that the broker cannot go on after: of storage, of the metadata group, or
    /// of one of its own tasks. Cancel safe.
    pub async fn failed(&self) -> NodeError {
        let mut failure = self.parts.host.store().failure();
        tokio::select! {
            biased;
            failed = failure.wait_for(Option::is_some) => {
                let error = failed.ok().and_then(|error| error.clone());
                NodeError::Store(error.unwrap_or(StoreError::Closed))
            }
            () = self.parts.controller.group().stopped() => {
                NodeError::Internal("the metadata group has stopped".to_owned())
            }
            () = self.broken.cancelled() => {
                NodeError::Internal("a task of the broker has ended".to_owned())
            }
        }
    }

    /// Prepares the stop, within `controlled.shutdown.timeout.ms`: other brokers take this one's
    /// leaderships over, and it is fenced. Without it [`Self::stop`] is to the others as a crash.
    pub async fn leave(&self) {
        if let Some(amqp) = &self.amqp {
            amqp.say_farewell();
        }
        self.parts.controller.leave().await;
    }

    /// Stops: no new requests, groups closed, the store's clean mark written.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.parts.host.shutdown().await;
        // It holds the controller, which holds the transport: nobody else would ever let go.
        let transport = self.parts.host.transport();
        transport.set_on_refused(Arc::new(|_broker| {}));
        if let Err(error) = self.parts.host.store().shutdown().await {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }
}

impl Parts {
    /// Network, clock and randomness.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }
}

/// Connects to the cluster as far as it is known, and joins it where the configuration says so. Says
/// whether the folder belonged to no cluster and may found one.
async fn enter(
    config: &mut NodeConfig,
    env: &Env,
    store: &Store,
    registration: &Registration,
    folder: bootstrap::Folder,
) -> Result<(Transport, bool), NodeError> {
    config.broker_id = folder.broker_id;
    let identity = Identity {
        broker_id: folder.broker_id,
        broker_epoch: 0,
        cluster_id: folder.cluster_id.clone(),
    };
    let transport = Transport::new(env.clone(), identity);
    let peers = config.peers.iter();
    for peer in peers.filter(|peer| peer.id != config.broker_id) {
        transport.set_address(peer.id, &peer.endpoint);
    }
    let Some(seed) = config.join.clone() else {
        return Ok((transport, folder.cluster_id.is_empty()));
    };
    transport.set_address(joining::SEED, &seed);
    if folder.cluster_id.is_empty() {
        let joined = joining::join(&seed, &folder, store, &transport, registration).await?;
        config.broker_id = joined.broker_id;
        transport.set_identity(|identity| {
            identity.broker_id = joined.broker_id;
            identity.cluster_id = joined.cluster_id;
        });
    }
    Ok((transport, false))
}

fn disk_config(config: &NodeConfig) -> DiskConfig {
    let capacity_bytes = config.limits.disk_capacity_bytes;
    DiskConfig {
        capacity_bytes: Some(capacity_bytes).filter(|bytes| *bytes > 0),
        ..DiskConfig::default()
    }
}

fn store_config(config: &NodeConfig) -> StoreConfig {
    let tail_cache_bytes = usize::try_from(config.limits.tail_cache_bytes).unwrap_or(usize::MAX);
    StoreConfig {
        durability: match config.durability {
            config::Durability::Flush => Durability::Flush,
            config::Durability::Os => Durability::Os,
        },
        tail_cache_bytes,
        queue_bytes_max: tail_cache_bytes.saturating_mul(QUEUE_PER_CACHE),
        ..StoreConfig::default()
    }
}

async fn listen(config: &NodeConfig, env: &Env) -> Result<Listeners, NodeError> {
    let bind = |endpoint: &str| {
        let (endpoint, net) = (endpoint.to_owned(), env.net.clone());
        async move {
            let bound = net.listen(endpoint.clone()).await;
            bound.map_err(|error| NodeError::Listen {
                endpoint,
                reason: error.to_string(),
            })
        }
    };
    let http = match config.http_listen.as_str() {
        "" => None,
        endpoint => Some(bind(endpoint).await?),
    };
    let mut kafka = Vec::new();
    for listener in &config.kafka.listeners {
        kafka.push((listener.name.clone(), bind(&listener.endpoint).await?));
    }
    let amqp = match &config.amqp.listen {
        None => None,
        Some(endpoint) => Some(bind(endpoint).await?),
    };
    Ok(Listeners {
        amqp,
        kafka,
        grpc: bind(&config.grpc_listen).await?,
        peer: bind(&config.peer_listen).await?,
        http,
    })
}

fn endpoints(config: &NodeConfig, listeners: &Listeners) -> Endpoints {
    let advertised = |told: &Option<String>, bound: String| told.clone().unwrap_or(bound);
    let http = listeners
        .http
        .as_ref()
        .map(|listener| listener.local_endpoint());
    let of_kafka = |(name, listener): &(String, Box<dyn Listener>)| {
        let told = config.kafka.advertised_of(name, listener.local_endpoint());
        (name.clone(), told)
    };
    Endpoints {
        kafka: listeners.kafka.iter().map(of_kafka).collect(),
        grpc: advertised(&config.advertised_grpc, listeners.grpc.local_endpoint()),
        peer: advertised(&config.advertised_peer, listeners.peer.local_endpoint()),
        http: advertised(&config.advertised_http, http.unwrap_or_default()),
    }
}
