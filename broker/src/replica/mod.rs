//! The service of partitions: which replicas this broker has, who they are to clients, and what
//! clients may do with them.
//!
//! When replicas are opened and removed, and when they lead, is `hosting`'s matter. Does not know protocols.

mod append;
mod binding;
mod check;
mod cleaner;
mod error;
mod fetch;
mod follow;
mod local;
mod retention;
mod rewriter;
mod session;
mod settle;
mod stages;
mod survivors;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use raftmq_core::cluster::clocks;
use raftmq_core::ids::{BrokerId, PartitionIndex};
use raftmq_store::GroupId;
use tokio::sync::{Semaphore, oneshot};

pub use append::{Acks, Appended};
pub use binding::{HostedPartition, PartitionBinding, Purges};
pub use error::ReplicaError;
pub use fetch::{Fetched, FoundOffset, OffsetAt};
pub use local::Replica;
pub use view::{CompactionPolicy, PartitionSettings, PartitionView};

use self::check::{check_batch, check_times};
use crate::controller::{Controller, Images};
use crate::hosting::Hosting;
use crate::raft::RaftHost;
use crate::raft::transport::{Lane, Method, PeerError, Refusal};

/// The partitions of this broker. Cheap to clone.
#[derive(Clone)]
pub struct Replicas {
    shared: Arc<Shared>,
}

struct Shared {
    host: RaftHost,
    controller: Controller,
    images: Images,
    hosting: Hosting,
    purges: Purges,
    replicas: RwLock<BTreeMap<GroupId, Arc<Replica>>>,
    produce_budget: Arc<Semaphore>,
    produce_budget_bytes: usize,
}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Replicas").finish_non_exhaustive()
    }
}

