//! `raftmq serve`: one broker in this process, until a signal, a closed parent or a failure.
//!
//! Reads the configuration, starts the node, prints where it listens, stops it. What a node is
//! made of is in `node`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tracing_subscriber::EnvFilter;

use super::error::{CliError, CliResult, Kind, io_failure};
use super::output::{self, Format};
use super::signal::stop_signal;
use crate::config::{self, NodeConfig, Sources, parse_assignment};
use crate::env::Env;
use crate::node::{Node, NodeError};

/// Longest time for a clean stop; then the process ends as after a crash, which loses nothing.
const STOP_MILLIS_MAX: u64 = 10_000;
/// What is logged when `RAFTMQ_LOG` says nothing. Openraft warns of each group by itself: a peer that is away
/// would be some ten thousand lines, and the time to write them.
const LOG_FILTER_DEFAULT: &str = "info,openraft=error";

/// Arguments of `raftmq serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// TOML file; without it one broker listens on localhost
    #[arg(long, value_name = "FILE", env = "RAFTMQ_CONFIG")]
    config: Option<PathBuf>,
    /// Folder that holds everything the broker keeps (as --set data-dir=DIR)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Join the cluster of this broker, given by its peer listener (as --set cluster.join=HOST:PORT);
    /// the data folder must be empty, or this cluster's
    #[arg(long, value_name = "HOST:PORT")]
    join: Option<String>,
    /// One configuration value, over file and environment; all keys: docs/configuration.md
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// Form of the log lines on stderr; what is logged: RAFTMQ_LOG=debug
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Stop when stdin ends (set by raftmq dev)
    #[arg(long, hide = true)]
    parent_watch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// What is printed when the broker listens.
#[derive(Debug, Serialize)]
struct Listening {
    id: u32,
    pid: u32,
    grpc: String,
    http: String,
    kafka: String,
    amqp: String,
    peer: String,
    data: PathBuf,
}

/// Runs the broker.
pub(crate) async fn run(args: ServeArgs, format: Format) -> CliResult {
    start_logging(args.log_format);
    let config = read_config(&args)?;
    ignore_file_size_signal()?;
    let stop_signal = stop_signal()?;
    let is_watched = args.parent_watch;
    // The start waits for peers, perhaps for ever: it must be as stoppable as the running broker.
    let mut stop = pin!(async move {
        tokio::select! {
            biased;
            () = stop_signal => {}
            () = parent_gone(is_watched) => {}
        }
    });
    let data = config.data_dir.clone();
    let started = tokio::select! {
        biased;
        () = &mut stop => return Ok(()),
        started = Node::start(config, Env::real()) => started,
    };
    let node = started.map_err(|error| node_failure(&error))?;
    let listening = Listening {
        id: node.broker_id(),
        pid: std::process::id(),
        grpc: node.grpc_endpoint().to_owned(),
        http: node.http_endpoint().to_owned(),
        kafka: node
            .kafka_endpoints()
            .values()
            .cloned()
            .collect::<Vec<_>>()
            .join(","),
        amqp: node.amqp_endpoint().to_owned(),
        peer: node.peer_endpoint().to_owned(),
        data,
    };
    show(&listening, format)?;
    let failure = tokio::select! {
        biased;
        error = node.failed() => Some(error),
        () = &mut stop => None,
    };
    if let Some(error) = failure {
        return Err(node_failure(&error));
    }
    tracing::info!("stopping");
    node.leave().await;
    if tokio::time::timeout(Duration::from_millis(STOP_MILLIS_MAX), node.stop())
        .await
        .is_err()
    {
        tracing::warn!(limit_ms = STOP_MILLIS_MAX, "the clean stop took too long");
    }
    Ok(())
}

/// A write beyond a limit on the size of files must fail like any other, not end the process without a
/// word: the storage error is then reported, with its exit code.
fn ignore_file_size_signal() -> CliResult {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, flag)
        .map(drop)
        .map_err(|error| io_failure("listen for signals", &error))
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("RAFTMQ_LOG")
        .unwrap_or_else(|_| EnvFilter::new(LOG_FILTER_DEFAULT));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would be told on stderr too, and panic when that cannot be written, on a full disk for one.
        .log_internal_errors(false)
        .with_ansi(output::wants_colour());
    // A second subscriber in one process (tests) is no reason to fail.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

fn read_config(args: &ServeArgs) -> CliResult<NodeConfig> {
    let mut assignments = Vec::new();
    if let Some(data_dir) = &args.data_dir {
        assignments.push(("data-dir".to_owned(), data_dir.display().to_string()));
    }
    if let Some(seed) = &args.join {
        assignments.push(("cluster.join".to_owned(), seed.clone()));
    }
    for text in &args.assignments {
        assignments.push(parse_assignment(text)?);
    }
    let sources = Sources {
        file: args.config.clone(),
        environment: environment(),
        assignments,
    };
    Ok(config::load(&sources)?)
}

/// Variables that are not UTF-8 cannot be ours.
fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn node_failure(error: &NodeError) -> CliError {
    let failure = CliError::failure(error);
    if error.is_storage_failure() {
        let failure = CliError {
            kind: Kind::Storage,
            ..failure
        };
        return failure.next("check the disk before the next start; the replicas hold the data");
    }
    failure
}

fn show(listening: &Listening, format: Format) -> CliResult {
    match format {
        Format::Json => output::print_json(listening),
        Format::Table => output::print_line(&format!(
            "broker {} listens: grpc {}  http {}  kafka {}  amqp {}  peer {}  data {}",
            listening.id,
            listening.grpc,
            listening.http,
            listening.kafka,
            listening.amqp,
            listening.peer,
            listening.data.display()
        )),
    }
}

/// Completes when whoever started us closed our stdin, which also happens when it is killed.
async fn parent_gone(is_watched: bool) {
    if !is_watched {
        return std::future::pending().await;
    }
    let mut stdin = tokio::io::stdin();
    let mut bytes = [0_u8; 64];
    while let Ok(1..) = stdin.read(&mut bytes).await {}
}
