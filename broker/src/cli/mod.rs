//! The command line of the binary `raftmq`.
//!
//! Owns the arguments, the texts and the exit codes (0 ok, 1 failure, 2 usage, 10 unhealthy, 74
//! storage). Talks to brokers only through `raftmq-client`, as any other program would; only
//! `serve` knows a node.

mod amqp_arguments;
mod bench;
mod binding;
mod broker;
mod cluster;
mod connect;
mod consume;
mod decommission;
mod demo;
mod dev;
mod error;
mod exchange;
mod output;
mod partition;
mod permissions;
mod plan;
mod probe;
mod produce;
mod queue;
mod record_format;
mod recover;
mod serve;
mod settings;
mod signal;
mod topic;
mod tracker;
mod user;
mod vhost;

use std::io::Write as _;

use clap::{Parser, Subcommand};

use connect::ConnectArgs;
use error::{CliError, CliResult};
use output::Format;

/// RaftMQ: a message broker whose partitions are Raft groups; nothing acknowledged is lost.
#[derive(Debug, Parser)]
#[command(
    name = "raftmq",
    bin_name = "raftmq",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 ok, 1 failure, 2 usage, 10 unhealthy, 74 storage failure.\n\
                  First steps: raftmq dev (a cluster in one command), raftmq demo (what it withstands)."
)]
struct Cli {
    /// Form of the result on stdout
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one broker in this process
    Serve(serve::ServeArgs),
    /// Run a local cluster of broker processes
    Dev(dev::DevArgs),
    /// Publish a folder through a killed leader and prove every byte of it
    Demo(demo::DemoArgs),
    /// Create, list, describe, alter and delete topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Show where replicas are, and move them
    #[command(subcommand)]
    Partition(partition::PartitionCommand),
    /// Publish lines from stdin or files
    Produce(produce::ProduceArgs),
    /// Print records
    Consume(consume::ConsumeArgs),
    /// List, delete and purge AMQP queues
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// List AMQP exchanges
    #[command(subcommand)]
    Exchange(exchange::ExchangeCommand),
    /// List AMQP bindings
    #[command(subcommand)]
    Binding(binding::BindingCommand),
    /// List, create and delete AMQP virtual hosts
    #[command(subcommand)]
    Vhost(vhost::VhostCommand),
    /// List, set and delete AMQP users
    #[command(subcommand)]
    User(user::UserCommand),
    /// List, set and clear what AMQP users may do
    #[command(subcommand)]
    Permissions(permissions::PermissionsCommand),
    /// List, drain and decommission brokers
    #[command(subcommand)]
    Broker(broker::BrokerCommand),
    /// Show the cluster and its health, and spread its load
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Measure throughput and latency
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

/// Parses the arguments of this process, runs the command, and ends the process with its exit code.
///
/// The process ends at once, without destructors of static objects: after a failure, and when a
/// broker is stopped while it starts, threads may still be inside RocksDB, which would abort.
pub fn main() -> ! {
    let code = match Cli::try_parse() {
        Ok(cli) => run_to_end(cli),
        Err(error) => {
            let _ = error.print();
            error.exit_code()
        }
    };
    // Whoever closed it does not want to know.
    let _ = std::io::stdout().flush();
    signal_hook::low_level::exit(code)
}

/// Gives the exit code.
fn run_to_end(cli: Cli) -> i32 {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return report(&error::io_failure("start the runtime", &error)),
    };
    let result = runtime.block_on(run(cli));
    // Reads of stdin cannot be cancelled: their thread must not hold the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => 0,
        Err(error) => report(&error),
    }
}

async fn run(cli: Cli) -> CliResult {
    let Cli {
        output,
        connect,
        command,
    } = cli;
    match command {
        Command::Serve(args) => serve::run(args, output).await,
        Command::Dev(args) => dev::run(args, output).await,
        Command::Demo(args) => demo::run(args, output).await,
        Command::Topic(command) => topic::run(command, &connect, output).await,
        Command::Partition(command) => partition::run(command, &connect, output).await,
        Command::Produce(args) => produce::run(args, &connect, output).await,
        Command::Consume(args) => consume::run(args, &connect, output).await,
        Command::Queue(command) => queue::run(command, &connect, output).await,
        Command::Exchange(command) => exchange::run(command, &connect, output).await,
        Command::Binding(command) => binding::run(command, &connect, output).await,
        Command::Vhost(command) => vhost::run(command, &connect, output).await,
        Command::User(command) => user::run(command, &connect, output).await,
        Command::Permissions(command) => permissions::run(command, &connect, output).await,
        Command::Broker(command) => broker::run(command, &connect, output).await,
        Command::Cluster(command) => cluster::run(command, &connect, output).await,
        Command::Bench(command) => bench::run(command, &connect, output).await,
    }
}

fn report(error: &CliError) -> i32 {
    if error.kind != error::Kind::OutputClosed {
        output::note(&format!("error: {error}"));
    }
    error.kind.code()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_about_amqp_take_what_they_need_and_nothing_else() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        for good in [
            "raftmq vhost create shop --default-queue-type quorum --description orders",
            "raftmq user set till --password-stdin --tags monitoring,management",
            "raftmq permissions set till -p shop --configure ^a --write .* --read .*",
            "raftmq permissions clear till",
            "raftmq queue list --vhost shop --no-counts",
            "raftmq queue delete orders -p shop --if-unused --if-empty",
            "raftmq queue purge orders",
            "raftmq exchange list -p shop",
            "raftmq binding list --vhost shop -o json",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "raftmq vhost create",
            "raftmq vhost create shop --default-queue-type stream",
            "raftmq user set",
            "raftmq user set till --password x --password-stdin",
            "raftmq permissions set --read .*",
            "raftmq queue delete",
            "raftmq exchange delete orders",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
