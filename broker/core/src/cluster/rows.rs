//! The bytes of the metadata state: a row for each broker, topic and partition, and checkpoints.
//!
//! Rows: `a` + AMQP's world (`amqp::rows`); `h` the head; `c` the cluster's configs; `b` + broker id; `t` + topic id; `p` + group; `l` + group;
//! `q` + an entity with quotas; `r` + the id of a removed broker.
//! A checkpoint is all rows in one value. Keys and formats are append-only (STYLE rule 23).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::cluster::codec::{
    read_brokers, read_configs, read_endpoints, read_listeners, read_topic_id, write_brokers,
    write_configs, write_endpoints, write_listeners,
};
use crate::cluster::image::{Broker, Image, PartitionInfo, Topic};
use crate::cluster::loss::{read_last_log, read_loss, write_last_log, write_loss};
use crate::cluster::{Cluster, Dirty, amqp, quotas};
use crate::codec::{CodecError, Reader, RestoreError, Writer};
use crate::ids::{BrokerEpoch, BrokerId, DirectoryId, GroupNumber, PartitionIndex, Term, TopicId};
use crate::limits::{
    NAME_BYTES_MAX, STATE_BYTES_MAX, TOPIC_NAME_BYTES_MAX, TOPIC_PARTITIONS_COUNT_MAX,
};
use crate::machine::RowUpdates;
use crate::quota::{QuotaEntity, QuotaValues};

const VERSION: u8 = 1;
/// Rows of partitions: 1 had no lists of a running reassignment.
const PARTITION_VERSION: u8 = 3;
const FAMILY_BROKER: u8 = b'b';
const FAMILY_CONFIGS: u8 = b'c';
const FAMILY_HEAD: u8 = b'h';
const FAMILY_LOSS: u8 = b'l';
const FAMILY_PARTITION: u8 = b'p';
const FAMILY_QUOTA: u8 = b'q';
const FAMILY_REMOVED: u8 = b'r';
const FAMILY_TOPIC: u8 = b't';

/// Key, value and their lengths of the smallest row.
const ROW_BYTES_MIN: usize = 9;

pub(super) fn take_dirty(cluster: &mut Cluster) -> RowUpdates {
    let dirty = std::mem::take(&mut cluster.dirty);
    let image = &cluster.image;
    let mut updates = RowUpdates::default();
    let mut change = |key: Bytes, value: Option<Bytes>| match value {
        Some(value) => updates.puts.push((key, value)),
        None => updates.deletes.push(key),
    };
    amqp::rows::take_dirty(dirty.amqp, &image.amqp, &mut change);
    for id in dirty.brokers {
        change(
            broker_key(id),
            image.brokers.get(&id).map(|broker| write_broker(broker)),
        );
    }
    if dirty.configs {
        change(
            Bytes::from_static(&[FAMILY_CONFIGS]),
            Some(write_cluster_configs(image)),
        );
    }
    if dirty.head {
        change(Bytes::from_static(&[FAMILY_HEAD]), Some(write_head(image)));
    }
    for group in dirty.partitions {
        let row = image
            .partitions
            .get(&group)
            .map(|partition| write_partition(partition));
        change(group_key(FAMILY_PARTITION, group), row);
    }
    for group in dirty.losses {
        let row = image.losses.get(&group).map(|loss| write_loss(loss));
        change(group_key(FAMILY_LOSS, group), row);
    }
    for entity in dirty.quotas {
        let row = image.client_quotas.get(&entity);
        change(
            quota_key(&entity),
            row.map(|values| quotas::write_row(values)),
        );
    }
    for id in dirty.removed_brokers {
        change(removed_key(id), Some(Bytes::from_static(&[VERSION])));
    }
    for id in dirty.topics {
        change(
            topic_key(id),
            image.topics.get(&id).map(|topic| write_topic(topic)),
        );
    }
    updates
}

