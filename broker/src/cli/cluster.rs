//! `raftmq cluster`: what the cluster consists of, and whether it is healthy.
//!
//! Healthy = a controller, every broker in service and ready, every partition with a leader and
//! all its replicas in sync.

use std::time::Duration;

use clap::Subcommand;
use raftmq_client::{Client, PlanMode};
use raftmq_proto::v1::DescribeClusterResponse;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::connect::{ConnectArgs, client_failure};
use super::error::{CliError, CliResult, Kind};
use super::output::{self, Format};
use super::plan;
use super::probe::{Probe, probe};
use super::settings::{self, SettingsCommand};

/// Pause between two looks with `--wait`.
const WAIT_PAUSE_MILLIS: u64 = 200;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show brokers, controller and counts
    Info,
    /// Exit with 0 when healthy, with 10 when not
    Health {
        /// Wait up to this many seconds for the cluster to become healthy
        #[arg(
            long,
            value_name = "SECONDS",
            default_value_t = 0,
            hide_default_value = true
        )]
        wait: u64,
    },
    /// Spread replicas and preferred leaders evenly over the brokers, racks apart
    Rebalance {
        /// Show the plan and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Replicas that are moved, at most [default: 1000]
        #[arg(
            long,
            value_name = "COUNT",
            default_value_t = 0,
            hide_default_value = true
        )]
        moves_max: u32,
    },
    /// Show and change settings while the cluster runs
    #[command(subcommand)]
    Settings(SettingsCommand),
}

#[derive(Debug, Serialize)]
struct InfoView {
    cluster_id: String,
    controller: Option<u32>,
    metadata_voters: Vec<u32>,
    metadata_learners: Vec<u32>,
    metadata_version: u64,
    topics: u32,
    partitions: u32,
    offline_partitions: u32,
    under_replicated_partitions: u32,
    queues: u32,
    offline_queues: u32,
    under_replicated_queues: u32,
    brokers: Vec<BrokerView>,
}

#[derive(Debug, Serialize)]
struct BrokerView {
    id: u32,
    grpc: String,
    http: String,
    rack: String,
    fenced: bool,
    epoch: u64,
}

#[derive(Debug, Serialize)]
struct HealthView {
    healthy: bool,
    problems: Vec<String>,
}

/// Runs one verb.
pub(crate) async fn run(
    command: ClusterCommand,
    connect: &ConnectArgs,
    format: Format,
) -> CliResult {
    match command {
        ClusterCommand::Info => info(connect, format).await,
        ClusterCommand::Health { wait } => health(connect, format, wait).await,
        ClusterCommand::Rebalance { dry_run, moves_max } => {
            rebalance(connect, format, plan::mode(dry_run), moves_max).await
        }
        ClusterCommand::Settings(command) => settings::run(command, connect, format).await,
    }
}

async fn rebalance(
    connect: &ConnectArgs,
    format: Format,
    mode: PlanMode,
    moves_max: u32,
) -> CliResult {
    let client = connect.connect().await?;
    let planned = client.admin().rebalance(mode, moves_max).await;
    let changes = planned.map_err(|error| client_failure("rebalance the cluster", &error))?;
    plan::show(changes, mode, format)
}

async fn describe(client: &Client) -> CliResult<DescribeClusterResponse> {
    let described = client.admin().describe_cluster().await;
    described.map_err(|error| client_failure("describe the cluster", &error))
}

async fn info(connect: &ConnectArgs, format: Format) -> CliResult {
    let client = connect.connect().await?;
    let view = info_view(describe(&client).await?);
    if format == Format::Json {
        return output::print_json(&view);
    }
    let none = || "none".to_owned();
    output::print_line(&format!("cluster     {}", view.cluster_id))?;
    output::print_line(&format!(
        "controller  {}",
        view.controller
            .map_or_else(none, |id| format!("broker {id}"))
    ))?;
    output::print_line(&format!(
        "metadata    {} voters ({}), {} learners ({})",
        view.metadata_voters.len(),
        listed(&view.metadata_voters),
        view.metadata_learners.len(),
        listed(&view.metadata_learners),
    ))?;
    output::print_line(&format!(
        "topics      {} with {} partitions ({} offline, {} under-replicated)",
        view.topics, view.partitions, view.offline_partitions, view.under_replicated_partitions
    ))?;
    output::print_line(&format!(
        "queues      {} ({} offline, {} under-replicated)\n",
        view.queues, view.offline_queues, view.under_replicated_queues
    ))?;
    let rows = view.brokers.iter().map(|broker| {
        vec![
            broker.id.to_string(),
            if broker.fenced {
                "fenced"
            } else {
                "in service"
            }
            .to_owned(),
            standing(&view, broker.id).to_owned(),
            broker.grpc.clone(),
            broker.http.clone(),
            broker.rack.clone(),
        ]
    });
    output::print_table(
        &["broker", "state", "metadata", "grpc", "http", "rack"],
        rows,
    )
}

