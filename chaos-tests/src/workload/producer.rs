//! One producer process: sends at its rate, restarts when its client library gives up or crashes.

use std::rc::Rc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use super::value::encode;
use super::{OVERSIZE_BYTES, Phase, Workload, now_us};
use crate::history::{Acks, Action, Outcome, Send};
use crate::seed::{ProducerOptions, Stream, stream};
use crate::system::{Clients, Producer, SendFailure};

const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// Sends between two crashes of a client, on average.
const SENDS_PER_CRASH: u32 = 600;
/// Sends between two records that are too large, on average.
const SENDS_PER_OVERSIZE: u32 = 300;
/// Most sends at once.
const BURST_MAX: u32 = 6;

/// Runs until the phase after [`Phase::Load`], and then until everything in flight has ended.
pub(super) async fn run(workload: Workload, clients: Rc<dyn Clients>, process: usize) {
    let options = workload.options.producers[process];
    let mut process = Process {
        rng: stream(workload.options.seed, Stream::Workload, 1 + process as u64),
        process: u32::try_from(process).unwrap_or(u32::MAX),
        in_flight: JoinSet::new(),
        workload,
        options,
    };
    while !process.workload.has_reached(Phase::Quiesce) {
        match clients.producer(options).await {
            Ok(producer) => process.session(Rc::from(producer)).await,
            Err(error) => {
                tracing::debug!(process = process.process, error, "no producer");
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        }
    }
    while process.in_flight.join_next().await.is_some() {}
}

struct Process {
    workload: Workload,
    options: ProducerOptions,
    process: u32,
    rng: StdRng,
    in_flight: JoinSet<bool>,
}

impl Process {
    /// Sends with one producer until it fails for good, crashes or the load ends.
    async fn session(&mut self, producer: Rc<dyn Producer>) {
        let session = self.workload.next_session();
        while !self.workload.has_reached(Phase::Quiesce) {
            let burst = self.rng.random_range(1..=BURST_MAX);
            for _ in 0..burst {
                if !self.send(&producer, session).await {
                    return;
                }
            }
            while let Some(ended) = self.in_flight.try_join_next() {
                if matches!(ended, Ok(true)) {
                    return;
                }
            }
            if self.rng.random_range(0..SENDS_PER_CRASH) < burst {
                // The client dies with its buffers; what was in flight stays unknown.
                self.in_flight.abort_all();
                return;
            }
            let mean_us = u64::from(burst) * 1_000_000 / u64::from(self.options.sends_per_second);
            let pause_us = self.rng.random_range(mean_us / 2..=mean_us * 3 / 2);
            tokio::time::sleep(Duration::from_micros(pause_us)).await;
        }
    }

    /// One send; false if the producer is of no more use.
    async fn send(&mut self, producer: &Rc<dyn Producer>, session: u64) -> bool {
        let partition = self
            .rng
            .random_range(0..self.workload.options.partitions_count);
        let value = self.workload.next_value();
        let send = Send {
            partition,
            value,
            session,
            acks: self.options.acks,
            idempotent: self.options.idempotent,
            retries: self.options.retries,
            offset: None,
        };
        let recorder = self.workload.recorder.clone();
        let id = recorder.invoke(self.process, Action::Send(send), now_us());
        let is_oversize = self.rng.random_range(0..SENDS_PER_OVERSIZE) == 0;
        let size = if is_oversize {
            OVERSIZE_BYTES
        } else {
            self.workload.options.value_bytes
        };
        let bytes = encode(value, size);
        let delivery = match producer.send(partition, bytes).await {
            Ok(delivery) => delivery,
            Err(failure) => {
                recorder.complete(id, failure.outcome, now_us(), |_| ());
                return !failure.is_fatal;
            }
        };
        // Nobody answers an `acks=0` send: whatever its future says, it stays unknown.
        let is_answered = self.options.acks != Acks::None;
        self.in_flight.spawn_local(async move {
            let result = delivery.await;
            let outcome = match &result {
                Ok(_) if is_answered => Outcome::Ok,
                Ok(_) => Outcome::Info,
                Err(failure) => failure.outcome,
            };
            let offset = result.as_ref().ok().copied().flatten();
            recorder.complete(id, outcome, now_us(), |action| {
                if let Action::Send(send) = action {
                    send.offset = offset;
                }
            });
            matches!(result, Err(SendFailure { is_fatal: true, .. }))
        });
        true
    }
}
