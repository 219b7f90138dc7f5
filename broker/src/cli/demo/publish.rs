//! The first half of the demo: sends every piece of every file, and kills the leader of most
//! partitions once half of the bytes are acknowledged.
//!
//! Files are sent side by side, each by one task, so that all partitions are busy and the lines of
//! one file stay in order. The last quarter waits for the kill: whatever the size of the input,
//! the cluster has to take records without the dead broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use raftmq_client::{Acks, Client, Producer, Record};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::files::{Piece, PieceReader, SourceFile};
use super::{HEADER_LINE, HEADER_NO_NEWLINE, PARTITIONS_COUNT, TOPIC};
use crate::cli::connect::client_failure;
use crate::cli::dev::Supervisor;
use crate::cli::error::{CliError, CliResult, io_failure};
use crate::cli::tracker::{Measured, Progress, Tracker, TrackerHandle};

/// Files sent side by side.
const FILES_AT_A_TIME: usize = 32;
/// Bytes read from a file at a time, about.
const READ_BYTES: u64 = 256 << 10;
/// Bytes of records that wait for their acknowledgement: small, so that latency is not queueing.
const BUFFER_BYTES: usize = 8 << 20;
/// Longest time a record waits for others.
const LINGER_MILLIS: u64 = 2;

/// What the first half found.
#[derive(Debug)]
pub(super) struct Published {
    /// Records, and so pieces.
    pub(super) records: u64,
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// From the first record to the last acknowledgement.
    pub(super) seconds: f64,
    /// Latency and the pause after the kill.
    pub(super) measured: Measured,
    /// The broker that was killed.
    pub(super) killed: u32,
    /// Partitions that it led.
    pub(super) led_count: usize,
    /// Whether it was the controller: then its partitions wait for another controller first, which
    /// takes an election by timeout and so many times longer.
    pub(super) was_controller: bool,
}

/// Sends everything, with the kill in the middle.
pub(super) async fn publish(
    client: &Client,
    supervisor: &mut Supervisor,
    files: &Arc<Vec<SourceFile>>,
    watch_progress: impl FnOnce(Arc<Progress>),
) -> CliResult<Published> {
    let producer = client
        .producer()
        .acks(Acks::All)
        .linger(Duration::from_millis(LINGER_MILLIS))
        .buffer_bytes(BUFFER_BYTES)
        .build()
        .await;
    let producer = producer.map_err(|error| client_failure("start a producer", &error))?;
    let tracker = Tracker::new(PARTITIONS_COUNT);
    let progress = tracker.progress();
    watch_progress(Arc::clone(&progress));
    let total: u64 = files.iter().map(|file| file.size_bytes).sum();
    let (killed_sender, killed) = watch::channel(false);
    let sending = Sending {
        files: Arc::clone(files),
        next: AtomicUsize::new(0),
        producer,
        tracker: tracker.handle(),
        progress: Arc::clone(&progress),
        sent_bytes: AtomicU64::new(0),
        gate_bytes: total / 4 * 3,
        killed,
    };
    let started_at = Instant::now();
    let mut sent = tokio::spawn(send_all(Arc::new(sending)));
    let half_way =
        |progress: &Progress| progress.acked_bytes() >= total / 2 || progress.failed_records() > 0;
    let sent_early = tokio::select! {
        biased;
        () = progress.wait_until(half_way) => None,
        outcome = &mut sent => Some(outcome),
    };
    let (victim, led_count) = busiest_leader(client).await?;
    let described = client.admin().describe_cluster().await;
    let described = described.map_err(|error| client_failure("look up the controller", &error))?;
    let was_controller = described.controller_broker_id == victim;
    progress.mark_fault();
    supervisor.kill(victim).await?;
    let _ = killed_sender.send(true);
    let outcome = match sent_early {
        Some(outcome) => outcome,
        None => sent.await,
    };
    outcome.map_err(CliError::failure)??;
    let measured = tracker.finish().await;
    let seconds = started_at.elapsed().as_secs_f64();
    if let Some(error) = progress.first_error() {
        return Err(client_failure("publish every line", &error));
    }
    let (records, bytes) = (progress.acked_records(), progress.acked_bytes());
    Ok(Published {
        records,
        bytes,
        seconds,
        measured,
        killed: victim,
        led_count,
        was_controller,
    })
}

