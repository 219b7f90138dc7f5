//! The last resort: a partition whose majority is gone goes on from one replica, and the loss of what
//! only the others had is accepted.
//!
//! The partition gets a *new Raft group*, which begins with a copy of the kept replica's log and has that
//! replica as its only voter. The old group is gone from the image for ever: brokers that hold it wipe it
//! when they return, and nothing that they say about it concerns the new one. What was accepted, by whom
//! and when, stays in the image and in the metadata log. How a log is copied is the host's.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cluster::election::Survivor;
use crate::cluster::image::{Image, PartitionInfo};
use crate::cluster::{Cluster, ClusterError, Command, Outcome, Reply};
use crate::codec::{CodecError, Reader, Writer};
use crate::effect::{Effect, Effects};
use crate::ids::{BrokerId, GroupNumber, LogIndex, Term};
use crate::limits::NAME_BYTES_MAX;
use crate::machine::EntryMeta;
use crate::planted::{Bug, is_planted};

const VERSION: u8 = 1;

/// The order to go on from one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptLoss {
    /// The group that is given up.
    pub group: GroupNumber,
    /// [`PartitionInfo::partition_epoch`] that the decision was made on.
    pub partition_epoch: u64,
    /// The replica that is kept.
    pub kept: BrokerId,
    /// The last entry of its log; `None` = it has none.
    pub last_log: Option<(Term, LogIndex)>,
    /// Who says so, for the record.
    pub accepted_by: String,
}

/// A loss that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The group in which the partition went on.
    pub group: GroupNumber,
    /// The group that was given up.
    pub of_group: GroupNumber,
    /// The replica that was kept.
    pub kept: BrokerId,
    /// The last entry of its log that the decision knew of; `None` = it had none.
    pub last_log: Option<(Term, LogIndex)>,
    /// The leader epoch of the partition then: the new group's begin above.
    pub leader_epoch: Term,
    /// When, milliseconds since 1970.
    pub accepted_at_ms: i64,
    /// Who said so.
    pub accepted_by: String,
}

/// Why a loss need not, or cannot, be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LossError {
    /// Somebody leads the partition.
    #[error("broker {leader} leads the partition: nothing is lost")]
    IsLed {
        /// The leader.
        leader: BrokerId,
    },
    /// The partition will get a leader without a loss.
    #[error(
        "{healthy_count} of {replicas_count} replicas are alive and whole, which is a majority: it gets a leader by itself"
    )]
    HasMajority {
        /// Replicas that are alive and miss nothing.
        healthy_count: usize,
        /// All of them.
        replicas_count: usize,
    },
    /// No replica can be kept.
    #[error("no replica answers that could be kept: start one of the brokers {replicas:?}")]
    NoneLeft {
        /// Who holds replicas.
        replicas: Vec<BrokerId>,
    },
    /// The replica that was asked for cannot be kept.
    #[error("broker {broker} has no replica that answers")]
    CannotKeep {
        /// The broker.
        broker: BrokerId,
    },
}

/// Decides which replica a partition goes on from: the one that was asked for, else the most complete
/// one that answers. What answers may be recovering: its log counts up to the damage.
///
/// # Errors
/// See [`LossError`]: most of all while there is a way without a loss.
pub fn plan_loss(
    image: &Image,
    partition: &PartitionInfo,
    survivors: &[Survivor],
    keep: Option<BrokerId>,
    accepted_by: String,
) -> Result<AcceptLoss, LossError> {
    if let Some(leader) = partition.leader.filter(|leader| image.is_alive(*leader)) {
        return Err(LossError::IsLed { leader });
    }
    check_majority(image, partition, survivors)?;
    let replicas: Vec<BrokerId> = partition.all_replicas().collect();
    let answered = survivors
        .iter()
        .filter(|survivor| replicas.contains(&survivor.broker) && image.is_alive(survivor.broker));
    let rank = |broker: BrokerId| replicas.iter().position(|replica| *replica == broker);
    let kept = match keep {
        Some(broker) => {
            let mut answered = answered;
            let found = answered.find(|survivor| survivor.broker == broker);
            found.ok_or(LossError::CannotKeep { broker })?
        }
        None => answered
            .max_by_key(|survivor| (survivor.last_log, Reverse(rank(survivor.broker))))
            .ok_or_else(|| LossError::NoneLeft {
                replicas: replicas.clone(),
            })?,
    };
    Ok(AcceptLoss {
        group: partition.group,
        partition_epoch: partition.partition_epoch,
        kept: kept.broker,
        last_log: kept.last_log,
        accepted_by,
    })
}

/// While replicas move, the old ones or the new ones may be what the group needs a majority of.
fn check_majority(
    image: &Image,
    partition: &PartitionInfo,
    survivors: &[Survivor],
) -> Result<(), LossError> {
    let is_healthy = |id: &&BrokerId| {
        let mut answers = survivors.iter().filter(|survivor| survivor.broker == **id);
        image.is_alive(**id) && answers.any(|survivor| !survivor.is_recovering)
    };
    for replicas in [&partition.replicas[..], partition.future_replicas()] {
        let (healthy_count, replicas_count) =
            (replicas.iter().filter(is_healthy).count(), replicas.len());
        let is_safe = healthy_count > replicas_count / 2;
        if is_safe && !is_planted(Bug::LossAcceptedNeedlessly) {
            return Err(LossError::HasMajority {
                healthy_count,
                replicas_count,
            });
        }
    }
    Ok(())
}

