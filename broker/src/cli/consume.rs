//! `raftmq consume`: prints records, from a start on, to the end or for ever.
//!
//! Owns the choice of start and end and the form of a line; fetching is the client's.

use std::collections::BTreeMap;
use std::io::Write;
use std::str::FromStr;

use clap::Args;
use futures_util::{FutureExt, StreamExt};
use raftmq_client::{Client, ConsumedRecord, OffsetAt, Start};
use serde::Serialize;

use super::connect::{ConnectArgs, client_failure};
use super::error::{CliError, CliResult, io_failure};
use super::output::{self, Format};
use super::produce::partitions_count;
use super::record_format::{RecordFormat, View};
use super::signal::stop_signal;

/// Arguments of `raftmq consume`.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The topic
    topic: String,
    /// Where to start: beginning, end, an offset, or @TIMESTAMP in milliseconds since 1970
    #[arg(long, value_name = "START", default_value = "beginning", value_parser = parse_from)]
    from: From,
    /// Only this partition; may be repeated
    #[arg(short, long = "partition", value_name = "PARTITION")]
    partitions: Vec<u32>,
    /// Go on at the end and wait for more
    #[arg(short = 'F', long)]
    follow: bool,
    /// Stop after this many records
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// How a record is written: %t topic, %p partition, %o offset, %T timestamp, %k key, %K key
    /// length, %v or %s value, %S value length, %h headers, \n and other escapes
    #[arg(short, long, value_name = "FORMAT", default_value = "%v\\n", value_parser = RecordFormat::parse)]
    format: RecordFormat,
}

/// `--from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Beginning,
    End,
    Offset(i64),
    Timestamp(i64),
}

fn parse_from(text: &str) -> Result<From, String> {
    let wrong = || format!("expected beginning, end, an offset or @TIMESTAMP_MS, got {text:?}");
    let number = |text: &str| i64::from_str(text).ok().filter(|number| *number >= 0);
    match text {
        "beginning" => Ok(From::Beginning),
        "end" => Ok(From::End),
        _ => match text.strip_prefix('@') {
            Some(timestamp) => number(timestamp).map(From::Timestamp).ok_or_else(wrong),
            None => number(text).map(From::Offset).ok_or_else(wrong),
        },
    }
}

impl From {
    const fn start(self) -> Start {
        match self {
            Self::Beginning => Start::Beginning,
            Self::End => Start::End,
            Self::Offset(offset) => Start::Offset(offset),
            Self::Timestamp(timestamp_ms) => Start::Timestamp(timestamp_ms),
        }
    }

    const fn lookup(self) -> Option<OffsetAt> {
        match self {
            Self::Beginning => Some(OffsetAt::Beginning),
            Self::End => Some(OffsetAt::End),
            Self::Offset(_) => None,
            Self::Timestamp(timestamp_ms) => Some(OffsetAt::Timestamp(timestamp_ms)),
        }
    }
}

#[derive(Debug, Serialize)]
struct RecordView<'a> {
    topic: &'a str,
    partition: u32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<Text<'a>>,
    value: Option<Text<'a>>,
    headers: Vec<(Text<'a>, Option<Text<'a>>)>,
}

/// Bytes as JSON: a string when they are UTF-8, else `{"hex": "..."}`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Utf8(&'a str),
    Hex { hex: String },
}

fn text(bytes: &[u8]) -> Text<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Text::Utf8(text),
        Err(_) => Text::Hex {
            hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        },
    }
}

/// Prints records until the end, the count, or a signal.
pub(crate) async fn run(args: ConsumeArgs, connect: &ConnectArgs, form: Format) -> CliResult {
    let client = connect.connect().await?;
    let mut open = match open_partitions(&client, &args).await? {
        open if open.is_empty() => return Ok(()),
        open => open,
    };
    let action = format!("consume {:?}", args.topic);
    let assigned: Vec<_> = open
        .keys()
        .map(|partition| (args.topic.as_str(), *partition))
        .collect();
    let consumer = client
        .consumer()
        .assign(assigned)
        .start(args.from.start())
        .build()
        .await;
    let mut records = consumer.map_err(|error| client_failure(&action, &error))?;
    let mut stop = stop_signal()?;
    let mut out = output::buffered_stdout();
    let written = |error: std::io::Error| io_failure("write to stdout", &error);
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 && !open.is_empty() {
        let next = match records.next().now_or_never() {
            Some(next) => next,
            None => {
                out.flush().map_err(written)?;
                tokio::select! {
                    biased;
                    () = &mut stop => break,
                    next = records.next() => next,
                }
            }
        };
        let Some(record) = next else { break };
        let record = record.map_err(|error| client_failure(&action, &error))?;
        let Some(end) = open.get(&record.partition).copied() else {
            continue;
        };
        if end.is_none_or(|end| record.offset < end) {
            write_record(&mut out, &args.format, form, &record).map_err(written)?;
            left -= 1;
        }
        if end.is_some_and(|end| record.offset + 1 >= end) {
            open.remove(&record.partition);
        }
    }
    out.flush().map_err(written)
}

