//! The controller's thinking: whose session is over, and who should lead next.
//!
//! Pure: monotonic time and survivors' answers come in, orders come out. The host sends the
//! heartbeats, questions and orders; Raft decides the election itself (a wrong choice here costs
//! time, never data). ARCHITECTURE.md, "Leader election". Unreplicated: a new controller starts anew.

use std::collections::BTreeMap;

use crate::cluster::image::{Image, PartitionInfo};
use crate::ids::{BrokerEpoch, BrokerId, GroupNumber, LogIndex, Term};

/// A gap between two looks at the sessions that is no standstill of this process, whatever the
/// session timeout: a slow timer is not one.
const STANDSTILL_MS_MIN: u64 = 1_000;

/// One broker's session with the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Session {
    epoch: BrokerEpoch,
    heard_at_ms: u64,
    is_suspect: bool,
}

/// Who was heard of, and when. Times are monotonic milliseconds of the controller's own clock.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    sessions: BTreeMap<BrokerId, Session>,
    /// When `expired` was last asked.
    checked_at_ms: Option<u64>,
}

impl Sessions {
    /// Starts when this broker becomes the controller: every unfenced broker counts as heard of
    /// now, because the sessions of the controller before are not known.
    #[must_use]
    pub fn new(image: &Image, now_ms: u64) -> Self {
        let mut sessions = Self::default();
        sessions.follow(image, now_ms);
        sessions
    }

    /// Follows a new image: new and returned brokers get a session, gone and fenced ones lose it.
    pub fn follow(&mut self, image: &Image, now_ms: u64) {
        self.sessions.retain(|id, session| {
            image
                .broker(*id)
                .is_some_and(|known| !known.is_fenced && known.epoch == session.epoch)
        });
        for broker in image.alive_brokers() {
            self.sessions.entry(broker.id).or_insert(Session {
                epoch: broker.epoch,
                heard_at_ms: now_ms,
                is_suspect: false,
            });
        }
    }

    /// Takes note of a heartbeat. The caller leaves out those whose disk hangs (the age of the
    /// last completed sync is in the heartbeat). Of another registration than the session's it
    /// counts for nothing.
    pub fn heartbeat(&mut self, broker: BrokerId, epoch: BrokerEpoch, now_ms: u64) {
        let Some(session) = self.sessions.get_mut(&broker) else {
            return;
        };
        if session.epoch == epoch {
            session.heard_at_ms = session.heard_at_ms.max(now_ms);
            session.is_suspect = false;
        }
    }

    /// The broker's connections were refused or reset: its session ends at the next `expired`,
    /// unless a heartbeat comes first.
    pub fn suspect(&mut self, broker: BrokerId, epoch: BrokerEpoch) {
        let Some(session) = self.sessions.get_mut(&broker) else {
            return;
        };
        session.is_suspect |= session.epoch == epoch;
    }

    /// Lists the brokers to fence, with the registrations that are meant. They stay listed until
    /// the image shows them fenced, so that a lost command is repeated.
    ///
    /// Ask several times in each session timeout. A longer gap means that this process itself
    /// stood still and heard nobody: the gap then counts against no one.
    #[must_use]
    pub fn expired(
        &mut self,
        now_ms: u64,
        session_timeout_ms: u64,
    ) -> Vec<(BrokerId, BrokerEpoch)> {
        let checked_at_ms = self.checked_at_ms.replace(now_ms).unwrap_or(now_ms);
        let gap_ms = now_ms.saturating_sub(checked_at_ms);
        if gap_ms > session_timeout_ms.max(STANDSTILL_MS_MIN) {
            for session in self.sessions.values_mut() {
                session.heard_at_ms = session.heard_at_ms.saturating_add(gap_ms).min(now_ms);
            }
        }
        let is_over = |session: &Session| {
            session.is_suspect || now_ms.saturating_sub(session.heard_at_ms) > session_timeout_ms
        };
        self.sessions
            .iter()
            .filter(|(_, session)| is_over(session))
            .map(|(id, session)| (*id, session.epoch))
            .collect()
    }

    /// Returns the time at which the next session ends, if no heartbeat comes; `None` without
    /// sessions.
    #[must_use]
    pub fn next_deadline_ms(&self, session_timeout_ms: u64) -> Option<u64> {
        let oldest = self
            .sessions
            .values()
            .map(|session| session.heard_at_ms)
            .min();
        oldest.map(|heard_at_ms| heard_at_ms.saturating_add(session_timeout_ms))
    }
}

/// A vote as a replica stores it (Raft section 5.2; openraft's `Vote` with `leader_id_std`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct VoteInfo {
    /// The term voted in.
    pub term: Term,
    /// Who was voted for.
    pub voted_for: Option<BrokerId>,
    /// Whether that one is known to have won.
    pub is_committed: bool,
}

/// What one surviving replica of a group answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survivor {
    /// Who answers.
    pub broker: BrokerId,
    /// Its vote.
    pub vote: VoteInfo,
    /// Term and index of the last entry in its log, flushed. `None` = the log is empty: it does not
    /// even hold the group's first membership, which has term 0 and index 0.
    pub last_log: Option<(Term, LogIndex)>,
    /// It misses entries that it once acknowledged: it must not lead.
    pub is_recovering: bool,
    /// It leads the group right now. Its stored vote does not say so: a leader that restarted
    /// still holds the vote it won.
    pub is_leading: bool,
}

