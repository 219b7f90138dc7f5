//! `raftmq bench`: throughput and latency of a running cluster, as a client sees them.
//!
//! Owns the load; measures with `tracker`, and shows where brokers say that its time went. A fixed rate counts latency from the time at which a
//! record was due, so a stall is not hidden by the records that were not sent meanwhile.

mod consume;
mod failover;
mod fetch;
mod latency;
mod pace;
mod produce;
mod stages;

use std::sync::Arc;

use bytes::Bytes;
use clap::{Args, Subcommand};
use hdrhistogram::Histogram;
use raftmq_client::{Client, ErrorKind, Record};
use rand::RngCore;
use serde::Serialize;

use self::stages::{Share, Stages};
use super::connect::{ConnectArgs, client_failure};
use super::error::CliResult;
use super::output::{self, Format};
use super::produce::{AcksArg, partitions_count};

/// Different payloads of one run; random, so that nothing compresses them.
const PAYLOADS_COUNT: usize = 64;

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Publish as fast as possible, or at a fixed rate
    Produce(ProduceBench),
    /// Read a topic from its beginning to its end
    Consume(ConsumeBench),
    /// Publish at a fixed rate and consume: acknowledgement and end-to-end latency
    Latency(LatencyBench),
    /// Kill brokers of a cluster of its own under load: how long partitions stand still
    Failover(failover::FailoverBench),
    /// Fetch from the tail cache of a broker of its own: throughput, and processor time per byte
    Fetch(fetch::FetchBench),
}

/// The topic and the records of a run that publishes.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Topic to use; created when missing
    #[arg(long, default_value = "bench")]
    topic: String,
    /// Partitions of a topic that is created
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: u32,
    /// Replicas of a topic that is created [default: the cluster's]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    replication_factor: Option<u32>,
    /// Bytes of each value
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    size: u32,
    /// When a record counts as sent
    #[arg(short, long, value_enum, default_value_t = AcksArg::All)]
    acks: AcksArg,
    /// Longest time a record waits for others, in milliseconds
    #[arg(long, value_name = "MS")]
    linger: Option<u64>,
    /// Bytes gathered for one batch
    #[arg(long, value_name = "BYTES")]
    batch_size: Option<usize>,
}

/// Arguments of `bench produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceBench {
    #[command(flatten)]
    load: Load,
    /// Records to publish
    #[arg(long, default_value_t = 500_000)]
    records: u64,
    /// Records per second; without it, as many as the cluster takes
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
}

/// Arguments of `bench consume`.
#[derive(Debug, Args)]
pub(crate) struct ConsumeBench {
    /// Topic to read
    #[arg(long, default_value = "bench")]
    topic: String,
    /// Stop after this many records
    #[arg(long)]
    records: Option<u64>,
}

/// Arguments of `bench latency`.
#[derive(Debug, Args)]
pub(crate) struct LatencyBench {
    #[command(flatten)]
    load: Load,
    /// Records per second
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: u32,
    /// Seconds to run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

/// The result of one run; fields that do not apply are left out.
#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    topic: String,
    records: u64,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    megabytes_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_to_end: Option<Percentiles>,
    /// Where the brokers spent the time of produces; empty when one of them does not tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<Share>,
}

/// Latency in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Percentiles {
    p50_us: u64,
    p95_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
}

impl From<&Histogram<u64>> for Percentiles {
    fn from(micros: &Histogram<u64>) -> Self {
        Self {
            p50_us: micros.value_at_quantile(0.5),
            p95_us: micros.value_at_quantile(0.95),
            p99_us: micros.value_at_quantile(0.99),
            p999_us: micros.value_at_quantile(0.999),
            max_us: micros.max(),
        }
    }
}

