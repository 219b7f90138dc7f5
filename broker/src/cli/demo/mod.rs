//! `raftmq demo`: RaftMQ's main job on real input, with a killed leader in the middle.
//!
//! Starts three brokers, publishes every line of every file below a path, kills -9 the broker that
//! leads most partitions half-way, reads everything back from the survivors, restarts the dead
//! broker, and compares every byte with the files. A client of the cluster like any other.

mod check;
mod files;
mod prove;
mod publish;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use raftmq_client::Client;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::connect::client_failure;
use super::dev::{ScratchOptions, Supervisor, connect_to, wait_until_in_sync, with_cluster};
use super::error::{CliError, CliResult};
use super::output::{self, Format, duration_text, grouped};
use super::tracker::Progress;
use check::Findings;
use files::{Scan, scan};
use publish::Published;

const TOPIC: &str = "demo";
const PARTITIONS_COUNT: u32 = 12;
const BROKERS_COUNT: u32 = 3;
/// Header with the number of the piece within its file, from 0.
const HEADER_LINE: &str = "line";
/// Header of a piece that no newline follows.
const HEADER_NO_NEWLINE: &str = "no-newline";
/// Time between two updates of the progress.
const PROGRESS_PAUSE_MILLIS: u64 = 100;

/// Arguments of `raftmq demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// File or folder whose lines are published; .git and target folders are left out
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Folder for the brokers; kept afterwards [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration for every broker
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Summary {
    files: usize,
    lines: u64,
    bytes: u64,
    records_per_second: f64,
    megabytes_per_second: f64,
    latency_p50_us: u64,
    latency_p99_us: u64,
    failover_gap_us: u64,
    killed_broker: u32,
    killed_broker_led: usize,
    killed_broker_was_controller: bool,
    caught_up_seconds: f64,
    #[serde(flatten)]
    findings: Findings,
}

/// Runs the demo; SIGINT and SIGTERM end it early and stop the brokers.
pub(crate) async fn run(args: DemoArgs, format: Format) -> CliResult {
    let found = scan(&args.path)?;
    if found.total_bytes() == 0 {
        let path = args.path.display();
        return Err(CliError::usage(format!(
            "no file below {path} has a line to publish"
        )));
    }
    let options = ScratchOptions {
        data: args.data,
        brokers_count: BROKERS_COUNT,
        assignments: args.assignments,
    };
    let summary = with_cluster(options, async |supervisor| {
        demonstrate(supervisor, found).await
    })
    .await?;
    show(&summary, format)?;
    if summary.findings.is_clean() {
        return Ok(());
    }
    let complaints = summary.findings.complaints.join("\n  ");
    Err(CliError::failure(format!(
        "what came back differs from the files:\n  {complaints}"
    )))
}

async fn demonstrate(supervisor: &mut Supervisor, found: Scan) -> CliResult<Summary> {
    for path in &found.unreadable {
        output::note(&format!("left out, not readable: {}", path.display()));
    }
    let total_bytes = found.total_bytes();
    let files = Arc::new(found.files);
    output::note(&format!(
        "{BROKERS_COUNT} brokers are running; publishing {} files, {} bytes, to {PARTITIONS_COUNT} \
         partitions, acks=-1",
        grouped(files.len() as u64),
        grouped(total_bytes)
    ));
    let client = connect_to(supervisor).await?;
    create_topic(&client).await?;
    let bar = bar("publish", total_bytes);
    let shown = bar.clone();
    let published = publish::publish(&client, supervisor, &files, |progress| {
        tokio::spawn(follow(progress, shown, total_bytes));
    })
    .await?;
    bar.finish_and_clear();
    output::note(&format!(
        "published {} lines; broker {}, leader of {} partitions, was killed half-way",
        grouped(published.records),
        published.killed,
        published.led_count
    ));
    let bar = self::bar("read back", total_bytes);
    let findings = prove::prove(&client, &files, |bytes| bar.inc(bytes)).await?;
    bar.finish_and_clear();
    output::note(&format!(
        "read everything back from the survivors; starting broker {} again",
        published.killed
    ));
    let restarted_at = Instant::now();
    supervisor.spawn(published.killed)?;
    supervisor.wait_until_ready(published.killed).await?;
    wait_until_in_sync(&client).await?;
    let caught_up_seconds = restarted_at.elapsed().as_secs_f64();
    Ok(summary(
        files.len(),
        &published,
        findings,
        caught_up_seconds,
    ))
}

async fn create_topic(client: &Client) -> CliResult {
    let created = client
        .admin()
        .create_topic(TOPIC)
        .partitions(PARTITIONS_COUNT)
        .replication_factor(BROKERS_COUNT)
        .send()
        .await;
    created
        .map(drop)
        .map_err(|error| client_failure("create the topic", &error))
}

fn bar(verb: &'static str, total_bytes: u64) -> ProgressBar {
    if !output::is_interactive() {
        return ProgressBar::hidden();
    }
    let template = "{prefix:10} {bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec}";
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    ProgressBar::new(total_bytes)
        .with_style(style)
        .with_prefix(verb)
}

async fn follow(progress: Arc<Progress>, bar: ProgressBar, total_bytes: u64) {
    while progress.acked_bytes() < total_bytes && !bar.is_finished() {
        bar.set_position(progress.acked_bytes());
        sleep(Duration::from_millis(PROGRESS_PAUSE_MILLIS)).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn summary(
    files: usize,
    published: &Published,
    findings: Findings,
    caught_up_seconds: f64,
) -> Summary {
    let latency = &published.measured.latency_micros;
    Summary {
        files,
        lines: published.records,
        bytes: published.bytes,
        records_per_second: published.records as f64 / published.seconds,
        megabytes_per_second: published.bytes as f64 / 1e6 / published.seconds,
        latency_p50_us: latency.value_at_quantile(0.5),
        latency_p99_us: latency.value_at_quantile(0.99),
        failover_gap_us: u64::try_from(published.measured.pause_max.as_micros())
            .unwrap_or(u64::MAX),
        killed_broker: published.killed,
        killed_broker_led: published.led_count,
        killed_broker_was_controller: published.was_controller,
        caught_up_seconds,
        findings,
    }
}

fn show(summary: &Summary, format: Format) -> CliResult {
    if format == Format::Json {
        return output::print_json(summary);
    }
    let findings = &summary.findings;
    let verdict = if findings.is_clean() {
        "every file is back byte for byte"
    } else {
        "DIFFERENT"
    };
    output::print_line(&format!(
        "files         {}\n\
         lines         {}  ({} bytes)\n\
         throughput    {:.0} lines/s, {:.1} MB/s\n\
         latency       p50 {}  p99 {}\n\
         failover gap  {}  (broker {} killed: led {} of {PARTITIONS_COUNT} partitions, {})\n\
         caught up     {:.2} s after the restart\n\
         lost {}\n\
         duplicated {}\n\
         out of order {}\n\
         {verdict}",
        grouped(summary.files as u64),
        grouped(summary.lines),
        grouped(summary.bytes),
        summary.records_per_second,
        summary.megabytes_per_second,
        duration_text(summary.latency_p50_us),
        duration_text(summary.latency_p99_us),
        duration_text(summary.failover_gap_us),
        summary.killed_broker,
        summary.killed_broker_led,
        if summary.killed_broker_was_controller {
            "the controller"
        } else {
            "not the controller"
        },
        summary.caught_up_seconds,
        findings.lost,
        findings.duplicated,
        findings.out_of_order,
    ))
}
