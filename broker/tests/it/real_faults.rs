//! Faults of machines, on real processes and real disks, under load: all brokers killed at once, a paused
//! leader, a disk that refuses writes, bits that rot while a broker is down. Nothing that was
//! acknowledged may be lost, doubled or reordered, and what was once readable stays readable.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use raftmq_client::{Client, OffsetAt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::load::{Load, is_in_sync, wait_until_in_sync};
use crate::support::{Dev, copy_folder, raftmq, signal, wait_until};

const PARTITIONS: u32 = 6;
const BROKERS: [u64; 3] = [1, 2, 3];
/// Records that must be acknowledged between two faults.
const ACKS: u64 = 300;
/// Longest time from a failed write to the end of the process, with room for a slow machine.
const STOPS_WITHIN: Duration = Duration::from_secs(1);

/// Asks for the ends of all partitions again and again: none may ever go back.
fn watch_ends(client: Client, topic: &'static str, is_over: Arc<AtomicBool>) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let queries: Vec<_> = (0..PARTITIONS)
            .map(|partition| (topic, partition, OffsetAt::End))
            .collect();
        let mut ends = BTreeMap::new();
        let mut answers_count = 0;
        while !is_over.load(Ordering::Relaxed) {
            let Ok(listed) = client.admin().list_offsets(&queries).await else {
                continue;
            };
            for found in listed {
                let end = ends.entry(found.partition).or_insert(found.offset);
                assert!(
                    found.offset >= *end,
                    "partition {}: the end went from {end:?} back to {:?}",
                    found.partition,
                    found.offset
                );
                *end = found.offset;
                answers_count += 1;
            }
            sleep(Duration::from_millis(5)).await;
        }
        answers_count
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_brokers_killed_at_once_keep_everything_that_was_acknowledged() {
    const ROUNDS: u32 = 5;
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    let load = Load::start(&client, "power", PARTITIONS).await;

    for _ in 0..ROUNDS {
        load.wait_for_acks(ACKS).await;
        for id in BROKERS {
            signal(dev.pid(id), Signal::KILL);
        }
        wait_until(|| BROKERS.iter().all(|id| dev.pid(*id) == 0));
        // None is ready before it has found the others.
        std::thread::scope(|scope| {
            for id in BROKERS {
                let dev = &dev;
                scope.spawn(move || dev.restart(id));
            }
        });
        wait_until_in_sync(&client).await;
    }

    let proven = load.prove(&client).await;
    println!(
        "{ROUNDS} times all brokers killed, {} records: lost 0, duplicated 0, order kept",
        proven.records_count
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stood_still_shows_nothing_old_when_it_goes_on() {
    const PAUSES: u64 = 6;
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    let load = Load::start(&client, "pauses", PARTITIONS).await;
    load.wait_for_acks(ACKS).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let watching = watch_ends(client.clone(), "pauses", Arc::clone(&is_over));

    for pause in 0..PAUSES {
        let id = pause % 3 + 1;
        signal(dev.pid(id), Signal::STOP);
        load.wait_for_acks(ACKS).await;
        signal(dev.pid(id), Signal::CONT);
        wait_until_in_sync(&client).await;
        load.wait_for_acks(ACKS).await;
    }

    is_over.store(true, Ordering::Relaxed);
    let answers_count = watching.await.expect("no end went back");
    let proven = load.prove(&client).await;
    println!(
        "{PAUSES} pauses, {} records, {answers_count} ends looked up: none went back",
        proven.records_count
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_refuses_writes_stops_its_broker_within_a_second_and_no_other() {
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    let load = Load::start(&client, "refused", PARTITIONS).await;

    for id in BROKERS {
        load.wait_for_acks(ACKS).await;
        let process = i32::try_from(dev.pid(id)).ok().and_then(Pid::from_raw);
        // Every write beyond the first byte of a file fails from here on (EFBIG).
        let limit = Rlimit {
            current: Some(1),
            maximum: Some(1),
        };
        let failed_at = Instant::now();
        prlimit(process, Resource::Fsize, limit).expect("a process of ours");
        wait_until(|| dev.pid(id) == 0);
        let stopped_after = failed_at.elapsed();
        assert!(stopped_after < STOPS_WITHIN, "{stopped_after:?}");
        load.wait_for_acks(ACKS).await;
        dev.restart(id);
        wait_until_in_sync(&client).await;
    }

    let log = fs::read_to_string(dev.data().with_extension("log")).expect("the log of `dev`");
    let stops = log.matches("exit status: 74").count();
    assert_eq!(stops, BROKERS.len(), "{log}");
    load.prove(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bits_that_rot_on_one_disk_are_mended_or_refused_and_nothing_is_lost() {
    const ROUNDS: u64 = 12;
    let mut random = StdRng::seed_from_u64(13);
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    let load = Load::start(&client, "rot", PARTITIONS).await;
    let (mut mended, mut refused, mut stopped_late) = (0, 0, 0);

    for round in 0..ROUNDS {
        let id = round % 3 + 1;
        load.wait_for_acks(ACKS).await;
        dev.kill(id);
        let data = data_of(&dev, id);
        let backup = dev.data().join("backup");
        copy_folder(&data, &backup);
        let (path, position) = rot(&data, &mut random);
        if starts(&dev, id) {
            mended += 1;
            fs::remove_dir_all(&backup).expect("ours");
        } else {
            refused += 1;
            eprintln!("refused: {} at {position}", path.display());
            wait_until(|| dev.pid(id) == 0);
            fs::remove_dir_all(&data).expect("ours");
            fs::rename(&backup, &data).expect("ours");
            dev.restart(id);
        }
        stopped_late += settle(&dev, &client).await;
    }

    let proven = load.prove(&client).await;
    println!(
        "{ROUNDS} rotten bits: {mended} started with, {stopped_late} found later, {refused} refused at the \
         start; {} records: lost 0",
        proven.records_count
    );
}

/// Waits until every replica is in sync; a broker that finds the damage only now stops, and mends it when
/// it is started again. Gives how often that happened.
async fn settle(dev: &Dev, client: &Client) -> u32 {
    let mut stopped_late = 0;
    loop {
        for id in BROKERS {
            if dev.pid(id) == 0 {
                stopped_late += 1;
                dev.restart(id);
            }
        }
        if is_in_sync(client).await {
            return stopped_late;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn data_of(dev: &Dev, id: u64) -> PathBuf {
    let config = fs::read_to_string(dev.data().join(format!("broker-{id}.toml"))).expect("ours");
    let line = config.lines().find(|line| line.starts_with("data-dir"));
    let value = line.and_then(|line| line.split('"').nth(1));
    PathBuf::from(value.expect("a data folder"))
}

/// Whether the broker comes up.
fn starts(dev: &Dev, id: u64) -> bool {
    let data = dev.data();
    let data = data.to_str().expect("a path");
    let restarted = raftmq(&["dev", "restart", &id.to_string(), "--data", data]).status();
    restarted.expect("it runs").success()
}

/// Flips a bit somewhere in a file of some size.
fn rot(data: &Path, random: &mut StdRng) -> (PathBuf, u64) {
    let mut files = Vec::new();
    list_files(data, &mut files);
    files.sort();
    let path = files.swap_remove(random.random_range(0..files.len()));
    let mut options = OpenOptions::new();
    let file: File = options.read(true).write(true).open(&path).expect("ours");
    let len = file.metadata().expect("a length").len();
    let position = random.random_range(0..len);
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).expect("readable");
    byte[0] ^= 1 << random.random_range(0..8);
    file.write_all_at(&byte, position).expect("writable");
    (path, position)
}

/// Files that hold something a broker needs: not its lock, and no log of RocksDB's for people.
fn list_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            list_files(&path, files);
        } else if !name.starts_with("LOG") && path.metadata().is_ok_and(|data| data.len() > 0) {
            files.push(path);
        }
    }
}
