//! `bench latency`: a producer at a fixed rate and a consumer that reads along.
//!
//! Each value begins with the time at which it was due, in nanoseconds of this run.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use raftmq_client::{Client, Record, Start};
use tokio::time::{Instant, timeout};

use super::produce::producer;
use super::{LatencyBench, Load, Percentiles, Report, ensure_topic, pace, report};
use crate::cli::connect::client_failure;
use crate::cli::error::{CliError, CliResult};
use crate::cli::tracker::{Tracker, latency_histogram, record_latency};

/// Longest time without a record before the consumer gives up.
const SILENCE_MILLIS_MAX: u64 = 30_000;
/// Bytes of a value that hold its time.
const STAMP_BYTES: usize = 16;

pub(super) async fn run(client: &Client, args: LatencyBench) -> CliResult<Report> {
    let partitions = ensure_topic(client, &args.load).await?;
    let started_at = Instant::now();
    let run_id: u64 = rand::random();
    let records = u64::from(args.rate) * args.seconds;
    let assigned: Vec<_> = (0..partitions)
        .map(|partition| (args.load.topic.as_str(), partition))
        .collect();
    let consumer = client
        .consumer()
        .assign(assigned)
        .start(Start::End)
        .build()
        .await;
    let consumer = consumer.map_err(|error| client_failure("start a consumer", &error))?;
    let reading = tokio::spawn(read(consumer, records, run_id, started_at));
    let producer = producer(client, &args.load).await?;
    let tracker = Tracker::new(partitions);
    let progress = tracker.progress();
    let handle = tracker.handle();
    let mut due = pace::start(args.rate, records);
    while let Some(tick) = due.recv().await {
        for _ in 0..tick.count {
            let value = stamped(&args.load, run_id, tick.due_at.duration_since(started_at));
            let record = Record::to(args.load.topic.as_str()).value(value);
            let delivery = producer.send(record).await;
            let delivery = delivery.map_err(|error| client_failure("publish a record", &error))?;
            handle
                .track(tick.due_at, u64::from(args.load.size), delivery)
                .await;
        }
    }
    drop(handle);
    let closed = producer.close().await;
    let measured = tracker.finish().await;
    let seconds = started_at.elapsed().as_secs_f64();
    if let Some(error) = progress.first_error().or_else(|| closed.err()) {
        return Err(client_failure("publish all records", &error));
    }
    let end_to_end = reading.await.map_err(CliError::failure)??;
    let (records, bytes) = (progress.acked_records(), progress.acked_bytes());
    let mut report = report("latency", args.load.topic, records, bytes, seconds);
    report.rate = Some(args.rate);
    report.acknowledged = Some(Percentiles::from(&measured.latency_micros));
    report.end_to_end = Some(Percentiles::from(&end_to_end));
    Ok(report)
}

fn stamped(load: &Load, run_id: u64, due_after: Duration) -> Bytes {
    let size = load.size as usize;
    let mut value = BytesMut::with_capacity(size.max(STAMP_BYTES));
    value.put_u64(run_id);
    value.put_u64(u64::try_from(due_after.as_nanos()).unwrap_or(u64::MAX));
    value.resize(size.max(STAMP_BYTES), 0);
    value.freeze()
}

/// Reads until every record of this run has come; records of others are skipped.
async fn read(
    mut consumer: raftmq_client::Consumer,
    records: u64,
    run_id: u64,
    started_at: Instant,
) -> CliResult<Histogram<u64>> {
    let mut latency_micros = latency_histogram();
    while latency_micros.len() < records {
        let silence = Duration::from_millis(SILENCE_MILLIS_MAX);
        let next = timeout(silence, consumer.next())
            .await
            .map_err(|_elapsed| {
                CliError::failure(format!(
                    "consumed {} of {records} records, then nothing for {SILENCE_MILLIS_MAX} ms",
                    latency_micros.len()
                ))
            })?;
        let Some(record) = next else { break };
        let record = record.map_err(|error| client_failure("consume", &error))?;
        let now = started_at.elapsed();
        let Some((stamp, _)) = record
            .value
            .as_deref()
            .and_then(<[u8]>::split_first_chunk::<16>)
        else {
            continue;
        };
        let stamp = u128::from_be_bytes(*stamp);
        if stamp >> 64 != u128::from(run_id) {
            continue;
        }
        let due_nanos = stamp & u128::from(u64::MAX);
        let due_after = Duration::from_nanos(u64::try_from(due_nanos).unwrap_or(u64::MAX));
        record_latency(&mut latency_micros, now.saturating_sub(due_after));
    }
    Ok(latency_micros)
}
