//! `raftmq broker decommission`: takes a broker out of the cluster for good.

use clap::Args;
use raftmq_client::Client;

use super::connect::client_failure;
use super::error::CliResult;
use super::output::Format;
use super::plan;

/// Arguments of `raftmq broker decommission`.
#[derive(Debug, Args)]
pub(crate) struct DecommissionArgs {
    /// The broker's id
    id: u32,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs `raftmq broker decommission`.
pub(crate) async fn decommission(
    args: &DecommissionArgs,
    client: &Client,
    format: Format,
) -> CliResult {
    let mode = plan::mode(args.dry_run);
    let planned = client.admin().decommission_broker(args.id, mode).await;
    let action = format!("decommission broker {}", args.id);
    let changes = planned.map_err(|error| client_failure(&action, &error))?;
    plan::show(changes, mode, format)
}
