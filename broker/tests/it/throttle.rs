//! Moves of replicas that are slowed (`leader.replication.throttled.rate`), how far they are, and the
//! settings of a cluster that runs.

use std::time::Duration;

use raftmq_client::{Acks, Producer, Record};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Broker, Dev, get, ok, refused, serve, text, wait_until, with_bootstrap};

const MOVED: &str = "moved";
const BESIDE: &str = "beside";
const RECORD_BYTES: usize = 64 * 1024;
/// 8 MiB, each record an entry of its own: a replica may lag 64 of them and counts as caught up.
const RECORDS_COUNT: u32 = 128;
/// Two minutes for all of it.
const RATE: u64 = 64 * 1024;
/// What may pass at once, after a pause and for what is larger.
const AT_ONCE_BYTES: u64 = 2 * 64 * 1024;
/// Far less than what the move takes.
const A_WHILE: Duration = Duration::from_secs(40);
const RATE_KEY: &str = "leader.replication.throttled.rate";

struct Cluster {
    dev: Dev,
    bootstrap: String,
}

impl Cluster {
    fn start() -> Self {
        let dev = Dev::start(&[]);
        let bootstrap = dev.bootstrap();
        Self { dev, bootstrap }
    }

    fn ok(&self, args: &[&str]) -> String {
        ok(&with_bootstrap(args, &self.bootstrap))
    }

