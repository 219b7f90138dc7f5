//! `raftmq topic`: create, list, describe, alter, delete.

use std::collections::BTreeMap;

use clap::Subcommand;
use raftmq_proto::v1::{ConfigEntry, PartitionInfo, TopicInfo};
use serde::Serialize;

use super::connect::{ConnectArgs, client_failure};
use super::error::CliResult;
use super::output::{self, Format};
use super::plan::warn_of_replicas;
use crate::config::parse_assignment;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic
    Create {
        /// 1 to 249 of a-z A-Z 0-9 . _ -
        name: String,
        /// Number of partitions [default: the cluster's num.partitions]
        #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..))]
        partitions: Option<u32>,
        /// Number of replicas [default: the cluster's default.replication.factor]
        #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..))]
        replication_factor: Option<u32>,
        /// Topic config under Kafka's name, for example retention.ms=60000
        #[arg(short, long = "config", value_name = "KEY=VALUE")]
        configs: Vec<String>,
        /// Check everything and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List all topics
    List,
    /// Show partitions, leaders, replicas and configs of a topic
    Describe {
        /// The topic
        name: String,
    },
    /// Change configs or the number of replicas, or add partitions
    Alter {
        /// The topic
        name: String,
        /// Set a config
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Take a config back to its default
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
        /// New, larger number of partitions; keys may then go to other partitions than before
        #[arg(short, long)]
        partitions: Option<u32>,
        /// New number of replicas of each partition; they are moved after the command has ended
        #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..))]
        replication_factor: Option<u32>,
        /// Check everything and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete a topic with all its records
    Delete {
        /// The topic
        name: String,
    },
}

#[derive(Debug, Serialize)]
struct TopicView {
    name: String,
    topic_id: String,
    partitions: Vec<PartitionView>,
    configs: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct PartitionView {
    partition: u32,
    leader: Option<u32>,
    leader_epoch: i64,
    replicas: Vec<u32>,
    in_sync_replicas: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct DescribeView {
    #[serde(flatten)]
    topic: TopicView,
    effective_configs: Vec<ConfigView>,
}

#[derive(Debug, Serialize)]
struct ConfigView {
    name: String,
    value: String,
    source: String,
    documentation: String,
}

#[derive(Debug, Serialize)]
struct CreatedView {
    #[serde(flatten)]
    topic: TopicView,
    warnings: Vec<String>,
    dry_run: bool,
}

/// Runs one verb.
pub(crate) async fn run(command: TopicCommand, connect: &ConnectArgs, format: Format) -> CliResult {
    match command {
        TopicCommand::Create {
            name,
            partitions,
            replication_factor,
            configs,
            dry_run,
        } => {
            // 0 = the cluster's.
            let counts = [partitions, replication_factor].map(Option::unwrap_or_default);
            create(connect, format, &name, counts, &configs, dry_run).await
        }
        TopicCommand::List => list(connect, format).await,
        TopicCommand::Describe { name } => describe(connect, format, &name).await,
        TopicCommand::Alter {
            name,
            set,
            unset,
            partitions,
            replication_factor,
            dry_run,
        } => {
            let changes = Changes {
                set,
                unset,
                partitions,
                replication_factor,
                dry_run,
            };
            alter(connect, format, &name, changes).await
        }
        TopicCommand::Delete { name } => delete(connect, format, &name).await,
    }
}

async fn create(
    connect: &ConnectArgs,
    format: Format,
    name: &str,
    [partitions, replication_factor]: [u32; 2],
    configs: &[String],
    dry_run: bool,
) -> CliResult {
    let configs = assignments(configs)?;
    let client = connect.connect().await?;
    let mut request = client
        .admin()
        .create_topic(name)
        .partitions(partitions)
        .replication_factor(replication_factor);
    for (key, value) in configs {
        request = request.config(key, value);
    }
    if dry_run {
        request = request.validate_only();
    }
    let action = format!("create topic {name:?}");
    let created = request
        .send()
        .await
        .map_err(|error| client_failure(&action, &error))?;
    let topic = topic_view(created.topic.unwrap_or_default());
    if format == Format::Json {
        return output::print_json(&CreatedView {
            topic,
            warnings: created.warnings,
            dry_run,
        });
    }
    for warning in &created.warnings {
        output::note(&format!("warning: {warning}"));
    }
    let replicas = topic
        .partitions
        .first()
        .map_or(0, |partition| partition.replicas.len());
    let verb = if dry_run { "would create" } else { "created" };
    output::print_line(&format!(
        "{verb} topic {name} with {} partitions of {replicas} replicas",
        topic.partitions.len()
    ))
}

async fn list(connect: &ConnectArgs, format: Format) -> CliResult {
    let client = connect.connect().await?;
    let topics = client.admin().list_topics().await;
    let topics = topics.map_err(|error| client_failure("list topics", &error))?;
    let topics: Vec<TopicView> = topics.into_iter().map(topic_view).collect();
    if format == Format::Json {
        return output::print_json(&topics);
    }
    let rows = topics.iter().map(|topic| {
        let replicas = topic
            .partitions
            .first()
            .map_or(0, |partition| partition.replicas.len());
        let leaderless = topic
            .partitions
            .iter()
            .filter(|partition| partition.leader.is_none());
        let under_replicated = topic
            .partitions
            .iter()
            .filter(|partition| partition.in_sync_replicas.len() < partition.replicas.len());
        vec![
            topic.name.clone(),
            topic.partitions.len().to_string(),
            replicas.to_string(),
            leaderless.count().to_string(),
            under_replicated.count().to_string(),
        ]
    });
    let header = [
        "topic",
        "partitions",
        "replicas",
        "leaderless",
        "under-replicated",
    ];
    output::print_table(&header, rows)
}

async fn describe(connect: &ConnectArgs, format: Format, name: &str) -> CliResult {
    let client = connect.connect().await?;
    let action = format!("describe topic {name:?}");
    let described = client.admin().describe_topic(name).await;
    let described = described.map_err(|error| client_failure(&action, &error))?;
    let topic = topic_view(described.topic.unwrap_or_default());
    let configs: Vec<ConfigView> = described.configs.into_iter().map(config_view).collect();
    if format == Format::Json {
        return output::print_json(&DescribeView {
            topic,
            effective_configs: configs,
        });
    }
    show_topic(&topic)?;
    output::print_line("")?;
    let rows = configs
        .into_iter()
        .map(|config| vec![config.name, config.value, config.source]);
    output::print_table(&["config", "value", "source"], rows)
}

struct Changes {
    set: Vec<String>,
    unset: Vec<String>,
    partitions: Option<u32>,
    replication_factor: Option<u32>,
    dry_run: bool,
}

async fn alter(connect: &ConnectArgs, format: Format, name: &str, changes: Changes) -> CliResult {
    let set = assignments(&changes.set)?;
    let client = connect.connect().await?;
    let mut request = client.admin().alter_topic(name);
    for (key, value) in set {
        request = request.set_config(key, value);
    }
    for key in changes.unset {
        request = request.delete_config(key);
    }
    if let Some(count) = changes.partitions {
        request = request.partitions(count);
    }
    if let Some(factor) = changes.replication_factor {
        request = request.replication_factor(factor);
    }
    if changes.dry_run {
        request = request.validate_only();
    }
    let action = format!("alter topic {name:?}");
    let altered = request
        .send()
        .await
        .map_err(|error| client_failure(&action, &error))?;
    if let Some(factor) = changes.replication_factor {
        warn_of_replicas(usize::try_from(factor).unwrap_or(usize::MAX));
    }
    let topic = topic_view(altered);
    if format == Format::Json {
        return output::print_json(&topic);
    }
    show_topic(&topic)
}

async fn delete(connect: &ConnectArgs, format: Format, name: &str) -> CliResult {
    let client = connect.connect().await?;
    let action = format!("delete topic {name:?}");
    let deleted = client.admin().delete_topic(name).await;
    deleted.map_err(|error| client_failure(&action, &error))?;
    match format {
        Format::Json => output::print_json(&BTreeMap::from([("deleted", name)])),
        Format::Table => output::print_line(&format!("deleted topic {name}")),
    }
}

fn assignments(texts: &[String]) -> CliResult<Vec<(String, String)>> {
    Ok(texts
        .iter()
        .map(|text| parse_assignment(text))
        .collect::<Result<_, _>>()?)
}

fn show_topic(topic: &TopicView) -> CliResult {
    let list = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let rows = topic.partitions.iter().map(|partition| {
        vec![
            partition.partition.to_string(),
            partition
                .leader
                .map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
            partition.leader_epoch.to_string(),
            list(&partition.replicas),
            list(&partition.in_sync_replicas),
        ]
    });
    output::print_table(
        &["partition", "leader", "leader epoch", "replicas", "in sync"],
        rows,
    )
}

fn topic_view(topic: TopicInfo) -> TopicView {
    TopicView {
        name: topic.name,
        topic_id: topic
            .topic_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        partitions: topic.partitions.into_iter().map(partition_view).collect(),
        configs: topic.configs,
    }
}

fn partition_view(partition: PartitionInfo) -> PartitionView {
    PartitionView {
        partition: partition.partition,
        leader: Some(partition.leader_broker_id).filter(|leader| *leader != 0),
        leader_epoch: partition.leader_epoch,
        replicas: partition.replicas,
        in_sync_replicas: partition.in_sync_replicas,
    }
}

fn config_view(config: ConfigEntry) -> ConfigView {
    let ConfigEntry {
        name,
        value,
        source,
        documentation,
    } = config;
    ConfigView {
        name,
        value,
        source,
        documentation,
    }
}
