//! Has leaderships moved whose leaders live: orders in batches, one message for each broker, and
//! what became of them as the image shows.
//!
//! Which leadership is to move where is decided in `raftmq_core::cluster::leadership`; how a leader
//! hands over stands in `replica::handover`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raftmq_core::cluster::leadership::{
    LeadershipMove, MoveLimits, MovePlan, plan_moves, skewed_count,
};
use raftmq_core::cluster::{Image, config_keys};
use raftmq_core::ids::{BrokerEpoch, BrokerId, GroupNumber};
use raftmq_store::GroupId;
use tokio::time::Instant;

use super::Controller;
use crate::raft::HandOver;
use crate::raft::handover::encode_hand_overs;
use crate::raft::transport::{Lane, Method};

/// Moves under way at once, over all brokers.
const MOVES_UNDER_WAY_MAX: usize = 128;
/// Time that an ordered move is given to show in the image; longer than a leader may take over it.
const MOVE_PATIENCE: Duration = Duration::from_millis(2_000);
const MOVE_PATIENCE_DOUBLINGS_MAX: u32 = 5;
/// Failed moves that nobody wants any more are forgotten after this.
const FORGET_AFTER: Duration = Duration::from_secs(120);

/// What a broker said of itself in its last heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Intent {
    epoch: BrokerEpoch,
    is_stopping: bool,
}

#[derive(Debug, Clone, Copy)]
struct Ordered {
    what: LeadershipMove,
    at: Instant,
    times: u32,
    /// It has neither come about nor failed yet.
    is_open: bool,
}

/// The moves that the controller has ordered, and who stops or may take leaderships.
#[derive(Debug, Default)]
pub(super) struct Moves {
    intents: BTreeMap<BrokerId, Intent>,
    ordered: BTreeMap<GroupNumber, Ordered>,
}

impl Moves {
    /// Takes note of a heartbeat. Returns whether the broker says something new.
    pub(super) fn hear(&mut self, id: BrokerId, epoch: BrokerEpoch, is_stopping: bool) -> bool {
        let intent = Intent { epoch, is_stopping };
        self.intents.insert(id, intent) != Some(intent)
    }

    fn intent_of(&self, image: &Image, id: BrokerId) -> Option<Intent> {
        let epoch = image.broker(id)?.epoch;
        let intent = self.intents.get(&id).copied();
        intent.filter(|intent| intent.epoch == epoch)
    }

    /// The brokers in service that are about to stop.
    pub(super) fn stopping(&self, image: &Image) -> Vec<BrokerId> {
        let alive = image.alive_brokers().map(|broker| broker.id);
        let stops = |id: &BrokerId| {
            let intent = self.intent_of(image, *id);
            intent.is_some_and(|intent| intent.is_stopping)
        };
        alive.filter(stops).collect()
    }

    /// Whether every broker in service has been heard of, so that nobody is given leaderships who
    /// is about to stop.
    pub(super) fn knows_everybody(&self, image: &Image) -> bool {
        let mut alive = image.alive_brokers();
        alive.all(|broker| self.intent_of(image, broker.id).is_some())
    }

    /// Settles what the image shows, and gives the bounds of the next plan.
    fn limits(&mut self, image: &Image, now: Instant) -> MoveLimits {
        self.settle(image, now);
        let open_count = self.open_count();
        let is_busy = |ordered: &Ordered| now < ordered.at + patience(ordered.times);
        let busy = self.ordered.iter().filter(|(_, one)| is_busy(one));
        let takes = |id: &BrokerId| {
            let intent = self.intent_of(image, *id);
            intent.is_some_and(|intent| !intent.is_stopping)
        };
        let alive = image.alive_brokers().map(|broker| broker.id);
        MoveLimits {
            moves_max: MOVES_UNDER_WAY_MAX.saturating_sub(open_count),
            restores_preferred: restores_preferred(image),
            busy: busy.map(|(group, _)| *group).collect(),
            takers: alive.filter(takes).collect(),
        }
    }

    fn open_count(&self) -> usize {
        self.ordered.values().filter(|one| one.is_open).count()
    }

    fn settle(&mut self, image: &Image, now: Instant) {
        self.ordered.retain(|group, ordered| {
            let partition = image.partition(*group);
            let leader = partition.and_then(|partition| partition.leader);
            let is_as_before = partition.is_some_and(|partition| {
                leader == Some(ordered.what.from)
                    && partition.leader_epoch == ordered.what.leader_epoch
            });
            let is_late = now >= ordered.at + MOVE_PATIENCE;
            if ordered.is_open && (!is_as_before || is_late) {
                ordered.is_open = false;
                let is_done = leader == Some(ordered.what.to);
                count(if is_done { "done" } else { "failed" });
            }
            is_as_before && now < ordered.at + FORGET_AFTER
        });
    }