/// How a broker takes part in the metadata group.
fn standing(view: &InfoView, id: u32) -> &'static str {
    if view.metadata_voters.contains(&id) {
        "voter"
    } else if view.metadata_learners.contains(&id) {
        "learner"
    } else {
        "none"
    }
}

fn listed(ids: &[u32]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    ids.join(", ")
}

async fn health(connect: &ConnectArgs, format: Format, wait_seconds: u64) -> CliResult {
    let deadline = Instant::now() + Duration::from_secs(wait_seconds);
    let problems = loop {
        let problems = problems(connect).await;
        if problems.is_empty() || Instant::now() >= deadline {
            break problems;
        }
        sleep(Duration::from_millis(WAIT_PAUSE_MILLIS)).await;
    };
    let healthy = problems.is_empty();
    match format {
        Format::Json => output::print_json(&HealthView {
            healthy,
            problems: problems.clone(),
        })?,
        Format::Table if healthy => output::print_line("healthy")?,
        Format::Table => {}
    }
    if healthy {
        return Ok(());
    }
    let failure = CliError::failure(format!(
        "the cluster is not healthy:\n  {}",
        problems.join("\n  ")
    ));
    Err(CliError {
        kind: Kind::Unhealthy,
        ..failure
    }
    .next("brokers and partitions: raftmq cluster info, raftmq topic list"))
}

/// What is wrong; empty = nothing.
async fn problems(connect: &ConnectArgs) -> Vec<String> {
    let described = match connect.connect().await {
        Ok(client) => describe(&client).await,
        Err(error) => Err(error),
    };
    let view = match described {
        Ok(described) => info_view(described),
        Err(error) => return vec![error.message],
    };
    let mut problems = Vec::new();
    if view.controller.is_none() {
        problems.push("no controller: the metadata group has no leader".to_owned());
    }
    for (count, what) in [
        (view.offline_partitions, "partitions have no leader"),
        (view.offline_queues, "queues have no leader"),
        (
            view.under_replicated_partitions,
            "partitions have replicas that are not in sync",
        ),
        (
            view.under_replicated_queues,
            "queues have replicas that are not in sync",
        ),
    ] {
        if count > 0 {
            problems.push(format!("{count} {what}"));
        }
    }
    for broker in &view.brokers {
        if broker.fenced {
            problems.push(format!("broker {} is fenced", broker.id));
        }
        match probe(&broker.http, "/readyz").await {
            Probe::Ok => {}
            Probe::NotOk(reasons) => {
                problems.push(format!(
                    "broker {} is not ready: {}",
                    broker.id,
                    reasons.join("; ")
                ));
            }
            Probe::Silent(reason) => {
                problems.push(format!("broker {} at {}: {reason}", broker.id, broker.http));
            }
        }
    }
    problems
}

fn info_view(described: DescribeClusterResponse) -> InfoView {
    let brokers = described.brokers.into_iter().map(|broker| BrokerView {
        id: broker.broker_id,
        grpc: broker.grpc_endpoint,
        http: broker.http_endpoint,
        rack: broker.rack,
        fenced: broker.fenced,
        epoch: broker.broker_epoch,
    });
    InfoView {
        cluster_id: described.cluster_id,
        controller: Some(described.controller_broker_id).filter(|id| *id != 0),
        metadata_voters: described.metadata_voters,
        metadata_learners: described.metadata_learners,
        metadata_version: described.metadata_version,
        topics: described.topics_count,
        partitions: described.partitions_count,
        offline_partitions: described.offline_partitions_count,
        under_replicated_partitions: described.under_replicated_partitions_count,
        queues: described.queues_count,
        offline_queues: described.offline_queues_count,
        under_replicated_queues: described.under_replicated_queues_count,
        brokers: brokers.collect(),
    }
}
