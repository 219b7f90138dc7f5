//! What the metadata image says of this broker's partitions, and how their replicas are opened.
//!
//! When that is, `hosting` decides. Does not know what a replica does.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use raftmq_core::cluster::config_keys::ratio_ppm;
use raftmq_core::cluster::{Image, PartitionInfo, Topic};
use raftmq_core::partition::Partition;
use raftmq_core::partition::compaction::CompactionSettings;
use raftmq_store::GroupId;

use super::Replicas;
use super::binding::{HostedPartition, PartitionBinding};
use super::local::Replica;
use super::view::{CompactionPolicy, PartitionSettings, PartitionView};
use crate::hosting::{Configured, GroupView, Kind, beginning_of};
use crate::raft::GroupKind;
use crate::raft::machine::HostedMachine;

impl Kind for Replicas {
    fn configure(&self, image: &Image, info: &Arc<PartitionInfo>) -> Configured {
        let Some(topic) = image.topics.get(&info.topic_id) else {
            return Configured::NotOurs;
        };
        let Some(replica) = self.of_group(GroupId(info.group.get())) else {
            return Configured::Closed;
        };
        replica.set_view(self.view_of(image, topic, info));
        replica.repeat_report();
        Configured::Open
    }

    fn open<'a>(&'a self, image: &'a Image, info: &'a Arc<PartitionInfo>) -> BoxFuture<'a, ()> {
        let Some(topic) = image.topics.get(&info.topic_id) else {
            return Box::pin(std::future::ready(()));
        };
        let view = self.view_of(image, topic, info);
        Box::pin(self.open_one(info, view))
    }

    fn forget(&self, id: GroupId) {
        self.shared.replicas.write().remove(&id);
    }
}

impl Replicas {
    async fn open_one(&self, info: &PartitionInfo, view: PartitionView) {
        let shared = &self.shared;
        let id = GroupId(info.group.get());
        let binding = PartitionBinding::new(id, shared.purges.clone());
        let machine = Arc::new(HostedPartition::new(Partition::default(), binding));
        let hosted: Arc<dyn HostedMachine> = machine.clone();
        let beginning = beginning_of(info);
        let opened = shared
            .host
            .open(id, GroupKind::Partition, hosted, &beginning);
        match opened.await {
            Ok(group) => {
                let replica = Replica::new(&shared.hosting, group, machine, view);
                shared.replicas.write().insert(id, replica.clone());
                shared.hosting.insert(id, replica);
            }
            // The store has failed; the broker stops because of that, not because of this.
            Err(error) => tracing::error!(raft_group = id.0, %error, "replica not opened"),
        }
    }

    fn view_of(&self, image: &Image, topic: &Topic, info: &PartitionInfo) -> PartitionView {
        PartitionView {
            topic: topic.name.clone(),
            partition: info.index.get(),
            group: GroupView::new(image, info, &self.shared.hosting.spaces()),
            settings: settings_of(image, topic),
        }
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
        producer_expiration_ms: number("producer.id.expiration.ms"),
        timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
        timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
        is_log_append_time: image.config_text(Some(topic), "message.timestamp.type")
            == "LogAppendTime",
        retention_ms: number("retention.ms"),
        retention_bytes: number("retention.bytes"),
        compaction: compaction_of(image, topic),
    }
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