    fn note_ordered(&mut self, moves: &[LeadershipMove], now: Instant) {
        for what in moves {
            count("ordered");
            let known = self.ordered.get(&what.group);
            let times = known.map_or(0, |ordered| ordered.times) + 1;
            let ordered = Ordered {
                what: *what,
                at: now,
                times,
                is_open: true,
            };
            self.ordered.insert(what.group, ordered);
        }
    }

    /// Whether nothing is left to be moved off `id`, nor under way from there.
    fn is_drained(&self, image: &Image, id: BrokerId) -> bool {
        let takers = image.alive_brokers().map(|broker| broker.id);
        let stopping: BTreeSet<BrokerId> = self.stopping(image).into_iter().collect();
        let limits = MoveLimits {
            moves_max: usize::MAX,
            restores_preferred: false,
            busy: BTreeSet::new(),
            takers: takers.filter(|taker| !stopping.contains(taker)).collect(),
        };
        let plan = plan_moves(&image.with_draining(stopping), &limits);
        let is_given = |ordered: &Ordered| ordered.is_open && ordered.what.to == id;
        !plan.moves.iter().any(|one| one.from == id) && !self.ordered.values().any(is_given)
    }
}

/// What a stopping broker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Farewell {
    /// It leads nothing that another broker could lead.
    pub is_drained: bool,
    /// Every other broker in service stops, too: there is nobody to leave anything to.
    pub is_alone: bool,
}

impl Moves {
    /// What `id`, which stops, is told. Nothing, as long as not everybody was heard of.
    pub(super) fn farewell(&self, image: &Image, id: BrokerId) -> Farewell {
        if !self.knows_everybody(image) {
            return Farewell::default();
        }
        let stopping_count = self.stopping(image).len();
        Farewell {
            is_drained: self.is_drained(image, id),
            is_alone: stopping_count == image.alive_brokers().count(),
        }
    }
}

fn restores_preferred(image: &Image) -> bool {
    image.config_text(None, config_keys::AUTO_LEADER_REBALANCE_ENABLE) == "true"
}

fn patience(times: u32) -> Duration {
    let doublings = times.saturating_sub(1).min(MOVE_PATIENCE_DOUBLINGS_MAX);
    MOVE_PATIENCE * 2_u32.pow(doublings)
}

fn count(outcome: &'static str) {
    metrics::counter!("raftmq_controller_leadership_moves_total", "outcome" => outcome).increment(1);
}

/// Partitions that are not led by their preferred leader, as the controller sees it; 0 on a broker
/// that is not the controller.
pub(super) fn show_skew(skewed_count: usize) {
    let shown = u32::try_from(skewed_count).unwrap_or(u32::MAX);
    metrics::gauge!("raftmq_controller_leader_skew_partitions").set(f64::from(shown));
}

impl Controller {
    /// Orders the moves that are due. Returns whether nothing is left to be moved or waited for.
    pub(super) fn move_leaders(&self, image: &Image) -> bool {
        show_skew(skewed_count(image));
        let now = Instant::now();
        let (plan, open_count) = {
            let mut state = self.shared.duties.state.lock();
            let limits = state.moves.limits(image, now);
            let plan = plan_moves(image, &limits);
            state.moves.note_ordered(&plan.moves, now);
            (plan, state.moves.open_count())
        };
        let MovePlan {
            moves,
            waiting_count,
        } = plan;
        if !moves.is_empty() {
            tracing::info!(groups_count = moves.len(), "moving leaderships");
        }
        let mut by_broker: BTreeMap<BrokerId, Vec<HandOver>> = BTreeMap::new();
        for one in moves {
            by_broker.entry(one.from).or_default().push(HandOver {
                group: GroupId(one.group.get()),
                term: one.leader_epoch.get(),
                to: one.to.get(),
            });
        }
        for (broker, orders) in by_broker {
            self.order_hand_overs(broker, orders);
        }
        waiting_count == 0 && open_count == 0
    }

    fn order_hand_overs(&self, broker: BrokerId, orders: Vec<HandOver>) {
        let host = &self.shared.host;
        if broker.get() == host.broker_id() {
            self.shared.hand_overs.order(orders);
            return;
        }
        let (method, body) = (Method::HandOver, encode_hand_overs(&orders));
        let transport = host.transport();
        let call = transport.call(broker.get(), Lane::Control, GroupId(0), method, body);
        // A lost order shows as a move that does not come about.
        tokio::spawn(async move {
            if let Err(error) = call.await {
                tracing::debug!(%error, "handovers not ordered");
            }
        });
    }
}