pub(super) fn restore(rows: impl Iterator<Item = (Bytes, Bytes)>) -> Result<Cluster, RestoreError> {
    let mut image = Image::default();
    let mut has_head = false;
    let mut rows_count = 0;
    for (key, value) in rows {
        rows_count += 1;
        let mut reader = Reader::new(value);
        let family = key.first().copied().unwrap_or(0);
        match family {
            amqp::rows::FAMILY => {
                amqp::rows::read_row(key.slice(1..), &mut reader, &mut image.amqp)?;
            }
            FAMILY_BROKER => read_broker(&mut reader, &mut image)?,
            FAMILY_CONFIGS => read_cluster_configs(&mut reader, &mut image)?,
            FAMILY_HEAD => {
                read_head(&mut reader, &mut image)?;
                has_head = true;
            }
            FAMILY_LOSS => read_loss(&mut reader, &mut image)?,
            FAMILY_PARTITION => read_partition(&mut reader, &mut image)?,
            FAMILY_QUOTA => quotas::read_row(key.slice(1..), &mut reader, &mut image)?,
            FAMILY_REMOVED => read_removed(&key, &mut reader, &mut image)?,
            FAMILY_TOPIC => read_topic(&mut reader, &mut image)?,
            family => {
                return Err(RestoreError::UnknownRow {
                    family,
                    key_bytes: key.len(),
                });
            }
        }
        reader.finish()?;
    }
    if !has_head && rows_count > 0 {
        return Err(RestoreError::HeadMissing { rows_count });
    }
    check(&image)?;
    Ok(Cluster {
        image,
        dirty: Dirty::default(),
    })
}

pub(super) fn checkpoint(cluster: &Cluster) -> Bytes {
    let mut all = Cluster {
        image: cluster.image.clone(),
        dirty: everything(&cluster.image),
    };
    let rows = take_dirty(&mut all).puts;
    let mut writer = Writer::new();
    writer.u8(VERSION).count(rows.len());
    for (key, value) in rows {
        writer
            .count(key.len())
            .raw(&key)
            .count(value.len())
            .raw(&value);
    }
    writer.finish()
}

pub(super) fn restore_checkpoint(bytes: &Bytes) -> Result<Cluster, RestoreError> {
    let mut reader = Reader::new(bytes.clone());
    reader.version("metadata checkpoint", VERSION)?;
    let count = reader.count("rows", ROW_BYTES_MIN, STATE_BYTES_MAX)?;
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let key_length = reader.count("key", 1, STATE_BYTES_MAX)?;
        let key = reader.take(key_length)?;
        let value_length = reader.count("value", 1, STATE_BYTES_MAX)?;
        rows.push((key, reader.take(value_length)?));
    }
    reader.finish()?;
    let mut cluster = restore(rows.into_iter())?;
    cluster.dirty = everything(&cluster.image);
    Ok(cluster)
}

fn everything(image: &Image) -> Dirty {
    Dirty {
        has_changed: true,
        head: true,
        configs: true,
        brokers: image.brokers.keys().copied().collect(),
        removed_brokers: image.removed_brokers.iter().copied().collect(),
        topics: image.topics.keys().copied().collect(),
        partitions: image.partitions.keys().copied().collect(),
        losses: image.losses.keys().copied().collect(),
        quotas: image.client_quotas.keys().cloned().collect(),
        amqp: amqp::rows::everything(&image.amqp),
    }
}

/// Checks that the rows belong together.
fn check(image: &Image) -> Result<(), RestoreError> {
    let contradiction = |what| Err(RestoreError::Contradiction { what });
    if image.topics.len() != image.topic_ids.len() {
        return contradiction("two topics have one name");
    }
    amqp::rows::check(image)?;
    let mut partitions_count = image.amqp.queues.len();
    for topic in image.topics.values() {
        partitions_count += topic.partitions.len();
        for (index, group) in topic.partitions.iter().enumerate() {
            let fits = image.partitions.get(group).is_some_and(|partition| {
                partition.topic_id == topic.id && partition.index.0 as usize == index
            });
            if !fits {
                return contradiction("a topic's partition is missing or belongs elsewhere");
            }
        }
    }
    if partitions_count != image.partitions.len() {
        return contradiction("a partition has no topic");
    }
    let is_removed = |id: &BrokerId| image.removed_brokers.contains(id);
    if image.brokers.keys().any(is_removed) {
        return contradiction("a broker is registered and removed");
    }
    if !image
        .partitions
        .values()
        .all(|partition| partition.is_consistent())
    {
        return contradiction("a partition's reassignment does not fit its replicas");
    }
    let has_partition = |group: &GroupNumber| image.partitions.contains_key(group);
    if !image.losses.keys().all(has_partition) {
        return contradiction("an accepted loss has no partition");
    }
    let are_quotas = |(entity, values): (&QuotaEntity, &Arc<QuotaValues>)| {
        entity.check().is_ok() && !values.is_empty()
    };
    if !image.client_quotas.iter().all(are_quotas) {
        return contradiction("client quotas without an entity or without a limit");
    }
    if image
        .partitions
        .keys()
        .next_back()
        .is_some_and(|group| *group > image.last_group)
    {
        return contradiction("a group number above the last one");
    }
    Ok(())
}

