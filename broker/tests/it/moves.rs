//! Replicas that move under load: reassigned, cancelled, redirected, more and fewer of them, and a
//! broker that is emptied. Nothing acknowledged is lost, doubled or reordered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::StreamExt;
use raftmq_client::{Acks, Client, OffsetAt, Producer, Start};
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::load::send_numbers;
use crate::support::{
    Dev, PATIENCE, ok, refused, run, signal, stderr, stdout, wait_until, with_bootstrap,
};

const TOPIC: &str = "moves";
const PARTITIONS: u32 = 3;
/// Acknowledgements that show that a partition goes on.
const ACKS: u64 = 100;

/// Writers that send 0, 1, 2, … to each partition until told to stop.
struct Load {
    is_over: Arc<AtomicBool>,
    acked: Vec<Arc<AtomicU64>>,
    writers: Vec<JoinHandle<u64>>,
}

impl Load {
    fn start(producer: &Producer) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let acked: Vec<_> = (0..PARTITIONS).map(|_| Arc::default()).collect();
        let writers = (0..PARTITIONS).zip(&acked).map(|(partition, acked)| {
            let (is_over, acked) = (Arc::clone(&is_over), Arc::clone(acked));
            tokio::spawn(write(producer.clone(), partition, is_over, acked))
        });
        let writers = writers.collect();
        Self {
            is_over,
            acked,
            writers,
        }
    }

    /// Waits until every partition has taken more.
    fn wait_for_more(&self) {
        for acked in &self.acked {
            let goal = acked.load(Ordering::Relaxed) + ACKS;
            wait_until(|| acked.load(Ordering::Relaxed) >= goal);
        }
    }

    /// Stops it; gives how many records each partition has acknowledged.
    async fn stop(self) -> Vec<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut counts = Vec::new();
        for writer in self.writers {
            counts.push(writer.await.unwrap());
        }
        counts
    }
}

async fn write(
    producer: Producer,
    partition: u32,
    is_over: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
) -> u64 {
    let (sender, mut waiting) = mpsc::channel::<raftmq_client::DeliveryFuture>(10_000);
    let acknowledged = tokio::spawn(async move {
        while let Some(delivery) = waiting.recv().await {
            delivery
                .await
                .expect("every record is acknowledged in the end");
            acked.fetch_add(1, Ordering::Relaxed);
        }
    });
    let count = send_numbers(&producer, (TOPIC, partition), &is_over, sender).await;
    acknowledged.await.unwrap();
    count
}

/// The numbers of each partition, in the order of the log.
async fn read_all(client: &Client) -> BTreeMap<u32, Vec<u64>> {
    let queries: Vec<_> = (0..PARTITIONS)
        .map(|partition| (TOPIC, partition, OffsetAt::End))
        .collect();
    let listed = client.admin().list_offsets(&queries).await.unwrap();
    let mut ends: BTreeMap<u32, i64> = listed
        .iter()
        .map(|found| (found.partition, found.offset.unwrap()))
        .collect();
    let assigned: Vec<_> = (0..PARTITIONS).map(|id| (TOPIC, id)).collect();
    let consumer = client.consumer().assign(assigned).start(Start::Beginning);
    let mut records = consumer.build().await.unwrap();
    let mut found: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    while !ends.is_empty() {
        let record = timeout(PATIENCE, records.next())
            .await
            .expect("records come");
        let record = record.expect("the stream goes on").unwrap();
        let value = record.value.expect("every record has a value");
        let number = std::str::from_utf8(&value).unwrap().parse().unwrap();
        found.entry(record.partition).or_default().push(number);
        if ends
            .get(&record.partition)
            .is_some_and(|end| record.offset + 1 >= *end)
        {
            ends.remove(&record.partition);
        }
    }
    found
}

/// The command line against a cluster of four brokers.
struct Cluster {
    dev: Dev,
    bootstrap: String,
}

impl Cluster {
    fn start(more: &[&str]) -> Self {
        let dev = Dev::start(more);
        let bootstrap = dev.bootstrap();
        Self { dev, bootstrap }
    }

