//! This broker's standing in the cluster: finding the controller, registering, heartbeats.
//!
//! A broker that has heard nothing of the controller for a session asks its peers directly, so
//! that groups which still have their majority go on while the metadata group has none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use raftmq_core::cluster::{ClusterError, Command, Endpoints, Outcome, RegisterBroker};
use raftmq_core::ids::{BrokerId, DirectoryId, GroupNumber};
use raftmq_core::space::SpaceOfBrokers;
use raftmq_store::GroupId;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::leadership::Farewell;
use super::messages::{Heartbeat, HeartbeatReply, Hello, HelloReply, decode, encode};
use super::{ControlError, Controller};
use crate::raft::transport::{Lane, Method};

const REGISTER_WITHIN: Duration = Duration::from_secs(2);
const HELLO_WITHIN: Duration = Duration::from_millis(500);
/// Groups in one heartbeat that have lost their leader; the others follow in the next ones.
const NOT_LEADING_MAX: usize = 1_000;
/// Groups that one heartbeat looks at beside those that were said to have stepped down.
const LOOKED_AT_MAX: usize = 32;
/// Time that whoever took a leadership over is given to say so.
const HANDED_OVER_QUIET: Duration = Duration::from_millis(500);

/// What a broker says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Random, new at each start of the process.
    pub incarnation: [u8; 16],
    /// Where it listens.
    pub endpoints: Endpoints,
    /// Its failure domain; empty = none.
    pub rack: String,
    /// Its data folder.
    pub directory_id: DirectoryId,
}

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

/// The search for groups that have lost their leader here.
#[derive(Debug, Default)]
struct Look {
    next: GroupNumber,
    lost: BTreeSet<GroupNumber>,
    /// Groups of which somebody else is about to say that it leads them.
    handed_over: BTreeMap<GroupNumber, Instant>,
}

/// This broker's standing with the controller. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Session {
    state: Arc<Mutex<State>>,
    look: Arc<Mutex<Look>>,
    /// The next heartbeat has something to say.
    wake: Arc<Notify>,
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

    fn note_refusal(&self, error: &ClusterError) {
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
}

