//! Makes this broker's replicas agree with the metadata image: opens, reconfigures, removes them.
//!
//! Looks only at what differs from the image before. Does not know what a replica does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use raftmq_core::cluster::config_keys::ratio_ppm;
use raftmq_core::cluster::{Image, PartitionInfo, Topic};
use raftmq_core::ids::{BrokerId, GroupNumber, Term};
use raftmq_core::partition::Partition;
use raftmq_core::partition::compaction::CompactionSettings;
use raftmq_core::space::{Space, SpaceOfBrokers};
use raftmq_store::{GroupId, log_id};

use super::Replicas;
use super::binding::{HostedPartition, PartitionBinding};
use super::local::Replica;
use super::view::{CompactionPolicy, PartitionSettings, PartitionView};
use crate::raft::machine::HostedMachine;
use crate::raft::{Beginning, GroupKind};

/// Replicas that are opened or removed at the same time: their writes share syncs.
const REPLICAS_AT_ONCE: usize = 64;

impl Replicas {
    /// Opens, reconfigures and removes replicas until they are as `image` says. Call it with one
    /// image after the other, never twice at once.
    pub async fn follow(&self, image: &Image) {
        let me = BrokerId(self.shared.host.broker_id());
        let before = self.shared.followed.lock().clone();
        let changed = match &before {
            Some(before) => image.groups_changed_since(before),
            None => image.partitions.keys().copied().collect(),
        };
        let mut settings = BTreeMap::new();
        let mut to_open = Vec::new();
        for info in changed.iter().filter_map(|group| image.partition(*group)) {
            let Some(topic) = image.topics.get(&info.topic_id) else {
                continue;
            };
            if !info.has_replica(me) {
                continue;
            }
            let settings = *settings
                .entry(topic.id)
                .or_insert_with(|| settings_of(image, topic));
            let view = view_of(image, topic, info, settings, &self.shared.spaces.lock());
            match self.of_group(GroupId(info.group.get())) {
                Some(replica) => {
                    replica.set_view(view);
                    replica.repeat_report();
                }
                None => to_open.push((info.clone(), view)),
            }
        }
        let opened = to_open.iter().map(|(info, _)| info.group);
        let failed = self.begin_again(image, opened.collect::<Vec<_>>()).await;
        to_open.retain(|(info, _)| !failed.contains(&info.group));
        stream::iter(to_open)
            .for_each_concurrent(REPLICAS_AT_ONCE, |(info, view)| self.open(info, view))
            .await;
        let mut obsolete = match &before {
            // What is on disk may be of partitions that no image of this process has shown.
            Some(before) if before.last_group == image.last_group => changed,
            Some(_) | None => self.stored(image),
        };
        obsolete.retain(|group| !failed.contains(group));
        self.remove_obsolete(image, me, obsolete).await;
        *self.shared.followed.lock() = Some(image.clone());
    }

    /// Takes note of the brokers that have little room on their disks, in place of those before.
    pub fn note_spaces(&self, spaces: &SpaceOfBrokers) {
        self.shared.spaces.lock().clone_from(spaces);
        for replica in self.all() {
            let view = PartitionView::clone(&replica.view());
            let spaces = spaces_among(&view.replicas, spaces);
            replica.set_view(PartitionView { spaces, ..view });
        }
    }

    /// Begins to lead where that was missed (openraft shows a leadership a moment after it applies its
    /// first entry), and tells the metadata group again which partitions this broker leads where the
    /// image does not say so: a report may have been refused while this broker was fenced.
    pub fn repeat_reports(&self) {
        for replica in self.all() {
            if let Some(term) = replica.group().leading_term() {
                replica.begin_leading(term);
            }
        }
    }

    async fn open(&self, info: Arc<PartitionInfo>, view: PartitionView) {
        let shared = &self.shared;
        let id = GroupId(info.group.get());
        let binding = PartitionBinding::new(id, shared.purges.clone());
        let machine = Arc::new(HostedPartition::new(Partition::default(), binding));
        let hosted: Arc<dyn HostedMachine> = machine.clone();
        let beginning = beginning_of(&info);
        let opened = shared
            .host
            .open(id, GroupKind::Partition, hosted, &beginning);
        match opened.await {
            Ok(group) => {
                let (controller, reports) = (shared.controller.clone(), shared.reports.clone());
                let broker_id = shared.host.broker_id();
                let replica = Replica::new(controller, broker_id, group, machine, view, reports);
                shared.replicas.write().insert(id, replica);
            }
            // The store has failed; the broker stops because of that, not because of this.
            Err(error) => tracing::error!(raft_group = id.0, %error, "replica not opened"),
        }
    }

