//! What is written to each partition: measured by its leader, said with heartbeats, kept by the controller
//! as long as it is one, and asked of it by whoever makes a plan.
//!
//! What is news is decided in `raftmq_core::cluster::balance::measured`.

use bytes::Bytes;
use parking_lot::Mutex;
use raftmq_core::cluster::balance::measured::{Counted, LoadMeter};
use raftmq_core::cluster::balance::{Loads, PartitionLoad};
use raftmq_core::ids::GroupNumber;
use tokio::time::{Instant, timeout};

use super::Controller;
use super::messages::{Load, decode, encode};
use super::progress::ASK_WITHIN;
use crate::raft::transport::{Lane, Method, Refusal, Served};

/// Partitions in one heartbeat; the others follow in the next ones.
const LOADS_MAX: usize = 500;

/// The meter of this broker.
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    meter: LoadMeter,
    /// Whom the loads were said to: the controller and its term.
    said_to: Option<(u32, u64)>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            state: Mutex::default(),
        }
    }
}

impl Meter {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Controller {
    /// Takes the counters of every partition that this broker leads now.
    pub fn measure_loads(&self, counted: impl IntoIterator<Item = Counted>) {
        let meter = &self.shared.meter;
        let now_ms = meter.now_ms();
        meter.state.lock().meter.measure(counted, now_ms);
    }

    /// What the next heartbeat says of loads. A new controller is told all of them, some at a time.
    pub(super) fn load_news(&self) -> Vec<Load> {
        let term = self.shared.group.term();
        let controller = self.controller_id().map(|id| (id, term));
        let meter = &self.shared.meter;
        let now_ms = meter.now_ms();
        let mut state = meter.state.lock();
        if controller.is_none() {
            return Vec::new();
        }
        if state.said_to != controller {
            state.said_to = controller;
            state.meter.begin_again();
        }
        let news = state.meter.take_news(LOADS_MAX, now_ms);
        news.into_iter().map(to_wire).collect()
    }

    /// What is written to each partition, as far as the controller was told. Empty when it does not answer.
    pub async fn loads(&self) -> Loads {
        if self.leading_term().is_some() {
            return self.loads_here();
        }
        let asked = self.ask_loads().await;
        loads_of(&asked.unwrap_or_default()).collect()
    }

    fn loads_here(&self) -> Loads {
        let image = self.shared.images.current();
        let mut state = self.shared.duties.state.lock();
        let now_ms = state.now_ms();
        state.loads.loads(&image, now_ms)
    }

    async fn ask_loads(&self) -> Option<Vec<Load>> {
        let controller = self.controller_id()?;
        let (group, transport) = (self.shared.group.id(), self.shared.host.transport());
        let call = transport.call(
            controller,
            Lane::Control,
            group,
            Method::Loads,
            Bytes::new(),
        );
        let answer = timeout(ASK_WITHIN, call).await.ok()?.ok()?;
        decode(&answer).ok()
    }

    /// Answers what this broker, the controller, was told of loads.
    ///
    /// # Errors
    ///
    /// It is not the controller.
    pub fn serve_loads(&self) -> Served {
        let term = self.leading_term();
        term.ok_or((Refusal::NotController, String::new()))?;
        let loads: Vec<Load> = self.loads_here().into_iter().map(to_wire).collect();
        Ok(encode(&loads))
    }
}

fn to_wire((group, load): (GroupNumber, PartitionLoad)) -> Load {
    (group.get(), load.in_bytes_per_s, load.size_bytes)
}

/// Loads as they come from another broker.
pub(super) fn loads_of(loads: &[Load]) -> impl Iterator<Item = (GroupNumber, PartitionLoad)> {
    loads.iter().map(|(group, in_bytes_per_s, size_bytes)| {
        let load = PartitionLoad {
            in_bytes_per_s: *in_bytes_per_s,
            size_bytes: *size_bytes,
        };
        (GroupNumber(*group), load)
    })
}
