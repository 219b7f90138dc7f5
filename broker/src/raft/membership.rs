//! Carries out the steps by which a group's membership gets to a target.
//!
//! Which step is next is decided in `raftmq_core::cluster::membership`; each one is pinned to the
//! leadership and the membership that were looked at, so that an order which comes late, or twice,
//! changes nothing. Does not know why replicas move.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{ChangeMembers, EmptyNode, Precondition, RaftMetrics, ServerState};
use raftmq_core::cluster::membership::{Goal, Membership, Step};
use raftmq_core::ids::BrokerId;
use thiserror::Error;
use tokio::time::timeout;

use super::group::Group;
use super::types::{LogId, TypeConfig};

/// Time that one change is given to be committed; the next step finds out what became of it.
const CHANGE_WITHIN: Duration = Duration::from_millis(1_500);

/// Why a step was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StepError {
    /// This replica does not lead the group, or not yet for good.
    #[error("this replica does not lead the group")]
    NotLeader,
    /// openraft's reason, in words: another change was quicker, or the leadership is over.
    #[error("membership not changed: {0}")]
    Refused(String),
    /// The change is in the log and not committed yet.
    #[error("membership change not committed in time")]
    NotCommitted,
}

/// A step that was taken, or is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The step.
    pub step: Step,
    /// Where the group is at its goal, the log id of the membership that says so.
    pub arrived_at: Option<LogId>,
}

impl Group {
    /// The membership as this replica knows it; complete where it leads.
    #[must_use]
    pub fn membership(&self) -> Membership {
        membership_of(&self.raft().metrics().borrow_watched())
    }

    /// Takes the next step towards a membership of exactly `goal`, and says which it was. Costs at
    /// most one change of the membership. Repetition goes on; at the end it changes nothing.
    ///
    /// # Errors
    ///
    /// See [`StepError`]; the next call goes on from wherever the group is.
    pub async fn step_towards(&self, goal: &Goal) -> Result<Taken, StepError> {
        let metrics = self.raft().metrics().borrow_watched().clone();
        let is_leader = metrics.state == ServerState::Leader;
        let applied = metrics.last_applied.filter(|_| is_leader);
        let leader_id = applied.map(|log_id| log_id.leader_id);
        let leader_id = leader_id.filter(|id| id.term == metrics.current_term);
        let committed_leader_id = leader_id.ok_or(StepError::NotLeader)?;
        let membership = membership_of(&metrics);
        let step = membership.next_step_to(goal);
        let change = match &step {
            Step::AwaitCommit | Step::AwaitLearners(_) | Step::Done => {
                let newest = *metrics.membership_config.log_id();
                let arrived_at = newest.filter(|_| step == Step::Done);
                return Ok(Taken { step, arrived_at });
            }
            Step::AddLearner(broker) => ChangeMembers::AddNodes(BTreeMap::from([(
                u64::from(broker.get()),
                EmptyNode::default(),
            )])),
            Step::ChangeVoters(voters) => ChangeMembers::ReplaceAllVoters(node_ids(voters)),
            Step::RemoveLearners(learners) => ChangeMembers::RemoveNodes(node_ids(learners)),
        };
        let preconditions = [
            Precondition::CommittedLeaderId {
                committed_leader_id,
            },
            Precondition::LastMembershipLogId {
                last_membership_log_id: *metrics.membership_config.log_id(),
            },
        ];
        let changing =
            self.raft()
                .change_membership_if(change, !goal.learners.is_empty(), preconditions);
        let changed = timeout(CHANGE_WITHIN, changing).await;
        let response = changed
            .map_err(|_elapsed| StepError::NotCommitted)?
            .map_err(|error| StepError::Refused(error.to_string()))?;
        // A leader that is out of the membership by now cannot be asked again.
        let is_there = response.membership.is_some_and(|now| {
            let voters = now.get_joint_config();
            let learners: BTreeSet<u64> = now.learner_ids().collect();
            voters.len() == 1
                && voters[0] == node_ids(&goal.voters)
                && learners == node_ids(&goal.learners)
        });
        Ok(if is_there {
            Taken {
                step: Step::Done,
                arrived_at: Some(response.log_id),
            }
        } else {
            let arrived_at = None;
            Taken { step, arrived_at }
        })
    }
}

fn node_ids(brokers: &BTreeSet<BrokerId>) -> BTreeSet<u64> {
    brokers.iter().map(|id| u64::from(id.get())).collect()
}

fn broker_ids(nodes: impl Iterator<Item = u64>) -> BTreeSet<BrokerId> {
    nodes
        .filter_map(|id| u32::try_from(id).ok().map(BrokerId))
        .collect()
}

fn membership_of(metrics: &RaftMetrics<TypeConfig>) -> Membership {
    let effective = metrics.membership_config.membership();
    let joint = effective.get_joint_config().iter();
    let committed = metrics.committed_membership_config.log_id();
    let matched = metrics.replication.iter().flatten();
    let matched = matched.filter_map(|(id, log_id)| {
        let id = u32::try_from(*id).ok()?;
        Some((BrokerId(id), log_id.as_ref()?.index))
    });
    Membership {
        voters: joint.map(|set| broker_ids(set.iter().copied())).collect(),
        learners: broker_ids(effective.learner_ids()),
        is_committed: metrics.membership_config.log_id() == committed,
        last_index: metrics.last_log_index.unwrap_or_default(),
        matched: matched.collect(),
        leader: BrokerId(u32::try_from(metrics.id).unwrap_or_default()),
    }
}
