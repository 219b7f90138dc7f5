//! `raftmq bench fetch`: how fast a broker hands out what is in its tail cache, and the processor time that takes.
//!
//! Owns the runs: one partition of a broker of its own is filled with batches of one size and fetched over Kafka's
//! protocol, again and again from its beginning. The consumer checks sizes and offsets and nothing else, and the
//! processor time of the broker's process is told apart from the consumer's, which shares the machine.

mod wire;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use raftmq_kafka_protocol::messages::fetch::request::{FetchPartition, FetchTopic};
use raftmq_kafka_protocol::messages::fetch::response::PartitionData;
use raftmq_kafka_protocol::messages::produce::request::{PartitionProduceData, TopicProduceData};
use raftmq_kafka_protocol::messages::{FetchRequest, ProduceRequest};
use raftmq_kafka_protocol::{ApiKey, ErrorCode, Response};
use raftmq_records::{BatchBuilder, BatchHeader, Compression};
use rand::RngCore;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::cli::connect::client_failure;
use crate::cli::dev::{ScratchOptions, Supervisor, connect_to, with_cluster};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::{self, Format, grouped};
use crate::env::{SystemClock, WallClock};
use wire::{Wire, refused};

const TOPIC: &str = "fetch";
/// Newest versions that name topics by their names.
const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 12;
/// Bytes of each record's value.
const VALUE_BYTES: usize = 1_024;
/// Longest time for one request.
const REQUEST_WAIT_MS: i32 = 30_000;
/// Longest time for the new partition to have a leader, and the pause between two looks.
const LEADER_WAIT: Duration = Duration::from_secs(30);
const LEADER_PAUSE: Duration = Duration::from_millis(20);
/// Time before the figures are taken.
const WARM_UP: Duration = Duration::from_millis(500);
/// In how many ticks of a second the system counts processor time: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
const GIB: f64 = (1_u64 << 30) as f64;

/// Arguments of `bench fetch`.
#[derive(Debug, Args)]
pub(crate) struct FetchBench {
    /// Seconds to run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Bytes of each record batch, about
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(2_048..=1_048_576))]
    batch_size: u32,
    /// Bytes that one fetch asks for
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1..=50_000_000))]
    fetch_size: u32,
    /// Bytes in the partition, about; more than the tail cache holds are read from the disk
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    fill: u32,
    /// Folder for the broker; kept afterwards [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration of the broker
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    batch_bytes: usize,
    fetch_bytes_max: u32,
    fetches: u64,
    bytes: u64,
    seconds: f64,
    gib_per_second: f64,
    /// Processor time of the broker and of this process; absent where the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    broker_cpu_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_cpu_seconds: Option<f64>,
    /// What one core of the broker would hand out in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    gib_per_broker_core_second: Option<f64>,
}

/// Starts a broker, fills a partition, fetches it, and shows the figures.
pub(crate) async fn run(args: FetchBench, format: Format) -> CliResult {
    let options = ScratchOptions {
        data: args.data.clone(),
        brokers_count: 1,
        assignments: args.assignments.clone(),
    };
    let report = with_cluster(options, async |supervisor| measure(supervisor, &args).await).await?;
    show(&report, format)
}

async fn measure(supervisor: &mut Supervisor, args: &FetchBench) -> CliResult<Report> {
    let client = connect_to(supervisor).await?;
    let created = client
        .admin()
        .create_topic(TOPIC)
        .partitions(1)
        .send()
        .await;
    created.map_err(|error| client_failure("create the topic", &error))?;
    let broker = supervisor.cluster().brokers.first();
    let broker = broker.ok_or_else(|| CliError::failure("no broker was started"))?;
    let mut wire = Wire::connect(&broker.kafka).await?;
    let batch = batch(args.batch_size as usize)?;
    let count = (args.fill as usize).div_ceil(batch.len());
    let log_end = fill(&mut wire, &batch, count).await?;
    let mut consumer = Consumer {
        wire,
        fetch_size: args.fetch_size,
        log_end,
        position: 0,
        fetches: 0,
        bytes: 0,
    };
    consumer.run_for(WARM_UP).await?;
    (consumer.fetches, consumer.bytes) = (0, 0);
    let before = [broker.pid, std::process::id()].map(cpu_seconds);
    let started_at = Instant::now();
    consumer.run_for(Duration::from_secs(args.seconds)).await?;
    let seconds = started_at.elapsed().as_secs_f64();
    let after = [broker.pid, std::process::id()].map(cpu_seconds);
    let [broker_cpu, consumer_cpu] = [0, 1].map(|at| Some(after[at]? - before[at]?));
    let gib = gib(consumer.bytes);
    Ok(Report {
        bench: "fetch",
        batch_bytes: batch.len(),
        fetch_bytes_max: args.fetch_size,
        fetches: consumer.fetches,
        bytes: consumer.bytes,
        seconds,
        gib_per_second: gib / seconds,
        broker_cpu_seconds: broker_cpu,
        consumer_cpu_seconds: consumer_cpu,
        gib_per_broker_core_second: broker_cpu.filter(|cpu| *cpu > 0.0).map(|cpu| gib / cpu),
    })
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB
}

