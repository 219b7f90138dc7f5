//! `raftmq produce`: lines of stdin or of files become records.
//!
//! A thread reads and cuts lines; this task sends them. How a batch is made is the client's.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use raftmq_client::{Acks, Client, Producer, Record};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connect::{ConnectArgs, client_failure};
use super::error::{CliError, CliResult, io_failure};
use super::output::{self, Format};
use super::tracker::{Progress, Tracker};

/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;
/// Longest line in bytes; longer ones are refused by every broker anyway.
const LINE_BYTES_MAX: usize = 32 << 20;
/// Chunks of lines that wait between reading and sending.
const CHUNKS_WAITING_MAX: usize = 8;
/// Time between two updates of the progress bar.
const PROGRESS_PAUSE_MILLIS: u64 = 100;

/// Arguments of `raftmq produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// The topic
    topic: String,
    /// Files to read instead of stdin; - is stdin
    files: Vec<PathBuf>,
    /// Text between key and value of each line; a line without it has no key
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "key")]
    key_separator: Option<String>,
    /// The same key for every record
    #[arg(short, long)]
    key: Option<String>,
    /// Header for every record; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// The partition, instead of the key's
    #[arg(short, long)]
    partition: Option<u32>,
    /// When a record counts as sent
    #[arg(short, long, value_enum, default_value_t = AcksArg::All)]
    acks: AcksArg,
}

/// `--acks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcksArg {
    /// Committed and on the disk of every in-sync replica
    #[value(alias = "-1")]
    All,
    /// On the leader's disk
    #[value(alias = "1")]
    Leader,
    /// At once; may be lost
    #[value(alias = "0")]
    None,
}

impl From<AcksArg> for Acks {
    fn from(acks: AcksArg) -> Self {
        match acks {
            AcksArg::All => Self::All,
            AcksArg::Leader => Self::Leader,
            AcksArg::None => Self::None,
        }
    }
}

#[derive(Debug, Serialize)]
struct Summary {
    topic: String,
    records: u64,
    bytes: u64,
    seconds: f64,
}

/// What every record of one run has in common.
struct Template {
    topic: Arc<str>,
    key: Option<String>,
    key_separator: Option<Vec<u8>>,
    partition: Option<u32>,
    headers: Vec<(String, String)>,
}

impl Template {
    fn new(args: &ProduceArgs) -> CliResult<Self> {
        let header = |text: &String| match text.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(CliError::usage(format!(
                "expected --header NAME=VALUE, got {text:?}"
            ))),
        };
        if args.key_separator.as_ref().is_some_and(String::is_empty) {
            return Err(CliError::usage(
                "expected a text for --key-separator, got an empty one",
            ));
        }
        Ok(Self {
            topic: args.topic.as_str().into(),
            key: args.key.clone(),
            key_separator: args.key_separator.clone().map(String::into_bytes),
            partition: args.partition,
            headers: args.headers.iter().map(header).collect::<CliResult<_>>()?,
        })
    }

    fn record(&self, line: Vec<u8>) -> Record {
        let mut record = Record::to(Arc::clone(&self.topic));
        let (key, value) = self.key_and_value(line);
        if let Some(key) = key {
            record = record.key(key);
        }
        if let Some(partition) = self.partition {
            record = record.partition(partition);
        }
        for (name, header) in &self.headers {
            record = record.header(name.clone(), header.clone());
        }
        record.value(value)
    }

    fn key_and_value(&self, mut line: Vec<u8>) -> (Option<Vec<u8>>, Vec<u8>) {
        if let Some(key) = &self.key {
            return (Some(key.clone().into_bytes()), line);
        }
        let Some(separator) = &self.key_separator else {
            return (None, line);
        };
        let at = line
            .windows(separator.len())
            .position(|window| window == separator);
        match at {
            Some(at) => {
                let value = line.split_off(at + separator.len());
                line.truncate(at);
                (Some(line), value)
            }
            None => (None, line),
        }
    }
}