    /// Groups on disk that `image` can judge: one that it does not know yet may be news to it, so
    /// only numbers that were given out before the image can be obsolete.
    fn stored(&self, image: &Image) -> BTreeSet<GroupNumber> {
        let stored = self.shared.host.stored_groups().into_iter();
        let numbers = stored.filter(|id| id.0 != 0).map(|id| GroupNumber(id.0));
        numbers.filter(|id| *id <= image.last_group).collect()
    }

    async fn remove_obsolete(&self, image: &Image, me: BrokerId, groups: BTreeSet<GroupNumber>) {
        let is_ours = |group: &GroupNumber| {
            let info = image.partition(*group);
            info.is_some_and(|info| info.has_replica(me))
        };
        let obsolete = groups.into_iter().filter(|group| !is_ours(group));
        stream::iter(obsolete)
            .for_each_concurrent(REPLICAS_AT_ONCE, |group| self.remove(GroupId(group.get())))
            .await;
    }

    async fn remove(&self, id: GroupId) {
        let replica = self.shared.replicas.write().remove(&id);
        let is_open = replica.is_some();
        if let Some(replica) = replica {
            replica.stop();
        }
        match self.shared.host.remove(id).await {
            Ok(()) if is_open => tracing::info!(raft_group = id.0, "replica removed"),
            Ok(()) => {}
            Err(error) => tracing::error!(raft_group = id.0, %error, "replica not removed"),
        }
    }
}

/// How a partition's group begins here. It has no first voters once the partition has had a leader: its
/// log has begun, and its replicas may be others by now.
fn beginning_of(info: &PartitionInfo) -> Beginning {
    let settled_at = info.settled_at;
    let settled_at = settled_at.map(|(term, index)| log_id(term.get(), index.0));
    let is_begun = info.leader_epoch > Term(0);
    let first_voters = if is_begun { &[][..] } else { &info.replicas };
    Beginning {
        first_voters: first_voters.iter().map(|id| id.get()).collect(),
        settled_at,
    }
}

fn settings_of(image: &Image, topic: &Topic) -> PartitionSettings {
    let number = |key: &str| image.config_i64(Some(topic), key);
    let positive = |key: &str| u64::try_from(number(key)).ok();
    PartitionSettings {
        message_bytes_max: usize::try_from(number("max.message.bytes")).unwrap_or(usize::MAX),
        min_insync_replicas: usize::try_from(number("min.insync.replicas")).unwrap_or(1),
        lag_time_max_ms: positive("replica.lag.time.max.ms").unwrap_or(u64::MAX),
        segment_bytes: positive("segment.bytes").unwrap_or(u64::MAX),
        segment_ms: number("segment.ms"),
        is_log_append_time: image.config_text(Some(topic), "message.timestamp.type")
            == "LogAppendTime",
        retention_ms: number("retention.ms"),
        retention_bytes: number("retention.bytes"),
        compaction: compaction_of(image, topic),
    }
}

/// The brokers with little room among these.
fn spaces_among(replicas: &[u32], spaces: &SpaceOfBrokers) -> SpaceOfBrokers {
    let is_replica = |(id, _): &(&BrokerId, &Space)| replicas.contains(&id.get());
    let among = spaces.iter().filter(is_replica);
    among.map(|(id, space)| (*id, *space)).collect()
}

fn compaction_of(image: &Image, topic: &Topic) -> Option<CompactionPolicy> {
    let text = |key: &str| image.config_text(Some(topic), key);
    let policy = text("cleanup.policy");
    let has = |word: &str| policy.split(',').any(|known| known == word);
    let dirty_ratio_min_ppm = ratio_ppm(&text("min.cleanable.dirty.ratio"));
    has("compact").then(|| CompactionPolicy {
        settings: CompactionSettings {
            dirty_ratio_min_ppm: dirty_ratio_min_ppm.unwrap_or(0),
            lag_ms: image.config_i64(Some(topic), "min.compaction.lag.ms"),
            delete_retention_ms: image.config_i64(Some(topic), "delete.retention.ms"),
        },
        also_deletes: has("delete"),
    })
}

fn view_of(
    image: &Image,
    topic: &Topic,
    info: &PartitionInfo,
    settings: PartitionSettings,
    spaces: &SpaceOfBrokers,
) -> PartitionView {
    let replicas: Vec<u32> = info.replicas.iter().map(|id| id.get()).collect();
    let is_fenced = |id: &u32| !image.is_alive(BrokerId(*id));
    PartitionView {
        topic: topic.name.clone(),
        partition: info.index.get(),
        fenced: replicas.iter().copied().filter(is_fenced).collect(),
        spaces: spaces_among(&replicas, spaces),
        replicas,
        isr: info.isr.iter().map(|id| id.get()).collect(),
        leader: info.leader.map(BrokerId::get),
        settings,
    }
}
