//! `raftmq dev`: a local cluster of broker processes in one command.
//!
//! Owns the life of the cluster from the command's point of view: start, print, wait, stop. How
//! processes are started is in `supervisor`, the folder in `layout`, `dev restart` in `control`; clusters
//! of other commands are in `scratch`.

mod control;
mod layout;
mod scratch;
mod supervisor;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::time::{Instant, sleep};

pub(crate) use layout::{Cluster, DevOptions};
pub(crate) use scratch::{ScratchOptions, connect_to, wait_until_in_sync, with_cluster};
pub(crate) use supervisor::Supervisor;

use super::error::{CliError, CliResult, Kind};
use super::output::{self, Format};
use super::probe::{Probe, probe};
use super::signal::stop_signal;
use crate::config::parse_assignment;
use control::{Answer, Control, Request, ask};

/// Folder of a cluster that was told none.
const DATA_DEFAULT: &str = "raftmq-dev";
/// Longest time from `dev restart` to the broker's readiness.
const RESTART_MILLIS_MAX: u64 = 120_000;
/// Pause between two probes after a restart.
const RESTART_PROBE_PAUSE_MILLIS: u64 = 50;

/// Arguments of `raftmq dev`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DevArgs {
    #[command(subcommand)]
    command: Option<DevCommand>,
    /// Number of brokers, 1 to 5 [default: 3, or as many as the folder has]
    #[arg(long, value_name = "N")]
    brokers: Option<u32>,
    /// Folder for configurations, logs and data; used again, it is the same cluster
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    data: PathBuf,
    /// gRPC port of broker 1, the others ten apart; 0 takes free ports
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    base_port: u16,
    /// Configuration for every broker; Kafka's broker settings keep Kafka's names
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum DevCommand {
    /// Start a broker again that was killed, and wait until it is ready
    Restart {
        /// Broker id
        id: u32,
        /// Folder of the running cluster
        #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
        data: PathBuf,
    },
}

/// Runs the command until SIGINT or SIGTERM.
pub(crate) async fn run(args: DevArgs, format: Format) -> CliResult {
    if let Some(DevCommand::Restart { id, data }) = args.command {
        return restart(id, &data, format).await;
    }
    let assignments = args
        .assignments
        .iter()
        .map(|text| parse_assignment(text))
        .collect::<Result<_, _>>()?;
    let options = DevOptions {
        brokers_count: args.brokers,
        data: args.data,
        base_port: args.base_port,
        assignments,
    };
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let mut supervisor = tokio::select! {
        biased;
        () = &mut stop => return Ok(()),
        started = Supervisor::start(&options) => started?,
    };
    let shown = Control::bind(&supervisor.cluster().data)
        .and_then(|control| show(supervisor.cluster(), format).map(|()| control));
    let control = match shown {
        Ok(control) => control,
        Err(error) => {
            supervisor.stop().await;
            return Err(error);
        }
    };
    supervise(&mut supervisor, &control, &mut stop).await;
    supervisor.stop().await;
    Ok(())
}

async fn supervise(
    supervisor: &mut Supervisor,
    control: &Control,
    stop: &mut (impl Future<Output = ()> + Unpin),
) {
    loop {
        tokio::select! {
            biased;
            () = &mut *stop => return,
            (id, status) = supervisor.next_exit() => {
                let data = supervisor.cluster().data.display();
                output::note(&format!(
                    "broker {id} ended, {status}; start it again: raftmq dev restart {id} --data {data}"
                ));
            }
            pending = control.next() => {
                let Request::Restart(id) = pending.request;
                let answer = match supervisor.spawn(id) {
                    Ok(broker) => Answer::Started(broker),
                    Err(error) => Answer::Refused(error.message),
                };
                pending.answer(&answer).await;
            }
        }
    }
}

fn show(cluster: &Cluster, format: Format) -> CliResult {
    if format == Format::Json {
        return output::print_json(cluster);
    }
    let rows = cluster.brokers.iter().map(|broker| {
        vec![
            broker.id.to_string(),
            broker.pid.to_string(),
            broker.grpc.clone(),
            broker.http.clone(),
            broker.kafka.clone(),
            broker.amqp.clone(),
            broker.peer.clone(),
        ]
    });
    output::print_table(
        &["broker", "pid", "grpc", "http", "kafka", "amqp", "peer"],
        rows,
    )?;
    let bootstrap = cluster.brokers.first().map_or("", |broker| &broker.grpc);
    output::print_line(&format!(
        "\nready; everything is in {}\ntry:  raftmq topic create hello --bootstrap {bootstrap}\n\
         stop: Ctrl-C",
        cluster.data.display()
    ))
}

async fn restart(id: u32, data: &Path, format: Format) -> CliResult {
    let broker = match ask(data, &Request::Restart(id)).await? {
        Answer::Started(broker) => broker,
        Answer::Refused(reason) => return Err(CliError::failure(reason)),
    };
    let deadline = Instant::now() + Duration::from_millis(RESTART_MILLIS_MAX);
    loop {
        let reason = match probe(&broker.http, "/readyz").await {
            Probe::Ok => break,
            Probe::NotOk(reasons) => reasons.join("; "),
            Probe::Silent(reason) => reason,
        };
        let ended = layout::read_cluster(data)?
            .is_none_or(|cluster| cluster.brokers.iter().all(|other| other.pid != broker.pid));
        if ended || Instant::now() >= deadline {
            let log = layout::log_path(data, id);
            let error = CliError::failure(format!("broker {id} is not ready: {reason}"));
            return Err(CliError {
                kind: Kind::Unhealthy,
                ..error
            }
            .next(format!("see {}", log.display())));
        }
        sleep(Duration::from_millis(RESTART_PROBE_PAUSE_MILLIS)).await;
    }
    match format {
        Format::Json => output::print_json(&broker),
        Format::Table => output::print_line(&format!("broker {id} is ready (pid {})", broker.pid)),
    }
}
