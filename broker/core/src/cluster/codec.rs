//! The bytes of metadata commands.
//!
//! Format (big-endian): version (1) u8, tag u8, then the fields in the order of the type. Tags
//! and versions are never reused (STYLE rule 23). Knows no rule about the values.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::cluster::amqp::AmqpCommand;
use crate::cluster::command::{Command, CreateTopic, LeaderReport, RegisterBroker};
use crate::cluster::image::Endpoints;
use crate::cluster::loss::{read_accept, read_last_log, write_accept, write_last_log};
use crate::cluster::quotas::{read_alter, write_alter};
use crate::codec::{CodecError, Reader, Writer};
use crate::ids::{BrokerEpoch, BrokerId, DirectoryId, GroupNumber, Term, TopicId};
use crate::limits::{
    CLEAR_LEADER_GROUPS_MAX, COMMAND_BYTES_MAX, CONFIG_VALUE_BYTES_MAX, CONFIGS_COUNT_MAX,
    KAFKA_LISTENERS_COUNT_MAX, NAME_BYTES_MAX, REPORTS_COUNT_MAX, TOPIC_NAME_BYTES_MAX,
    TOPIC_PARTITIONS_COUNT_MAX,
};

const VERSION: u8 = 1;
const WHAT: &str = "metadata command";

/// Tags of reports; once those of commands with one report each.
const LEADS: u8 = 10;
const IN_SYNC: u8 = 11;
/// Tag, group, term and no replica in sync.
const REPORT_BYTES_MIN: usize = 1 + 8 + 8 + 4;

/// A list of replicas is longer than any that a machine accepts, so that the refusal is its own.
const REPLICAS_COUNT_MAX: usize = 64;

impl Command {
    /// Writes the command.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.u8(VERSION).u8(tag_of(self));
        self.encode_fields(&mut writer);
        writer.finish()
    }

    fn encode_fields(&self, writer: &mut Writer) {
        match self {
            Self::CreateCluster { cluster_id } => {
                writer.text(cluster_id);
            }
            Self::RegisterBroker(register) => write_register(writer, register),
            Self::FenceBroker { id, epoch } | Self::UnfenceBroker { id, epoch } => {
                writer.u32(id.0).u64(epoch.0);
            }
            Self::SetBrokerDraining { id, is_draining } => {
                writer.u32(id.0).flag(*is_draining);
            }
            Self::DecommissionBroker { id } | Self::RemoveBroker { id } => write_id(writer, *id),
            Self::CreateTopic(create) => write_create_topic(writer, create),
            Self::DeleteTopic { topic_id } => write_topic_id(writer, *topic_id),
            Self::AddPartitions {
                topic_id,
                partitions_count,
                assignments,
            } => {
                writer.raw(&topic_id.0).u32(*partitions_count);
                write_assignments(writer, assignments);
            }
            Self::AlterTopicConfigs {
                topic_id,
                set,
                unset,
            } => {
                writer.raw(&topic_id.0);
                write_configs(writer, set);
                write_texts(writer, unset);
            }
            Self::AlterClusterConfigs { set, unset } => {
                write_configs(writer, set);
                write_texts(writer, unset);
            }
            Self::Report { reports } => write_reports(writer, reports),
            Self::ClearLeader { groups } => write_groups(writer, groups),
            Self::SetReplicas { group, target } => write_brokers(writer.u64(group.0), target),
            Self::CompleteReassignment {
                group,
                replicas,
                move_epoch,
                membership,
            } => {
                write_brokers(writer.u64(group.0), replicas);
                writer.u64(*move_epoch);
                if membership.is_some() {
                    write_last_log(writer, *membership);
                }
            }
            Self::CancelReassignment { group } => write_group(writer, *group),
            Self::AllocateProducerIds { broker, count } => {
                writer.u32(broker.0).u32(*count);
            }
            Self::AcceptLoss(accept) => write_accept(writer, accept),
            Self::AlterClientQuotas(alter) => write_alter(writer, alter),
            Self::Amqp(command) => command.write(writer),
        }
    }

    /// Reads a command.
    ///
    /// # Errors
    /// `Truncated`, `UnknownVersion`, `UnknownTag`, `OverLimit`, `NotUtf8`, `LeftOver`.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (actual, limit) = (bytes.len(), COMMAND_BYTES_MAX);
        if actual > limit {
            return Err(CodecError::OverLimit {
                what: WHAT.to_owned(),
                actual,
                limit,
            });
        }
        let mut reader = Reader::new(bytes.clone());
        reader.version(WHAT, VERSION)?;
        let tag = reader.u8()?;
        let command = match tag {
            1..=7 | 20 | 35..=37 | 45 => read_broker_or_topic(tag, &mut reader)?,
            65..=79 => Command::Amqp(AmqpCommand::read(tag, &mut reader)?),
            _ => read_config_or_partition(tag, &mut reader)?,
        };
        reader.finish()?;
        Ok(command)
    }
}

