//! `raftmq broker`: what each broker leads and holds; drain and undrain. Decommissioning stands in
//! `decommission`.

use std::time::Duration;

use clap::Subcommand;
use raftmq_client::{Client, Error, ErrorKind};
use raftmq_proto::v1::BrokerInfo;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::connect::{ConnectArgs, client_failure};
use super::decommission::{DecommissionArgs, decommission};
use super::error::{CliError, CliResult};
use super::output::{self, Format};

/// Pause between two looks with `--wait`.
const WAIT_PAUSE: Duration = Duration::from_millis(100);

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum BrokerCommand {
    /// List brokers with what they lead and hold
    List,
    /// Move every leadership away from a broker, and keep them away until undrain
    Drain {
        /// The broker's id
        id: u32,
        /// Wait up to this many seconds until it leads nothing
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
    },
    /// Let a drained broker lead again, or a decommissioned one stay that is not gone yet
    Undrain {
        /// The broker's id
        id: u32,
    },
    /// Take a broker out of the cluster for good: its replicas move, then it may be stopped
    Decommission(DecommissionArgs),
}

#[derive(Debug, Serialize)]
struct BrokerView {
    id: u32,
    state: &'static str,
    draining: bool,
    decommissioned: bool,
    controller: bool,
    leaderships: u32,
    replicas: u32,
    rack: String,
    epoch: u64,
}

#[derive(Debug, Serialize)]
struct DrainView {
    id: u32,
    draining: bool,
    leaderships: u32,
}

/// Runs one verb.
pub(crate) async fn run(
    command: BrokerCommand,
    connect: &ConnectArgs,
    format: Format,
) -> CliResult {
    let client = connect.connect().await?;
    match command {
        BrokerCommand::List => list(&client, format).await,
        BrokerCommand::Drain { id, wait } => drain(&client, format, id, wait).await,
        BrokerCommand::Undrain { id } => {
            let undrained = client.admin().undrain_broker(id).await;
            undrained.map_err(|error| failure(&format!("undrain broker {id}"), &error))?;
            show(&client, format, id).await
        }
        BrokerCommand::Decommission(args) => decommission(&args, &client, format).await,
    }
}

/// The next step after `NOT_FOUND` is another one than for topics.
fn failure(action: &str, error: &Error) -> CliError {
    if error.kind() == ErrorKind::NotFound {
        let text = format!("cannot {action}: {error}");
        return CliError::failure(text).next("see what there is: raftmq broker list");
    }
    client_failure(action, error)
}

async fn views(client: &Client) -> CliResult<Vec<BrokerView>> {
    let described = client.admin().describe_cluster().await;
    let described = described.map_err(|error| failure("describe the cluster", &error))?;
    let controller = described.controller_broker_id;
    let view = |broker: BrokerInfo| BrokerView {
        id: broker.broker_id,
        state: state_of(&broker),
        draining: broker.draining,
        decommissioned: broker.decommissioned,
        controller: broker.broker_id == controller,
        leaderships: broker.leaders_count,
        replicas: broker.replicas_count,
        rack: broker.rack,
        epoch: broker.broker_epoch,
    };
    Ok(described.brokers.into_iter().map(view).collect())
}

fn state_of(broker: &BrokerInfo) -> &'static str {
    match (broker.fenced, broker.decommissioned, broker.draining) {
        (true, true, _) => "fenced, decommissioned",
        (true, false, _) => "fenced",
        (false, true, _) => "decommissioned",
        (false, false, _) if broker.disk_full => "disk full",
        (false, false, true) => "draining",
        (false, false, false) => "in service",
    }
}

async fn list(client: &Client, format: Format) -> CliResult {
    let views = views(client).await?;
    if format == Format::Json {
        return output::print_json(&views);
    }
    let rows = views.iter().map(|view| {
        vec![
            view.id.to_string(),
            view.state.to_owned(),
            if view.controller { "yes" } else { "" }.to_owned(),
            view.leaderships.to_string(),
            view.replicas.to_string(),
            view.rack.clone(),
        ]
    });
    let heads = [
        "broker",
        "state",
        "controller",
        "leaderships",
        "replicas",
        "rack",
    ];
    output::print_table(&heads, rows)
}

async fn view_of(client: &Client, id: u32) -> CliResult<BrokerView> {
    let known = views(client).await?.into_iter().find(|view| view.id == id);
    known.ok_or_else(|| CliError::failure(format!("broker {id} is not registered")))
}

async fn drain(client: &Client, format: Format, id: u32, wait_seconds: Option<u64>) -> CliResult {
    let drained = client.admin().drain_broker(id).await;
    drained.map_err(|error| failure(&format!("drain broker {id}"), &error))?;
    let Some(wait_seconds) = wait_seconds else {
        return show(client, format, id).await;
    };
    let deadline = Instant::now() + Duration::from_secs(wait_seconds);
    loop {
        let left = view_of(client, id).await?.leaderships;
        if left == 0 {
            return show(client, format, id).await;
        }
        if Instant::now() >= deadline {
            let text = format!("broker {id} drains, and leads {left} partitions still");
            let next = "their other replicas must be in sync: raftmq topic list, cluster health";
            return Err(CliError::failure(text).next(next));
        }
        sleep(WAIT_PAUSE).await;
    }
}

async fn show(client: &Client, format: Format, id: u32) -> CliResult {
    let view = view_of(client, id).await?;
    let (draining, leaderships) = (view.draining, view.leaderships);
    if format == Format::Json {
        return output::print_json(&DrainView {
            id,
            draining,
            leaderships,
        });
    }
    let state = view.state;
    output::print_line(&format!(
        "broker {id}: {state}, leads {leaderships} partitions"
    ))
}