/// Processor time of a process so far, in the system and outside of it.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything; behind it stand the state and, from the twelfth field on, the times.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11);
    let (user, system): (u32, u32) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

/// A batch of random records that is not longer than that.
fn batch(bytes_max: usize) -> CliResult<Bytes> {
    let mut random = rand::rng();
    let mut value = vec![0; VALUE_BYTES];
    let record_bytes_max = BatchBuilder::record_size_bytes_max(None, Some(&value), &[]);
    let mut builder = BatchBuilder::new(Compression::None, bytes_max);
    let now_ms = SystemClock.now_ms();
    while builder.size_bytes() + record_bytes_max <= bytes_max {
        random.fill_bytes(&mut value);
        let appended = builder.append(now_ms, None, Some(&value), &[]);
        appended.map_err(CliError::failure)?;
    }
    builder.finish().map_err(CliError::failure)
}

/// Writes the batch so many times; gives the offset behind the last record.
async fn fill(wire: &mut Wire, batch: &Bytes, count: usize) -> CliResult<i64> {
    let deadline = Instant::now() + LEADER_WAIT;
    let mut written = 0;
    let mut last_offset = 0;
    while written < count {
        let response = wire.call(PRODUCE_VERSION, produce(batch).into()).await?;
        let Response::Produce(response) = response else {
            return Err(unexpected(ApiKey::Produce));
        };
        let partitions = response.responses.iter();
        let mut partitions = partitions.flat_map(|topic| &topic.partition_responses);
        let partition = partitions
            .next()
            .ok_or_else(|| unexpected(ApiKey::Produce))?;
        match ErrorCode::from_i16(partition.error_code) {
            Some(ErrorCode::None) => {
                written += 1;
                last_offset = partition.base_offset;
            }
            // The partition is being made.
            Some(code) if code.is_retriable() && written == 0 && Instant::now() < deadline => {
                sleep(LEADER_PAUSE).await;
            }
            Some(_) | None => return Err(refused("a batch", partition.error_code)),
        }
    }
    let header = BatchHeader::parse(batch).map_err(CliError::failure)?;
    Ok(last_offset + i64::from(header.records_count))
}

fn produce(batch: &Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: REQUEST_WAIT_MS,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(batch.clone().into()),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

fn fetch(offset: i64, bytes_max: u32) -> FetchRequest {
    let bytes_max = i32::try_from(bytes_max).unwrap_or(i32::MAX);
    FetchRequest {
        max_wait_ms: REQUEST_WAIT_MS,
        min_bytes: 1,
        max_bytes: bytes_max,
        topics: vec![FetchTopic {
            topic: TOPIC.into(),
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                partition_max_bytes: bytes_max,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

fn unexpected(api: ApiKey) -> CliError {
    CliError::failure(format!("the answer is none to {api:?}"))
}

/// Reads the partition from its beginning to its end, and begins again.
struct Consumer {
    wire: Wire,
    fetch_size: u32,
    log_end: i64,
    position: i64,
    fetches: u64,
    bytes: u64,
}

impl Consumer {
    async fn run_for(&mut self, time: Duration) -> CliResult {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let request = fetch(self.position, self.fetch_size);
            let response = self.wire.call(FETCH_VERSION, request.into()).await?;
            let Response::Fetch(response) = response else {
                return Err(unexpected(ApiKey::Fetch));
            };
            let mut partitions = response
                .responses
                .iter()
                .flat_map(|topic| &topic.partitions);
            let partition = partitions.next().ok_or_else(|| unexpected(ApiKey::Fetch))?;
            self.take(partition)?;
        }
        Ok(())
    }

    fn take(&mut self, partition: &PartitionData) -> CliResult {
        if partition.error_code != 0 {
            return Err(refused("a fetch", partition.error_code));
        }
        let fetched = partition.records.clone().unwrap_or_default().into_bytes();
        let mut next = self.position;
        for batch in raftmq_records::batches(&fetched) {
            let (header, _) = batch.map_err(CliError::failure)?;
            if header.base_offset != next {
                let text = format!("expected offset {next}, got {}", header.base_offset);
                return Err(CliError::failure(text));
            }
            next = header.next_offset();
        }
        if next == self.position {
            return Err(CliError::failure(format!(
                "nothing is fetched at offset {next}"
            )));
        }
        self.fetches += 1;
        self.bytes += fetched.len() as u64;
        self.position = if next < self.log_end { next } else { 0 };
        Ok(())
    }
}

fn show(report: &Report, format: Format) -> CliResult {
    if format == Format::Json {
        return output::print_json(report);
    }
    output::print_line(&format!(
        "{:.2} GiB/s: {} fetches of up to {} bytes, batches of {}, in {:.2} s",
        report.gib_per_second,
        grouped(report.fetches),
        grouped(u64::from(report.fetch_bytes_max)),
        grouped(report.batch_bytes as u64),
        report.seconds
    ))?;
    let Some(per_core) = report.gib_per_broker_core_second else {
        return Ok(());
    };
    output::print_line(&format!(
        "{per_core:.2} GiB for each second of a core of the broker; processor time of the broker {:.2} s, of the \
         consumer {:.2} s",
        report.broker_cpu_seconds.unwrap_or_default(),
        report.consumer_cpu_seconds.unwrap_or_default()
    ))
}