impl Cluster {
    pub(super) fn accept_loss(
        &mut self,
        meta: &EntryMeta,
        accept: AcceptLoss,
        effects: &mut Effects,
    ) -> Reply {
        let mut known = self.image.losses.values();
        if let Some(before) = known.find(|loss| loss.of_group == accept.group) {
            let group = before.group;
            return Ok(Outcome::LossAccepted { group });
        }
        let mut partition = self.check_loss(&accept)?;
        let group = GroupNumber(self.image.last_group.0 + 1);
        let loss = Loss {
            group,
            of_group: accept.group,
            kept: accept.kept,
            last_log: accept.last_log,
            leader_epoch: partition.leader_epoch,
            accepted_at_ms: meta.proposed_at_ms,
            accepted_by: accept.accepted_by,
        };
        tracing::trace!(target: "raftmq::mark", name = "loss_accepted");
        if partition.is_queue() {
            self.move_queue(accept.group, group);
        } else {
            let mut topic = self.topic_of_id(partition.topic_id)?;
            if let Some(at) = topic.partitions.iter_mut().find(|at| **at == accept.group) {
                *at = group;
            }
            self.put_topic(topic);
        }
        self.forget_partition(accept.group, effects);
        self.image.last_group = group;
        partition.group = group;
        partition.begin_again(accept.kept, |id| self.image.is_alive(id));
        self.put_partition(partition, effects);
        self.image.losses.insert(group, Arc::new(loss));
        self.dirty.mark_loss(group);
        Ok(Outcome::LossAccepted { group })
    }

    fn check_loss(&self, accept: &AcceptLoss) -> Result<PartitionInfo, ClusterError> {
        let group = accept.group;
        let partition = self.partition_of_group(group)?;
        if partition.partition_epoch != accept.partition_epoch {
            return Err(ClusterError::PartitionChanged { group });
        }
        if !partition.has_replica(accept.kept) {
            let broker = accept.kept;
            return Err(ClusterError::NotAReplica { group, broker });
        }
        self.check_alive(accept.kept)?;
        super::brokers::check_length("name of who accepts", &accept.accepted_by)?;
        Ok(partition)
    }

    /// Takes a partition's group, and what was lost before it, out of the image.
    pub(super) fn forget_partition(&mut self, group: GroupNumber, effects: &mut Effects) {
        self.image.partitions.remove(&group);
        self.dirty.mark_partition(group);
        if self.image.losses.remove(&group).is_some() {
            self.dirty.mark_loss(group);
        }
        effects.push(Effect::GroupRemoved { group });
    }
}

impl PartitionInfo {
    /// The partition consists of one replica now; other live brokers that had one get a new one.
    fn begin_again(&mut self, kept: BrokerId, is_alive: impl Fn(BrokerId) -> bool) {
        let wanted = self.future_replicas().to_vec();
        let mut target = vec![kept];
        target.extend(wanted.into_iter().filter(|id| *id != kept && is_alive(*id)));
        self.replicas = vec![kept];
        self.isr = vec![kept];
        self.leader = None;
        // A group that has had a leader is not begun by its replicas: its log is a copy.
        self.leader_epoch = self.leader_epoch.max(Term(1));
        self.settled_at = None;
        (self.target, self.adding, self.removing) = (None, Vec::new(), Vec::new());
        if target.len() > 1 {
            self.head_for(target);
        }
    }
}

impl Image {
    /// The loss with which a group began, if it did.
    #[must_use]
    pub fn loss(&self, group: GroupNumber) -> Option<&Arc<Loss>> {
        self.losses.get(&group)
    }
}

pub(super) fn write_accept(writer: &mut Writer, accept: &AcceptLoss) {
    writer
        .u64(accept.group.0)
        .u64(accept.partition_epoch)
        .u32(accept.kept.0);
    write_last_log(writer, accept.last_log);
    writer.text(&accept.accepted_by);
}

pub(super) fn read_accept(reader: &mut Reader) -> Result<Command, CodecError> {
    Ok(Command::AcceptLoss(AcceptLoss {
        group: GroupNumber(reader.u64()?),
        partition_epoch: reader.u64()?,
        kept: BrokerId(reader.u32()?),
        last_log: read_last_log(reader)?,
        accepted_by: reader.text("who accepts", NAME_BYTES_MAX)?,
    }))
}

pub(super) fn write_last_log(writer: &mut Writer, last_log: Option<(Term, LogIndex)>) {
    let (term, index) = last_log.unwrap_or_default();
    writer.flag(last_log.is_some()).u64(term.0).u64(index.0);
}

pub(super) fn read_last_log(reader: &mut Reader) -> Result<Option<(Term, LogIndex)>, CodecError> {
    let is_there = reader.flag("last log id")?;
    let last_log = (Term(reader.u64()?), LogIndex(reader.u64()?));
    Ok(is_there.then_some(last_log))
}

pub(super) fn write_loss(loss: &Loss) -> Bytes {
    let mut writer = Writer::new();
    writer
        .u8(VERSION)
        .u64(loss.group.0)
        .u64(loss.of_group.0)
        .u32(loss.kept.0);
    write_last_log(&mut writer, loss.last_log);
    writer.u64(loss.leader_epoch.0).i64(loss.accepted_at_ms);
    writer.text(&loss.accepted_by);
    writer.finish()
}

pub(super) fn read_loss(reader: &mut Reader, image: &mut Image) -> Result<(), CodecError> {
    reader.version("accepted loss", VERSION)?;
    let loss = Loss {
        group: GroupNumber(reader.u64()?),
        of_group: GroupNumber(reader.u64()?),
        kept: BrokerId(reader.u32()?),
        last_log: read_last_log(reader)?,
        leader_epoch: Term(reader.u64()?),
        accepted_at_ms: reader.i64()?,
        accepted_by: reader.text("who accepts", NAME_BYTES_MAX)?,
    };
    image.losses.insert(loss.group, Arc::new(loss));
    Ok(())
}
