//! `raftmq bench failover`: how long partitions stand still when a broker is killed or stopped.
//!
//! Owns the rounds: kill one broker after the other, wait, start it again. Runs on a cluster of its
//! own, because it kills processes. The load and its gaps are in `load`.

mod load;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use raftmq_client::Client;
use rustix::process::Signal;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::Percentiles;
use crate::cli::connect::client_failure;
use crate::cli::dev::{ScratchOptions, Supervisor, connect_to, wait_until_in_sync, with_cluster};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::{self, Format, duration_text};
use crate::cli::tracker::{latency_histogram, record_latency};
use load::{Gaps, Load};

const TOPIC: &str = "failover";
/// Time under load before a broker is killed, and after it is back.
const STEADY: Duration = Duration::from_secs(1);
/// Time in which the gap of one kill is looked for.
const WINDOW: Duration = Duration::from_secs(3);
/// Longest time for every partition to take records again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// What happens to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// SIGKILL: its connections are reset at once
    Kill,
    /// SIGSTOP: it is silent, its connections stay; continued after the window
    Stop,
}

/// Arguments of `bench failover`.
#[derive(Debug, Args)]
pub(crate) struct FailoverBench {
    /// Brokers of the cluster that is started
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..=5))]
    brokers: u32,
    /// Partitions, with three replicas each
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    partitions: u32,
    /// Milliseconds between two records of a partition
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    interval: u64,
    /// Brokers to kill, one after the other
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kills: u32,
    /// What happens to them
    #[arg(long, value_enum, default_value_t = Fault::Kill)]
    fault: Fault,
    /// Folder for the brokers; kept afterwards [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration for every broker
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
}

/// One kill.
#[derive(Debug, Clone, Copy, Serialize)]
struct Round {
    broker: u32,
    was_controller: bool,
    gap_us: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    fault: String,
    partitions: u32,
    interval_ms: u64,
    records_failed: u64,
    /// Longest time between two acknowledged records of any partition, kills of a broker that was not
    /// the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<Percentiles>,
    /// The same, kills of the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap_controller: Option<Percentiles>,
    rounds: Vec<Round>,
}

/// Starts a cluster, kills its brokers under load, and shows the gaps.
pub(crate) async fn run(args: FailoverBench, format: Format) -> CliResult {
    let options = ScratchOptions {
        data: args.data.clone(),
        brokers_count: args.brokers,
        assignments: args.assignments.clone(),
    };
    let report = with_cluster(options, async |supervisor| measure(supervisor, &args).await).await?;
    show(&report, format)
}

async fn measure(supervisor: &mut Supervisor, args: &FailoverBench) -> CliResult<Report> {
    let client = connect_to(supervisor).await?;
    let admin = client.admin();
    let created = admin
        .create_topic(TOPIC)
        .partitions(args.partitions)
        .replication_factor(3)
        .send()
        .await;
    created.map_err(|error| client_failure("create the topic", &error))?;
    let every = Duration::from_millis(args.interval);
    let load = load::start(&client, TOPIC, args.partitions, every).await?;
    let mut rounds = Vec::new();
    for number in 0..args.kills {
        let broker = number % args.brokers + 1;
        wait_until_in_sync(&client).await?;
        wait_until_leading(&client, broker, args).await?;
        sleep(STEADY).await;
        let round = kill_one(supervisor, &client, &load, (broker, args.fault)).await?;
        let role = if round.was_controller {
            ", the controller"
        } else {
            ""
        };
        let gap = duration_text(round.gap_us);
        output::note(&format!(
            "{}/{} broker {broker}{role}: {gap}",
            number + 1,
            args.kills
        ));
        rounds.push(round);
    }
    Ok(Report {
        bench: "failover",
        fault: format!("{:?}", args.fault).to_lowercase(),
        partitions: args.partitions,
        interval_ms: args.interval,
        records_failed: load.gaps.failed(),
        gap: percentiles(&rounds, false),
        gap_controller: percentiles(&rounds, true),
        rounds,
    })
}

async fn kill_one(
    supervisor: &mut Supervisor,
    client: &Client,
    load: &Load,
    (broker, fault): (u32, Fault),
) -> CliResult<Round> {
    let described = client.admin().describe_cluster().await;
    let described = described.map_err(|error| client_failure("look up the controller", &error))?;
    let since_us = load.gaps.begin();
    match fault {
        Fault::Kill => supervisor.kill(broker).await?,
        Fault::Stop => supervisor.signal(broker, Signal::STOP)?,
    }
    sleep(WINDOW).await;
    let recovered = wait_until_acknowledged(&load.gaps, since_us).await;
    let gap = load.gaps.longest();
    match fault {
        Fault::Kill => {
            supervisor.spawn(broker)?;
            supervisor.wait_until_ready(broker).await?;
        }
        Fault::Stop => supervisor.signal(broker, Signal::CONT)?,
    }
    recovered?;
    Ok(Round {
        broker,
        was_controller: described.controller_broker_id == broker,
        gap_us: u64::try_from(gap.as_micros()).unwrap_or(u64::MAX),
    })
}

async fn wait_until_acknowledged(gaps: &Gaps, since_us: u64) -> CliResult {
    let deadline = Instant::now() + RECOVERED_WITHIN;
    while !gaps.all_since(since_us) {
        if Instant::now() >= deadline {
            return Err(CliError::failure(format!(
                "a partition took no record for {} after the fault",
                duration_text(u64::try_from(RECOVERED_WITHIN.as_micros()).unwrap_or(u64::MAX))
            )));
        }
        sleep(LOOK_PAUSE).await;
    }
    Ok(())
}

/// Waits until the broker leads its share again: a kill of one that leads nothing says nothing.
async fn wait_until_leading(client: &Client, broker: u32, args: &FailoverBench) -> CliResult {
    let wanted = (args.partitions / args.brokers / 2).max(1) as usize;
    let deadline = Instant::now() + RECOVERED_WITHIN;
    loop {
        let described = client.admin().describe_topic(TOPIC).await;
        let described = described.map_err(|error| client_failure("look up the leaders", &error))?;
        let partitions = described
            .topic
            .into_iter()
            .flat_map(|topic| topic.partitions);
        let led = partitions.filter(|partition| partition.leader_broker_id == broker);
        if led.count() >= wanted {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(CliError::failure(format!(
                "broker {broker} does not lead {wanted} partitions again"
            )));
        }
        sleep(LOOK_PAUSE).await;
    }
}

fn percentiles(rounds: &[Round], was_controller: bool) -> Option<Percentiles> {
    let mut gaps: Histogram<u64> = latency_histogram();
    let rounds = rounds.iter();
    for round in rounds.filter(|round| round.was_controller == was_controller) {
        record_latency(&mut gaps, Duration::from_micros(round.gap_us));
    }
    (!gaps.is_empty()).then(|| Percentiles::from(&gaps))
}

fn show(report: &Report, format: Format) -> CliResult {
    if format == Format::Json {
        return output::print_json(report);
    }
    let named = [
        ("not the controller", report.gap),
        ("the controller", report.gap_controller),
    ];
    for (name, percentiles) in named {
        let Some(gap) = percentiles else { continue };
        output::print_line(&format!(
            "longest gap, {name:18}  p50 {}  p99 {}  max {}",
            duration_text(gap.p50_us),
            duration_text(gap.p99_us),
            duration_text(gap.max_us)
        ))?;
    }
    output::print_line(&format!("records refused {}", report.records_failed))
}