/// The partitions that have something to read, with the offset at which each ends (`None` = never).
async fn open_partitions(
    client: &Client,
    args: &ConsumeArgs,
) -> CliResult<BTreeMap<u32, Option<i64>>> {
    let count = partitions_count(client, &args.topic).await?;
    let mut chosen = args.partitions.clone();
    if let Some(unknown) = chosen.iter().find(|partition| **partition >= count) {
        return Err(CliError::usage(format!(
            "topic {:?} has partitions 0 to {}, got --partition {unknown}",
            args.topic,
            count.saturating_sub(1)
        )));
    }
    if chosen.is_empty() {
        chosen = (0..count).collect();
    }
    if args.follow {
        return Ok(chosen
            .into_iter()
            .map(|partition| (partition, None))
            .collect());
    }
    let ends = list(client, &args.topic, &chosen, OffsetAt::End).await?;
    let starts = match args.from.lookup() {
        Some(at) => list(client, &args.topic, &chosen, at).await?,
        None => BTreeMap::new(),
    };
    let fixed = match args.from {
        From::Offset(offset) => offset,
        From::Beginning | From::End | From::Timestamp(_) => i64::MAX,
    };
    let has_more =
        |(partition, end): &(u32, i64)| starts.get(partition).copied().unwrap_or(fixed) < *end;
    Ok(ends
        .into_iter()
        .filter(has_more)
        .map(|(partition, end)| (partition, Some(end)))
        .collect())
}

async fn list(
    client: &Client,
    topic: &str,
    partitions: &[u32],
    at: OffsetAt,
) -> CliResult<BTreeMap<u32, i64>> {
    let queries: Vec<_> = partitions
        .iter()
        .map(|partition| (topic, *partition, at))
        .collect();
    let listed = client.admin().list_offsets(&queries).await;
    let listed = listed
        .map_err(|error| client_failure(&format!("list the offsets of {topic:?}"), &error))?;
    let found = listed
        .into_iter()
        .filter_map(|found| Some((found.partition, found.offset?)));
    Ok(found.collect())
}

fn write_record(
    out: &mut impl Write,
    format: &RecordFormat,
    form: Format,
    record: &ConsumedRecord,
) -> std::io::Result<()> {
    let headers = || {
        record
            .headers
            .iter()
            .map(|header| (&header.key[..], header.value.as_deref()))
    };
    if form == Format::Json {
        let view = RecordView {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.as_deref().map(text),
            value: record.value.as_deref().map(text),
            headers: headers()
                .map(|(name, value)| (text(name), value.map(text)))
                .collect(),
        };
        serde_json::to_writer(&mut *out, &view)?;
        return out.write_all(b"\n");
    }
    let headers: Vec<_> = headers().collect();
    let view = View {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    };
    format.write(out, view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_an_offset_or_a_time() {
        assert_eq!(parse_from("beginning"), Ok(From::Beginning));
        assert_eq!(parse_from("end"), Ok(From::End));
        assert_eq!(parse_from("42"), Ok(From::Offset(42)));
        assert_eq!(
            parse_from("@1700000000000"),
            Ok(From::Timestamp(1_700_000_000_000))
        );
        for wrong in ["", "-1", "@", "@x", "middle"] {
            assert!(
                parse_from(wrong)
                    .unwrap_err()
                    .contains("expected beginning"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_shown_in_hexadecimal() {
        let shown = serde_json::to_string(&(text(b"abc"), text(&[0xff, 0x00]))).unwrap();
        assert_eq!(shown, r#"["abc",{"hex":"ff00"}]"#);
    }
}