/// Publishes every line, and waits for every acknowledgement.
pub(crate) async fn run(args: ProduceArgs, connect: &ConnectArgs, format: Format) -> CliResult {
    let template = Template::new(&args)?;
    let input_bytes = input_bytes(&args.files)?;
    let client = connect.connect().await?;
    let partitions = partitions_count(&client, &args.topic).await?;
    let producer = client.producer().acks(args.acks.into()).build().await;
    let producer = producer.map_err(|error| client_failure("start a producer", &error))?;
    let started_at = Instant::now();
    let tracker = Tracker::new(partitions);
    let progress = tracker.progress();
    let bar = tokio::spawn(show_progress(Arc::clone(&progress), input_bytes));
    let sent = send_all(&args.files, &template, &producer, &tracker).await;
    let flushed = producer.close().await;
    tracker.finish().await;
    bar.abort();
    sent?;
    if let Some(error) = progress.first_error().or_else(|| flushed.err()) {
        let action = format!(
            "publish {} of {} records to {:?}",
            output::grouped(progress.failed_records()),
            output::grouped(progress.failed_records() + progress.acked_records()),
            args.topic
        );
        return Err(client_failure(&action, &error));
    }
    let summary = Summary {
        topic: args.topic,
        records: progress.acked_records(),
        bytes: progress.acked_bytes(),
        seconds: started_at.elapsed().as_secs_f64(),
    };
    match format {
        Format::Json => output::print_json(&summary),
        Format::Table => output::print_line(&format!(
            "published {} records ({} bytes) to {} in {:.2} s",
            output::grouped(summary.records),
            output::grouped(summary.bytes),
            summary.topic,
            summary.seconds
        )),
    }
}

