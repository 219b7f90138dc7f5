//! What this broker knows of its own standing in the cluster, from the answers to its registration and
//! its heartbeats. It sends nothing itself.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raftmq_core::cluster::ClusterError;
use raftmq_core::ids::BrokerId;
use raftmq_core::space::SpaceOfBrokers;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::heartbeat::Look;
use super::leadership::Farewell;
use super::messages::{HeartbeatReply, HelloReply};

#[derive(Debug, Default)]
struct State {
    broker_epoch: u64,
    is_fenced: bool,
    /// The last heartbeat said that the disk hangs. The controller answers such heartbeats but does not
    /// count them, and may fence this broker at any moment.
    is_disk_hung: bool,
    heard_controller_at: Option<Instant>,
    hinted_controller: Option<u32>,
    cluster_id: String,
    refusal: Option<String>,
    /// Refused for good: ids are never reused, and folders do not change.
    is_out: bool,
    clock: Option<ClockReading>,
    is_stopping: bool,
    farewell: Farewell,
    spaces: SpaceOfBrokers,
}

/// Whether a broker may take itself for being in service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The controller counted a heartbeat within a session.
    InService,
    /// It did not: nobody can tell.
    Unknown,
    /// It is fenced, or its disk hung and no heartbeat after that was answered yet: it may be fenced.
    OutOfService,
}

/// What the controller said of this broker's wall clock.
#[derive(Debug, Clone, Copy)]
struct ClockReading {
    /// Ahead of the median of all brokers.
    offset_ms: i64,
    /// What the clock showed then.
    wall_ms: i64,
    /// When that was, on the monotonic clock.
    at: Instant,
}

/// This broker's standing with the controller. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Session {
    state: Arc<Mutex<State>>,
    pub(super) look: Arc<Mutex<Look>>,
    /// The next heartbeat has something to say.
    pub(super) wake: Arc<Notify>,
    spaces_changed: Arc<Notify>,
}

impl Session {
    /// The epoch of the current registration; 0 = not registered.
    #[must_use]
    pub fn broker_epoch(&self) -> u64 {
        self.state.lock().broker_epoch
    }

    /// Whether the controller has answered within `session`.
    #[must_use]
    pub fn hears_controller(&self, session: Duration) -> bool {
        self.state
            .lock()
            .heard_controller_at
            .is_some_and(|at| at.elapsed() < session)
    }