    fn ok(&self, args: &[&str]) -> String {
        ok(&with_bootstrap(args, &self.bootstrap))
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    fn refused(&self, args: &[&str], texts: &[&str]) {
        let args = [args, &["--timeout", "2"]].concat();
        refused(&with_bootstrap(&args, &self.bootstrap), 1, texts);
    }

    /// Runs what asks for two replicas: done, with a warning.
    fn warned_of_two(&self, args: &[&str]) {
        let output = run(&with_bootstrap(args, &self.bootstrap));
        let said = stderr(&output);
        assert!(output.status.success(), "{args:?}: {said}");
        assert!(said.contains("survives no failure"), "{args:?}: {said}");
    }

    fn partition(&self, index: u64) -> Value {
        let listed = self.json(&["partition", "list", TOPIC]);
        let partitions = listed.as_array().unwrap();
        let found = partitions.iter().find(|one| one["partition"] == index);
        found.unwrap().clone()
    }

    /// Replicas and targets of every partition.
    fn placement(&self) -> Vec<(Value, Value)> {
        let listed = self.json(&["partition", "list"]);
        let of = |one: &Value| (one["replicas"].clone(), one["target"].clone());
        listed.as_array().unwrap().iter().map(of).collect()
    }

    /// Waits until a partition has arrived at these replicas.
    fn wait_for(&self, index: u64, replicas: &[u64]) {
        wait_until(|| {
            let partition = self.partition(index);
            partition["moving"] == false && partition["replicas"] == serde_json::json!(replicas)
        });
    }

    /// Waits until nothing moves, everything is in sync, and every partition has so many replicas.
    fn wait_for_replicas(&self, count: usize) {
        let is_whole = |partition: &Value| {
            let of = |field: &str| partition[field].as_array().unwrap().len();
            partition["moving"] == false
                && of("replicas") == count
                && of("in_sync_replicas") == count
                && !partition["leader"].is_null()
        };
        wait_until(|| {
            let listed = self.json(&["partition", "list", TOPIC]);
            listed.as_array().unwrap().iter().all(is_whole)
        });
    }

    fn wait_for_health(&self) {
        self.ok(&["cluster", "health", "--wait", "60"]);
    }
}

/// Broker 4 stands still meanwhile, so that it cannot learn: the moves are under way for sure.
fn cancel_and_redirect(cluster: &Cluster) {
    signal(cluster.dev.pid(4), Signal::STOP);
    cluster.ok(&["partition", "reassign", TOPIC, "2", "--replicas", "2,3,4"]);
    let moving = cluster.partition(2);
    assert_eq!(moving["target"], serde_json::json!([2, 3, 4]), "{moving}");
    assert_eq!(moving["adding"], serde_json::json!([4]));
    assert_eq!(moving["removing"], serde_json::json!([1]));
    cluster.ok(&["partition", "cancel", TOPIC, "2"]);
    cluster.wait_for(2, &[2, 3, 1]);
    signal(cluster.dev.pid(4), Signal::CONT);
    cluster.wait_for_health();

    signal(cluster.dev.pid(4), Signal::STOP);
    cluster.ok(&["partition", "reassign", TOPIC, "2", "--replicas", "4,3,2"]);
    cluster.ok(&["partition", "reassign", TOPIC, "2", "--replicas", "3,1"]);
    cluster.wait_for(2, &[3, 1]);
    signal(cluster.dev.pid(4), Signal::CONT);
    cluster.wait_for_health();
}

fn mistakes_are_named_and_change_nothing(cluster: &Cluster) {
    let before = cluster.placement();
    for (replicas, text) in [
        ("1,2,9", "broker 9 is not registered"),
        ("1,2,2", "named twice"),
        ("1,2,3,4,1", "named twice"),
    ] {
        let args = ["partition", "reassign", TOPIC, "0", "--replicas", replicas];
        cluster.refused(&args, &[text]);
    }
    cluster.refused(&["partition", "cancel", TOPIC, "0"], &["not being moved"]);
    cluster.refused(&["partition", "cancel", TOPIC, "99"], &["99"]);
    let alter = ["topic", "alter", TOPIC, "--replication-factor", "5"];
    cluster.refused(&alter, &["replication factor 5"]);
    cluster.refused(
        &["topic", "alter", TOPIC, "--partitions", "2"],
        &["partitions"],
    );
    cluster.refused(&["broker", "decommission", "9"], &["broker 9"]);
    let alter = ["topic", "alter", TOPIC, "-r", "2", "--dry-run"];
    cluster.warned_of_two(&alter);
    assert_eq!(cluster.placement(), before);
}

fn two_replicas_are_warned_of(cluster: &Cluster) {
    cluster.warned_of_two(&["topic", "create", "pair", "-p", "1", "-r", "2"]);
    let reassign = ["partition", "reassign", "pair", "0", "--replicas", "2,1"];
    cluster.warned_of_two(&reassign);
    cluster.ok(&["topic", "delete", "pair"]);
}

fn rescale(cluster: &Cluster) {
    cluster.ok(&["topic", "alter", TOPIC, "--partitions", "5"]);
    cluster.ok(&["topic", "alter", TOPIC, "--replication-factor", "4"]);
    cluster.wait_for_replicas(4);
    cluster.refused(
        &["broker", "decommission", "4"],
        &["4 replicas", "3 brokers"],
    );
    cluster.ok(&["topic", "alter", TOPIC, "--replication-factor", "3"]);
    cluster.wait_for_replicas(3);
}

/// Takes every replica off a broker.
fn empty_a_broker(cluster: &Cluster, id: u64) {
    let id_text = id.to_string();
    let planned = cluster.json(&["broker", "decommission", &id_text, "--dry-run"]);
    let changes = planned["changes"].as_array().unwrap();
    assert!(!changes.is_empty(), "it has replicas");
    assert_eq!(planned["moves"], changes.len());
    cluster.ok(&["broker", "decommission", &id_text]);
    cluster.wait_for_replicas(3);
    for partition in cluster.json(&["partition", "list"]).as_array().unwrap() {
        let replicas: BTreeSet<u64> = partition["replicas"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_u64)
            .collect();
        assert!(!replicas.contains(&id), "{partition}");
    }
    // With its last replica it leaves the cluster, a moment later: until then repetition has nothing to do.
    let again = ["broker", "decommission", &id_text, "-o", "json"];
    wait_until(|| {
        let again = run(&with_bootstrap(&again, &cluster.bootstrap));
        if again.status.success() {
            let shown: Value = serde_json::from_str(&stdout(&again)).unwrap();
            assert_eq!(shown["changes"], serde_json::json!([]), "repetition");
        } else {
            let said = stderr(&again);
            assert!(said.contains("was decommissioned"), "{said}");
        }
        !again.status.success()
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_move_under_load_lose_double_and_reorder_nothing() {
    // A broker that stands still for a moment is not to be fenced: it would get no new replica.
    let patient = "broker.session.timeout.ms=20000";
    let cluster = Cluster::start(&["--brokers", "4", "--set", patient]);
    let client = cluster.dev.client().await;
    let mut create = client.admin().create_topic(TOPIC);
    for (partition, replicas) in (0..).zip([[1, 2, 3], [1, 2, 3], [2, 3, 1]]) {
        create = create.assign(partition, &replicas);
    }
    create.send().await.unwrap();
    let producer = client.producer().acks(Acks::All).build().await.unwrap();
    let load = Load::start(&producer);
    load.wait_for_more();

    // The leader stays; the leader goes; nobody stays.
    cluster.ok(&["partition", "reassign", TOPIC, "0", "--replicas", "1,2,4"]);
    cluster.wait_for(0, &[1, 2, 4]);
    cluster.ok(&["partition", "reassign", TOPIC, "1", "--replicas", "4,2,3"]);
    cluster.wait_for(1, &[4, 2, 3]);
    cluster.ok(&["partition", "reassign", TOPIC, "1", "--replicas", "1"]);
    cluster.wait_for(1, &[1]);
    cluster.ok(&["partition", "reassign", TOPIC, "1", "--replicas", "2,3,4"]);
    cluster.wait_for(1, &[2, 3, 4]);
    load.wait_for_more();

    cancel_and_redirect(&cluster);
    load.wait_for_more();
    mistakes_are_named_and_change_nothing(&cluster);
    two_replicas_are_warned_of(&cluster);
    rescale(&cluster);
    load.wait_for_more();
    empty_a_broker(&cluster, 4);
    load.wait_for_more();

    cluster.ok(&["cluster", "rebalance"]);
    cluster.wait_for_replicas(3);
    let left = cluster.json(&["cluster", "rebalance", "--dry-run"]);
    assert_eq!(left["changes"], serde_json::json!([]), "it is even now");
    load.wait_for_more();

    let counts = load.stop().await;
    let found = read_all(&client).await;
    for (partition, count) in (0..PARTITIONS).zip(counts) {
        let sent: Vec<u64> = (0..count).collect();
        assert_eq!(
            found[&partition], sent,
            "partition {partition}: lost 0, duplicated 0, order kept"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_told_to_evens_itself() {
    let settings = ["rebalance.enable=true", "rebalance.interval.ms=1000"];
    let cluster = Cluster::start(&["--set", settings[0], "--set", settings[1]]);
    let client = cluster.dev.client().await;
    let mut create = client.admin().create_topic(TOPIC);
    for partition in 0..6 {
        create = create.assign(partition, &[1, 2]);
    }
    create.send().await.unwrap();

    wait_until(|| {
        let mut replicas_count: BTreeMap<u64, usize> = BTreeMap::new();
        let mut leaders_count: BTreeMap<u64, usize> = BTreeMap::new();
        for (replicas, _) in cluster.placement() {
            let ids: Vec<u64> = serde_json::from_value(replicas).unwrap();
            *leaders_count.entry(ids[0]).or_default() += 1;
            for id in ids {
                *replicas_count.entry(id).or_default() += 1;
            }
        }
        let are_even = |counts: &BTreeMap<u64, usize>, count: usize| {
            counts.len() == 3 && counts.values().all(|one| *one == count)
        };
        are_even(&replicas_count, 4) && are_even(&leaders_count, 2)
    });
    let left = cluster.json(&["cluster", "rebalance", "--dry-run"]);
    assert_eq!(left["changes"], serde_json::json!([]));
}
