//! Commands about partitions: who leads and who is in sync.
//!
//! A report of an older leader epoch, or by a fenced broker, changes nothing. Does not elect
//! (`election` plans, the controller orders, Raft decides); where replicas move is `reassignment`'s.

use std::sync::Arc;

use crate::cluster::brokers::over_limit;
use crate::cluster::command::LeaderReport;
use crate::cluster::image::PartitionInfo;
use crate::cluster::{Cluster, ClusterError, Outcome, Reply};
use crate::effect::Effects;
use crate::ids::{BrokerId, GroupNumber, Term};
use crate::limits::REPLICATION_FACTOR_MAX;

impl Cluster {
    /// Takes what can be taken; refuses with the first reason when nothing could.
    pub(super) fn take_reports(
        &mut self,
        reports: Vec<LeaderReport>,
        effects: &mut Effects,
    ) -> Reply {
        let count = reports.len();
        let taken = reports
            .into_iter()
            .map(|report| self.take_report(report, effects));
        let mut refused: Vec<ClusterError> = taken.filter_map(Result::err).collect();
        if count > 0 && refused.len() == count {
            return Err(refused.swap_remove(0));
        }
        Ok(Outcome::Reported { refused })
    }

    fn take_report(
        &mut self,
        report: LeaderReport,
        effects: &mut Effects,
    ) -> Result<(), ClusterError> {
        match report {
            LeaderReport::Leads {
                group,
                leader,
                leader_epoch,
            } => self.report_leader(group, leader, leader_epoch, effects),
            LeaderReport::InSync {
                group,
                leader_epoch,
                isr,
            } => self.report_isr(group, leader_epoch, isr, effects),
        }
    }

    fn report_leader(
        &mut self,
        group: GroupNumber,
        leader: BrokerId,
        leader_epoch: Term,
        effects: &mut Effects,
    ) -> Result<(), ClusterError> {
        let mut partition = self.partition_of_group(group)?;
        if !partition.has_replica(leader) {
            return Err(ClusterError::NotAReplica {
                group,
                broker: leader,
            });
        }
        self.check_alive(leader)?;
        let current = partition.leader_epoch;
        // There is one leader per term (`leader_id_std`): a second report of one term may only
        // come from the same broker, again, or after its fencing cleared it.
        let is_same_term = leader_epoch == current;
        let is_stale = leader_epoch < current
            || is_same_term && partition.leader.is_some_and(|known| known != leader);
        if is_stale {
            tracing::trace!(target: "raftmq::mark", name = "stale_leader_report_refused");
            return Err(ClusterError::StaleLeaderEpoch {
                group,
                current,
                actual: leader_epoch,
            });
        }
        if is_same_term && partition.leader == Some(leader) {
            return Ok(());
        }
        partition.leader = Some(leader);
        partition.leader_epoch = leader_epoch;
        if !partition.isr.contains(&leader) {
            // Raft elected it, so it has everything that is committed.
            partition.isr.push(leader);
            partition.isr.sort_unstable();
        }
        self.put_partition(partition, effects);
        Ok(())
    }

    fn report_isr(
        &mut self,
        group: GroupNumber,
        leader_epoch: Term,
        mut isr: Vec<BrokerId>,
        effects: &mut Effects,
    ) -> Result<(), ClusterError> {
        let mut partition = self.partition_of_group(group)?;
        if isr.len() > 2 * REPLICATION_FACTOR_MAX as usize {
            let limit = 2 * REPLICATION_FACTOR_MAX as usize;
            return Err(over_limit("in-sync replicas", isr.len(), limit));
        }
        let leader = check_reporter(&partition, leader_epoch)?;
        self.check_alive(leader)?;
        isr.sort_unstable();
        isr.dedup();
        for broker in &isr {
            if !partition.has_replica(*broker) {
                return Err(ClusterError::NotAReplica {
                    group,
                    broker: *broker,
                });
            }
            self.check_alive(*broker)?;
        }
        if !isr.contains(&leader) {
            return Err(ClusterError::IsrWithoutLeader { group, leader });
        }
        if partition.isr != isr {
            partition.isr = isr;
            self.put_partition(partition, effects);
        }
        Ok(())
    }

    /// Takes the leader off each group whose leader is fenced; leaves the others alone.
    pub(super) fn clear_leaders(
        &mut self,
        groups: &[GroupNumber],
        effects: &mut Effects,
    ) -> Outcome {
        let mut count = 0;
        for group in groups {
            let Some(partition) = self.image.partition(*group) else {
                continue;
            };
            if partition
                .leader
                .is_some_and(|leader| !self.image.is_alive(leader))
            {
                self.clear_leader(*group, effects);
                count += 1;
            }
        }
        Outcome::LeadersCleared { count }
    }

    /// Takes a broker off every group that it leads: it was fenced, or its process is a new one.
    ///
    /// This belongs to the same command, because a broker that comes back before anyone asked for
    /// `ClearLeader` would else seem to lead what it does not lead any more.
    pub(super) fn clear_leader_everywhere(&mut self, broker: BrokerId, effects: &mut Effects) {
        let led = |partition: &&Arc<PartitionInfo>| partition.leader == Some(broker);
        let groups: Vec<GroupNumber> = self
            .image
            .partitions
            .values()
            .filter(led)
            .map(|partition| partition.group)
            .collect();
        for group in groups {
            self.clear_leader(group, effects);
        }
    }

    fn clear_leader(&mut self, group: GroupNumber, effects: &mut Effects) {
        if let Some(partition) = self.image.partition(group) {
            let cleared = PartitionInfo {
                leader: None,
                ..PartitionInfo::clone(partition)
            };
            self.put_partition(cleared, effects);
        }
    }

    pub(super) fn check_alive(&self, broker: BrokerId) -> Result<(), ClusterError> {
        match self.image.broker(broker) {
            None => Err(ClusterError::UnknownBroker { broker }),
            Some(known) if known.is_fenced => Err(ClusterError::BrokerFenced { broker }),
            Some(_) => Ok(()),
        }
    }
}

/// Checks the epoch of a leader's report, and gives the leader.
fn check_reporter(partition: &PartitionInfo, leader_epoch: Term) -> Result<BrokerId, ClusterError> {
    let (group, current) = (partition.group, partition.leader_epoch);
    if leader_epoch < current {
        return Err(ClusterError::StaleLeaderEpoch {
            group,
            current,
            actual: leader_epoch,
        });
    }
    partition
        .leader
        .filter(|_| leader_epoch == current)
        .ok_or(ClusterError::LeaderUnknown {
            group,
            leader_epoch,
        })
}
