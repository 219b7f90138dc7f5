//! `bench consume`.

use futures_util::StreamExt;
use raftmq_client::{Client, OffsetAt, Start};
use tokio::time::Instant;

use super::{ConsumeBench, Report, report};
use crate::cli::connect::client_failure;
use crate::cli::error::{CliError, CliResult};
use crate::cli::produce::partitions_count;

pub(super) async fn run(client: &Client, args: ConsumeBench) -> CliResult<Report> {
    let action = format!("read topic {:?}", args.topic);
    let partitions = partitions_count(client, &args.topic).await?;
    let there = records_there(client, &args.topic, partitions).await?;
    let wanted = args.records.unwrap_or(there).min(there);
    if wanted == 0 {
        return Err(
            CliError::failure(format!("topic {:?} holds no records", args.topic))
                .next("fill it: raftmq bench produce"),
        );
    }
    let assigned: Vec<_> = (0..partitions)
        .map(|partition| (args.topic.as_str(), partition))
        .collect();
    let started_at = Instant::now();
    let consumer = client
        .consumer()
        .assign(assigned)
        .start(Start::Beginning)
        .build()
        .await;
    let mut stream = consumer.map_err(|error| client_failure(&action, &error))?;
    let (mut records, mut bytes) = (0, 0);
    while records < wanted {
        let Some(record) = stream.next().await else {
            break;
        };
        let record = record.map_err(|error| client_failure(&action, &error))?;
        let sizes =
            [&record.key, &record.value].map(|part| part.as_ref().map_or(0, |part| part.len()));
        bytes += (sizes[0] + sizes[1]) as u64;
        records += 1;
    }
    Ok(report(
        "consume",
        args.topic,
        records,
        bytes,
        started_at.elapsed().as_secs_f64(),
    ))
}

async fn records_there(client: &Client, topic: &str, partitions: u32) -> CliResult<u64> {
    let mut sums = [0_i64; 2];
    for (sum, at) in sums.iter_mut().zip([OffsetAt::Beginning, OffsetAt::End]) {
        let queries: Vec<_> = (0..partitions)
            .map(|partition| (topic, partition, at))
            .collect();
        let listed = client.admin().list_offsets(&queries).await;
        let listed = listed.map_err(|error| client_failure("list offsets", &error))?;
        *sum = listed.iter().filter_map(|found| found.offset).sum();
    }
    Ok(u64::try_from(sums[1] - sums[0]).unwrap_or_default())
}
