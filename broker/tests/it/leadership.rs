//! Leaderships that move although their leaders live: a rolling restart, draining, and the way home.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use raftmq_client::{Client, Start};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::load::{Load, wait_until_in_sync};
use crate::support::{Broker, Dev, PATIENCE, ok, refused, wait_until, with_bootstrap};

const PARTITIONS: u32 = 12;
/// Records that must be acknowledged while a broker is down.
const ACKS_BETWEEN: u64 = 500;
/// Generous: a move takes some tens of milliseconds on an idle machine.
const GAP_MAX: Duration = Duration::from_secs(1);
/// A stop takes this long at most: 5 s for the leaderships, then the store.
const STOP_MAX: Duration = Duration::from_secs(10);

/// For each partition who leads, and who should.
async fn leaders(client: &Client, topic: &str) -> Vec<(u32, u32)> {
    let described = client.admin().describe_topic(topic).await.unwrap();
    let partitions = described.topic.unwrap().partitions.into_iter();
    partitions
        .map(|partition| (partition.leader_broker_id, partition.replicas[0]))
        .collect()
}

async fn wait_for_leaders(client: &Client, topic: &str, what: &str, fits: fn((u32, u32)) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let leaders = leaders(client, topic).await;
        if leaders.iter().all(|pair| fits(*pair)) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {leaders:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn wait_until_home(client: &Client, topic: &str) {
    let is_home = |(leader, preferred): (u32, u32)| leader == preferred;
    wait_for_leaders(client, topic, "every leadership is home", is_home).await;
}

/// Reads everything from the beginning until told to stop; no item may be an error, and the
/// offsets of a partition come in order. Gives the count.
async fn read_on(client: Client, topic: &'static str, is_over: Arc<AtomicBool>) -> u64 {
    let assigned: Vec<_> = (0..PARTITIONS)
        .map(|partition| (topic, partition))
        .collect();
    let consumer = client.consumer().assign(assigned).start(Start::Beginning);
    let mut records = consumer.build().await.unwrap();
    let mut next = vec![0; PARTITIONS as usize];
    let count = AtomicU64::new(0);
    while !is_over.load(Ordering::Relaxed) {
        let Ok(record) = timeout(Duration::from_millis(500), records.next()).await else {
            continue;
        };
        let record = record
            .expect("the stream goes on")
            .expect("the reader is shown no error");
        let expected = &mut next[record.partition as usize];
        assert_eq!(record.offset, *expected, "no gap and no repetition");
        *expected += 1;
        count.fetch_add(1, Ordering::Relaxed);
    }
    count.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_shows_clients_no_error_and_no_long_gap() {
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    let load = Load::start(&client, "rolling", PARTITIONS).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read_on(client.clone(), "rolling", Arc::clone(&is_over)));
    wait_until_home(&client, "rolling").await;
    load.wait_for_acks(ACKS_BETWEEN).await;

    let mut stops = Vec::new();
    for id in 1..=3 {
        let stopped_in = dev.terminate(id);
        assert!(stopped_in < STOP_MAX, "broker {id}: {stopped_in:?}");
        stops.push(stopped_in);
        load.wait_for_acks(ACKS_BETWEEN).await;
        dev.restart(id);
        wait_until_in_sync(&client).await;
        wait_until_home(&client, "rolling").await;
        load.wait_for_acks(ACKS_BETWEEN).await;
    }

    let proven = load.prove(&client).await;
    is_over.store(true, Ordering::Relaxed);
    let read_count = reader.await.unwrap();
    println!(
        "rolling restart of 3 brokers, {PARTITIONS} partitions, {} records, {read_count} read meanwhile: \
         lost 0, duplicated 0, order kept, no error; longest gap between two acknowledgements \
         of a partition {:?}; stops took {stops:?}",
        proven.records_count, proven.longest_gap,
    );
    assert!(proven.longest_gap < GAP_MAX, "{:?}", proven.longest_gap);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_broker_leads_nothing_until_undrained_also_after_a_kill() {
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    let create = client.admin().create_topic("t").partitions(PARTITIONS);
    create.replication_factor(3).send().await.unwrap();
    wait_until_home(&client, "t").await;
    let bootstrap = dev.bootstrap();
    let broker = |args: &[&str]| -> Value {
        let args = [&["broker"], args, &["-o", "json"]].concat();
        serde_json::from_str(&ok(&with_bootstrap(&args, &bootstrap))).unwrap()
    };

    let drained = broker(&["drain", "2", "--wait", "30"]);

    assert_eq!(drained["leaderships"], 0);
    assert_eq!(drained["draining"], true);
    // Any broker may answer, and its image may be a moment behind.
    wait_until(|| {
        let listed = broker(&["list"]);
        let led = |at: usize| listed[at]["leaderships"].as_u64().unwrap();
        let is_even = led(0) == led(2) && led(0) + led(2) == u64::from(PARTITIONS);
        listed[1]["state"] == "draining" && led(1) == 0 && is_even
    });
    dev.kill(2);
    dev.restart(2);
    wait_until_in_sync(&client).await;
    dev.kill(3);
    wait_for_leaders(&client, "t", "broker 1 leads", |(leader, _)| leader == 1).await;
    dev.restart(3);
    wait_until_in_sync(&client).await;
    let stays_away = |(leader, _): (u32, u32)| leader == 1 || leader == 3;
    wait_for_leaders(&client, "t", "broker 2 leads nothing", stays_away).await;

    broker(&["undrain", "2"]);

    wait_until_home(&client, "t").await;
    refused(
        &with_bootstrap(&["broker", "drain", "9"], &bootstrap),
        1,
        &["broker 9 is not registered", "raftmq broker list"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaderships_go_home_after_a_kill_and_a_restart() {
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    let create = client.admin().create_topic("t").partitions(PARTITIONS);
    create.replication_factor(3).send().await.unwrap();
    wait_until_home(&client, "t").await;

    dev.kill(1);
    let is_elsewhere = |(leader, _): (u32, u32)| leader == 2 || leader == 3;
    wait_for_leaders(&client, "t", "others lead", is_elsewhere).await;
    dev.restart(1);

    wait_until_home(&client, "t").await;
}

#[test]
fn a_single_broker_stops_at_once() {
    let broker = Broker::start(&[]);
    broker.ok(&["topic", "create", "t"]);
    let asked_at = Instant::now();

    assert_eq!(broker.process.stop(), Some(0));

    let took = asked_at.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_whole_cluster_stops_together_without_waiting_for_nobody() {
    let dev = Dev::start(&[]);
    let bootstrap = dev.bootstrap();
    ok(&with_bootstrap(
        &["topic", "create", "t", "-p", "6"],
        &bootstrap,
    ));
    let asked_at = Instant::now();

    assert_eq!(dev.process.stop(), Some(0));

    let took = asked_at.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}