fn write_head(image: &Image) -> Bytes {
    let mut writer = Writer::new();
    writer
        .u8(VERSION)
        .u64(image.version)
        .flag(image.cluster_id.is_some());
    writer.text(image.cluster_id.as_deref().unwrap_or_default());
    writer.u64(image.last_group.0).i64(image.next_producer_id);
    writer.finish()
}

fn read_head(reader: &mut Reader, image: &mut Image) -> Result<(), CodecError> {
    reader.version("metadata head", VERSION)?;
    image.version = reader.u64()?;
    let has_id = reader.flag("cluster id")?;
    let cluster_id = reader.text("cluster id", NAME_BYTES_MAX)?;
    image.cluster_id = has_id.then(|| cluster_id.into());
    image.last_group = GroupNumber(reader.u64()?);
    image.next_producer_id = reader.i64()?;
    Ok(())
}

fn write_cluster_configs(image: &Image) -> Bytes {
    let owned = |(key, value): (&Arc<str>, &Arc<str>)| (key.to_string(), value.to_string());
    let configs: BTreeMap<String, String> = image.configs.iter().map(owned).collect();
    let mut writer = Writer::new();
    write_configs(writer.u8(VERSION), &configs);
    writer.finish()
}

fn read_cluster_configs(reader: &mut Reader, image: &mut Image) -> Result<(), CodecError> {
    reader.version("cluster configs", VERSION)?;
    let configs = read_configs(reader)?;
    for (key, value) in configs {
        image.configs.insert(key.into(), value.into());
    }
    Ok(())
}

fn write_broker(broker: &Broker) -> Bytes {
    let mut writer = Writer::new();
    writer
        .u8(VERSION)
        .u32(broker.id.0)
        .u64(broker.epoch.0)
        .flag(broker.is_fenced);
    writer.raw(&broker.incarnation).text(&broker.rack);
    write_endpoints(&mut writer, &broker.endpoints);
    let has_listeners = !broker.endpoints.kafka.is_empty();
    let has_more = broker.is_decommissioned || broker.directory_id.is_known() || has_listeners;
    if broker.is_draining || has_more {
        // Rows of before there was such a thing end here, and so do those of all others.
        writer.flag(broker.is_draining);
    }
    if has_more {
        writer.flag(broker.is_decommissioned);
        writer.raw(&broker.directory_id.0);
    }
    if has_listeners {
        write_listeners(&mut writer, &broker.endpoints.kafka);
    }
    writer.finish()
}

fn read_broker(reader: &mut Reader, image: &mut Image) -> Result<(), CodecError> {
    reader.version("broker", VERSION)?;
    let id = BrokerId(reader.u32()?);
    let mut broker = Broker {
        id,
        epoch: BrokerEpoch(reader.u64()?),
        is_fenced: reader.flag("fenced")?,
        incarnation: reader.array()?,
        rack: reader.text("rack", NAME_BYTES_MAX)?,
        endpoints: read_endpoints(reader)?,
        is_draining: reader.remaining() > 0 && reader.flag("draining")?,
        is_decommissioned: false,
        directory_id: DirectoryId::default(),
    };
    if reader.remaining() > 0 {
        broker.is_decommissioned = reader.flag("decommissioned")?;
        broker.directory_id = DirectoryId(reader.array()?);
    }
    if reader.remaining() > 0 {
        broker.endpoints.kafka = read_listeners(reader)?;
    }
    image.brokers.insert(id, Arc::new(broker));
    Ok(())
}

fn read_removed(key: &Bytes, reader: &mut Reader, image: &mut Image) -> Result<(), CodecError> {
    reader.version("removed broker", VERSION)?;
    let mut key = Reader::new(key.slice(1..));
    image.removed_brokers.insert(BrokerId(key.u32()?));
    key.finish()
}

fn write_topic(topic: &Topic) -> Bytes {
    let mut writer = Writer::new();
    writer
        .u8(VERSION)
        .raw(&topic.id.0)
        .text(&topic.name)
        .count(topic.partitions.len());
    for group in &topic.partitions {
        writer.u64(group.0);
    }
    write_configs(&mut writer, &topic.configs);
    writer.finish()
}

