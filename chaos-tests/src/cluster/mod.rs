//! RaftMQ as the [`System`] under test: whole brokers on simulated disks, and the client crate.
//!
//! Owns the disks, which outlive their brokers' crashes, and the translation between the harness's
//! plain types and the broker's. Brokers and clients are the real ones: only network, clock, disk
//! and randomness are replaced, through the seams that the broker and the client offer.

mod amqp;
mod clients;
mod kafka;
mod kept;
mod moving;
mod rot;
mod seams;
mod statuses;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use raftmq::config::{AmqpConfig, KafkaConfig, Limits, NamedEndpoint, NodeConfig, PeerAddress};
use raftmq::env::Env;
use raftmq::node::{Node, Parts};
use raftmq_core::space::Space;
use raftmq_store::{
    CommitDriver, JournalConfig, MemoryDisk, MemoryEngine, Store, StoreConfig, Torn,
};
use tokio::sync::{Notify, mpsc};

use crate::faults::FaultClass;
use crate::history::Queue;
use crate::invariants::RaftStatus;
use crate::nemesis::{Host, Rot, Tail};
use crate::net::{AMQP_PORT, GRPC_PORT, KAFKA_PORT, PEER_PORT, SimNet};
use crate::seed::{DISK_RESERVE_BYTES, Options};
use crate::system::{BrokerContext, Clients, Stop, System};
use rot::RottenEntries;
use seams::{BrokerNet, SimulatedClock};
use statuses::Statuses;

/// Small segments, so that a run of a minute rolls and frees some.
const SEGMENT_BYTES: u64 = 256 * 1024;
const REPLAY_BYTES_MAX: u64 = 1024 * 1024;
/// How often a broker's disk is looked at, only to count the effect of slow ones.
const SYNC_SAMPLE_INTERVAL: Duration = Duration::from_millis(10);
/// Time of a pass of the scrub where disks are damaged; nowhere else has it anything to find.
const SCRUB_INTERVAL: Duration = Duration::from_secs(4);
const MEMORY_BYTES: usize = 8 * 1024 * 1024;

/// A simulated cluster.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    disks: BTreeMap<u32, MemoryDisk>,
    clocks: BTreeMap<u32, SimulatedClock>,
    running: Rc<RefCell<BTreeMap<u32, Running>>>,
    rotten: RefCell<RottenEntries>,
    statuses: RefCell<Statuses>,
}

#[derive(Debug)]
struct Running {
    parts: Parts,
    incarnation: u64,
    sync_wait: Rc<Cell<Duration>>,
    leave: Rc<Notify>,
    moves: mpsc::Sender<moving::Order>,
}

impl Cluster {
    /// Brokers with empty disks.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let ids = 1..=options.brokers_count;
        Self {
            options: options.clone(),
            disks: ids.clone().map(|id| (id, MemoryDisk::new())).collect(),
            clocks: ids.map(|id| (id, SimulatedClock::default())).collect(),
            running: Rc::default(),
            rotten: RefCell::default(),
            statuses: RefCell::default(),
        }
    }

    fn config(&self, id: u32) -> NodeConfig {
        let peers = (1..=self.options.brokers_count).map(|id| PeerAddress {
            id,
            endpoint: format!("{}:{PEER_PORT}", Host::Broker(id)),
        });
        let defaults = NodeConfig::default();
        let has_rot = self.options.faults.contains(&FaultClass::BitRot);
        NodeConfig {
            scrub_interval: match has_rot {
                true => SCRUB_INTERVAL,
                false => defaults.scrub_interval,
            },
            broker_id: id,
            grpc_listen: format!("{}:{GRPC_PORT}", Host::Broker(id)),
            peer_listen: format!("{}:{PEER_PORT}", Host::Broker(id)),
            http_listen: String::new(),
            kafka: KafkaConfig {
                listeners: self.kafka_listener(id).into_iter().collect(),
                ..KafkaConfig::default()
            },
            amqp: AmqpConfig {
                listen: self.amqp_listener(id),
                // Nobody here is on a broker's own machine.
                loopback_users: Vec::new(),
                ..AmqpConfig::default()
            },
            peers: peers.collect(),
            limits: Limits {
                disk_reserve_bytes: DISK_RESERVE_BYTES,
                ..Limits::default()
            },
            ..defaults
        }
    }
}

impl Cluster {
    fn kafka_listener(&self, id: u32) -> Option<NamedEndpoint> {
        self.options.has_kafka_clients().then(|| NamedEndpoint {
            name: "PLAINTEXT".to_owned(),
            endpoint: format!("{}:{KAFKA_PORT}", Host::Broker(id)),
        })
    }

    fn amqp_listener(&self, id: u32) -> Option<String> {
        let has_clients = self.options.has_amqp_clients();
        has_clients.then(|| format!("{}:{AMQP_PORT}", Host::Broker(id)))
    }
}

