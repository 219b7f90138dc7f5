//! Who leads when brokers die or stand still, with real processes: the fast path of connections that are
//! refused, the session of a broker that says nothing, and a metadata group that loses a minority.

use std::time::Duration;

use raftmq_client::{BrokerInfo, Client, DescribeClusterResponse, Record};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::load::{Load, wait_until_in_sync};
use crate::support::{Dev, PATIENCE, signal};

const PARTITIONS: u32 = 6;
/// Records that must be acknowledged between two faults.
const ACKS: u64 = 300;
/// Far below the session of the test that uses it, and far above what the fast path takes.
const FAST: Duration = Duration::from_secs(5);

async fn described(client: &Client) -> DescribeClusterResponse {
    client.admin().describe_cluster().await.unwrap()
}

async fn broker(client: &Client, id: u32) -> BrokerInfo {
    let mut brokers = described(client).await.brokers.into_iter();
    brokers.find(|broker| broker.broker_id == id).unwrap()
}

/// Looks again and again until `holds`.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not reached in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// One record in each partition of a topic, acknowledged by all in-sync replicas.
async fn acknowledged(client: &Client, topic: &'static str) {
    let producer = client.producer().build().await.unwrap();
    for partition in 0..PARTITIONS {
        let record = Record::to(topic).partition(partition).value("v");
        producer.send(record).await.unwrap().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_connections_end_a_session_long_before_its_timeout() {
    let dev = Dev::start(&["--set", "broker.session.timeout.ms=20000"]);
    let client = dev.client().await;
    let load = Load::start(&client, "fast", PARTITIONS).await;
    load.wait_for_acks(ACKS).await;
    let controller = described(&client).await.controller_broker_id;
    let killed = (1..=3).find(|id| *id != controller).unwrap();

    dev.kill(u64::from(killed));

    load.wait_for_acks(ACKS).await;
    let proven = load.prove(&client).await;
    println!("longest gap: {:?}", proven.longest_gap);
    assert!(proven.longest_gap < FAST, "{:?}", proven.longest_gap);
    assert!(broker(&client, killed).await.fenced);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_is_fenced_and_comes_back_under_a_new_epoch() {
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    let load = Load::start(&client, "still", PARTITIONS).await;
    load.wait_for_acks(ACKS).await;
    let controller = described(&client).await.controller_broker_id;
    let stopped = (1..=3).find(|id| *id != controller).unwrap();
    let epoch = broker(&client, stopped).await.broker_epoch;
    let pid = dev.pid(u64::from(stopped));

    signal(pid, Signal::STOP);

    eventually("fenced", async || broker(&client, stopped).await.fenced).await;
    eventually("led and in sync without it", async || {
        let topic = client.admin().describe_topic("still").await.unwrap();
        let mut partitions = topic.topic.unwrap().partitions.into_iter();
        partitions.all(|partition| {
            let leader = partition.leader_broker_id;
            leader != 0 && leader != stopped && !partition.in_sync_replicas.contains(&stopped)
        })
    })
    .await;
    load.wait_for_acks(ACKS).await;

    signal(pid, Signal::CONT);

    eventually("in service again", async || {
        let back = broker(&client, stopped).await;
        !back.fenced && back.broker_epoch > epoch
    })
    .await;
    wait_until_in_sync(&client).await;
    load.wait_for_acks(ACKS).await;
    load.prove(&client).await;
    assert_eq!(dev.pid(u64::from(stopped)), pid, "the same process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_five_goes_on_without_its_controller_and_another_voter() {
    let voters = ["--set", "controller.quorum.voters.count=5"];
    let dev = Dev::start(&[&["--brokers", "5"], &voters[..]].concat());
    let client = dev.client().await;
    let create = client.admin().create_topic("before");
    let create = create.partitions(PARTITIONS).replication_factor(5);
    create.send().await.unwrap();
    acknowledged(&client, "before").await;
    eventually("five voters", async || {
        described(&client).await.metadata_voters.len() == 5
    })
    .await;
    wait_until_in_sync(&client).await;
    let controller = described(&client).await.controller_broker_id;
    let other = controller % 5 + 1;

    for id in [controller, other] {
        signal(dev.pid(u64::from(id)), Signal::KILL);
    }

    // Until then a topic may be placed on them.
    eventually("both fenced", async || {
        let brokers = described(&client).await.brokers;
        let fenced = brokers.iter().filter(|broker| broker.fenced);
        fenced.count() == 2
    })
    .await;
    let create = client.admin().create_topic("after");
    let create = create.partitions(PARTITIONS).replication_factor(3);
    create.send().await.unwrap();
    acknowledged(&client, "after").await;
    acknowledged(&client, "before").await;
    let next = described(&client).await.controller_broker_id;
    assert!(next != 0 && next != controller && next != other, "{next}");
}
