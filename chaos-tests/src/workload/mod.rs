//! The clients of a run: they send, poll and probe, and write down what they saw.
//!
//! Owns the tasks on the clients' host and the phases they obey. It does not judge, and it talks to
//! the cluster only through [`crate::system::Clients`].

mod consumer;
mod drain;
mod kept;
mod operator;
mod probe;
mod producer;
mod queues;
mod value;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::faults::{Effects, FaultClass};
use crate::history::{Cleanup, Kept, QueueRecorder, Recorder};
use crate::net::SimNet;
use crate::seed::{Options, Stream, derive};
use crate::system::{Clients, System};

/// A record of this size is refused; see [`Clients::create_topic`].
pub const OVERSIZE_BYTES: u32 = 64 * 1024;
/// Longest wait between two attempts to create the topic.
const CREATE_PAUSE: Duration = Duration::from_millis(250);

/// How far a run has got; it only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Producers send, consumers follow.
    Load,
    /// Producers finish what is in flight.
    Quiesce,
    /// A new consumer reads everything.
    Drain,
    /// All is read.
    Done,
}

/// What every client of a run shares.
#[derive(Clone)]
pub struct Workload {
    /// The options of the run.
    pub options: Options,
    /// Where operations are written.
    pub recorder: Recorder,
    /// Where what concerns topics from which records go is written.
    pub kept: Kept,
    /// Where what concerns queues is written.
    pub queues: QueueRecorder,
    /// Tells clients when to stop, and the run when they have.
    pub phase: watch::Sender<Phase>,
    sessions: Rc<std::cell::Cell<u64>>,
    values: Rc<std::cell::Cell<u64>>,
    orders: Rc<RefCell<VecDeque<operator::Order>>>,
    effects: Effects,
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workload")
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl Workload {
    /// A workload that has not begun.
    #[must_use]
    pub fn new(options: Options, recorder: Recorder, effects: Effects) -> Self {
        Self {
            options,
            recorder,
            kept: Kept::default(),
            queues: QueueRecorder::default(),
            phase: watch::Sender::new(Phase::Load),
            sessions: Rc::default(),
            values: Rc::default(),
            orders: Rc::default(),
            effects,
        }
    }

    /// Runs all clients to the end of the drain.
    ///
    /// # Errors
    /// Never; the type is what a simulated host needs.
    pub async fn run(self, system: Rc<dyn System>, net: SimNet) -> turmoil::Result {
        tokio::task::spawn_local(net.clone().close_buried());
        let rng_seed = derive(self.options.seed, Stream::Workload, 0);
        let clients: Rc<dyn Clients> = Rc::from(system.clients(net, rng_seed).await);
        while clients.create_topic().await.is_err() {
            tokio::time::sleep(CREATE_PAUSE).await;
        }
        if self.options.faults.contains(&FaultClass::ClockJump) {
            self.queues.clocks_jump();
        }
        let mut producers = JoinSet::new();
        for process in 0..self.options.producers.len() {
            producers.spawn_local(producer::run(self.clone(), Rc::clone(&clients), process));
        }
        for cleanup in self.cleanups() {
            producers.spawn_local(kept::run(self.clone(), Rc::clone(&clients), cleanup));
        }
        if self.options.has_amqp_clients() {
            producers.spawn_local(queues::publish(self.clone(), Rc::clone(&clients)));
        }
        let first = u32::try_from(self.options.producers.len()).unwrap_or(u32::MAX);
        let mut readers = JoinSet::new();
        for number in 0..self.options.consumers_count {
            let process = first + number;
            readers.spawn_local(consumer::follow(self.clone(), Rc::clone(&clients), process));
        }
        let next = first + self.options.consumers_count;
        readers.spawn_local(consumer::commit_first(
            self.clone(),
            Rc::clone(&clients),
            next,
        ));
        readers.spawn_local(probe::run(self.clone(), Rc::clone(&clients), next + 1));
        readers.spawn_local(operator::run(self.clone(), Rc::clone(&clients)));
        if self.options.has_amqp_clients() {
            readers.spawn_local(queues::consume(self.clone(), Rc::clone(&clients)));
        }
        // A panic of a task stops the whole simulation, so there is no result to look at.
        while producers.join_next().await.is_some() {}
        self.advance(Phase::Drain);
        let logs = async {
            for cleanup in self.cleanups() {
                kept::drain(&self, &*clients, cleanup).await;
            }
            drain::run(self.clone(), Rc::clone(&clients), next + 2).await;
        };
        let queues = async {
            if self.options.has_amqp_clients() {
                queues::drain(&self, Rc::clone(&clients)).await;
            }
        };
        futures_util::future::join(logs, queues).await;
        self.advance(Phase::Done);
        while readers.join_next().await.is_some() {}
        Ok(())
    }

    /// Has the operator move a partition; forgotten when the cluster does not take it.
    pub fn order(&self, partition: u32, replicas: Vec<u32>) {
        let order = operator::Order {
            partition,
            replicas,
        };
        self.orders.borrow_mut().push_back(order);
    }

    /// Moves on to `phase`; never back.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let is_later = phase > *current;
            *current = phase.max(*current);
            is_later
        });
    }

    /// Whether the run has reached `phase`.
    #[must_use]
    pub fn has_reached(&self, phase: Phase) -> bool {
        *self.phase.borrow() >= phase
    }

    /// Why records go in this run.
    fn cleanups(&self) -> impl Iterator<Item = Cleanup> + use<> {
        let happens = self.options.faults.contains(&FaultClass::Cleanup);
        Cleanup::ALL.into_iter().filter(move |_| happens)
    }

    fn next_session(&self) -> u64 {
        self.sessions.set(self.sessions.get() + 1);
        self.sessions.get()
    }

    fn next_value(&self) -> u64 {
        self.values.set(self.values.get() + 1);
        self.values.get()
    }
}

/// Simulated microseconds since the start.
fn now_us() -> u64 {
    turmoil::sim_elapsed().map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}
