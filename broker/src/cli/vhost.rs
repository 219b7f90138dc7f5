//! `raftmq vhost`: AMQP's virtual hosts; and the argument by which other commands name one.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use raftmq_client::VhostInfo;
use serde::Serialize;

use super::connect::{ConnectArgs, client_failure};
use super::error::CliResult;
use super::output::{self, Format, harmless};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum VhostCommand {
    /// List all virtual hosts
    List,
    /// Create a virtual host; users enter it once raftmq permissions set has let them
    Create {
        /// 1 to 255 bytes
        name: String,
        /// What it is for
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        description: String,
        /// x-queue-type of queues that are declared without one
        #[arg(long, value_name = "TYPE", value_parser = ["classic", "quorum"])]
        default_queue_type: Option<String>,
    },
    /// Delete a virtual host with its exchanges, its queues and their messages
    Delete {
        /// The virtual host
        name: String,
    },
}

/// In which virtual host.
#[derive(Debug, Args)]
pub(crate) struct InVhost {
    /// The virtual host
    #[arg(short = 'p', long, value_name = "NAME", default_value = "/")]
    pub(crate) vhost: String,
}

#[derive(Debug, Serialize)]
struct VhostView {
    name: String,
    description: String,
    default_queue_type: Option<String>,
    queues: u32,
    exchanges: u32,
    bindings: u32,
}

/// Runs one verb.
pub(crate) async fn run(command: VhostCommand, connect: &ConnectArgs, format: Format) -> CliResult {
    match command {
        VhostCommand::List => list(connect, format).await,
        VhostCommand::Create {
            name,
            description,
            default_queue_type,
        } => {
            let client = connect.connect().await?;
            let create = client.admin().create_vhost(&name).description(description);
            let create = create.default_queue_type(default_queue_type.unwrap_or_default());
            let created = create.send().await;
            let action = format!("create virtual host {name:?}");
            created.map_err(|error| client_failure(&action, &error))?;
            done(format, "created", &name)
        }
        VhostCommand::Delete { name } => {
            let client = connect.connect().await?;
            let deleted = client.admin().delete_vhost(&name).await;
            let action = format!("delete virtual host {name:?}");
            deleted.map_err(|error| client_failure(&action, &error))?;
            done(format, "deleted", &name)
        }
    }
}

fn done(format: Format, what: &str, name: &str) -> CliResult {
    match format {
        Format::Json => output::print_json(&BTreeMap::from([(what, name)])),
        Format::Table => output::print_line(&format!("{what} virtual host {}", harmless(name))),
    }
}

async fn list(connect: &ConnectArgs, format: Format) -> CliResult {
    let client = connect.connect().await?;
    let listed = client.admin().list_vhosts().await;
    let listed = listed.map_err(|error| client_failure("list virtual hosts", &error))?;
    let views: Vec<VhostView> = listed.into_iter().map(view_of).collect();
    if format == Format::Json {
        return output::print_json(&views);
    }
    let rows = views.into_iter().map(|view| {
        vec![
            harmless(&view.name),
            view.queues.to_string(),
            view.exchanges.to_string(),
            view.bindings.to_string(),
            view.default_queue_type.unwrap_or_else(|| "-".to_owned()),
            harmless(&view.description),
        ]
    });
    let header = [
        "vhost",
        "queues",
        "exchanges",
        "bindings",
        "default queue type",
        "description",
    ];
    output::print_table(&header, rows)
}

fn view_of(vhost: VhostInfo) -> VhostView {
    VhostView {
        name: vhost.name,
        description: vhost.description,
        default_queue_type: Some(vhost.default_queue_type).filter(|named| !named.is_empty()),
        queues: vhost.queues_count,
        exchanges: vhost.exchanges_count,
        bindings: vhost.bindings_count,
    }
}