/// Runs one measurement.
pub(crate) async fn run(command: BenchCommand, connect: &ConnectArgs, format: Format) -> CliResult {
    let report = match command {
        BenchCommand::Failover(args) => return failover::run(args, format).await,
        BenchCommand::Fetch(args) => return fetch::run(args, format).await,
        BenchCommand::Produce(args) => {
            let client = connect.connect().await?;
            let before = Stages::read(&client).await;
            let report = produce::run(&client, args).await?;
            with_stages(report, &client, before).await
        }
        BenchCommand::Consume(args) => consume::run(&connect.connect().await?, args).await?,
        BenchCommand::Latency(args) => {
            let client = connect.connect().await?;
            let before = Stages::read(&client).await;
            let report = latency::run(&client, args).await?;
            with_stages(report, &client, before).await
        }
    };
    show(&report, format)
}

async fn with_stages(report: Report, client: &Client, before: Option<Stages>) -> Report {
    let after = Stages::read(client).await;
    let both = before.zip(after);
    Report {
        stages: both.map_or_else(Vec::new, |(before, after)| after.shares_since(&before)),
        ..report
    }
}

fn show(report: &Report, format: Format) -> CliResult {
    if format == Format::Json {
        return output::print_json(report);
    }
    output::print_line(&format!(
        "{} records of {} in {:.2} s: {:.0} records/s, {:.1} MB/s",
        output::grouped(report.records),
        report.topic,
        report.seconds,
        report.records_per_second,
        report.megabytes_per_second
    ))?;
    let named = [
        ("acknowledged", report.acknowledged),
        ("end to end", report.end_to_end),
    ];
    for (name, percentiles) in named {
        let Some(latency) = percentiles else { continue };
        output::print_line(&format!(
            "{name:12}  p50 {}  p95 {}  p99 {}  p99.9 {}  max {}",
            output::duration_text(latency.p50_us),
            output::duration_text(latency.p95_us),
            output::duration_text(latency.p99_us),
            output::duration_text(latency.p999_us),
            output::duration_text(latency.max_us)
        ))?;
    }
    if !report.stages.is_empty() {
        let share = |share: &Share| format!("{} {:.1} %", share.stage, share.percent);
        let shares: Vec<String> = report.stages.iter().map(share).collect();
        output::print_line(&format!("{:12}  {}", "in brokers", shares.join("  ")))?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(bench: &'static str, topic: String, records: u64, bytes: u64, seconds: f64) -> Report {
    Report {
        bench,
        topic,
        records,
        bytes,
        seconds,
        records_per_second: records as f64 / seconds,
        megabytes_per_second: bytes as f64 / 1e6 / seconds,
        rate: None,
        acknowledged: None,
        end_to_end: None,
        stages: Vec::new(),
    }
}

/// Creates the topic when it is missing, and gives its number of partitions.
async fn ensure_topic(client: &Client, load: &Load) -> CliResult<u32> {
    let created = client
        .admin()
        .create_topic(load.topic.as_str())
        .partitions(load.partitions)
        .replication_factor(load.replication_factor.unwrap_or_default())
        .send()
        .await;
    if let Err(error) = created
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(client_failure(
            &format!("create topic {:?}", load.topic),
            &error,
        ));
    }
    partitions_count(client, &load.topic).await
}

/// Makes records that share a few random payloads.
struct Payloads {
    topic: Arc<str>,
    values: Vec<Bytes>,
}

impl Payloads {
    fn new(load: &Load) -> Self {
        let mut random = rand::rng();
        let value = |_| {
            let mut bytes = vec![0; load.size as usize];
            random.fill_bytes(&mut bytes);
            Bytes::from(bytes)
        };
        let values = (0..PAYLOADS_COUNT).map(value).collect();
        Self {
            topic: load.topic.as_str().into(),
            values,
        }
    }

    fn size_bytes(&self) -> u64 {
        self.values.first().map_or(0, |value| value.len() as u64)
    }

    fn record(&self, index: u64) -> Record {
        let slot = usize::try_from(index % PAYLOADS_COUNT as u64).unwrap_or_default();
        Record::to(Arc::clone(&self.topic)).value(self.values[slot].clone())
    }
}
