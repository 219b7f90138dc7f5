//! The seam between the harness and what it tests: how to run a broker, how to be its client.
//!
//! Owns only traits. `cluster` implements them for RaftMQ; a small in-memory system implements them
//! for the tests of the harness itself. Single-threaded: a simulation never leaves its thread.

mod queues;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::history::{Cleanup, KeptRecord, Outcome, Queue};
use crate::invariants::RaftStatus;
use crate::nemesis::{Rot, Tail};
use crate::net::SimNet;
use crate::seed::{ProducerOptions, Protocol};
pub use queues::{Confirm, Confirming, Delivered, QueueClient, Settle};

/// What a broker is started with.
#[derive(Debug, Clone)]
pub struct BrokerContext {
    /// Its id, from 1.
    pub id: u32,
    /// Starts at 1 and grows with each start.
    pub incarnation: u64,
    /// Its access to the network.
    pub net: SimNet,
    /// Seed of everything random in this start.
    pub rng_seed: u64,
}

/// Why a broker stopped by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// What it read from its disk is not what it had written.
    Damage(String),
    /// Anything else, which is always a bug.
    Other(String),
}

impl From<String> for Stop {
    fn from(text: String) -> Self {
        Self::Other(text)
    }
}

/// What is tested.
pub trait System {
    /// Runs a broker until its host crashes. A return, good or bad, is a failure of the run: no broker
    /// may stop by itself, unless [`System::rot`] was there before and damage is what it names.
    fn run_broker(&self, context: BrokerContext) -> LocalBoxFuture<'static, Result<(), Stop>>;

    /// The broker's host has stopped; what was not synced vanishes but for `tail`.
    /// Returns how many unsynced bytes were at stake.
    fn power_loss(&self, broker: u32, tail: Tail, rng_seed: u64) -> u64;

    /// Asks a running broker to stop in order; its `run_broker` does not return all the same.
    /// Returns whether it runs.
    fn leave(&self, broker: u32) -> bool;

    /// Sets how long each sync of a broker's disk takes.
    fn set_sync_latency_us(&self, broker: u32, latency_us: u64);

    /// Sets how much room a broker's disk has from now on; `None`: nothing limits it.
    fn set_free_bytes(&self, broker: u32, free_bytes: Option<u64>);

    /// Damages what a broker has stored, whether it runs or not. Returns how many places.
    fn rot(&self, broker: u32, rot: Rot) -> u64;

    /// Whether a broker may still miss something that [`System::rot`] took from it: for certain while it
    /// does not run.
    fn is_rotten(&self, broker: u32) -> bool;

    /// Whether a broker has noticed that its disk has little room.
    fn is_short_of_space(&self, broker: u32) -> bool;

    /// Sets how far a broker's wall clock is from the true time.
    fn set_clock_offset_ms(&self, broker: u32, offset_ms: i64);

    /// For how long something has been waiting for a sync of a broker's disk; zero if nothing does.
    fn sync_wait(&self, broker: u32) -> Duration;

    /// Has a broker order that a queue be moved to these brokers; forgotten when that does not work out. A
    /// system without queues does nothing.
    fn move_queue(&self, _queue: Queue, _replicas: &[u32]) {}

    /// All replicas of all running brokers. What has not changed since the last call may be shared with
    /// what that returned.
    fn statuses(&self) -> Vec<Rc<RaftStatus>>;

    /// A client of the cluster; runs on the clients' host.
    fn clients(&self, net: SimNet, rng_seed: u64) -> LocalBoxFuture<'static, Box<dyn Clients>>;
}

/// Makes clients. Every future ends by itself within bounded simulated time.
pub trait Clients {
    /// Creates the topic of the run; it refuses records of `workload::OVERSIZE_BYTES`.
    fn create_topic(&self) -> LocalBoxFuture<'_, Result<(), String>>;

    /// A new producer.
    fn producer(
        &self,
        options: ProducerOptions,
    ) -> LocalBoxFuture<'_, Result<Box<dyn Producer>, String>>;

    /// A new consumer of all partitions, each from its offset.
    fn consumer(
        &self,
        protocol: Protocol,
        from: BTreeMap<u32, i64>,
    ) -> LocalBoxFuture<'_, Result<Box<dyn Consumer>, String>>;

    /// Asks for a partition to be moved to these brokers; returns when that is on its way.
    fn reassign(
        &self,
        partition: u32,
        replicas: Vec<u32>,
    ) -> LocalBoxFuture<'_, Result<(), String>>;

    /// The high watermark of a partition, asked of its leader now.
    fn high_watermark(&self, partition: u32) -> LocalBoxFuture<'_, Result<i64, String>>;

    /// A client of the topic from which records go for this reason; the topic is created if it is not
    /// there. A system without such topics refuses for ever.
    fn keeper(&self, _cleanup: Cleanup) -> LocalBoxFuture<'_, Result<Box<dyn Keeper>, String>> {
        Box::pin(std::future::ready(Err(
            "there are no such topics".to_owned()
        )))
    }

    /// A new client of queues. A system without queues refuses for ever.
    fn queue_client(&self) -> LocalBoxFuture<'_, Result<Box<dyn QueueClient>, String>> {
        Box::pin(std::future::ready(Err("there are no queues".to_owned())))
    }
}

/// A client of a topic with one partition, from which records go.
pub trait Keeper {
    /// Sends a record with `acks=-1` and idempotence; in the order of the calls.
    fn send(&self, key: u32, value: u64) -> LocalBoxFuture<'_, Result<Delivery, SendFailure>>;

    /// Deletes records below an offset; returns the log start.
    fn delete_before(&self, offset: i64) -> LocalBoxFuture<'_, Result<i64, String>>;

    /// Log start and high watermark, asked of the leader now.
    fn bounds(&self) -> LocalBoxFuture<'_, Result<(i64, i64), String>>;

    /// Asks for the partition to be moved to these brokers.
    fn reassign(&self, replicas: Vec<u32>) -> LocalBoxFuture<'_, Result<(), String>>;

    /// Every record from the log start to the high watermark of now.
    fn read(&self) -> LocalBoxFuture<'_, Result<Vec<KeptRecord>, String>>;
}

/// How a send ended that was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendFailure {
    /// `Fail` only if the record certainly is not and will not be in the log.
    pub outcome: Outcome,
    /// Whether this producer can send nothing any more.
    pub is_fatal: bool,
}

/// The acknowledgement of a send: its offset, unless nobody tells (`acks=0`).
pub type Delivery = LocalBoxFuture<'static, Result<Option<i64>, SendFailure>>;

/// A producer; records of one partition are sent in the order of the calls.
pub trait Producer {
    /// Hands a record over, which may wait for room.
    fn send(
        &self,
        partition: u32,
        value: Bytes,
    ) -> LocalBoxFuture<'_, Result<Delivery, SendFailure>>;
}

/// Records of one poll.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Polled {
    /// By partition, in the order in which they were given.
    pub records: BTreeMap<u32, Vec<(i64, Bytes)>>,
    /// High watermarks as far as known.
    pub high_watermarks: BTreeMap<u32, i64>,
}

/// A consumer.
pub trait Consumer {
    /// Waits a bounded time for records; an empty answer is good, an error ends the consumer.
    fn poll(&mut self) -> LocalBoxFuture<'_, Result<Polled, String>>;
}