fn tag_of(command: &Command) -> u8 {
    match command {
        Command::CreateCluster { .. } => 1,
        Command::RegisterBroker(register) if !register.endpoints.kafka.is_empty() => 45,
        Command::RegisterBroker(register) if register.directory_id.is_known() => 37,
        Command::RegisterBroker(_) => 2,
        Command::FenceBroker { .. } => 3,
        Command::UnfenceBroker { .. } => 4,
        Command::CreateTopic(_) => 5,
        Command::DeleteTopic { .. } => 6,
        Command::AddPartitions { .. } => 7,
        Command::AlterTopicConfigs { .. } => 8,
        Command::AlterClusterConfigs { .. } => 9,
        Command::Report { .. } => 16,
        Command::ClearLeader { .. } => 12,
        Command::SetReplicas { .. } => 13,
        Command::CompleteReassignment {
            membership: None, ..
        } => 22,
        Command::CompleteReassignment { .. } => 23,
        Command::CancelReassignment { .. } => 21,
        Command::AllocateProducerIds { .. } => 15,
        Command::SetBrokerDraining { .. } => 20,
        Command::DecommissionBroker { .. } => 35,
        Command::RemoveBroker { .. } => 36,
        Command::AcceptLoss(_) => 40,
        Command::AlterClientQuotas(_) => 60,
        Command::Amqp(command) => command.tag(),
    }
}

fn read_broker_or_topic(tag: u8, reader: &mut Reader) -> Result<Command, CodecError> {
    Ok(match tag {
        1 => Command::CreateCluster {
            cluster_id: reader.text("cluster id", NAME_BYTES_MAX)?,
        },
        // Written before data folders had names.
        2 => Command::RegisterBroker(read_register(reader)?),
        3 => Command::FenceBroker {
            id: BrokerId(reader.u32()?),
            epoch: BrokerEpoch(reader.u64()?),
        },
        4 => Command::UnfenceBroker {
            id: BrokerId(reader.u32()?),
            epoch: BrokerEpoch(reader.u64()?),
        },
        5 => Command::CreateTopic(read_create_topic(reader)?),
        6 => Command::DeleteTopic {
            topic_id: read_topic_id(reader)?,
        },
        7 => Command::AddPartitions {
            topic_id: read_topic_id(reader)?,
            partitions_count: reader.u32()?,
            assignments: read_assignments(reader)?,
        },
        20 => Command::SetBrokerDraining {
            id: BrokerId(reader.u32()?),
            is_draining: reader.flag("draining")?,
        },
        35 => Command::DecommissionBroker {
            id: BrokerId(reader.u32()?),
        },
        36 => Command::RemoveBroker {
            id: BrokerId(reader.u32()?),
        },
        // Written before there were Kafka listeners.
        37 => {
            let register = read_register(reader)?;
            let directory_id = DirectoryId(reader.array()?);
            Command::RegisterBroker(RegisterBroker {
                directory_id,
                ..register
            })
        }
        45 => {
            let mut register = read_register(reader)?;
            register.directory_id = DirectoryId(reader.array()?);
            register.endpoints.kafka = read_listeners(reader)?;
            Command::RegisterBroker(register)
        }
        tag => return Err(unknown(tag)),
    })
}

