//! The service of partitions: which replicas this broker has, who they are to clients, and what
//! clients may do with them.
//!
//! Follows the metadata image: opens, reconfigures and removes replicas. Does not know protocols.

mod again;
mod append;
mod binding;
mod cleaner;
mod error;
mod fetch;
mod follow;
mod handover;
mod loads;
mod local;
mod retention;
mod rewriter;
mod session;
mod settle;
mod survivors;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use raftmq_core::cluster::{Image, clocks};
use raftmq_core::ids::{BrokerId, PartitionIndex};
use raftmq_core::partition::compaction::check_keys;
use raftmq_core::space::SpaceOfBrokers;
use raftmq_records::BatchHeader;
use raftmq_store::GroupId;
use tokio::sync::{Semaphore, oneshot};

pub use append::{Acks, Appended};
pub use binding::{HostedPartition, PartitionBinding, Purges};
pub use error::ReplicaError;
pub use fetch::{Fetched, FoundOffset, OffsetAt};
pub use local::Replica;
pub use view::{CompactionPolicy, PartitionSettings, PartitionView, Report, Reports};

use crate::controller::{Controller, Images};
use crate::raft::RaftHost;
use crate::raft::transport::{Lane, Method, PeerError, Refusal};

/// Pause between looks for openraft's own view of a leadership whose first entry is applied.
const LEADING_CHECK_PAUSE: Duration = Duration::from_millis(1);

/// The partitions of this broker. Cheap to clone.
#[derive(Clone)]
pub struct Replicas {
    shared: Arc<Shared>,
}

struct Shared {
    host: RaftHost,
    controller: Controller,
    images: Images,
    reports: Reports,
    purges: Purges,
    replicas: RwLock<BTreeMap<GroupId, Arc<Replica>>>,
    /// The image that the replicas were last made to agree with.
    followed: Mutex<Option<Image>>,
    /// The brokers that have little room on their disks.
    spaces: Mutex<SpaceOfBrokers>,
    produce_budget: Arc<Semaphore>,
    produce_budget_bytes: usize,
}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Replicas").finish_non_exhaustive()
    }
}

impl Replicas {
    /// A service without replicas; [`Self::follow`] opens them.
    #[must_use]
    pub fn new(
        host: RaftHost,
        controller: Controller,
        reports: Reports,
        produce_bytes_max: usize,
    ) -> Self {
        let produce_budget_bytes = produce_bytes_max.min(Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared {
                host,
                images: controller.images(),
                controller,
                reports,
                purges: Purges::default(),
                replicas: RwLock::default(),
                followed: Mutex::default(),
                spaces: Mutex::default(),
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
        // One batch larger than the whole budget must still get through, alone.
        let bytes = batch.len().clamp(1, self.shared.produce_budget_bytes);
        let permits = u32::try_from(bytes).map_err(|_| ReplicaError::Throttled)?;
        let budget = self.shared.produce_budget.clone();
        let permit = budget.acquire_many_owned(permits).await;
        let permit = permit.map_err(|_closed| ReplicaError::Throttled)?;
        let answer = replica.append(batch, header, acks, permit).await?;
        Ok((replica, answer))
    }

    /// Reacts to what groups tell: begins leading where a term has begun. Runs for ever.
    pub async fn run_events(&self) {
        loop {
            for (group, term) in self.shared.host.events().next().await {
                let replica = self.shared.replicas.read().get(&group).cloned();
                if let Some(replica) = replica {
                    // Ends with the term at the latest; a replica has one such task per term.
                    tokio::spawn(begin_when_ready(
                        replica,
                        self.shared.host.broker_id(),
                        term,
                    ));
                }
            }
        }
    }

    /// Hands leaderships over as the controller orders. Runs for ever.
    pub async fn run_hand_overs(&self) {
        let hand_overs = self.shared.controller.hand_overs().clone();
        loop {
            for order in hand_overs.next().await {
                let Some(replica) = self.of_group(order.group) else {
                    continue;
                };
                // Ends within a bound; a second one of the same replica is refused.
                tokio::spawn(async move {
                    let (raft_group, to) = (order.group.0, order.to);
                    match replica.hand_over(order).await {
                        Ok(()) => tracing::info!(raft_group, to, "leadership handed over"),
                        Err(error) => {
                            tracing::info!(raft_group, to, error, "leadership not handed over");
                        }
                    }
                });
            }
        }
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

    /// Whether this broker's clock agrees with the others', as far as the controller says.
    pub(super) fn trusts_clock(&self) -> bool {
        let controller = &self.shared.controller;
        let wall_ms = controller.env().clock.now_ms();
        let offset_ms = controller.session().clock_offset_ms(wall_ms);
        let is_trusted = clocks::is_trusted(offset_ms);
        if let Some(offset_ms) = offset_ms.filter(|_| !is_trusted) {
            tracing::trace!(target: "raftmq::mark", name = "retention_paused_by_clock");
            tracing::warn!(offset_ms, "the clock is off: retention by time pauses");
        }
        is_trusted
    }
}

/// The event comes out of apply; openraft's own metrics follow a moment later.
async fn begin_when_ready(replica: Arc<Replica>, broker_id: u32, term: u64) {
    while replica.group().leader() == Some(broker_id) {
        if replica.group().leading_term() == Some(term) {
            replica.begin_leading(term);
            return;
        }
        tokio::time::sleep(LEADING_CHECK_PAUSE).await;
    }
}

fn check_batch(replica: &Replica, batch: &Bytes) -> Result<BatchHeader, ReplicaError> {
    let view = replica.view();
    let bytes_max = view.settings.message_bytes_max;
    if batch.len() > bytes_max {
        return Err(ReplicaError::TooLarge {
            bytes: batch.len(),
            bytes_max,
        });
    }
    let corrupt = |reason: String| ReplicaError::Corrupt {
        topic: view.topic.clone(),
        partition: view.partition,
        reason,
    };
    let checked = raftmq_records::validate_batch(batch, bytes_max);
    let header = checked.map_err(|error| corrupt(error.to_string()))?;
    // These bits are the broker's to set (KIP-98).
    if header.is_control() || header.is_transactional() {
        return Err(corrupt(
            "control and transactional batches are not taken".to_owned(),
        ));
    }
    if view.settings.compaction.is_some() {
        let keyless = check_keys(batch).map_err(|error| corrupt(error.to_string()))?;
        if let Some(record) = keyless {
            return Err(ReplicaError::KeyMissing {
                topic: view.topic.clone(),
                partition: view.partition,
                record,
            });
        }
    }
    Ok(header)
}
