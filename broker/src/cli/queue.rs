//! `raftmq queue`: AMQP's queues as an operator sees them.

use clap::{Args, Subcommand};
use raftmq_client::{Counting, QueueInfo};
use serde::Serialize;

use super::amqp_arguments::{ArgumentsView, arguments_text, arguments_view};
use super::connect::{ConnectArgs, client_failure};
use super::error::CliResult;
use super::output::{self, Format, harmless};
use super::vhost::InVhost;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List the queues of a virtual host with their leaders, ready messages and consumers
    List {
        #[command(flatten)]
        place: InVhost,
        /// Do not ask leaders for ready messages and consumers
        #[arg(long)]
        no_counts: bool,
    },
    /// Delete a queue with its messages and bindings
    Delete(DeleteArgs),
    /// Drop the ready messages of a queue; those that consumers hold stay
    Purge {
        /// The queue
        name: String,
        #[command(flatten)]
        place: InVhost,
    },
}

/// Which queue, and on what condition.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The queue
    name: String,
    #[command(flatten)]
    place: InVhost,
    /// Only if it has no consumers
    #[arg(long)]
    if_unused: bool,
    /// Only if no message is ready
    #[arg(long)]
    if_empty: bool,
}

#[derive(Debug, Serialize)]
struct QueueView {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    leader: Option<u32>,
    replicas: Vec<u32>,
    in_sync_replicas: Vec<u32>,
    /// None: the leader was not asked, or did not answer.
    ready_messages: Option<u64>,
    consumers: Option<u64>,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
    arguments: ArgumentsView,
}

#[derive(Debug, Serialize)]
struct DoneView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purged: Option<&'a str>,
    vhost: &'a str,
    /// None: the leader was out of reach.
    messages: Option<u64>,
}

/// Runs one verb.
pub(crate) async fn run(command: QueueCommand, connect: &ConnectArgs, format: Format) -> CliResult {
    match command {
        QueueCommand::List { place, no_counts } => {
            let counting = if no_counts {
                Counting::Skip
            } else {
                Counting::AskLeaders
            };
            list(connect, format, &place.vhost, counting).await
        }
        QueueCommand::Delete(args) => delete(&args, connect, format).await,
        QueueCommand::Purge { name, place } => purge(connect, format, &place.vhost, &name).await,
    }
}

async fn delete(args: &DeleteArgs, connect: &ConnectArgs, format: Format) -> CliResult {
    let (name, vhost) = (args.name.as_str(), args.place.vhost.as_str());
    let client = connect.connect().await?;
    let mut delete = client.admin().delete_queue(vhost, name);
    if args.if_unused {
        delete = delete.if_unused();
    }
    if args.if_empty {
        delete = delete.if_empty();
    }
    let action = format!("delete queue {name:?} in virtual host {vhost:?}");
    let deleted = delete.send().await;
    let messages = deleted.map_err(|error| client_failure(&action, &error))?;
    if format == Format::Json {
        return output::print_json(&DoneView {
            deleted: Some(name),
            purged: None,
            vhost,
            messages,
        });
    }
    let shown = harmless(name);
    output::print_line(&match messages {
        Some(count) => format!("deleted queue {shown} with {count} messages"),
        None => format!("deleted queue {shown}, whose leader was out of reach"),
    })
}

async fn purge(connect: &ConnectArgs, format: Format, vhost: &str, name: &str) -> CliResult {
    let client = connect.connect().await?;
    let action = format!("purge queue {name:?} in virtual host {vhost:?}");
    let purged = client.admin().purge_queue(vhost, name).await;
    let count = purged.map_err(|error| client_failure(&action, &error))?;
    match format {
        Format::Json => output::print_json(&DoneView {
            deleted: None,
            purged: Some(name),
            vhost,
            messages: Some(count),
        }),
        Format::Table => output::print_line(&format!(
            "dropped {count} messages of queue {}",
            harmless(name)
        )),
    }
}

async fn list(connect: &ConnectArgs, format: Format, vhost: &str, counting: Counting) -> CliResult {
    let client = connect.connect().await?;
    let action = format!("list queues of virtual host {vhost:?}");
    let listed = client.admin().list_queues(vhost, counting).await;
    let listed = listed.map_err(|error| client_failure(&action, &error))?;
    let views: Vec<QueueView> = listed.into_iter().map(view_of).collect();
    if format == Format::Json {
        return output::print_json(&views);
    }
    let count =
        |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let rows = views.iter().map(|view| {
        let leader = view.leader.map(|leader| leader.to_string());
        vec![
            harmless(&view.name),
            harmless(&view.kind),
            leader.unwrap_or_else(|| "none".to_owned()),
            count(view.ready_messages),
            count(view.consumers),
            view.durable.to_string(),
            view.exclusive.to_string(),
            view.auto_delete.to_string(),
            arguments_text(&view.arguments),
        ]
    });
    let header = [
        "queue",
        "type",
        "leader",
        "ready",
        "consumers",
        "durable",
        "exclusive",
        "auto-delete",
        "arguments",
    ];
    output::print_table(&header, rows)
}

fn view_of(queue: QueueInfo) -> QueueView {
    QueueView {
        name: queue.name,
        kind: queue.kind,
        leader: Some(queue.leader_broker_id).filter(|leader| *leader != 0),
        replicas: queue.replicas,
        in_sync_replicas: queue.in_sync_replicas,
        ready_messages: queue.counts.map(|counts| counts.ready_messages),
        consumers: queue.counts.map(|counts| counts.consumers),
        durable: queue.durable,
        exclusive: queue.exclusive,
        auto_delete: queue.auto_delete,
        arguments: arguments_view(queue.arguments),
    }
}