/// Runs one broker until its store fails or its host crashes. One that is asked to leave stops, and
/// its host stays until it crashes.
async fn run_broker(
    context: BrokerContext,
    config: NodeConfig,
    (disk, clock): (MemoryDisk, SimulatedClock),
    running: Rc<RefCell<BTreeMap<u32, Running>>>,
) -> Result<(), Stop> {
    let journal = JournalConfig {
        segment_bytes: SEGMENT_BYTES,
        replay_bytes_max: REPLAY_BYTES_MAX,
        index_memory_bytes: MEMORY_BYTES,
        ..JournalConfig::default()
    };
    let engine =
        MemoryEngine::open_with(&disk, journal).map_err(|error| rot::store_stop(&error))?;
    let store_config = StoreConfig {
        tail_cache_bytes: MEMORY_BYTES,
        ..StoreConfig::default()
    };
    let store = Store::open(Arc::new(engine), CommitDriver::Task, store_config)
        .map_err(|error| rot::store_stop(&error))?;
    let env = Env::new(
        Arc::new(BrokerNet(context.net)),
        Arc::new(clock),
        context.rng_seed,
    );
    let node = Node::start_with(config, env, store.clone()).await;
    let node = node.map_err(|error| rot::node_stop(&error))?;
    let parts = node.parts().clone();
    let incarnation = context.incarnation;
    let sync_wait: Rc<Cell<Duration>> = Rc::default();
    tokio::task::spawn_local(watch_syncs(store, Rc::clone(&sync_wait)));
    let leave: Rc<Notify> = Rc::default();
    let asked = Rc::clone(&leave);
    let (moves, orders) = mpsc::channel(moving::ORDERS_MAX);
    tokio::task::spawn_local(moving::carry_out(parts.controller.clone(), orders));
    running.borrow_mut().insert(
        context.id,
        Running {
            parts,
            incarnation,
            sync_wait,
            leave,
            moves,
        },
    );
    tokio::select! {
        biased;
        error = node.failed() => return Err(rot::node_stop(&error)),
        () = asked.notified() => {}
    }
    node.leave().await;
    // Its disk belongs to the next incarnation once this one has closed it.
    running.borrow_mut().remove(&context.id);
    node.stop().await;
    std::future::pending().await
}

/// Looks at the age of what waits for a sync. Inside the host, because only there time is simulated.
async fn watch_syncs(store: Store, sync_wait: Rc<Cell<Duration>>) {
    loop {
        tokio::time::sleep(SYNC_SAMPLE_INTERVAL).await;
        sync_wait.set(store.sync_age().unwrap_or_default());
    }
}

impl System for Cluster {
    fn run_broker(&self, context: BrokerContext) -> LocalBoxFuture<'static, Result<(), Stop>> {
        let config = self.config(context.id);
        let disk = self.disks.get(&context.id).cloned().unwrap_or_default();
        let clock = self.clocks.get(&context.id).cloned().unwrap_or_default();
        let running = Rc::clone(&self.running);
        Box::pin(run_broker(context, config, (disk, clock), running))
    }

    fn power_loss(&self, broker: u32, tail: Tail, rng_seed: u64) -> u64 {
        self.running.borrow_mut().remove(&broker);
        let torn = match tail {
            Tail::Gone => Torn::No,
            Tail::Prefix => Torn::Prefix,
            Tail::Torn => Torn::SubBlock,
        };
        let Some(disk) = self.disks.get(&broker) else {
            return 0;
        };
        let unsynced_bytes = disk.unsynced_bytes();
        disk.power_loss(rng_seed, torn);
        unsynced_bytes
    }

    fn leave(&self, broker: u32) -> bool {
        let running = self.running.borrow();
        let asked = running.get(&broker);
        asked
            .inspect(|running| running.leave.notify_one())
            .is_some()
    }

    fn set_sync_latency_us(&self, broker: u32, latency_us: u64) {
        if let Some(disk) = self.disks.get(&broker) {
            disk.slow(Duration::from_micros(latency_us));
        }
    }

    fn set_free_bytes(&self, broker: u32, free_bytes: Option<u64>) {
        if let Some(disk) = self.disks.get(&broker) {
            let used = disk.used_bytes();
            disk.set_capacity(free_bytes.map(|free| used.saturating_add(free)));
        }
    }

    fn rot(&self, broker: u32, rot: Rot) -> u64 {
        let Some(disk) = self.disks.get(&broker) else {
            return 0;
        };
        self.rotten.borrow_mut().damage(broker, disk, rot)
    }

    fn is_rotten(&self, broker: u32) -> bool {
        let running = self.running.borrow();
        let (Some(disk), Some(one)) = (self.disks.get(&broker), running.get(&broker)) else {
            return true;
        };
        !self
            .rotten
            .borrow_mut()
            .are_whole(broker, disk, &one.parts.host)
    }

    fn is_short_of_space(&self, broker: u32) -> bool {
        let running = self.running.borrow();
        let space = running
            .get(&broker)
            .map(|one| one.parts.host.space().space());
        space.is_some_and(|space| space != Space::Ample)
    }

    fn set_clock_offset_ms(&self, broker: u32, offset_ms: i64) {
        if let Some(clock) = self.clocks.get(&broker) {
            clock.offset_ms.store(offset_ms, Ordering::Relaxed);
        }
    }

    fn sync_wait(&self, broker: u32) -> Duration {
        let running = self.running.borrow();
        running
            .get(&broker)
            .map_or(Duration::ZERO, |running| running.sync_wait.get())
    }

    fn statuses(&self) -> Vec<Rc<RaftStatus>> {
        self.statuses.borrow_mut().of(&self.running.borrow())
    }

    fn move_queue(&self, queue: Queue, replicas: &[u32]) {
        // Any broker will do: one that has no way to the controller is as good as an operator without.
        if let Some(running) = self.running.borrow().values().next() {
            let _ = running.moves.try_send((queue, replicas.to_vec()));
        }
    }

    fn clients(&self, net: SimNet, rng_seed: u64) -> LocalBoxFuture<'static, Box<dyn Clients>> {
        let clients = clients::SimClients::new(net, rng_seed, &self.options);
        Box::pin(async move { Box::new(clients) as Box<dyn Clients> })
    }
}