fn read_topic(reader: &mut Reader, image: &mut Image) -> Result<(), CodecError> {
    reader.version("topic", VERSION)?;
    let id = read_topic_id(reader)?;
    let name = reader.text("topic name", TOPIC_NAME_BYTES_MAX)?;
    let count = reader.count("partitions", 8, TOPIC_PARTITIONS_COUNT_MAX as usize)?;
    let groups = (0..count).map(|_| Ok(GroupNumber(reader.u64()?)));
    let partitions = groups.collect::<Result<_, CodecError>>()?;
    let configs = read_configs(reader)?;
    image.topic_ids.insert(name.as_str().into(), id);
    image.topics.insert(
        id,
        Arc::new(Topic {
            id,
            name,
            partitions,
            configs,
        }),
    );
    Ok(())
}

fn write_partition(partition: &PartitionInfo) -> Bytes {
    let mut writer = Writer::new();
    writer
        .u8(PARTITION_VERSION)
        .u64(partition.group.0)
        .raw(&partition.topic_id.0)
        .u32(partition.index.0);
    write_brokers(&mut writer, &partition.replicas);
    writer.flag(partition.target.is_some());
    write_brokers(&mut writer, partition.target.as_deref().unwrap_or_default());
    writer.flag(partition.leader.is_some());
    writer
        .u32(partition.leader.map_or(0, BrokerId::get))
        .u64(partition.leader_epoch.0);
    write_brokers(&mut writer, &partition.isr);
    writer.u64(partition.partition_epoch);
    write_brokers(&mut writer, &partition.adding);
    write_brokers(&mut writer, &partition.removing);
    writer.u64(partition.move_epoch);
    write_last_log(&mut writer, partition.settled_at);
    writer.finish()
}

fn read_partition(reader: &mut Reader, image: &mut Image) -> Result<(), CodecError> {
    let version = reader.version_up_to("partition", PARTITION_VERSION)?;
    let group = GroupNumber(reader.u64()?);
    let topic_id = read_topic_id(reader)?;
    let index = PartitionIndex(reader.u32()?);
    let replicas = read_brokers(reader)?;
    let has_target = reader.flag("target")?;
    let target = read_brokers(reader)?;
    let has_leader = reader.flag("leader")?;
    let leader = BrokerId(reader.u32()?);
    let mut partition = PartitionInfo {
        group,
        topic_id,
        index,
        replicas,
        target: None,
        adding: Vec::new(),
        removing: Vec::new(),
        move_epoch: 0,
        settled_at: None,
        leader: has_leader.then_some(leader),
        leader_epoch: Term(reader.u64()?),
        isr: read_brokers(reader)?,
        partition_epoch: reader.u64()?,
    };
    if version == 1 {
        // What version 1 could hold: one move, straight from the replicas to the target.
        if has_target {
            partition.head_for(target);
        }
    } else {
        partition.target = has_target.then_some(target);
        partition.adding = read_brokers(reader)?;
        partition.removing = read_brokers(reader)?;
        partition.move_epoch = reader.u64()?;
    }
    if version >= 3 {
        partition.settled_at = read_last_log(reader)?;
    }
    image.partitions.insert(group, Arc::new(partition));
    Ok(())
}

fn broker_key(id: BrokerId) -> Bytes {
    let mut writer = Writer::with_capacity(5);
    writer.u8(FAMILY_BROKER).u32(id.0);
    writer.finish()
}

fn removed_key(id: BrokerId) -> Bytes {
    let mut writer = Writer::with_capacity(5);
    writer.u8(FAMILY_REMOVED).u32(id.0);
    writer.finish()
}

fn quota_key(entity: &QuotaEntity) -> Bytes {
    let mut writer = Writer::new();
    quotas::write_entity(writer.u8(FAMILY_QUOTA), entity);
    writer.finish()
}

fn topic_key(id: TopicId) -> Bytes {
    let mut writer = Writer::with_capacity(17);
    writer.u8(FAMILY_TOPIC).raw(&id.0);
    writer.finish()
}

fn group_key(family: u8, group: GroupNumber) -> Bytes {
    let mut writer = Writer::with_capacity(9);
    writer.u8(family).u64(group.0);
    writer.finish()
}
