//! What the broker that leads the metadata group does beside: sessions and fencing, elections, moves,
//! and who is a member of that group.
//!
//! Whom to fence and whom to elect is decided in `raftmq_core::cluster::election`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use raftmq_core::cluster::balance::measured::LoadBook;
use raftmq_core::cluster::clocks::Clocks;
use raftmq_core::cluster::election::{Disowned, Sessions, leaderless_groups};
use raftmq_core::cluster::{Command, Image};
use raftmq_core::ids::{BrokerEpoch, BrokerId, GroupNumber};
use raftmq_core::space::{Space, SpaceOfBrokers};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::Controller;
use super::leadership::{Ailing, Farewell, Moves};
use super::loads::loads_of;
use super::messages::{Heartbeat, HeartbeatReply};

/// How often leaderless groups and moves are looked at while there are any, when nothing wakes the
/// controller.
const ROUND_INTERVAL: Duration = Duration::from_millis(50);
/// The shortest pause between two rounds, when a session has ended and cannot be fenced yet.
const ROUND_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// The longest pause between two looks at the sessions, as a part of the session timeout.
const LOOKS_PER_SESSION: u32 = 4;
/// The same on a broker that does not lead the metadata group: a change of that wakes it.
const IDLE_INTERVAL: Duration = Duration::from_millis(500);
/// Time that an ordered election is given before it is ordered again; doubled each time, because
/// an order disturbs the election before it where links or disks are slow.
const ELECTION_PATIENCE: Duration = Duration::from_millis(250);
const ELECTION_PATIENCE_DOUBLINGS_MAX: u32 = 4;
/// What each election that is ordered together with others adds to that: their candidates take turns
/// on the same processors and disks.
const ELECTION_PATIENCE_EACH: Duration = Duration::from_millis(2);
/// Longest time that the first order is given, however many elections were ordered together.
const ELECTION_PATIENCE_MAX: Duration = Duration::from_secs(2);
const COMMAND_WITHIN: Duration = Duration::from_secs(1);

/// What the controller knows and no image shows. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Duties {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) wake: Arc<Notify>,
}

/// An election that was ordered.
#[derive(Debug, Clone, Copy)]
struct Ordered {
    /// How often in a row.
    times: u32,
    /// When it is ordered again.
    again_at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct State {
    term: u64,
    sessions: Sessions,
    started: Option<Instant>,
    /// Brokers that may be unfenced: their last heartbeat said so.
    ready: BTreeMap<BrokerId, BrokerEpoch>,
    /// Elections that were ordered and have brought no leader yet.
    ordered: BTreeMap<GroupNumber, Ordered>,
    /// Moves of replicas that are being driven.
    moving: BTreeSet<GroupNumber>,
    /// Since when brokers have been out of service, as far as this controller has seen.
    pub(super) absent_since: BTreeMap<BrokerId, Instant>,
    /// The membership of the metadata group is being changed.
    pub(super) is_tending: bool,
    /// The image in which every group was led and none was moving: nothing to do until the next.
    at_rest: Option<u64>,
    /// Groups whose leader in the image says that it does not lead.
    disowned: Disowned,
    clocks: Clocks,
    pub(super) moves: Moves,
    /// Brokers that have little room on their disks.
    spaces: SpaceOfBrokers,
    /// What is written to partitions, as their leaders said.
    pub(super) loads: LoadBook,
}

impl State {
    fn giving_away(&self, image: &Image) -> Vec<BrokerId> {
        let mut brokers = self.moves.stopping(image);
        brokers.extend(self.spaces.keys().filter(|id| image.is_alive(**id)));
        brokers
    }

    /// Takes note of the room on a broker's disk. Returns whether that is news.
    fn hear_space(&mut self, id: BrokerId, space: Space) -> bool {
        let before = match space {
            Space::Ample => self.spaces.remove(&id),
            Space::Low | Space::Scarce => self.spaces.insert(id, space),
        };
        before.unwrap_or_default() != space
    }