fn read_config_or_partition(tag: u8, reader: &mut Reader) -> Result<Command, CodecError> {
    Ok(match tag {
        8 => Command::AlterTopicConfigs {
            topic_id: read_topic_id(reader)?,
            set: read_configs(reader)?,
            unset: read_texts(reader)?,
        },
        9 => Command::AlterClusterConfigs {
            set: read_configs(reader)?,
            unset: read_texts(reader)?,
        },
        // Written before reports of many groups travelled together.
        LEADS | IN_SYNC => Command::Report {
            reports: vec![read_report(tag, reader)?],
        },
        16 => {
            let count = reader.count("reports", REPORT_BYTES_MIN, REPORTS_COUNT_MAX)?;
            let mut read = || {
                let tag = reader.u8()?;
                read_report(tag, reader)
            };
            Command::Report {
                reports: (0..count).map(|_| read()).collect::<Result<_, _>>()?,
            }
        }
        12 => {
            let count = reader.count("groups", 8, CLEAR_LEADER_GROUPS_MAX)?;
            let groups = (0..count).map(|_| Ok(GroupNumber(reader.u64()?)));
            Command::ClearLeader {
                groups: groups.collect::<Result<_, CodecError>>()?,
            }
        }
        13 => Command::SetReplicas {
            group: GroupNumber(reader.u64()?),
            target: read_brokers(reader)?,
        },
        // Written before reassignments had numbers.
        14 => Command::CompleteReassignment {
            group: GroupNumber(reader.u64()?),
            replicas: read_brokers(reader)?,
            move_epoch: 0,
            membership: None,
        },
        15 => Command::AllocateProducerIds {
            broker: BrokerId(reader.u32()?),
            count: reader.u32()?,
        },
        22 => Command::CompleteReassignment {
            group: GroupNumber(reader.u64()?),
            replicas: read_brokers(reader)?,
            move_epoch: reader.u64()?,
            membership: None,
        },
        23 => Command::CompleteReassignment {
            group: GroupNumber(reader.u64()?),
            replicas: read_brokers(reader)?,
            move_epoch: reader.u64()?,
            membership: read_last_log(reader)?,
        },
        21 => Command::CancelReassignment {
            group: GroupNumber(reader.u64()?),
        },
        40 => read_accept(reader)?,
        60 => read_alter(reader)?,
        tag => return Err(unknown(tag)),
    })
}

fn unknown(tag: u8) -> CodecError {
    CodecError::UnknownTag {
        what: WHAT.to_owned(),
        tag,
    }
}

fn write_reports(writer: &mut Writer, reports: &[LeaderReport]) {
    writer.count(reports.len());
    for report in reports {
        match report {
            LeaderReport::Leads {
                group,
                leader,
                leader_epoch,
            } => {
                writer.u8(LEADS).u64(group.0);
                writer.u32(leader.0).u64(leader_epoch.0);
            }
            LeaderReport::InSync {
                group,
                leader_epoch,
                isr,
            } => {
                writer.u8(IN_SYNC).u64(group.0).u64(leader_epoch.0);
                write_brokers(writer, isr);
            }
        }
    }
}

fn read_report(tag: u8, reader: &mut Reader) -> Result<LeaderReport, CodecError> {
    match tag {
        LEADS => Ok(LeaderReport::Leads {
            group: GroupNumber(reader.u64()?),
            leader: BrokerId(reader.u32()?),
            leader_epoch: Term(reader.u64()?),
        }),
        IN_SYNC => Ok(LeaderReport::InSync {
            group: GroupNumber(reader.u64()?),
            leader_epoch: Term(reader.u64()?),
            isr: read_brokers(reader)?,
        }),
        tag => Err(unknown(tag)),
    }
}

fn write_id(writer: &mut Writer, id: BrokerId) {
    writer.u32(id.0);
}

fn write_group(writer: &mut Writer, group: GroupNumber) {
    writer.u64(group.0);
}

fn write_topic_id(writer: &mut Writer, id: TopicId) {
    writer.raw(&id.0);
}

fn write_register(writer: &mut Writer, register: &RegisterBroker) {
    writer
        .text(&register.cluster_id)
        .u32(register.id.0)
        .raw(&register.incarnation);
    write_endpoints(writer, &register.endpoints);
    writer.text(&register.rack);
    let has_listeners = !register.endpoints.kafka.is_empty();
    if register.directory_id.is_known() || has_listeners {
        writer.raw(&register.directory_id.0);
    }
    if has_listeners {
        write_listeners(writer, &register.endpoints.kafka);
    }
}

fn read_register(reader: &mut Reader) -> Result<RegisterBroker, CodecError> {
    Ok(RegisterBroker {
        cluster_id: reader.text("cluster id", NAME_BYTES_MAX)?,
        id: BrokerId(reader.u32()?),
        incarnation: reader.array()?,
        endpoints: read_endpoints(reader)?,
        rack: reader.text("rack", NAME_BYTES_MAX)?,
        directory_id: DirectoryId::default(),
    })
}