/// The broker that leads most partitions of the topic, and how many.
async fn busiest_leader(client: &Client) -> CliResult<(u32, usize)> {
    let described = client.admin().describe_topic(TOPIC).await;
    let described = described.map_err(|error| client_failure("look up the leaders", &error))?;
    let partitions = described
        .topic
        .map(|topic| topic.partitions)
        .unwrap_or_default();
    let led = |broker: u32| {
        partitions
            .iter()
            .filter(|partition| partition.leader_broker_id == broker)
            .count()
    };
    let leaders = partitions
        .iter()
        .map(|partition| partition.leader_broker_id);
    let busiest = leaders
        .filter(|broker| *broker != 0)
        .max_by_key(|broker| led(*broker));
    let busiest = busiest.ok_or_else(|| CliError::failure("no partition has a leader"))?;
    Ok((busiest, led(busiest)))
}

/// What the sending tasks share.
struct Sending {
    files: Arc<Vec<SourceFile>>,
    next: AtomicUsize,
    producer: Producer,
    tracker: TrackerHandle,
    progress: Arc<Progress>,
    sent_bytes: AtomicU64,
    gate_bytes: u64,
    killed: watch::Receiver<bool>,
}

async fn send_all(sending: Arc<Sending>) -> CliResult {
    let mut tasks = JoinSet::new();
    for _ in 0..FILES_AT_A_TIME.min(sending.files.len()) {
        let sending = Arc::clone(&sending);
        tasks.spawn(async move { sending.send_files().await });
    }
    while let Some(sent) = tasks.join_next().await {
        sent.map_err(CliError::failure)??;
    }
    let flushed = sending.producer.flush().await;
    flushed.map_err(|error| client_failure("publish every line", &error))
}

impl Sending {
    async fn send_files(&self) -> CliResult {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = self.files.get(index) else {
                return Ok(());
            };
            self.send_file(file).await?;
        }
    }

    async fn send_file(&self, file: &SourceFile) -> CliResult {
        let unreadable =
            |error: std::io::Error| io_failure(format!("read {}", file.path.display()), &error);
        let mut reader = PieceReader::open(file, 0).map_err(unreadable)?;
        let mut line = 0_u64;
        loop {
            let read = tokio::task::spawn_blocking(move || read_some(reader)).await;
            let (rest, pieces) = read.map_err(CliError::failure)?.map_err(unreadable)?;
            if pieces.is_empty() || self.progress.failed_records() > 0 {
                return Ok(());
            }
            reader = rest;
            for piece in pieces {
                self.send_piece(file, line, piece).await?;
                line += 1;
            }
        }
    }

    async fn send_piece(&self, file: &SourceFile, line: u64, piece: Piece) -> CliResult {
        let bytes = piece.size_bytes();
        if self.sent_bytes.fetch_add(bytes, Ordering::Relaxed) >= self.gate_bytes {
            let mut killed = self.killed.clone();
            // An error means that the killer gave up, and it says why.
            let _ = killed.wait_for(|killed| *killed).await;
        }
        let mut record = Record::to(TOPIC)
            .key(file.name.clone())
            .header(HEADER_LINE, line.to_string())
            .value(piece.bytes);
        if !piece.has_newline {
            record = record.header(HEADER_NO_NEWLINE, "");
        }
        let sent_at = Instant::now();
        let delivery = self.producer.send(record).await;
        let delivery =
            delivery.map_err(|error| client_failure(&format!("publish {}", file.name), &error))?;
        self.tracker.track(sent_at, bytes, delivery).await;
        Ok(())
    }
}

fn read_some(mut reader: PieceReader) -> std::io::Result<(PieceReader, Vec<Piece>)> {
    let mut pieces = Vec::new();
    let mut bytes = 0;
    while bytes < READ_BYTES
        && let Some(piece) = reader.next_piece()?
    {
        bytes += piece.size_bytes();
        pieces.push(piece);
    }
    Ok((reader, pieces))
}