    /// Whether the controller takes this broker for fenced; true before the first answer.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        let state = self.state.lock();
        state.broker_epoch == 0 || state.is_fenced
    }

    /// What this broker knows of its own standing; `session` is how long a counted heartbeat holds.
    pub(super) fn standing(&self, session: Duration) -> Standing {
        let state = self.state.lock();
        let is_heard = state
            .heard_controller_at
            .is_some_and(|at| at.elapsed() < session);
        if state.broker_epoch == 0 || state.is_fenced || state.is_disk_hung {
            Standing::OutOfService
        } else if is_heard {
            Standing::InService
        } else {
            Standing::Unknown
        }
    }

    /// Why registration is refused, where it is.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.state.lock().refusal.clone()
    }

    /// How far this broker's wall clock, which shows `wall_ms`, is ahead of the median of all brokers,
    /// in milliseconds: as the controller said last, and what it has jumped since. `None` when the
    /// controller has not said.
    #[must_use]
    pub fn clock_offset_ms(&self, wall_ms: i64) -> Option<i64> {
        let reading = self.state.lock().clock?;
        let passed_ms = i64::try_from(reading.at.elapsed().as_millis()).unwrap_or(i64::MAX);
        let due_ms = reading.wall_ms.saturating_add(passed_ms);
        let jumped_ms = wall_ms.saturating_sub(due_ms);
        Some(reading.offset_ms.saturating_add(jumped_ms))
    }

    /// The brokers that have little room on their disks, as the controller said last.
    #[must_use]
    pub fn spaces(&self) -> SpaceOfBrokers {
        self.state.lock().spaces.clone()
    }

    /// Waits until the controller says something else of the disks than before. Cancel safe; for one
    /// waiter.
    pub async fn spaces_changed(&self) {
        self.spaces_changed.notified().await;
    }

    /// Whether the cluster has refused this broker for good: it was decommissioned, or its id belongs
    /// to another data folder.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.state.lock().is_out
    }

    pub(super) fn note_refusal(&self, error: &ClusterError) {
        let text = error.to_string();
        let mut state = self.state.lock();
        let is_news = state.refusal.as_ref() != Some(&text);
        state.refusal = Some(text);
        let is_removed = matches!(error, ClusterError::BrokerRemoved { .. });
        let is_foreign = matches!(error, ClusterError::BrokerIdOfAnotherDirectory { .. });
        state.is_out = is_removed || is_foreign;
        drop(state);
        if is_removed {
            tracing::info!("decommissioned: no longer part of the cluster, may be stopped");
            tracing::trace!(target: "raftmq::mark", name = "decommissioned_broker_told");
        } else if is_news {
            tracing::warn!(%error, "registration refused");
        }
    }

    /// From now on heartbeats say that this broker is about to stop; it will not be unfenced.
    pub(super) fn begin_stopping(&self) {
        let mut state = self.state.lock();
        state.is_stopping = true;
        state.farewell = Farewell::default();
        drop(state);
        self.wake.notify_one();
    }

    /// What the controller has said to that.
    pub(super) fn farewell(&self) -> Farewell {
        self.state.lock().farewell
    }

    pub(super) fn hinted_controller(&self) -> Option<u32> {
        self.state.lock().hinted_controller
    }

    pub(super) fn forget_hint(&self) {
        self.state.lock().hinted_controller = None;
    }

    /// The controller as some other broker knows it.
    pub(super) fn hint(&self, reply: &HelloReply) {
        let mut state = self.state.lock();
        if reply.controller_id != 0 {
            state.hinted_controller = Some(reply.controller_id);
        }
        if state.cluster_id.is_empty() {
            state.cluster_id.clone_from(&reply.cluster_id);
        }
    }

    /// The controller took the registration.
    pub(super) fn begin(&self, broker_epoch: u64) {
        let mut state = self.state.lock();
        state.broker_epoch = broker_epoch;
        state.is_fenced = true;
        state.refusal = None;
    }

    /// The next heartbeat says whether the disk hangs; returns whether it says that the broker stops.
    pub(super) fn begin_heartbeat(&self, is_disk_hung: bool) -> bool {
        let mut state = self.state.lock();
        state.is_disk_hung |= is_disk_hung;
        state.is_stopping
    }

    /// The cluster as other brokers have named it; empty = none did.
    pub(super) fn told_cluster_id(&self) -> String {
        self.state.lock().cluster_id.clone()
    }

    /// Takes the answer to a heartbeat that was sent at a time; says whether the controller counts it.
    pub(super) fn take_reply(
        &self,
        reply: &HeartbeatReply,
        (asked_at, wall_ms): (Instant, i64),
        is_counted: bool,
    ) {
        let mut state = self.state.lock();
        if let Some(offset_ms) = reply.clock_offset_ms {
            #[expect(clippy::cast_precision_loss, reason = "a gauge takes floats")]
            metrics::gauge!("raftmq_broker_clock_offset_seconds").set(offset_ms as f64 / 1_000.0);
            state.clock = Some(ClockReading {
                offset_ms,
                wall_ms,
                at: asked_at,
            });
        }
        if is_counted {
            state.heard_controller_at = Some(asked_at);
            state.is_disk_hung = false;
        }
        state.is_fenced = reply.is_fenced;
        state.farewell = Farewell {
            is_drained: reply.is_drained,
            is_alone: reply.is_alone,
        };
        let spaces = reply.spaces.iter();
        let spaces: SpaceOfBrokers = spaces.map(|(id, space)| (BrokerId(*id), *space)).collect();
        if state.spaces != spaces {
            state.spaces = spaces;
            self.spaces_changed.notify_one();
        }
        if reply.must_register {
            state.broker_epoch = 0;
        }
    }
}
