//! `raftmq broker decommission`: takes every replica off a broker.

use clap::{Args, Subcommand};

use super::connect::{ConnectArgs, client_failure};
use super::error::CliResult;
use super::output::Format;
use super::plan;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum BrokerCommand {
    /// Move every replica of a broker to the others, so that it can be taken away
    Decommission(DecommissionArgs),
}

/// Arguments of `raftmq broker decommission`.
#[derive(Debug, Args)]
pub(crate) struct DecommissionArgs {
    /// The broker's id
    id: u32,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs one verb.
pub(crate) async fn run(
    command: BrokerCommand,
    connect: &ConnectArgs,
    format: Format,
) -> CliResult {
    match command {
        BrokerCommand::Decommission(args) => decommission(&args, connect, format).await,
    }
}

/// Runs `raftmq broker decommission`.
pub(crate) async fn decommission(
    args: &DecommissionArgs,
    connect: &ConnectArgs,
    format: Format,
) -> CliResult {
    let client = connect.connect().await?;
    let mode = plan::mode(args.dry_run);
    let planned = client.admin().decommission_broker(args.id, mode).await;
    let action = format!("decommission broker {}", args.id);
    let changes = planned.map_err(|error| client_failure(&action, &error))?;
    plan::show(changes, mode, format)
}