/// The number of partitions of a topic.
pub(crate) async fn partitions_count(client: &Client, topic: &str) -> CliResult<u32> {
    let described = client.admin().describe_topic(topic).await;
    let described =
        described.map_err(|error| client_failure(&format!("look up topic {topic:?}"), &error))?;
    let count = described.topic.map_or(0, |topic| topic.partitions.len());
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

async fn send_all(
    files: &[PathBuf],
    template: &Template,
    producer: &Producer,
    tracker: &Tracker,
) -> CliResult {
    let (chunks, mut received) = mpsc::channel(CHUNKS_WAITING_MAX);
    let files = files.to_vec();
    let reading = tokio::task::spawn_blocking(move || read_files(&files, &chunks));
    let handle = tracker.handle();
    let progress = tracker.progress();
    while let Some(lines) = received.recv().await {
        for line in lines {
            let bytes = line.len() as u64 + 1;
            let sent_at = Instant::now();
            let delivery = producer.send(template.record(line)).await;
            let delivery = delivery.map_err(|error| client_failure("publish a line", &error))?;
            handle.track(sent_at, bytes, delivery).await;
        }
        if progress.failed_records() > 0 {
            return Ok(());
        }
    }
    reading
        .await
        .map_err(|error| CliError::failure(format!("cannot read: {error}")))?
}

/// Total size of the input; `None` when a part of it is not a regular file.
fn input_bytes(files: &[PathBuf]) -> CliResult<Option<u64>> {
    let mut total = if files.is_empty() { None } else { Some(0_u64) };
    for path in files.iter().filter(|path| path.as_os_str() != "-") {
        let metadata = std::fs::metadata(path)
            .map_err(|error| io_failure(format!("read {}", path.display()), &error))?;
        total = total
            .filter(|_| metadata.is_file())
            .map(|bytes| bytes + metadata.len());
    }
    Ok(total.filter(|_| files.iter().all(|path| path.as_os_str() != "-")))
}

fn read_files(files: &[PathBuf], chunks: &mpsc::Sender<Vec<Vec<u8>>>) -> CliResult {
    if files.is_empty() {
        return read_lines(io::stdin().lock(), Path::new("stdin"), chunks);
    }
    for path in files {
        if path.as_os_str() == "-" {
            read_lines(io::stdin().lock(), Path::new("stdin"), chunks)?;
            continue;
        }
        let file = File::open(path)
            .map_err(|error| io_failure(format!("read {}", path.display()), &error))?;
        read_lines(BufReader::with_capacity(READ_BYTES, file), path, chunks)?;
    }
    Ok(())
}

/// Cuts what arrives into lines and hands on those that are complete, without waiting for more.
fn read_lines(
    mut reader: impl BufRead,
    path: &Path,
    chunks: &mpsc::Sender<Vec<Vec<u8>>>,
) -> CliResult {
    let mut partial = Vec::new();
    loop {
        let available = reader
            .fill_buf()
            .map_err(|error| io_failure(format!("read {}", path.display()), &error))?;
        let length = available.len();
        let mut lines = Vec::new();
        for part in available.split_inclusive(|byte| *byte == b'\n') {
            partial.extend_from_slice(part);
            if partial.last() == Some(&b'\n') {
                partial.pop();
                lines.push(std::mem::take(&mut partial));
            }
        }
        if partial.len() > LINE_BYTES_MAX {
            return Err(CliError::failure(format!(
                "a line of {} is longer than {LINE_BYTES_MAX} bytes",
                path.display()
            )));
        }
        if length == 0 && !partial.is_empty() {
            lines.push(std::mem::take(&mut partial));
        }
        if !lines.is_empty() && chunks.blocking_send(lines).is_err() {
            return Ok(());
        }
        if length == 0 {
            return Ok(());
        }
        reader.consume(length);
    }
}

async fn show_progress(progress: Arc<Progress>, input_bytes: Option<u64>) {
    if !output::is_interactive() {
        return;
    }
    let bar = match input_bytes {
        Some(bytes) => ProgressBar::new(bytes).with_style(
            ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec}")
                .expect("the template is well-formed"),
        ),
        None => ProgressBar::new_spinner(),
    };
    loop {
        bar.set_position(progress.acked_bytes());
        if input_bytes.is_none() {
            bar.set_message(format!(
                "{} records",
                output::grouped(progress.acked_records())
            ));
        }
        tokio::time::sleep(Duration::from_millis(PROGRESS_PAUSE_MILLIS)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(bytes: &[u8], capacity: usize) -> Vec<Vec<u8>> {
        let (chunks, mut received) = mpsc::channel(1_000);
        read_lines(
            BufReader::with_capacity(capacity, bytes),
            Path::new("test"),
            &chunks,
        )
        .unwrap();
        drop(chunks);
        let mut lines = Vec::new();
        while let Ok(chunk) = received.try_recv() {
            lines.extend(chunk);
        }
        lines
    }

    #[test]
    fn lines_do_not_depend_on_how_the_input_arrives() {
        for capacity in [1, 2, 3, 100] {
            assert_eq!(
                lines_of(b"a\n\nbcd\ne", capacity),
                [&b"a"[..], b"", b"bcd", b"e"]
            );
            assert_eq!(lines_of(b"x\n", capacity), [b"x"]);
            assert!(lines_of(b"", capacity).is_empty());
        }
    }

    #[test]
    fn a_line_is_split_at_its_first_separator() {
        let template = Template {
            topic: "t".into(),
            key: None,
            key_separator: Some(b"::".to_vec()),
            partition: None,
            headers: Vec::new(),
        };
        assert_eq!(
            template.key_and_value(b"k::v::w".to_vec()),
            (Some(b"k".to_vec()), b"v::w".to_vec())
        );
        assert_eq!(
            template.key_and_value(b"plain".to_vec()),
            (None, b"plain".to_vec())
        );
        assert_eq!(
            template.key_and_value(b"::v".to_vec()),
            (Some(Vec::new()), b"v".to_vec())
        );
    }
}