fn write_create_topic(writer: &mut Writer, create: &CreateTopic) {
    writer.text(&create.name).raw(&create.topic_id.0);
    writer
        .u32(create.partitions_count)
        .u32(create.replication_factor);
    write_assignments(writer, &create.assignments);
    write_configs(writer, &create.configs);
}

fn read_create_topic(reader: &mut Reader) -> Result<CreateTopic, CodecError> {
    Ok(CreateTopic {
        name: reader.text("topic name", TOPIC_NAME_BYTES_MAX)?,
        topic_id: read_topic_id(reader)?,
        partitions_count: reader.u32()?,
        replication_factor: reader.u32()?,
        assignments: read_assignments(reader)?,
        configs: read_configs(reader)?,
    })
}

pub(super) fn write_endpoints(writer: &mut Writer, endpoints: &Endpoints) {
    writer
        .text(&endpoints.grpc)
        .text(&endpoints.http)
        .text(&endpoints.peer);
}

pub(super) fn read_endpoints(reader: &mut Reader) -> Result<Endpoints, CodecError> {
    Ok(Endpoints {
        grpc: reader.text("grpc endpoint", NAME_BYTES_MAX)?,
        http: reader.text("http endpoint", NAME_BYTES_MAX)?,
        peer: reader.text("peer endpoint", NAME_BYTES_MAX)?,
        kafka: BTreeMap::new(),
    })
}

pub(super) fn write_listeners(writer: &mut Writer, listeners: &BTreeMap<String, String>) {
    writer.count(listeners.len());
    for (name, endpoint) in listeners {
        writer.text(name).text(endpoint);
    }
}

pub(super) fn read_listeners(reader: &mut Reader) -> Result<BTreeMap<String, String>, CodecError> {
    let count = reader.count("kafka listeners", 8, KAFKA_LISTENERS_COUNT_MAX)?;
    let read_one = |_| {
        let name = reader.text("kafka listener", NAME_BYTES_MAX)?;
        Ok((name, reader.text("kafka endpoint", NAME_BYTES_MAX)?))
    };
    (0..count).map(read_one).collect()
}

pub(super) fn read_topic_id(reader: &mut Reader) -> Result<TopicId, CodecError> {
    Ok(TopicId(reader.array()?))
}

pub(super) fn write_brokers(writer: &mut Writer, brokers: &[BrokerId]) {
    writer.count(brokers.len());
    for broker in brokers {
        writer.u32(broker.0);
    }
}

pub(super) fn read_brokers(reader: &mut Reader) -> Result<Vec<BrokerId>, CodecError> {
    let count = reader.count("replicas", 4, REPLICAS_COUNT_MAX)?;
    (0..count).map(|_| Ok(BrokerId(reader.u32()?))).collect()
}

fn write_groups(writer: &mut Writer, groups: &[GroupNumber]) {
    writer.count(groups.len());
    for group in groups {
        writer.u64(group.0);
    }
}

fn write_assignments(writer: &mut Writer, assignments: &[Vec<BrokerId>]) {
    writer.count(assignments.len());
    for replicas in assignments {
        write_brokers(writer, replicas);
    }
}

fn read_assignments(reader: &mut Reader) -> Result<Vec<Vec<BrokerId>>, CodecError> {
    let count = reader.count("assignments", 4, TOPIC_PARTITIONS_COUNT_MAX as usize)?;
    (0..count).map(|_| read_brokers(reader)).collect()
}

pub(super) fn write_configs(writer: &mut Writer, configs: &BTreeMap<String, String>) {
    writer.count(configs.len());
    for (key, value) in configs {
        writer.text(key).text(value);
    }
}

pub(super) fn read_configs(reader: &mut Reader) -> Result<BTreeMap<String, String>, CodecError> {
    let count = reader.count("configs", 8, CONFIGS_COUNT_MAX)?;
    let read_one = |_| {
        let key = reader.text("config key", NAME_BYTES_MAX)?;
        Ok((key, reader.text("config value", CONFIG_VALUE_BYTES_MAX)?))
    };
    (0..count).map(read_one).collect()
}

fn write_texts(writer: &mut Writer, texts: &[String]) {
    writer.count(texts.len());
    for text in texts {
        writer.text(text);
    }
}

fn read_texts(reader: &mut Reader) -> Result<Vec<String>, CodecError> {
    let count = reader.count("config keys", 4, CONFIGS_COUNT_MAX)?;
    (0..count)
        .map(|_| reader.text("config key", NAME_BYTES_MAX))
        .collect()
}
