//! Who votes in the metadata group, who only learns, and what is to be done next about that.
//!
//! Pure: the image and what the leader of the group knows of its members come in; one change comes
//! out. Each plan begins with the committed membership, so that any controller goes on after any
//! crash. Voters grow to an odd number, up to the wanted one; the dead are replaced one for one and
//! never just dropped; a decommissioned broker loses its vote when it holds no replica any more.
//! Every plan leaves a live majority, and planning comes to an end. Does not know how a membership is
//! changed (`membership`), nor for how long somebody must be dead.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cluster::ClusterError;
use crate::cluster::config_keys::CONTROLLER_QUORUM_VOTERS_COUNT;
use crate::cluster::image::{Broker, Image};
use crate::cluster::membership::{Goal, Membership, Step};
use crate::ids::BrokerId;
use crate::planted::{Bug, is_planted};

/// What the leader of the metadata group knows of those who vote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Electorate {
    /// The voters; of a joint membership the newer ones.
    pub voters: BTreeSet<BrokerId>,
    /// Members that have the log, but for a little.
    pub caught_up: BTreeSet<BrokerId>,
    /// Brokers that have been out of service for so long that others are to take their places.
    pub overdue: BTreeSet<BrokerId>,
    /// Who leads.
    pub leader: BrokerId,
}

/// What the controller is to do about the metadata group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// Take the next step towards this membership.
    Change(Goal),
    /// Have another voter lead: this one is to lose its vote.
    HandOver,
    /// This broker has left: forget it.
    Remove(BrokerId),
    /// Nothing, for now.
    Rest,
}

/// Tells whether a decommissioned broker holds nothing any more.
#[must_use]
pub fn is_leaving(image: &Image, id: BrokerId) -> bool {
    let known = image.broker(id);
    known.is_some_and(|broker| broker.is_decommissioned) && image.partitions_on(id).next().is_none()
}

/// Finds what is to be done next.
#[must_use]
pub fn next_duty(image: &Image, membership: &Membership, overdue: &BTreeSet<BrokerId>) -> Duty {
    let electorate = Electorate {
        voters: membership.voters.last().cloned().unwrap_or_default(),
        caught_up: membership.caught_up(),
        overdue: overdue.clone(),
        leader: membership.leader,
    };
    let voters = match membership.voters.as_slice() {
        [older, newer] => end_of_joint(image, &electorate, older, newer),
        _ => plan_voters(image, &electorate),
    };
    let learns = |id: &BrokerId| !voters.contains(id) && !is_leaving(image, *id);
    let learners = image.brokers.keys().copied().filter(learns).collect();
    let goal = Goal { voters, learners };
    match membership.next_step_to(&goal) {
        Step::AwaitCommit | Step::AwaitLearners(_) => Duty::Rest,
        Step::AddLearner(_) | Step::ChangeVoters(_) | Step::RemoveLearners(_) => Duty::Change(goal),
        Step::Done if is_leaving(image, membership.leader) => Duty::HandOver,
        Step::Done => {
            let mut brokers = image.brokers.keys();
            let is_out = |id: &&BrokerId| !goal.voters.contains(id) && is_leaving(image, **id);
            brokers
                .find(is_out)
                .map_or(Duty::Rest, |id| Duty::Remove(*id))
        }
    }
}

/// The half to which a joint membership leads: on, unless too few of the newer voters live.
fn end_of_joint(
    image: &Image,
    electorate: &Electorate,
    older: &BTreeSet<BrokerId>,
    newer: &BTreeSet<BrokerId>,
) -> BTreeSet<BrokerId> {
    let planner = Planner { image, electorate };
    let is_stuck = !planner.has_majority(newer) && planner.has_majority(older);
    if is_stuck { older } else { newer }.clone()
}

/// Plans who is to vote; the voters of now when nothing is to be changed, or when no change would
/// leave a live majority.
#[must_use]
pub fn plan_voters(image: &Image, electorate: &Electorate) -> BTreeSet<BrokerId> {
    let planner = Planner { image, electorate };
    let voters = &electorate.voters;
    if !planner.has_majority(voters) {
        return voters.clone();
    }
    let plans = [
        planner.replace_one_overdue(),
        planner.give_the_last_a_successor(),
        planner.let_one_go(),
        planner.grow(),
        planner.shrink(),
    ];
    let mut planned = plans.into_iter().flatten();
    let plan = planned.find(|plan| planner.has_majority(plan));
    plan.unwrap_or_else(|| voters.clone())
}

/// Checks that the metadata group can do without a broker, as its voters are now.
///
/// # Errors
/// `UnknownBroker`, `BrokerRemoved`, `MetadataQuorumLost`.
pub fn check_decommission(
    image: &Image,
    voters: &BTreeSet<BrokerId>,
    broker: BrokerId,
) -> Result<(), ClusterError> {
    if image.removed_brokers.contains(&broker) {
        return Err(ClusterError::BrokerRemoved { broker });
    }
    if image.broker(broker).is_none() {
        return Err(ClusterError::UnknownBroker { broker });
    }
    if !voters.contains(&broker) {
        return Ok(());
    }
    let leaves = |id: &BrokerId| {
        let known = image.broker(*id);
        *id == broker || known.is_some_and(|known| known.is_decommissioned)
    };
    let staying = || voters.iter().filter(|id| !leaves(id));
    let others = image.alive_brokers().map(|other| other.id);
    let others = others.filter(|id| !voters.contains(id) && !leaves(id));
    let successors_count = others.count().min(voters.len() - staying().count());
    let voters_count = staying().count() + successors_count;
    let alive = staying().filter(|id| image.is_alive(**id));
    let alive_count = alive.count() + successors_count;
    let required_count = voters_count / 2 + 1;
    if alive_count >= required_count {
        return Ok(());
    }
    Err(ClusterError::MetadataQuorumLost {
        broker,
        alive_count,
        voters_count,
        required_count,
    })
}

