//! The two designs that ADR 0001 chooses between, measured side by side: payloads inside RocksDB with
//! blob files, and payloads in shared journal segments with RocksDB as their index.
//!
//! `cargo bench -p raftmq-store --bench designs --profile dev [-- MIB_PER_CASE]`. Both write the same
//! batches over 100 groups, one sync per batch, in a process that dies without
//! closing anything; then its folder is recovered.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures wall-clock time"
)]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]
#![expect(unreachable_pub, reason = "a module shared by two programs")]

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use raftmq_store::{
    DiskConfig, DiskEngine, Engine, EntryKind, EntryRecord, GroupId, Op, WriteBatch, entry_crc,
};
use rocksdb::{DB, DBCompressionType, Options, WriteOptions};

mod support;

use support::{MIB, Meter, payload};

const GROUPS: u64 = 100;

/// Memtable of the design with blob files.
const MEMTABLE_BYTES: usize = 128 * 1024 * 1024;

/// Shapes of a batch: entries and bytes of each.
const SHAPES: [(u64, usize); 5] = [
    (64, 1024),
    (1024, 1024),
    (64, 16 * 1024),
    (8, 128 * 1024),
    (4, 1024 * 1024),
];

/// A design under measurement.
trait Design {
    /// Writes one batch durably: entries of consecutive groups, at their next log indexes.
    fn write(&mut self, entries: Vec<(u64, u64, Bytes)>);

    /// Reads one entry back.
    fn read(&self, group: u64, index: u64) -> usize;
}

/// Payloads as RocksDB values: written to its write-ahead log, then to blob files.
struct BlobFiles {
    db: DB,
    write: WriteOptions,
}

impl BlobFiles {
    fn open(folder: &Path) -> Self {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(MEMTABLE_BYTES);
        options.set_max_write_buffer_number(4);
        options.set_level_zero_file_num_compaction_trigger(16);
        options.set_max_total_wal_size(512 * MIB);
        options.set_bytes_per_sync(MIB);
        options.set_enable_blob_files(true);
        options.set_min_blob_size(512);
        options.set_enable_blob_gc(true);
        let mut write = WriteOptions::default();
        write.set_sync(true);
        Self {
            db: DB::open(&options, folder).expect("RocksDB opens"),
            write,
        }
    }

    fn key(group: u64, index: u64) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&group.to_be_bytes());
        key[8..].copy_from_slice(&index.to_be_bytes());
        key
    }
}

impl Design for BlobFiles {
    fn write(&mut self, entries: Vec<(u64, u64, Bytes)>) {
        let mut batch = rocksdb::WriteBatch::default();
        for (group, index, payload) in entries {
            let crc = entry_crc(GroupId(group), index, 1, EntryKind::Normal, &payload);
            let mut value = Vec::with_capacity(payload.len() + 13);
            value.extend_from_slice(&crc.to_le_bytes());
            value.extend_from_slice(&1_u64.to_le_bytes());
            value.push(EntryKind::Normal as u8);
            value.extend_from_slice(&payload);
            batch.put(Self::key(group, index), value);
        }
        self.db
            .write_opt(batch, &self.write)
            .expect("RocksDB writes");
    }

    fn read(&self, group: u64, index: u64) -> usize {
        let value = self
            .db
            .get_pinned(Self::key(group, index))
            .expect("RocksDB reads");
        value.map_or(0, |value| value.len())
    }
}

/// The engine as it stands: payloads in journal segments.
struct Segments(DiskEngine);

impl Segments {
    fn open(folder: &Path) -> Self {
        Self(DiskEngine::open(folder, DiskConfig::default()).expect("the engine opens"))
    }
}

impl Design for Segments {
    fn write(&mut self, entries: Vec<(u64, u64, Bytes)>) {
        let op = |(group, index, payload): (u64, u64, Bytes)| {
            let (group, kind) = (GroupId(group), EntryKind::Normal);
            let crc = entry_crc(group, index, 1, kind, &payload);
            let entry = EntryRecord {
                index,
                term: 1,
                kind,
                crc,
                bytes_before: 0,
                payload,
            };
            Op::Append { group, entry }
        };
        let ops = entries.into_iter().map(op).collect();
        self.0.write(WriteBatch { ops }).expect("the engine writes");
        self.0.sync().expect("the engine syncs");
        self.0.maintain().expect("the engine keeps house");
    }

    fn read(&self, group: u64, index: u64) -> usize {
        let read = self
            .0
            .read_entries(GroupId(group), index..index + 1, usize::MAX);
        read.expect("the engine reads")
            .first()
            .map_or(0, |entry| entry.payload.len())
    }
}

/// Writes one case, prints its figures but for recovery, and dies without closing anything.
fn write_case<D: Design>(name: &str, mut design: D, shape: usize, bytes_per_case: u64) -> ! {
    let (count, len) = SHAPES[shape];
    let payload = payload(len);
    let batch_bytes = count * len as u64;
    let batches = (bytes_per_case / batch_bytes).clamp(64, 20_000);
    let mut meter = Meter::start();
    let mut next = 0_u64;
    for _ in 0..batches {
        let entries = (next..next + count).map(|n| (n % GROUPS, n / GROUPS, payload.clone()));
        let entries = entries.collect();
        next += count;
        let started = Instant::now();
        design.write(entries);
        meter.record(started.elapsed());
    }
    let (row, _) = meter.row(batches * batch_bytes);
    let started = Instant::now();
    // Spread over everything written, by a step that does not divide it.
    let places = (0..next.min(2_000)).map(|n| (n * 7_919) % next);
    let read: usize = places.map(|n| design.read(n % GROUPS, n / GROUPS)).sum();
    let read_rate = read as f64 / started.elapsed().as_secs_f64() / 1e6;
    print!("{name:9} {count:5} x {len:8}: {row}  read {read_rate:6.0} MB/s");
    std::io::stdout().flush().expect("the row is printed");
    std::process::abort();
}

/// Runs one case in a process of its own, then recovers what that left behind.
fn measure<D: Design>(name: &str, open: fn(&Path) -> D, mib: u64) {
    for shape in 0..SHAPES.len() {
        let folder = tempfile::tempdir().expect("a folder for the case");
        let program = std::env::current_exe().expect("this program has a path");
        let mut case = std::process::Command::new(program);
        case.args(["case", name, &shape.to_string(), &mib.to_string()])
            .arg(folder.path());
        // It dies by design, so its status says nothing.
        let _status = case.status().expect("the case runs");
        let started = Instant::now();
        let design = open(folder.path());
        let recovery = started.elapsed().as_secs_f64();
        assert!(
            design.read(0, 0) > 0,
            "the first entry is there after recovery"
        );
        println!("  recovery {recovery:5.2} s");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [case, name, shape, mib, folder] = &arguments[..]
        && case == "case"
    {
        let (shape, mib) = (
            shape.parse().expect("a number"),
            mib.parse::<u64>().expect("a number"),
        );
        let folder = Path::new(folder);
        if name == "blobs" {
            write_case(name, BlobFiles::open(folder), shape, mib * MIB);
        }
        write_case(name, Segments::open(folder), shape, mib * MIB);
    }
    let mib = arguments
        .iter()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(1024);
    measure("blobs", BlobFiles::open, mib);
    measure("segments", Segments::open, mib);
}
