//! A local cluster that lives as long as one piece of work, and the folder it needs.
//!
//! Does not know what the work is.

use std::path::PathBuf;
use std::time::Duration;

use raftmq_client::Client;
use tokio::time::{Instant, sleep};

use super::{DevOptions, Supervisor};
use crate::cli::connect::{client_failure, connect};
use crate::cli::error::{CliError, CliResult, Kind, io_failure};
use crate::cli::output;
use crate::cli::signal::stop_signal;
use crate::config::parse_assignment;

/// Longest time for one request with its retries.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time for all replicas to be in sync again after a restart.
const CAUGHT_UP_MILLIS_MAX: u64 = 120_000;
/// Pause between two looks at the cluster.
const LOOK_PAUSE_MILLIS: u64 = 50;

/// What a cluster for one piece of work needs.
#[derive(Debug)]
pub(crate) struct ScratchOptions {
    /// Folder for the brokers, kept afterwards; `None` = a temporary one, kept only after a failure.
    pub(crate) data: Option<PathBuf>,
    /// Brokers to start.
    pub(crate) brokers_count: u32,
    /// `KEY=VALUE` for every broker.
    pub(crate) assignments: Vec<String>,
}

/// Starts a cluster, does the work, and stops the cluster, also when SIGINT or SIGTERM ends the work
/// early.
pub(crate) async fn with_cluster<T>(
    options: ScratchOptions,
    work: impl AsyncFnOnce(&mut Supervisor) -> CliResult<T>,
) -> CliResult<T> {
    let assignments = options
        .assignments
        .iter()
        .map(|text| parse_assignment(text))
        .collect::<Result<_, _>>()?;
    let (data, temporary) = match options.data {
        Some(data) => (data, None),
        None => {
            let folder = tempfile::Builder::new().prefix("raftmq-").tempdir();
            let folder = folder.map_err(|error| io_failure("create a temporary folder", &error))?;
            (folder.path().to_owned(), Some(folder))
        }
    };
    let options = DevOptions {
        brokers_count: Some(options.brokers_count),
        data,
        base_port: 0,
        assignments,
    };
    let mut stop = stop_signal()?;
    let mut supervisor = tokio::select! {
        biased;
        () = &mut stop => return Err(interrupted()),
        started = Supervisor::start(&options) => started?,
    };
    let done = tokio::select! {
        biased;
        () = &mut stop => Err(interrupted()),
        done = work(&mut supervisor) => done,
    };
    supervisor.stop().await;
    done.inspect_err(|_| keep(temporary))
}

/// A client that knows every broker of the cluster.
pub(crate) async fn connect_to(supervisor: &Supervisor) -> CliResult<Client> {
    let brokers = supervisor.cluster().brokers.iter();
    let all: Vec<&str> = brokers.map(|broker| broker.grpc.as_str()).collect();
    connect(&all.join(","), REQUEST_TIMEOUT).await
}

/// Waits until every replica is in sync.
pub(crate) async fn wait_until_in_sync(client: &Client) -> CliResult {
    let deadline = Instant::now() + Duration::from_millis(CAUGHT_UP_MILLIS_MAX);
    loop {
        let described = client.admin().describe_cluster().await;
        let described = described.map_err(|error| client_failure("look at the cluster", &error))?;
        let missing =
            described.under_replicated_partitions_count + described.offline_partitions_count;
        if missing == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(CliError::failure(format!(
                "{missing} partitions are not in sync {CAUGHT_UP_MILLIS_MAX} ms after the restart"
            )));
        }
        sleep(Duration::from_millis(LOOK_PAUSE_MILLIS)).await;
    }
}

fn interrupted() -> CliError {
    CliError {
        kind: Kind::Failure,
        ..CliError::failure("interrupted")
    }
}

/// A failed piece of work leaves its logs and data for a look.
fn keep(temporary: Option<tempfile::TempDir>) {
    if let Some(folder) = temporary {
        let path = folder.keep();
        output::note(&format!("logs and data are kept in {}", path.display()));
    }
}