struct Planner<'a> {
    image: &'a Image,
    electorate: &'a Electorate,
}

impl Planner<'_> {
    fn is_alive(&self, id: BrokerId) -> bool {
        // A leader leads, whatever the image has heard of it yet.
        id == self.electorate.leader || self.image.is_alive(id)
    }

    fn has_majority(&self, voters: &BTreeSet<BrokerId>) -> bool {
        let alive_count = voters.iter().filter(|id| self.is_alive(**id)).count();
        let is_enough = alive_count > voters.len() / 2;
        is_enough || (is_planted(Bug::MetadataQuorumIgnored) && !voters.is_empty())
    }

    fn wanted_count(&self) -> usize {
        let wanted = self.image.config_i64(None, CONTROLLER_QUORUM_VOTERS_COUNT);
        usize::try_from(wanted).unwrap_or(1).max(1)
    }

    fn rack_mates_count(&self, broker: &Broker, voters: &BTreeSet<BrokerId>) -> usize {
        if broker.rack.is_empty() || is_planted(Bug::RacksIgnored) {
            return 0;
        }
        let others = voters.iter().filter(|id| **id != broker.id);
        let others = others.filter_map(|id| self.image.broker(*id));
        others.filter(|other| other.rack == broker.rack).count()
    }

    /// The best one who could join these voters: one that stays, in the rack with the fewest of them.
    fn best_candidate(&self, voters: &BTreeSet<BrokerId>) -> Option<BrokerId> {
        let is_candidate = |broker: &&Arc<Broker>| {
            !broker.is_decommissioned
                && !voters.contains(&broker.id)
                && !self.electorate.voters.contains(&broker.id)
                && self.electorate.caught_up.contains(&broker.id)
        };
        let candidates = self.image.alive_brokers().filter(is_candidate);
        let best = candidates.min_by_key(|broker| {
            let rack_mates_count = self.rack_mates_count(broker, voters);
            (broker.is_draining, rack_mates_count, broker.id)
        });
        best.map(|broker| broker.id)
    }

    fn swap(&self, leaver: BrokerId) -> (BTreeSet<BrokerId>, Option<BrokerId>) {
        let mut voters = self.electorate.voters.clone();
        voters.remove(&leaver);
        let successor = self.best_candidate(&voters);
        voters.extend(successor);
        (voters, successor)
    }

    fn replace_one_overdue(&self) -> Option<BTreeSet<BrokerId>> {
        let Electorate {
            voters, overdue, ..
        } = self.electorate;
        let overdue = voters.intersection(overdue);
        let leaver = overdue.copied().find(|id| !self.is_alive(*id))?;
        let (voters, successor) = self.swap(leaver);
        successor.map(|_| voters)
    }

    /// A leader cannot be removed by itself: somebody else must lead first.
    fn give_the_last_a_successor(&self) -> Option<BTreeSet<BrokerId>> {
        let mut voters = self.electorate.voters.clone();
        if !voters.iter().all(|id| is_leaving(self.image, *id)) {
            return None;
        }
        let successor = self.best_candidate(&voters)?;
        voters.insert(successor);
        Some(voters)
    }

    fn let_one_go(&self) -> Option<BTreeSet<BrokerId>> {
        let Electorate { voters, leader, .. } = self.electorate;
        let mut leaving = voters.iter().filter(|id| is_leaving(self.image, **id));
        let leaver = leaving.find(|id| *id != leader)?;
        Some(self.swap(*leaver).0)
    }

    fn grow(&self) -> Option<BTreeSet<BrokerId>> {
        let before = &self.electorate.voters;
        let mut voters = before.clone();
        let mut newest = None;
        while voters.len() < self.wanted_count() {
            let Some(candidate) = self.best_candidate(&voters) else {
                break;
            };
            voters.insert(candidate);
            newest = Some(candidate);
        }
        // An even number withstands no more failures than the odd one below it.
        if voters.len().is_multiple_of(2)
            && let Some(newest) = newest
        {
            voters.remove(&newest);
        }
        (voters.len() > before.len()).then_some(voters)
    }

    fn shrink(&self) -> Option<BTreeSet<BrokerId>> {
        let before = &self.electorate.voters;
        let mut voters = before.clone();
        while voters.len() > self.wanted_count() {
            let others = voters.iter().filter(|id| **id != self.electorate.leader);
            let worst = others.max_by_key(|id| {
                let known = self.image.broker(**id);
                let mates = known.map_or(0, |known| self.rack_mates_count(known, &voters));
                (!self.is_alive(**id), mates, **id)
            });
            let worst = *worst?;
            voters.remove(&worst);
        }
        (voters.len() < before.len()).then_some(voters)
    }
}