impl Controller {
    /// Registers and sends heartbeats. Runs for ever.
    pub async fn run_heartbeats(&self, registration: Registration) {
        let mut ticks = interval(self.heartbeat_interval());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.shared.session.wake.notified() => {}
                _ = ticks.tick() => {}
            }
            if ticks.period() != self.heartbeat_interval() {
                ticks = interval(self.heartbeat_interval());
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks.tick().await;
            }
            if self.shared.session.broker_epoch() == 0 {
                self.register(&registration).await;
            } else {
                self.send_heartbeat().await;
            }
        }
    }

    fn heartbeat_interval(&self) -> Duration {
        let image = self.shared.images.current();
        let interval_ms = image.config_i64(None, "broker.heartbeat.interval.ms");
        Duration::from_millis(u64::try_from(interval_ms).unwrap_or(100).max(10))
    }

    /// `broker.session.timeout.ms`.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        let image = self.shared.images.current();
        let timeout_ms = image.config_i64(None, "broker.session.timeout.ms");
        Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(1_000).max(100))
    }

    async fn register(&self, registration: &Registration) {
        if self.shared.session.is_out() {
            return;
        }
        if self.controller_id().is_none() || self.cluster_id().is_empty() {
            self.ask_around().await;
        }
        let cluster_id = self.cluster_id();
        if cluster_id.is_empty() {
            return;
        }
        let id = BrokerId(self.shared.host.broker_id());
        let command = Command::RegisterBroker(RegisterBroker {
            cluster_id,
            id,
            incarnation: registration.incarnation,
            endpoints: registration.endpoints.clone(),
            rack: registration.rack.clone(),
            directory_id: registration.directory_id,
        });
        match self.propose(&command, REGISTER_WITHIN).await {
            Ok(Outcome::Registered { epoch }) => {
                tracing::info!(broker_epoch = epoch.get(), "registered");
                self.shared
                    .host
                    .transport()
                    .set_identity(|who| who.broker_epoch = epoch.get());
                let mut state = self.shared.session.state.lock();
                state.broker_epoch = epoch.get();
                state.is_fenced = true;
                state.refusal = None;
            }
            Ok(_) => {}
            Err(ControlError::Refused(error)) => self.shared.session.note_refusal(&error),
            Err(ControlError::NoController) => self.ask_around().await,
        }
    }

    /// The cluster this broker belongs to; empty = not known yet.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        let image = self.shared.images.current();
        let known = image.cluster_id.as_deref().map(str::to_owned);
        known.unwrap_or_else(|| self.shared.session.state.lock().cluster_id.clone())
    }

    async fn send_heartbeat(&self) {
        let host = &self.shared.host;
        let sync_age = host.store().sync_age().unwrap_or_default();
        let wall_ms = self.shared.env.clock.now_ms();
        let is_hung = sync_age >= self.session_timeout();
        let is_stopping = {
            let mut state = self.shared.session.state.lock();
            state.is_disk_hung |= is_hung;
            state.is_stopping
        };
        let heartbeat = Heartbeat {
            broker_id: host.broker_id(),
            broker_epoch: self.shared.session.broker_epoch(),
            metadata_applied: self.shared.images.applied(),
            sync_age_ms: u64::try_from(sync_age.as_millis()).unwrap_or(u64::MAX),
            is_ready: !is_stopping,
            not_leading: self.not_leading(),
            wall_ms: Some(wall_ms),
            is_stopping,
            space: host.space().space(),
            loads: self.load_news(),
        };
        // The controller's own session with this broker begins no earlier than that.
        let asked_at = Instant::now();
        let reply = match self.controller_id() {
            Some(id) if id == host.broker_id() => self.take_heartbeat(&heartbeat),
            Some(id) => {
                self.call_controller(id, Method::Heartbeat, encode(&heartbeat))
                    .await
            }
            None => None,
        };
        match reply {
            Some(reply) => {
                let at = (asked_at, wall_ms);
                self.take_reply(&reply, at, !is_hung);
                if reply.must_register {
                    host.suspend_leaderships();
                }
            }
            None => self.ask_around().await,
        }
    }

    /// This broker has ceased to lead `group`: the next heartbeat says so, if the image does not.
    pub fn note_stepped_down(&self, group: GroupId) {
        let mut look = self.shared.session.look.lock();
        look.lost.insert(GroupNumber(group.0));
    }

    /// This broker hands the leadership of `group` over: for a moment nobody needs to be told that
    /// it does not lead any more.
    pub fn note_handed_over(&self, group: GroupId) {
        let mut look = self.shared.session.look.lock();
        look.handed_over
            .insert(GroupNumber(group.0), Instant::now());
    }

    /// Groups that the image says this broker leads although it has stepped down. Nobody else would
    /// find out: groups have no timers of their own. Looks at some other groups each time, too.
    fn not_leading(&self) -> Vec<u64> {
        let image = self.shared.images.current();
        let me = BrokerId(self.shared.host.broker_id());
        let is_lost = |group: &GroupNumber| {
            let info = image.partition(*group);
            let is_ours = info.is_some_and(|info| info.leader == Some(me));
            let open = is_ours.then(|| self.shared.host.get(GroupId(group.get())));
            open.flatten().is_some_and(|group| !group.is_leader())
        };
        let mut look = self.shared.session.look.lock();
        look.handed_over
            .retain(|_, at| at.elapsed() < HANDED_OVER_QUIET);
        let from = look.next;
        let looked_at = image.partitions.range(from..).map(|(group, _)| *group);
        let mut candidates: BTreeSet<GroupNumber> = looked_at.take(LOOKED_AT_MAX).collect();
        look.next = match candidates.last() {
            Some(last) if candidates.len() == LOOKED_AT_MAX => GroupNumber(last.get() + 1),
            Some(_) | None => GroupNumber(0),
        };
        candidates.append(&mut look.lost);
        look.lost = candidates.into_iter().filter(is_lost).collect();
        let is_news = |group: &&GroupNumber| !look.handed_over.contains_key(*group);
        let lost = look.lost.iter().filter(is_news).take(NOT_LEADING_MAX);
        lost.map(|group| group.get()).collect()
    }

    /// Takes the answer to a heartbeat that was sent at a time; says whether the controller counts it.
    fn take_reply(
        &self,
        reply: &HeartbeatReply,
        (asked_at, wall_ms): (Instant, i64),
        is_counted: bool,
    ) {
        let mut state = self.shared.session.state.lock();
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
            self.shared.session.spaces_changed.notify_one();
        }
        if reply.must_register {
            state.broker_epoch = 0;
        }
    }

    async fn call_controller(
        &self,
        controller: u32,
        method: Method,
        body: Bytes,
    ) -> Option<HeartbeatReply> {
        let group = self.shared.group.id();
        let call =
            self.shared
                .host
                .transport()
                .call(controller, Lane::Control, group, method, body);
        let answer = timeout(self.session_timeout() / 2, call).await;
        match answer {
            Ok(Ok(body)) => decode(&body).ok(),
            Ok(Err(_)) | Err(_) => {
                self.shared.session.forget_hint();
                None
            }
        }
    }

    /// Asks every broker it has an address of who leads the metadata group. Whoever answers is
    /// heard of, which is what keeps groups going without a controller.
    pub async fn ask_around(&self) {
        let me = self.shared.host.broker_id();
        let others = self.shared.host.transport().known_brokers();
        let asks = others
            .into_iter()
            .filter(|id| *id != me)
            .map(|id| self.say_hello(id));
        for reply in futures_util::future::join_all(asks)
            .await
            .into_iter()
            .flatten()
        {
            let endpoint = &reply.controller_endpoint;
            if reply.controller_id != 0 && reply.controller_id != me && !endpoint.is_empty() {
                self.shared
                    .host
                    .transport()
                    .set_address(reply.controller_id, endpoint);
            }
            self.shared.session.hint(&reply);
        }
    }

    /// Asks one broker who it is. It counts as heard of, unless it takes this one for fenced: then
    /// somebody else may lead what this broker led.
    pub async fn say_hello(&self, broker: u32) -> Option<HelloReply> {
        let asked_at = Instant::now();
        let reply = hello(&self.shared.host, broker).await?;
        let transport = self.shared.host.transport();
        if reply.takes_asker_for_fenced {
            transport.forget_heard(broker);
        } else {
            transport.note_heard(broker, asked_at);
        }
        Some(reply)
    }
}

/// Asks one broker who it is; `None` when it does not answer in time.
pub async fn hello(host: &crate::raft::RaftHost, broker: u32) -> Option<HelloReply> {
    let body = encode(&Hello {
        broker_id: host.broker_id(),
    });
    let call = host
        .transport()
        .call(broker, Lane::Control, GroupId(0), Method::Hello, body);
    let answer = timeout(HELLO_WITHIN, call).await.ok()?.ok()?;
    decode(&answer).ok()
}