    pub(super) fn now_ms(&self) -> u64 {
        let elapsed = self
            .started
            .map(|started| started.elapsed())
            .unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Duties {
    /// A connection to a broker was refused or reset.
    pub fn suspect(&self, image: &Image, broker: u32) {
        let id = BrokerId(broker);
        if let Some(known) = image.broker(id) {
            self.state.lock().sessions.suspect(id, known.epoch);
            self.wake.notify_one();
        }
    }

    /// The brokers in service that are about to stop.
    pub(super) fn stopping(&self, image: &Image) -> Vec<BrokerId> {
        self.state.lock().moves.stopping(image)
    }

    /// The brokers in service that are to give their leaderships away: they are about to stop, or
    /// have no room for records.
    pub(super) fn giving_away(&self, image: &Image) -> Vec<BrokerId> {
        self.state.lock().giving_away(image)
    }

    /// The groups whose election is to be ordered now, which they count as from here on.
    fn take_due(&self, leaderless: Vec<GroupNumber>) -> Vec<GroupNumber> {
        let now = Instant::now();
        let leaderless: BTreeSet<GroupNumber> = leaderless.into_iter().collect();
        let mut state = self.state.lock();
        state.ordered.retain(|group, _| leaderless.contains(group));
        let is_due = |group: &GroupNumber| {
            let ordered = state.ordered.get(group);
            ordered.is_none_or(|ordered| now >= ordered.again_at)
        };
        let due: Vec<_> = leaderless.into_iter().filter(is_due).collect();
        for group in &due {
            let before = state.ordered.get(group).map_or(0, |ordered| ordered.times);
            let times = before.saturating_add(1);
            let again_at = now + patience(times, due.len());
            let ordered = Ordered { times, again_at };
            state.ordered.insert(*group, ordered);
        }
        due
    }

    /// Takes up the move of a group, unless it is driven already or `max` others are.
    pub(super) fn begin_move(&self, group: GroupNumber, max: usize) -> bool {
        let mut state = self.state.lock();
        state.moving.len() < max && state.moving.insert(group)
    }

    /// Puts the move of a group down.
    pub(super) fn end_move(&self, group: GroupNumber) {
        self.state.lock().moving.remove(&group);
        self.wake.notify_one();
    }

    fn is_at_rest(&self, image: &Image) -> bool {
        let state = self.state.lock();
        state.disowned.is_empty() && state.at_rest == Some(image.version)
    }

    /// No order could be given in these groups: the next round tries again.
    fn forget_order(&self, groups: &[GroupNumber]) {
        let mut state = self.state.lock();
        for group in groups {
            state.ordered.remove(group);
        }
    }
}

impl Controller {
    /// Connections to a broker are refused: the controller, if it is here, ends its session; if it was the
    /// controller, somebody else becomes it.
    pub fn suspect(&self, broker: u32) {
        if self.leading_term().is_some() {
            self.shared
                .duties
                .suspect(&self.shared.images.current(), broker);
        } else {
            self.succeed(broker);
        }
    }

    /// Takes another broker's heartbeat, or this one's own. `None`: this is not the controller.
    #[must_use]
    pub fn take_heartbeat(&self, heartbeat: &Heartbeat) -> Option<HeartbeatReply> {
        let term = self.leading_term().filter(|_| self.has_quorum())?;
        let image = self.shared.images.current();
        let (id, epoch) = (
            BrokerId(heartbeat.broker_id),
            BrokerEpoch(heartbeat.broker_epoch),
        );
        let Some(broker) = image.broker(id).filter(|broker| broker.epoch == epoch) else {
            // A registration that this image does not have yet is no reason to register anew.
            let must_register = image.broker(id).is_none_or(|broker| broker.epoch > epoch);
            return Some(HeartbeatReply {
                must_register,
                is_fenced: true,
                ..HeartbeatReply::default()
            });
        };
        let session_ms = u64::try_from(self.session_timeout().as_millis()).unwrap_or(u64::MAX);
        let mut state = self.shared.duties.state.lock();
        state.disowned.retain(|_, leader| *leader != id);
        let disowned = heartbeat
            .not_leading
            .iter()
            .map(|group| (GroupNumber(*group), id));
        state.disowned.extend(disowned);
        let now_ms = state.now_ms();
        if let Some(wall_ms) = heartbeat.wall_ms.filter(|_| state.term == term) {
            state.clocks.retain(|id| image.is_alive(id));
            state.clocks.observe(id, wall_ms, now_ms);
        }
        let mut farewell = Farewell::default();
        if state.term == term {
            state.loads.hear(&image, loads_of(&heartbeat.loads), now_ms);
            let has_news = state.hear_space(id, heartbeat.space);
            if state.moves.hear(id, epoch, heartbeat.is_stopping) || has_news {
                state.at_rest = None;
                self.shared.duties.wake.notify_one();
            }
            if heartbeat.is_stopping {
                farewell = state.moves.farewell(&image, id);
            }
        }
        // A hung disk is fenced like silence.
        if state.term == term && heartbeat.sync_age_ms < session_ms {
            state.sessions.heartbeat(id, epoch, now_ms);
            let caught_up = heartbeat.metadata_applied >= broker.epoch.get();
            if broker.is_fenced && heartbeat.is_ready && caught_up {
                state.ready.insert(id, epoch);
                self.shared.duties.wake.notify_one();
            }
        }
        Some(HeartbeatReply {
            must_register: false,
            is_fenced: broker.is_fenced,
            clock_offset_ms: state.clocks.offset_ms(id, image.alive_brokers().count()),
            is_drained: farewell.is_drained,
            is_alone: farewell.is_alone,
            spaces: (state.spaces.iter().map(|(id, space)| (id.get(), *space))).collect(),
        })
    }

    /// Does the controller's duties whenever this broker leads the metadata group. Runs for ever.
    pub async fn run_duties(&self, cluster_defaults: BTreeMap<String, String>) {
        let mut images = self.images();
        let mut metadata = self.shared.group.raft().server_metrics();
        loop {
            let seen = images.current().version;
            match self.leading_term() {
                Some(term) => {
                    self.take_office(term);
                    self.found_cluster(&cluster_defaults).await;
                    self.round().await;
                }
                None => {
                    self.shared.duties.state.lock().term = 0;
                    Ailing::default().show();
                }
            }
            // It leads a moment before it may propose.
            let is_leader = self.shared.group.is_leader();
            let interval = if is_leader {
                self.until_next_round()
            } else {
                IDLE_INTERVAL
            };
            tokio::select! {
                biased;
                () = self.shared.duties.wake.notified() => {}
                _ = images.newer_than(seen), if is_leader => {}
                changed = metadata.changed(), if !is_leader => if changed.is_err() {
                    // The group has stopped for good; the broker is about to.
                    sleep(interval).await;
                },
                () = sleep(interval) => {}
            }
        }
    }

    /// The time to the end of the next session, unless something else is to be done before.
    fn until_next_round(&self) -> Duration {
        let image = self.shared.images.current();
        if !self.shared.duties.is_at_rest(&image) {
            return ROUND_INTERVAL;
        }
        let session = self.session_timeout();
        let session_ms = u64::try_from(session.as_millis()).unwrap_or(u64::MAX);
        let state = self.shared.duties.state.lock();
        let deadline_ms = state.sessions.next_deadline_ms(session_ms);
        // A session is over once more than the timeout has passed.
        let left_ms = deadline_ms.map(|at_ms| (at_ms + 1).saturating_sub(state.now_ms()));
        left_ms
            .map_or(session, Duration::from_millis)
            .clamp(ROUND_INTERVAL_MIN, session / LOOKS_PER_SESSION)
    }

    fn take_office(&self, term: u64) {
        let image = self.shared.images.current();
        let mut state = self.shared.duties.state.lock();
        if state.term == term {
            let now_ms = state.now_ms();
            state.sessions.follow(&image, now_ms);
            return;
        }
        tracing::info!(term, "this broker is the controller");
        *state = State {
            term,
            sessions: Sessions::new(&image, 0),
            started: Some(Instant::now()),
            ..State::default()
        };
    }

    /// Gives a new cluster its id and the settings it was started with.
    async fn found_cluster(&self, cluster_defaults: &BTreeMap<String, String>) {
        if self.shared.images.current().cluster_id.is_some() {
            return;
        }
        let id = self.shared.env.random_id();
        let cluster_id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let command = Command::CreateCluster { cluster_id };
        if let Err(error) = self.propose(&command, COMMAND_WITHIN).await {
            tracing::warn!(%error, "cluster not created");
            return;
        }
        if !cluster_defaults.is_empty() {
            let (set, unset) = (cluster_defaults.clone(), Vec::new());
            let command = Command::AlterClusterConfigs { set, unset };
            if let Err(error) = self.propose(&command, COMMAND_WITHIN).await {
                tracing::error!(%error, "cluster settings not applied");
            }
        }
    }

    async fn round(&self) {
        let image = self.shared.images.current();
        self.fence_and_unfence(&image).await;
        let image = self.shared.images.current();
        self.tend_members(&image);
        if !self.shared.duties.is_at_rest(&image) {
            // Whoever is about to stop, or has no room for records, is as good as draining.
            let giving_away = self.shared.duties.giving_away(&image);
            let image = Arc::new(image.with_draining(giving_away.iter().copied()));
            let (all_led, none_moving) = (self.elect_leaders(&image), self.drive_moves(&image));
            let is_settled = self.move_leaders(&image) && all_led && none_moving;
            let mut state = self.shared.duties.state.lock();
            // Brokers may have said something new meanwhile, or nothing yet.
            let is_told =
                state.moves.knows_everybody(&image) && state.giving_away(&image) == giving_away;
            state.at_rest = (is_settled && is_told).then_some(image.version);
        }
    }

    async fn fence_and_unfence(&self, image: &Image) {
        let session_ms = u64::try_from(self.session_timeout().as_millis()).unwrap_or(u64::MAX);
        let (expired, ready) = {
            let mut state = self.shared.duties.state.lock();
            let now_ms = state.now_ms();
            let expired = state.sessions.expired(now_ms, session_ms);
            (expired, std::mem::take(&mut state.ready))
        };
        for (id, epoch) in &expired {
            tracing::warn!(broker_id = id.get(), "session ended: fencing");
            self.command(Command::FenceBroker {
                id: *id,
                epoch: *epoch,
            })
            .await;
        }
        for (id, epoch) in ready {
            if image
                .broker(id)
                .is_some_and(|broker| broker.epoch == epoch && broker.is_fenced)
            {
                tracing::info!(broker_id = id.get(), "in service");
                self.command(Command::UnfenceBroker { id, epoch }).await;
            }
        }
    }

    pub(super) async fn command(&self, command: Command) {
        if let Err(error) = self.propose(&command, COMMAND_WITHIN).await {
            tracing::debug!(%error, ?command, "controller command failed");
        }
    }

    /// Orders elections where they are due. Returns whether every group is led.
    fn elect_leaders(&self, image: &Arc<Image>) -> bool {
        let disowned = self.shared.duties.state.lock().disowned.clone();
        let leaderless = leaderless_groups(image, &disowned);
        let all_led = leaderless.is_empty();
        let due = self.shared.duties.take_due(leaderless);
        if !due.is_empty() {
            // Beside the round, so that a broker that answers late does not hold up fencing.
            let (controller, image) = (self.clone(), image.clone());
            tokio::spawn(async move {
                let left = controller.elect(&image, &disowned, due).await;
                controller.shared.duties.forget_order(&left);
            });
        }
        all_led
    }
}

/// How long an order is left alone, the `times`-th in a row, given together with others: `together` in all.
fn patience(times: u32, together: usize) -> Duration {
    let doublings = times.saturating_sub(1).min(ELECTION_PATIENCE_DOUBLINGS_MAX);
    let together = u32::try_from(together).unwrap_or(u32::MAX);
    let each = ELECTION_PATIENCE_EACH.saturating_mul(together);
    // A silent candidate must not hold up more groups the longer, the more there are.
    let all = (ELECTION_PATIENCE + each).min(ELECTION_PATIENCE_MAX);
    all * 2_u32.pow(doublings)
}