    fn moved(&self) -> Value {
        let listed = self.ok(&["partition", "list", MOVED, "-o", "json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        listed[0].clone()
    }

    /// Bytes that a broker has sent to replicas that catch up.
    fn caught_up_bytes(&self, id: u64) -> u64 {
        let scrape = get(&text(&self.dev.broker(id), "http"), "/metrics");
        let mut lines = scrape.lines();
        let line = lines.find(|line| line.starts_with("raftmq_raft_catch_up_bytes_total "));
        let value = line.and_then(|line| line.split(' ').next_back());
        value.map_or(0, |value| value.parse().unwrap())
    }
}

async fn send(producer: &Producer, topic: &str, count: u32) {
    for _ in 0..count {
        let record = Record::to(topic).partition(0).value(vec![7; RECORD_BYTES]);
        producer.send(record).await.unwrap().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slowed_move_shows_how_far_it_is_and_ends_once_the_limit_is_lifted() {
    let cluster = Cluster::start();
    let client = cluster.dev.client().await;
    let admin = client.admin();
    let create = admin.create_topic(MOVED).assign(0, &[1]);
    create.send().await.unwrap();
    let create = admin.create_topic(BESIDE).assign(0, &[1, 2, 3]);
    create.send().await.unwrap();
    let producer = client.producer().acks(Acks::All).build().await.unwrap();
    send(&producer, MOVED, RECORDS_COUNT).await;
    let before = cluster.caught_up_bytes(1);

    cluster.ok(&["cluster", "settings", "set", &format!("{RATE_KEY}={RATE}")]);
    let began = Instant::now();
    cluster.ok(&["partition", "reassign", MOVED, "0", "--replicas", "2"]);
    let mut shown = Value::Null;
    wait_until(|| {
        shown = cluster.moved();
        let left = shown["progress"]["entries_left"].as_u64();
        left.is_some_and(|left| left > 0) && shown["progress"]["step"] == "copying"
    });
    assert!(
        shown["progress"]["percent_done"].as_u64() < Some(100),
        "{shown}"
    );
    assert_eq!(shown["moving"], true);

    // What votes is not slowed: this is as much as the whole move, and would take as long.
    send(&producer, BESIDE, RECORDS_COUNT).await;
    let (passed, sent) = (began.elapsed(), cluster.caught_up_bytes(1) - before);
    let allowed = u64::try_from(passed.as_millis()).unwrap() * RATE / 1_000 + AT_ONCE_BYTES;
    assert!(sent <= allowed, "{sent} bytes in {passed:?}");
    if passed < A_WHILE {
        assert_eq!(cluster.moved()["moving"], true, "it has two minutes to go");
    }

    cluster.ok(&["cluster", "settings", "unset", RATE_KEY]);
    wait_until(|| {
        let shown = cluster.moved();
        shown["moving"] == false && shown["replicas"] == json!([2]) && shown["progress"].is_null()
    });
    let sent = cluster.caught_up_bytes(1) - before;
    assert!(
        sent >= u64::from(RECORDS_COUNT) * RECORD_BYTES as u64,
        "{sent}"
    );
    let table = cluster.ok(&["partition", "list", MOVED]);
    assert!(table.contains("moved"), "{table}");
}

#[test]
fn settings_of_a_running_cluster_count_before_the_configuration_of_its_brokers() {
    let broker = Broker::start(&["--set", "log.retention.ms=1000000"]);
    let of = |bootstrap: &str, name: &str| {
        let args = ["cluster", "settings", "list", "-o", "json"];
        let listed = ok(&with_bootstrap(&args, bootstrap));
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let found = listed.into_iter().find(|one| one["name"] == name).unwrap();
        (text(&found, "value"), text(&found, "source"))
    };
    let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    let grpc = broker.grpc();
    assert_eq!(of(&grpc, "log.retention.ms"), pair("1000000", "cluster"));
    assert_eq!(of(&grpc, "num.partitions"), pair("1", "default"));

    let set = ["cluster", "settings", "set"];
    broker.ok(&[&set[..], &["retention.ms=2000000", "num.partitions=3"]].concat());
    assert_eq!(of(&grpc, "log.retention.ms"), pair("2000000", "cluster"));
    broker.ok(&["topic", "create", "t"]);
    let described = broker.ok(&["topic", "describe", "t", "-o", "json"]);
    let described: Value = serde_json::from_str(&described).unwrap();
    assert_eq!(
        described["partitions"].as_array().unwrap().len(),
        3,
        "{described}"
    );
    broker.ok(&["cluster", "settings", "unset", "num.partitions"]);
    assert_eq!(of(&grpc, "num.partitions"), pair("1", "default"));

    let data = broker.data();
    assert_eq!(broker.process.stop(), Some(0));
    let again = serve(&data, &["--set", "log.retention.ms=3000000"]);
    let grpc = text(&again.ready, "grpc");
    assert_eq!(of(&grpc, "log.retention.ms"), pair("2000000", "cluster"));
}

#[test]
fn settings_that_are_wrong_are_named_and_nothing_is_changed() {
    let broker = Broker::start(&[]);
    let grpc = broker.grpc();
    let list = || broker.ok(&["cluster", "settings", "list", "-o", "json"]);
    let before = list();
    let refuse = |args: &[&str], code, texts: &[&str]| {
        let args = [&["cluster", "settings"], args].concat();
        refused(&with_bootstrap(&args, &grpc), code, texts);
    };
    // The first one would fit: all or none.
    refuse(
        &["set", "num.partitions=3", "num.partition=3"],
        1,
        &["unknown setting \"num.partition\"", "num.partitions"],
    );
    for name in ["data-dir", "broker.id", "durability", "listeners.grpc"] {
        refuse(&["set", &format!("{name}=x")], 1, &[name, "read only"]);
        refuse(&["unset", name], 1, &[name, "read only"]);
    }
    refuse(
        &["set", "num.partitions=0"],
        1,
        &["num.partitions", "a whole number from 1 to 10000"],
    );
    refuse(
        &["set", "leader.replication.throttled.rate=12"],
        1,
        &["leader.replication.throttled.rate", "1024"],
    );
    refuse(
        &["set", "log.retention.ms=1", "retention.ms=2"],
        1,
        &["twice"],
    );
    refuse(&["set", "num.partitions"], 2, &["KEY=VALUE"]);
    refuse(
        &["set", "num.partitions=2", "num.partitions=3"],
        2,
        &["twice"],
    );
    broker.ok(&[
        "cluster",
        "settings",
        "set",
        "--dry-run",
        "num.partitions=7",
    ]);
    assert_eq!(list(), before);
}
