//! `bench produce`.

use std::time::Duration;

use raftmq_client::{Client, Producer};
use tokio::time::Instant;

use super::{Load, Payloads, Percentiles, ProduceBench, Report, ensure_topic, pace, report};
use crate::cli::connect::client_failure;
use crate::cli::error::CliResult;
use crate::cli::tracker::{Tracker, TrackerHandle};

pub(super) async fn run(client: &Client, args: ProduceBench) -> CliResult<Report> {
    let partitions = ensure_topic(client, &args.load).await?;
    let producer = producer(client, &args.load).await?;
    let tracker = Tracker::new(partitions);
    let progress = tracker.progress();
    let payloads = Payloads::new(&args.load);
    let started_at = Instant::now();
    let handle = tracker.handle();
    match args.rate {
        Some(rate) => {
            let mut due = pace::start(rate, args.records);
            let mut index = 0;
            while let Some(tick) = due.recv().await {
                for _ in 0..tick.count {
                    send(&producer, &payloads, index, tick.due_at, &handle).await?;
                    index += 1;
                }
            }
        }
        None => {
            for index in 0..args.records {
                send(&producer, &payloads, index, Instant::now(), &handle).await?;
            }
        }
    }
    drop(handle);
    let closed = producer.close().await;
    let measured = tracker.finish().await;
    let seconds = started_at.elapsed().as_secs_f64();
    if let Some(error) = progress.first_error().or_else(|| closed.err()) {
        return Err(client_failure("publish all records", &error));
    }
    let (records, bytes) = (progress.acked_records(), progress.acked_bytes());
    let mut report = report("produce", args.load.topic, records, bytes, seconds);
    report.rate = args.rate;
    report.acknowledged = Some(Percentiles::from(&measured.latency_micros));
    Ok(report)
}

/// A producer as the load asks for it.
pub(super) async fn producer(client: &Client, load: &Load) -> CliResult<Producer> {
    let mut builder = client.producer().acks(load.acks.into());
    if let Some(linger) = load.linger {
        builder = builder.linger(Duration::from_millis(linger));
    }
    if let Some(bytes) = load.batch_size {
        builder = builder.batch_size_bytes(bytes);
    }
    builder
        .build()
        .await
        .map_err(|error| client_failure("start a producer", &error))
}

async fn send(
    producer: &Producer,
    payloads: &Payloads,
    index: u64,
    due_at: Instant,
    handle: &TrackerHandle,
) -> CliResult {
    let delivery = producer.send(payloads.record(index)).await;
    let delivery = delivery.map_err(|error| client_failure("publish a record", &error))?;
    handle.track(due_at, payloads.size_bytes(), delivery).await;
    Ok(())
}
