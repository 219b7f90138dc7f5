//! The commit thread over 100 groups against raw appends and syncs of equal bytes in the same run.
//!
//! `cargo bench -p raftmq-store --bench commit --profile dev [-- MIB]`. Targets: at least 0.7 of raw
//! throughput with batches of 64 x 16 KiB, at most 1.2 bytes written per payload byte.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures wall-clock time"
)]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]
#![expect(unreachable_pub, reason = "a module shared by two programs")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use raftmq_store::{
    Command, CommitDriver, DiskConfig, DiskEngine, Entry, GroupId, GroupStore, Payload, Store,
    StoreConfig, log_id,
};

mod support;

use support::{MIB, Meter, payload};

openraft::declare_raft_types!(
    Types:
        D = Command,
        R = (),
        Node = openraft::impls::EmptyNode,
        LeaderId = raftmq_store::LeaderId,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

const GROUPS: u64 = 100;
const IN_FLIGHT: usize = 2;
/// What the queue counts for one entry beside its payload.
const OVERHEAD: usize = 96;

/// Appends to one preallocated file, one sync per batch: what the disk can do.
fn raw(folder: &Path, batch_bytes: usize, batches: u64) -> f64 {
    let bytes = payload(batch_bytes);
    let total = batches * batch_bytes as u64;
    let path = folder.join("raw");
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&path)
        .expect("a file");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, total).expect("space");
    file.sync_all().expect("the file syncs");
    let mut meter = Meter::start();
    for batch in 0..batches {
        let started = Instant::now();
        file.write_all_at(&bytes, batch * batch_bytes as u64)
            .expect("the file is written");
        file.sync_data().expect("the file syncs");
        meter.record(started.elapsed());
    }
    let (row, rate) = meter.row(total);
    println!("raw        {:7} KiB batches: {row}", batch_bytes / 1024);
    std::fs::remove_file(path).expect("the file is removed");
    rate
}

/// One group's writer: a few appends in flight, each waited for.
async fn write_group(group: GroupStore, payload: Bytes, entries: u64) -> Vec<u64> {
    let mut log = group.log();
    let mut waiting = std::collections::VecDeque::new();
    let mut micros = Vec::new();
    for index in 1..=entries {
        let entry = Entry {
            log_id: log_id(1, index),
            payload: Payload::Normal(Command(payload.clone())),
        };
        let (sender, receiver) = <Types as TypeConfigExt>::oneshot();
        let done = IOFlushed::<Types>::signal(sender);
        RaftLogStorage::<Types>::append(&mut log, [entry], done)
            .await
            .expect("the log takes it");
        waiting.push_back((Instant::now(), receiver));
        while waiting.len() >= IN_FLIGHT
            && let Some((started, receiver)) = waiting.pop_front()
        {
            receiver
                .await
                .expect("an answer")
                .expect("the entry is flushed");
            micros.push(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }
    for (_, receiver) in waiting {
        receiver
            .await
            .expect("an answer")
            .expect("the entry is flushed");
    }
    micros
}

async fn commit(folder: &Path, count: usize, len: usize, total: u64) -> f64 {
    let engine = DiskEngine::open(folder.join("store"), DiskConfig::default()).expect("it opens");
    let config = StoreConfig {
        commit_batch_bytes_max: count * (len + OVERHEAD),
        ..StoreConfig::default()
    };
    let store = Store::open(Arc::new(engine), CommitDriver::Thread, config).expect("it opens");
    let entries = (total / GROUPS / len as u64).max(1);
    let bytes = payload(len);
    let mut meter = Meter::start();
    let writers: Vec<_> = (0..GROUPS)
        .map(|id| {
            tokio::spawn(write_group(
                store.group(GroupId(id)),
                bytes.clone(),
                entries,
            ))
        })
        .collect();
    for writer in writers {
        for micros in writer.await.expect("the writer ends") {
            meter.record(std::time::Duration::from_micros(micros));
        }
    }
    let written = entries * GROUPS * len as u64;
    let (row, rate) = meter.row(written);
    println!("commit  {count:4} x {len:7}     : {row}");
    store.shutdown().await.expect("it shuts down");
    drop(store);
    std::fs::remove_dir_all(folder.join("store")).expect("the folder is removed");
    rate
}

fn main() {
    let argument = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse::<u64>().ok());
    let total = argument.unwrap_or(1024) * MIB;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    for (count, len) in [(64, 16 * 1024), (64, 1024), (8, 128 * 1024)] {
        let batch = count * len;
        let share = total.min(batch as u64 * 2_000);
        let before = raw(folder.path(), batch, share / batch as u64);
        let rate = runtime.block_on(commit(folder.path(), count, len, share));
        let after = raw(folder.path(), batch, share / batch as u64);
        println!(
            "commit thread / raw: {:.2}",
            rate / ((before + after) / 2.0)
        );
    }
}
