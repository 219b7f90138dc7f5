//! The second half of the demo: reads everything back from the survivors and compares it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use raftmq_client::{Client, ConsumedRecord, OffsetAt, Start};
use tokio::time::timeout;

use super::check::{Checker, Findings};
use super::files::{Piece, SourceFile};
use super::{HEADER_LINE, HEADER_NO_NEWLINE, PARTITIONS_COUNT, TOPIC};
use crate::cli::connect::client_failure;
use crate::cli::error::{CliError, CliResult, io_failure};

/// Longest time without a record before the demo gives up.
const SILENCE_MILLIS_MAX: u64 = 60_000;

/// Consumes from the beginning to the end of every partition.
pub(super) async fn prove(
    client: &Client,
    files: &[SourceFile],
    mut on_record: impl FnMut(u64),
) -> CliResult<Findings> {
    let mut ends = ends(client).await?;
    let assigned: Vec<_> = (0..PARTITIONS_COUNT)
        .map(|partition| (TOPIC, partition))
        .collect();
    let consumer = client
        .consumer()
        .assign(assigned)
        .start(Start::Beginning)
        .build()
        .await;
    let mut records = consumer.map_err(|error| client_failure("consume", &error))?;
    let mut checker = Checker::new(files);
    while !ends.is_empty() {
        let silence = Duration::from_millis(SILENCE_MILLIS_MAX);
        let next = timeout(silence, records.next()).await.map_err(|_elapsed| {
            CliError::failure(format!(
                "nothing came for {SILENCE_MILLIS_MAX} ms; partitions not read to their end: {:?}",
                ends.keys().collect::<Vec<_>>()
            ))
        })?;
        let record = next.ok_or_else(|| CliError::failure("the consumer ended early"))?;
        let record = record.map_err(|error| client_failure("consume", &error))?;
        let (name, line, piece) = parse(&record)?;
        checker
            .record(name, line, &piece)
            .map_err(|error| io_failure("compare with the files", &error))?;
        on_record(piece.size_bytes());
        if ends
            .get(&record.partition)
            .is_some_and(|end| record.offset + 1 >= *end)
        {
            ends.remove(&record.partition);
        }
    }
    checker
        .finish()
        .map_err(|error| io_failure("compare with the files", &error))
}

/// The end of every partition that holds something.
async fn ends(client: &Client) -> CliResult<BTreeMap<u32, i64>> {
    let queries: Vec<_> = (0..PARTITIONS_COUNT)
        .map(|partition| (TOPIC, partition, OffsetAt::End))
        .collect();
    let listed = client.admin().list_offsets(&queries).await;
    let listed = listed.map_err(|error| client_failure("list the offsets", &error))?;
    let ends = listed
        .into_iter()
        .filter_map(|found| Some((found.partition, found.offset?)));
    Ok(ends.filter(|(_, end)| *end > 0).collect())
}

fn parse(record: &ConsumedRecord) -> CliResult<(&[u8], u64, Piece)> {
    let header = |name: &str| {
        record
            .headers
            .iter()
            .find(|header| header.key == name.as_bytes())
    };
    let line = header(HEADER_LINE)
        .and_then(|header| header.value.as_deref())
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(|text| text.parse::<u64>().ok())
        .ok_or_else(|| {
            CliError::failure(format!(
                "the record at {}/{} offset {} has no line number",
                record.topic, record.partition, record.offset
            ))
        })?;
    let piece = Piece {
        bytes: record.value.as_deref().unwrap_or_default().to_vec(),
        has_newline: header(HEADER_NO_NEWLINE).is_none(),
    };
    Ok((record.key.as_deref().unwrap_or_default(), line, piece))
}
