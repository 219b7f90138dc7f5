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
    metrics::counter!("raftmq_controller_leadership_moves_total", "outcome" => outcome)
        .increment(1);
}

/// Partitions that are not as they should be, as the controller sees it; none on a broker that is
/// not the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ailing {
    skewed_count: usize,
    under_replicated_count: usize,
    offline_count: usize,
}

impl Ailing {
    fn of(image: &Image) -> Self {
        let lagging = image.partitions.values();
        let leaderless = image.partitions.values();
        Self {
            skewed_count: skewed_count(image),
            under_replicated_count: lagging.filter(|one| one.is_under_replicated()).count(),
            offline_count: leaderless.filter(|one| image.is_offline(one)).count(),
        }
    }

    pub(super) fn show(self) {
        let shown = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        metrics::gauge!("raftmq_controller_leader_skew_partitions").set(shown(self.skewed_count));
        let under_replicated = metrics::gauge!("raftmq_controller_under_replicated_partitions");
        under_replicated.set(shown(self.under_replicated_count));
        metrics::gauge!("raftmq_controller_offline_partitions").set(shown(self.offline_count));
    }
}

impl Controller {
    /// Orders the moves that are due. Returns whether nothing is left to be moved or waited for.
    pub(super) fn move_leaders(&self, image: &Image) -> bool {
        Ailing::of(image).show();
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raftmq_core::cluster::{Broker, Endpoints, PartitionInfo};
    use raftmq_core::ids::{PartitionIndex, Term, TopicId};

    use super::*;

    /// Three brokers in service, and one partition of theirs, preferred by 1 and led by `leader`.
    fn image(leader: u32, leader_epoch: u64) -> Image {
        let mut image = Image::default();
        for id in [1, 2, 3].map(BrokerId) {
            let broker = Broker {
                id,
                endpoints: Endpoints::default(),
                rack: String::new(),
                epoch: BrokerEpoch(7),
                incarnation: [0; 16],
                is_fenced: false,
                is_draining: false,
                is_decommissioned: false,
                directory_id: raftmq_core::ids::DirectoryId::default(),
            };
            image.brokers.insert(id, Arc::new(broker));
        }
        let replicas = vec![BrokerId(1), BrokerId(2), BrokerId(3)];
        let partition = PartitionInfo {
            group: GroupNumber(4),
            topic_id: TopicId([0; 16]),
            index: PartitionIndex(0),
            isr: replicas.clone(),
            replicas,
            target: None,
            adding: Vec::new(),
            removing: Vec::new(),
            move_epoch: 0,
            settled_at: None,
            leader: Some(BrokerId(leader)),
            leader_epoch: Term(leader_epoch),
            partition_epoch: 1,
        };
        image
            .partitions
            .insert(partition.group, Arc::new(partition));
        image
    }

    fn heard(stopping: &[u32]) -> Moves {
        let mut moves = Moves::default();
        for id in 1..=3 {
            moves.hear(BrokerId(id), BrokerEpoch(7), stopping.contains(&id));
        }
        moves
    }

    /// Plans and notes what is ordered at `now`; gives how many.
    fn order(moves: &mut Moves, image: &Image, now: Instant) -> usize {
        let limits = moves.limits(image, now);
        let plan = plan_moves(image, &limits);
        moves.note_ordered(&plan.moves, now);
        plan.moves.len()
    }

    #[test]
    fn partitions_are_counted_that_lack_a_replica_or_a_leader_or_have_another_one() {
        let mut image = image(2, 1);
        let mut expected = Ailing {
            skewed_count: 1,
            ..Ailing::default()
        };
        assert_eq!(Ailing::of(&image), expected);

        let mut partition = PartitionInfo::clone(image.partition(GroupNumber(4)).unwrap());
        partition.isr.pop();
        let group = partition.group;
        image.partitions.insert(group, Arc::new(partition));
        let mut leader = Broker::clone(image.broker(BrokerId(2)).unwrap());
        leader.is_fenced = true;
        image.brokers.insert(leader.id, Arc::new(leader));

        expected.under_replicated_count = 1;
        expected.offline_count = 1;
        assert_eq!(Ailing::of(&image), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_was_not_heard_of_is_given_nothing() {
        let now = Instant::now();
        let mut moves = Moves::default();
        assert_eq!(order(&mut moves, &image(2, 1), now), 0);
        moves.hear(BrokerId(1), BrokerEpoch(6), false);
        assert_eq!(order(&mut moves, &image(2, 1), now), 0, "another process");

        assert!(moves.hear(BrokerId(1), BrokerEpoch(7), false), "news");
        assert!(!moves.hear(BrokerId(1), BrokerEpoch(7), false), "no news");

        assert_eq!(order(&mut moves, &image(2, 1), now), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_move_under_way_is_not_ordered_again_until_it_has_failed() {
        let began = Instant::now();
        let mut moves = heard(&[]);
        let image_before = image(2, 1);

        assert_eq!(order(&mut moves, &image_before, began), 1);
        assert_eq!(
            (order(&mut moves, &image_before, began), moves.open_count()),
            (0, 1)
        );
        let late = began + MOVE_PATIENCE;
        assert_eq!(order(&mut moves, &image_before, late), 1, "again");
        let too_early = late + MOVE_PATIENCE;
        assert_eq!(order(&mut moves, &image_before, too_early), 0);
        assert_eq!(moves.open_count(), 0, "it has failed");
        let later = late + 2 * MOVE_PATIENCE;
        assert_eq!(order(&mut moves, &image_before, later), 1);

        assert_eq!(order(&mut moves, &image(1, 2), later), 0, "it is done");
        assert_eq!((moves.open_count(), moves.ordered.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopping_broker_is_drained_when_nobody_can_take_what_it_leads() {
        let two = BrokerId(2);
        let waiting = Farewell::default();
        let drained = Farewell {
            is_drained: true,
            is_alone: false,
        };
        let mut unheard = Moves::default();
        unheard.hear(two, BrokerEpoch(7), true);

        assert_eq!(unheard.farewell(&image(2, 1), two), waiting);
        assert_eq!(heard(&[2]).farewell(&image(2, 1), two), waiting);
        assert_eq!(heard(&[2]).farewell(&image(3, 1), two), drained);
        let mut giving = heard(&[3]);
        order(
            &mut giving,
            &image(3, 1).with_draining([BrokerId(3)]),
            Instant::now(),
        );
        giving.hear(BrokerId(1), BrokerEpoch(7), true);
        let one = giving.farewell(&image(3, 1), BrokerId(1));
        assert_eq!(one, waiting, "a leadership is on its way to it");
        let all = Farewell {
            is_drained: true,
            is_alone: true,
        };
        assert_eq!(heard(&[1, 2, 3]).farewell(&image(2, 1), two), all);
        assert_eq!(heard(&[2]).stopping(&image(2, 1)), vec![two]);
    }
}
