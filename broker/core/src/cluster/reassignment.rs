//! Commands that move replicas: a target is set, redirected, cancelled, and at last reached.
//!
//! The state of a move is here and nowhere else, so that any controller goes on with it after any
//! crash. A broker leaves the image, and only then wipes its replica, when the group's *committed*
//! membership is without it: the brokers of a target that was given up stay in `removing` until then,
//! because they may be voters already. How a group gets to its target is `membership`'s; carrying it
//! out is the host's. Source: Kafka's reassignment (KIP-455); Raft section 4.3.

use std::collections::BTreeSet;

use crate::cluster::image::PartitionInfo;
use crate::cluster::{Cluster, ClusterError, Outcome, Reply};
use crate::effect::Effects;
use crate::ids::{BrokerId, GroupNumber, LogIndex, Term};
use crate::planted::{Bug, is_planted};

impl PartitionInfo {
    /// Heads for `target`, from wherever a running move has come.
    pub(super) fn head_for(&mut self, target: Vec<BrokerId>) {
        let holders: BTreeSet<BrokerId> = if is_planted(Bug::AbandonedReplicasForgotten) {
            self.replicas.iter().copied().collect()
        } else {
            self.all_replicas().collect()
        };
        let is_new = |id: &BrokerId| !self.replicas.contains(id);
        self.adding = target.iter().copied().filter(is_new).collect();
        self.adding.sort_unstable();
        let is_left = |id: &BrokerId| !target.contains(id);
        self.removing = holders.into_iter().filter(is_left).collect();
        self.target = Some(target);
        self.move_epoch += 1;
    }

    /// Ends the move: the target's brokers are the replicas.
    fn arrive(&mut self, membership: Option<(Term, LogIndex)>) {
        let Some(target) = self.target.take() else {
            return;
        };
        self.replicas = target;
        self.settled_at = self.settled_at.max(membership);
        self.adding = Vec::new();
        self.removing = Vec::new();
        self.isr.retain(|broker| self.replicas.contains(broker));
        if self.isr.is_empty() {
            // Nobody of the old ones stays. Raft carries safety: the new voters hold the log.
            self.isr.clone_from(&self.replicas);
            self.isr.sort_unstable();
        }
        self.leader = self.leader.filter(|leader| self.replicas.contains(leader));
    }

    /// Tells whether the lists of a reassignment belong to the target and the replicas.
    pub(super) fn is_consistent(&self) -> bool {
        let Some(target) = &self.target else {
            return self.adding.is_empty() && self.removing.is_empty();
        };
        let is_new = |id: &&BrokerId| !self.replicas.contains(id);
        let mut adding: Vec<BrokerId> = target.iter().filter(is_new).copied().collect();
        adding.sort_unstable();
        let mut leaving = self.replicas.iter().filter(|id| !target.contains(id));
        adding == self.adding
            && self.removing.is_sorted()
            && leaving.all(|id| self.removing.contains(id))
            && !self.removing.iter().any(|id| target.contains(id))
    }
}

impl Cluster {
    pub(super) fn set_replicas(
        &mut self,
        group: GroupNumber,
        target: Vec<BrokerId>,
        effects: &mut Effects,
    ) -> Reply {
        let mut partition = self.partition_of_group(group)?;
        self.check_replicas(group.0, &target)?;
        if partition.future_replicas() == target {
            return Ok(Outcome::Done);
        }
        let is_same_set = target.iter().all(|id| partition.replicas.contains(id))
            && target.len() == partition.replicas.len();
        if is_same_set && !partition.is_moving() {
            // Only the preference changes: no membership has to.
            partition.replicas = target;
        } else {
            self.check_target(&partition, &target)?;
            if partition.is_moving() {
                tracing::trace!(target: "raftmq::mark", name = "reassignment_redirected");
            }
            partition.head_for(target);
        }
        self.put_partition(partition, effects);
        Ok(Outcome::Done)
    }

    pub(super) fn cancel_reassignment(
        &mut self,
        group: GroupNumber,
        effects: &mut Effects,
    ) -> Reply {
        let mut partition = self.partition_of_group(group)?;
        if !partition.is_moving() {
            return Err(ClusterError::NoReassignment { group });
        }
        let origin = partition.replicas.clone();
        if partition.future_replicas() == origin {
            return Ok(Outcome::Done);
        }
        self.check_target(&partition, &origin)?;
        tracing::trace!(target: "raftmq::mark", name = "reassignment_cancelled");
        partition.head_for(origin);
        self.put_partition(partition, effects);
        Ok(Outcome::Done)
    }

    pub(super) fn complete_reassignment(
        &mut self,
        group: GroupNumber,
        replicas: &[BrokerId],
        (move_epoch, membership): (u64, Option<(Term, LogIndex)>),
        effects: &mut Effects,
    ) -> Reply {
        let mut partition = self.partition_of_group(group)?;
        // A completion of a target that was given up meanwhile may name the same replicas as the
        // present one, and say nothing about the group's membership now.
        if move_epoch != 0 && move_epoch != partition.move_epoch {
            return Err(ClusterError::ReassignmentMismatch { group });
        }
        if !partition.is_moving() && partition.replicas == replicas {
            return Ok(Outcome::Done);
        }
        if partition.target.as_deref() != Some(replicas) {
            return Err(ClusterError::ReassignmentMismatch { group });
        }
        partition.arrive(membership);
        self.put_partition(partition, effects);
        Ok(Outcome::Done)
    }

    /// Checks that a target can be reached and has a quorum: nobody dead is added, and a majority is
    /// alive.
    fn check_target(
        &self,
        partition: &PartitionInfo,
        target: &[BrokerId],
    ) -> Result<(), ClusterError> {
        for broker in target.iter().filter(|id| !partition.replicas.contains(id)) {
            self.check_alive(*broker)?;
        }
        let alive_count = target.iter().filter(|id| self.image.is_alive(**id)).count();
        let required_count = target.len() / 2 + 1;
        if alive_count < required_count {
            return Err(ClusterError::QuorumLost {
                group: partition.group,
                alive_count,
                required_count,
            });
        }
        Ok(())
    }
}
