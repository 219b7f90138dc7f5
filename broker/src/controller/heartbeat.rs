//! What keeps this broker in the cluster: finding the controller, registering, heartbeats. What came of
//! it stands in `Session`.
//!
//! A broker that has heard nothing of the controller for a session asks its peers directly, so
//! that groups which still have their majority go on while the metadata group has none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use raftmq_core::cluster::{Command, Endpoints, Outcome, RegisterBroker};
use raftmq_core::ids::{BrokerId, DirectoryId, GroupNumber};
use raftmq_store::GroupId;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

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

/// The search for groups that have lost their leader here.
#[derive(Debug, Default)]
pub(super) struct Look {
    next: GroupNumber,
    lost: BTreeSet<GroupNumber>,
    /// Groups of which somebody else is about to say that it leads them.
    handed_over: BTreeMap<GroupNumber, Instant>,
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
                self.shared.session.begin(epoch.get());
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
        known.unwrap_or_else(|| self.shared.session.told_cluster_id())
    }

    async fn send_heartbeat(&self) {
        let host = &self.shared.host;
        let sync_age = host.store().sync_age().unwrap_or_default();
        let wall_ms = self.shared.env.clock.now_ms();
        let is_hung = sync_age >= self.session_timeout();
        let is_stopping = self.shared.session.begin_heartbeat(is_hung);
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
                self.shared.session.take_reply(&reply, at, !is_hung);
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
