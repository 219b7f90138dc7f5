//! How commands reach a cluster, and how the client's errors become ours.

use std::time::Duration;

use clap::Args;
use raftmq_client::{Client, Error, ErrorCode, ErrorKind};

use super::error::{CliError, CliResult};

/// The commands that list what was not found.
const LISTS: [(ErrorCode, &str); 4] = [
    (ErrorCode::UnknownBroker, "raftmq cluster info"),
    (ErrorCode::UnknownVhost, "raftmq vhost list"),
    (ErrorCode::UnknownUser, "raftmq user list"),
    (ErrorCode::UnknownQueue, "raftmq queue list --vhost NAME"),
];

/// Arguments of every command that talks to a cluster.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// Brokers to start from, host:port, several separated by commas
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "RAFTMQ_BOOTSTRAP",
        default_value = "127.0.0.1:9090"
    )]
    pub(crate) bootstrap: String,
    /// Longest time for one request with its retries, in seconds
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        env = "RAFTMQ_TIMEOUT",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    pub(crate) timeout: u64,
}

impl ConnectArgs {
    /// Connects.
    pub(crate) async fn connect(&self) -> CliResult<Client> {
        connect(&self.bootstrap, Duration::from_secs(self.timeout)).await
    }
}

/// Connects to one of `bootstrap`.
pub(crate) async fn connect(bootstrap: &str, request_timeout: Duration) -> CliResult<Client> {
    let client = Client::builder()
        .bootstrap(bootstrap)
        .request_timeout(request_timeout)
        .build()
        .await;
    client.map_err(|error| {
        CliError::failure(format!("cannot reach a broker at {bootstrap}: {error}"))
            .next("start one with raftmq serve or raftmq dev, or name one with --bootstrap")
    })
}

/// Names what was tried, and the next step where there is one.
pub(crate) fn client_failure(action: &str, error: &Error) -> CliError {
    let failure = CliError::failure(format!("cannot {action}: {error}"));
    let kind = error.kind();
    let mut lists = LISTS.iter();
    if let Some((_, list)) = lists.find(|(code, _)| error.code() == Some(*code)) {
        return failure.next(format!("see what there is: {list}"));
    }
    if kind == ErrorKind::NotFound {
        return failure.next("see what there is: raftmq topic list");
    }
    if kind == ErrorKind::AlreadyExists {
        return failure.next("look at it: raftmq topic describe NAME");
    }
    if matches!(kind, ErrorKind::Unavailable | ErrorKind::TimedOut) {
        return failure.next("look at the cluster: raftmq cluster health");
    }
    failure
}
