//! `raftmq partition`: where replicas are, and moving them.

use std::collections::BTreeMap;

use clap::Subcommand;
use raftmq_client::{MoveProgress, PartitionPlacement};
use serde::Serialize;

use super::connect::{ConnectArgs, client_failure};
use super::error::CliResult;
use super::output::{self, Format};
use super::plan::{ids_text, warn_of_replicas};
use super::recover::{LossView, RecoverArgs, loss_view, recover};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum PartitionCommand {
    /// Show leaders, replicas and running moves
    List {
        /// Only this topic
        topic: Option<String>,
        /// Only partitions whose replicas are being moved
        #[arg(long)]
        moving: bool,
    },
    /// Move the replicas of a partition; a move that runs already is sent there instead
    Reassign {
        /// The topic
        topic: String,
        /// The partition
        partition: u32,
        /// Ids of its future brokers, the preferred leader first
        #[arg(long, value_name = "ID,ID", value_delimiter = ',', required = true)]
        replicas: Vec<u32>,
    },
    /// Send a running move back to the replicas from which it came
    Cancel {
        /// The topic
        topic: String,
        /// The partition
        partition: u32,
    },
    /// Last resort: go on from one replica where a majority is gone, and lose what only others had
    Recover(RecoverArgs),
}

#[derive(Debug, Serialize)]
struct PlacementView {
    topic: String,
    partition: u32,
    leader: Option<u32>,
    replicas: Vec<u32>,
    in_sync_replicas: Vec<u32>,
    moving: bool,
    target: Vec<u32>,
    adding: Vec<u32>,
    removing: Vec<u32>,
    /// How far a running move is; none: the controller has not begun to carry it out.
    progress: Option<ProgressView>,
    loss: Option<LossView>,
}

#[derive(Debug, Serialize)]
struct ProgressView {
    step: String,
    entries_left: u64,
    entries_total: u64,
    percent_done: u64,
}

impl ProgressView {
    fn brief(&self) -> String {
        let Self {
            step,
            entries_left,
            percent_done,
            ..
        } = self;
        format!("{percent_done} % ({step}, {entries_left} entries left)")
    }
}

/// Runs one verb.
pub(crate) async fn run(
    command: PartitionCommand,
    connect: &ConnectArgs,
    format: Format,
) -> CliResult {
    match command {
        PartitionCommand::List { topic, moving } => {
            list(connect, format, topic.as_deref(), moving).await
        }
        PartitionCommand::Reassign {
            topic,
            partition,
            replicas,
        } => {
            let client = connect.connect().await?;
            let admin = client.admin();
            let set = admin.alter_replicas(&topic, partition, &replicas).await;
            let action = format!("move partition {partition} of topic {topic:?}");
            set.map_err(|error| client_failure(&action, &error))?;
            warn_of_replicas(replicas.len());
            let text = format!("moving {topic}/{partition} to {}", ids_text(&replicas));
            done(format, "moving", &topic, partition, &text)
        }
        PartitionCommand::Cancel { topic, partition } => {
            let client = connect.connect().await?;
            let cancelled = client.admin().cancel_reassignment(&topic, partition).await;
            let action = format!("cancel the move of partition {partition} of topic {topic:?}");
            cancelled.map_err(|error| client_failure(&action, &error))?;
            let text = format!("moving {topic}/{partition} back");
            done(format, "cancelling", &topic, partition, &text)
        }
        PartitionCommand::Recover(args) => {
            let client = connect.connect().await?;
            recover(&args, &client, format).await
        }
    }
}

fn done(format: Format, what: &str, topic: &str, partition: u32, text: &str) -> CliResult {
    match format {
        Format::Json => {
            output::print_json(&BTreeMap::from([(what, format!("{topic}/{partition}"))]))
        }
        Format::Table => output::print_line(text),
    }
}

async fn list(
    connect: &ConnectArgs,
    format: Format,
    topic: Option<&str>,
    moving_only: bool,
) -> CliResult {
    let client = connect.connect().await?;
    let listed = client.admin().list_partitions(topic, moving_only).await;
    let listed = listed.map_err(|error| client_failure("list partitions", &error))?;
    let views: Vec<PlacementView> = listed.into_iter().map(placement_view).collect();
    if format == Format::Json {
        return output::print_json(&views);
    }
    let rows = views.iter().map(|view| {
        let leader = view.leader.map(|leader| leader.to_string());
        vec![
            view.topic.clone(),
            view.partition.to_string(),
            leader.unwrap_or_else(|| "none".to_owned()),
            ids_text(&view.replicas),
            ids_text(&view.in_sync_replicas),
            ids_text(&view.target),
            progress_text(view),
            view.loss.as_ref().map_or_else(String::new, LossView::brief),
        ]
    });
    let header = [
        "topic",
        "partition",
        "leader",
        "replicas",
        "in sync",
        "moving to",
        "moved",
        "loss accepted",
    ];
    output::print_table(&header, rows)
}

fn placement_view(placement: PartitionPlacement) -> PlacementView {
    PlacementView {
        topic: placement.topic,
        partition: placement.partition,
        leader: Some(placement.leader_broker_id).filter(|leader| *leader != 0),
        replicas: placement.replicas,
        in_sync_replicas: placement.in_sync_replicas,
        moving: !placement.target.is_empty(),
        target: placement.target,
        adding: placement.adding,
        removing: placement.removing,
        progress: placement.progress.map(progress_view),
        loss: placement.loss.map(loss_view),
    }
}

fn progress_text(view: &PlacementView) -> String {
    match &view.progress {
        Some(progress) => progress.brief(),
        None if view.moving => "waiting".to_owned(),
        None => String::new(),
    }
}

fn progress_view(progress: MoveProgress) -> ProgressView {
    let (left, total) = (progress.entries_left, progress.entries_count);
    let done = u128::from(total.saturating_sub(left));
    let percent = (done * 100).checked_div(u128::from(total));
    ProgressView {
        step: progress.step,
        entries_left: left,
        entries_total: total,
        percent_done: percent.map_or(100, |percent| u64::try_from(percent).unwrap_or(100)),
    }
}