impl Replicas {
    /// A service without replicas; [`Hosting::follow`] opens them.
    #[must_use]
    pub fn new(hosting: Hosting, produce_bytes_max: usize) -> Self {
        let (host, controller) = (hosting.host().clone(), hosting.controller().clone());
        let produce_budget_bytes = produce_bytes_max.min(Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared {
                host,
                images: controller.images(),
                controller,
                hosting,
                purges: Purges::default(),
                replicas: RwLock::default(),
                produce_budget: Arc::new(Semaphore::new(produce_budget_bytes)),
                produce_budget_bytes,
            }),
        }
    }

    /// What clients are told about leaders comes from here.
    #[must_use]
    pub fn images(&self) -> &Images {
        &self.shared.images
    }

    /// Every replica of this broker.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.shared.replicas.read().values().cloned().collect()
    }

    /// The replica of a group, if this broker has one.
    #[must_use]
    pub fn of_group(&self, group: GroupId) -> Option<Arc<Replica>> {
        self.shared.replicas.read().get(&group).cloned()
    }

    /// Deletes records of a partition below an offset (-1 = all that are committed), here or
    /// through its leader. Returns the new log start.
    ///
    /// # Errors
    ///
    /// Unknown topic or partition; nobody leads it; what the leader refuses.
    pub async fn delete_records(
        &self,
        topic: &str,
        partition: u32,
        before_offset: i64,
    ) -> Result<i64, ReplicaError> {
        let here = self.find(topic, partition);
        let refusal = match &here {
            Ok(replica) if replica.leading_term().is_some() => {
                return replica.delete_records(before_offset).await;
            }
            Ok(replica) => replica.not_leader(),
            Err(error) => error.clone(),
        };
        let ReplicaError::NotLeader {
            leader: Some(leader),
            ..
        } = refusal
        else {
            return Err(refusal);
        };
        let image = self.shared.images.current();
        let info = image.partition_of(topic, PartitionIndex(partition));
        let Some(info) = info else {
            return Err(refusal);
        };
        let body = Bytes::copy_from_slice(&before_offset.to_be_bytes());
        let group = GroupId(info.group.get());
        let transport = self.shared.host.transport();
        let call = transport.call(leader, Lane::Control, group, Method::DeleteRecords, body);
        let answer = call.await.map_err(|error| match error {
            PeerError::Refused {
                refusal: Refusal::Failed,
                reason,
                ..
            } => ReplicaError::Forwarded(reason),
            PeerError::Refused { .. }
            | PeerError::UnknownBroker(_)
            | PeerError::NoConnection { .. }
            | PeerError::Unreachable { .. }
            | PeerError::TimedOut(_)
            | PeerError::Overloaded(_) => refusal.clone(),
        })?;
        let log_start = answer.as_ref().try_into().map_err(|_| refusal)?;
        Ok(i64::from_be_bytes(log_start))
    }

    /// The replica that serves a partition of a topic, if this broker has one.
    ///
    /// # Errors
    ///
    /// Unknown topic or partition; or this broker has no replica of it.
    pub fn find(&self, topic: &str, partition: u32) -> Result<Arc<Replica>, ReplicaError> {
        let image = self.shared.images.current();
        if image.topic(topic).is_none() {
            return Err(ReplicaError::UnknownTopic(topic.to_owned()));
        }
        let unknown = || ReplicaError::UnknownPartition {
            topic: topic.to_owned(),
            partition,
        };
        let info = image
            .partition_of(topic, PartitionIndex(partition))
            .ok_or_else(unknown)?;
        let replica = self
            .shared
            .replicas
            .read()
            .get(&GroupId(info.group.get()))
            .cloned();
        replica.ok_or_else(|| ReplicaError::NotLeader {
            topic: topic.to_owned(),
            partition,
            this_broker: self.shared.host.broker_id(),
            leader: info.leader.map(BrokerId::get),
        })
    }

    /// Checks a batch and hands it to its partition. The answer comes when `acks` says.
    ///
    /// # Errors
    ///
    /// Everything that can be told before the append is taken.
    pub async fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: Bytes,
        acks: Acks,
    ) -> Result<
        (
            Arc<Replica>,
            oneshot::Receiver<Result<Appended, ReplicaError>>,
        ),
        ReplicaError,
    > {
        let replica = self.find(topic, partition)?;
        let header = check_batch(&replica, &batch)?;
        if let Err(error) = check_times(&replica, &batch, &header)
            && self.clock_is_trusted()
        {
            return Err(error);
        }
        // One batch larger than the whole budget must still get through, alone.
        let bytes = batch.len().clamp(1, self.shared.produce_budget_bytes);
        let permits = u32::try_from(bytes).map_err(|_| ReplicaError::Throttled)?;
        let budget = self.shared.produce_budget.clone();
        let permit = budget.acquire_many_owned(permits).await;
        let permit = permit.map_err(|_closed| ReplicaError::Throttled)?;
        let answer = replica.append(batch, header, acks, permit).await?;
        Ok((replica, answer))
    }

    /// Purges what replicated log starts have made superfluous. Runs for ever.
    pub async fn run_purges(&self) {
        loop {
            for (id, floor) in self.shared.purges.next().await {
                let Some(group) = self.shared.host.get(id) else {
                    continue;
                };
                let Ok(checkpoints) = group.store().checkpoints().await else {
                    continue;
                };
                let newest = checkpoints
                    .iter()
                    .map(|at| at.index)
                    .filter(|at| *at <= floor)
                    .max();
                let Some(newest) = newest else { continue };
                if let Err(error) = group.purge_to_checkpoint(newest).await {
                    tracing::warn!(raft_group = id.0, error, "purge failed");
                }
            }
        }
    }

    /// Looks once at every partition that this broker leads, and proposes what retention asks for.
    pub async fn enforce_retention(&self) {
        let by_time = self.trusts_clock();
        for replica in self.all() {
            replica.enforce_retention(by_time).await;
        }
    }

    fn clock_offset_ms(&self) -> Option<i64> {
        let controller = &self.shared.controller;
        let wall_ms = controller.env().clock.now_ms();
        controller.session().clock_offset_ms(wall_ms)
    }

    /// Whether this broker's clock agrees with the others', as far as the controller says.
    fn clock_is_trusted(&self) -> bool {
        clocks::is_trusted(self.clock_offset_ms())
    }

    /// The same, for what is done by time now and then: says so where it is not.
    pub(super) fn trusts_clock(&self) -> bool {
        let offset_ms = self.clock_offset_ms();
        let is_trusted = clocks::is_trusted(offset_ms);
        if let Some(offset_ms) = offset_ms.filter(|_| !is_trusted) {
            tracing::trace!(target: "raftmq::mark", name = "retention_paused_by_clock");
            tracing::warn!(offset_ms, "the clock is off: retention by time pauses");
        }
        is_trusted
    }
}