/// Whom to have elected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElectionOrder {
    /// The group.
    pub group: GroupNumber,
    /// Who is to campaign.
    pub candidate: BrokerId,
    /// The newest vote among the survivors: the lease of this vote, and of no newer one, may be
    /// dropped (an order that names no vote could depose a healthy leader).
    pub replaced_vote: VoteInfo,
}

/// Leaders in the image that say themselves that they do not lead their group.
pub type Disowned = BTreeMap<GroupNumber, BrokerId>;

/// Lists the groups that nobody leads, or whose leader is fenced or disowns them, and that a live
/// replica could lead.
#[must_use]
pub fn leaderless_groups(image: &Image, disowned: &Disowned) -> Vec<GroupNumber> {
    let has_survivor =
        |partition: &PartitionInfo| partition.all_replicas().any(|id| image.is_alive(id));
    image
        .partitions
        .values()
        .filter(|partition| !is_led(image, disowned, partition) && has_survivor(partition))
        .map(|partition| partition.group)
        .collect()
}

fn is_led(image: &Image, disowned: &Disowned, partition: &PartitionInfo) -> bool {
    partition.leader.is_some_and(|leader| {
        image.is_alive(leader) && disowned.get(&partition.group) != Some(&leader)
    })
}

/// Chooses a candidate for each group that has a leader to be found.
///
/// A candidate is a live replica that answered, has a log and is not recovering. The more complete
/// log comes first, because Raft elects no other against its holder (Raft section 5.4.1): a leader that
/// lost its unflushed tail may be the only in-sync replica and still be behind the others, who
/// committed without it. Then whoever won the newest vote: it may lead still, suspended because its broker was
/// fenced, grants nobody a pre-vote then, and only has to have its leadership confirmed. Then in-sync replicas,
/// then brokers that do not drain, then the preferred order. A
/// group whose survivors already follow a live leader is left alone: that leader will report itself.
///
/// A group that has never had a leader waits for every live replica: those that do not answer are
/// still being opened, and the first leader should be the preferred one.
#[must_use]
pub fn plan_elections(
    image: &Image,
    disowned: &Disowned,
    replies: &BTreeMap<GroupNumber, Vec<Survivor>>,
) -> Vec<ElectionOrder> {
    replies
        .iter()
        .filter_map(|(group, survivors)| {
            let partition = image.partition(*group)?;
            let is_wanted = !is_led(image, disowned, partition);
            is_wanted.then(|| plan_one(image, partition, survivors))?
        })
        .collect()
}

fn plan_one(
    image: &Image,
    partition: &PartitionInfo,
    survivors: &[Survivor],
) -> Option<ElectionOrder> {
    let replicas: Vec<BrokerId> = partition.all_replicas().collect();
    let rank = |broker: BrokerId| replicas.iter().position(|replica| *replica == broker);
    let answered: Vec<&Survivor> = survivors
        .iter()
        .filter(|survivor| rank(survivor.broker).is_some() && image.is_alive(survivor.broker))
        .collect();
    let replaced_vote = answered.iter().map(|survivor| survivor.vote).max()?;
    if leads_newest(&answered, replaced_vote.term) || !has_begun(image, partition, &answered) {
        return None;
    }
    let candidate = answered
        .iter()
        .filter(|survivor| !survivor.is_recovering && survivor.last_log.is_some())
        .max_by_key(|survivor| {
            // While replicas move, the voters may be others than the in-sync replicas of the image.
            let is_in_sync = partition.is_moving() || partition.isr.contains(&survivor.broker);
            let broker = image.broker(survivor.broker);
            let stays = broker.is_some_and(|broker| !broker.is_draining);
            (
                survivor.last_log,
                won_newest(survivor, replaced_vote),
                is_in_sync,
                stays,
                std::cmp::Reverse(rank(survivor.broker)),
            )
        })?;
    tracing::trace!(target: "raftmq::mark", name = "election_planned");
    Some(ElectionOrder {
        group: partition.group,
        candidate: candidate.broker,
        replaced_vote,
    })
}

/// Tells whether the group has had a leader, or may have its first one: every live replica is open.
fn has_begun(image: &Image, partition: &PartitionInfo, answered: &[&Survivor]) -> bool {
    let was_led = |survivor: &&&Survivor| survivor.last_log.is_some_and(|log| log.0 > Term(0));
    let has_answered = |id: &BrokerId| answered.iter().any(|survivor| survivor.broker == *id);
    let mut alive = partition.replicas.iter().filter(|id| image.is_alive(**id));
    answered.iter().any(|survivor| was_led(&survivor)) || alive.all(has_answered)
}

/// Tells whether this replica won the newest vote that any survivor knows.
fn won_newest(survivor: &Survivor, newest: VoteInfo) -> bool {
    newest.is_committed && survivor.vote == newest && newest.voted_for == Some(survivor.broker)
}

/// Tells whether a survivor leads in the newest term: an older leader is about to be deposed.
fn leads_newest(answered: &[&Survivor], newest: Term) -> bool {
    answered
        .iter()
        .any(|survivor| survivor.is_leading && survivor.vote.term == newest)
}
