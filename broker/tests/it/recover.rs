//! The last resort: a partition goes on from one replica after the others are gone, and the old ones,
//! should they return, begin anew. Real processes; the dead ones are killed.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use raftmq_client::{Client, Record, Start};
use serde_json::Value;

use crate::support::{Dev, ok, refused, wait_until, with_bootstrap};

const RECORDS_COUNT: usize = 200;

async fn produce(client: &Client, from: usize, count: usize) {
    let producer = client.producer().build().await.expect("a producer");
    for number in from..from + count {
        let sent = producer
            .send(Record::to("t").value(format!("{number}")))
            .await;
        sent.expect("accepted").await.expect("acknowledged");
    }
}

async fn consume(client: &Client, count: usize) -> BTreeSet<String> {
    let consumer = client.consumer().assign_from("t", 0, Start::Beginning);
    let mut consumer = consumer.build().await.expect("a consumer");
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(30), consumer.next()).await;
        let record = next.expect("in time").expect("a record").expect("readable");
        let value = record.value.expect("a value");
        seen.insert(String::from_utf8_lossy(&value).into_owned());
    }
    seen
}

fn partition(dev: &Dev) -> Value {
    let bootstrap = dev.bootstrap();
    let args = with_bootstrap(&["partition", "list", "t", "-o", "json"], &bootstrap);
    let listed: Value = serde_json::from_str(&ok(&args)).expect("JSON");
    listed[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_whose_majority_is_gone_goes_on_from_the_replica_that_is_left() {
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    let topic = client.admin().create_topic("t").assign(0, &[2, 3]);
    topic.send().await.expect("a topic");
    produce(&client, 0, RECORDS_COUNT).await;
    let bootstrap = dev.bootstrap();
    let recover = |more: &[&'static str]| {
        let args = [
            &["partition", "recover", "t", "0", "--by", "jane"][..],
            more,
        ]
        .concat();
        with_bootstrap(&args, &bootstrap)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let texts = |args: &[String]| args.iter().map(String::clone).collect::<Vec<_>>();
    let refuse = |more: &[&'static str], said: &[&str]| {
        let args = texts(&recover(more));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        refused(&args, 1, said);
    };
    refuse(&["--accept-loss"], &["leads the partition"]);

    dev.kill(2);
    wait_until(|| partition(&dev)["leader"].is_null());
    refuse(
        &["--accept-loss", "--keep", "2"],
        &["broker 2 has no replica"],
    );
    refuse(&[], &["could go on from broker 3", "--accept-loss"]);
    let args = recover(&["--accept-loss"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let said = ok(&args);
    assert!(said.contains("t/0 goes on from broker 3"), "{said}");

    wait_until(|| partition(&dev)["leader"] == 3);
    let known = partition(&dev);
    assert_eq!(known["replicas"], serde_json::json!([3]));
    assert_eq!(known["loss"]["kept"], 3);
    assert_eq!(known["loss"]["accepted_by"], "jane");
    let seen = consume(&client, RECORDS_COUNT).await;
    assert_eq!(seen.len(), RECORDS_COUNT, "both had everything");
    produce(&client, RECORDS_COUNT, RECORDS_COUNT).await;

    // The old replica returns: it has nothing to say, and gets a new one when asked to.
    dev.restart(2);
    let args = ["partition", "reassign", "t", "0", "--replicas", "3,2"];
    ok(&with_bootstrap(&args, &bootstrap));
    wait_until(|| {
        let known = partition(&dev);
        let in_sync = known["in_sync_replicas"].as_array().map_or(0, Vec::len);
        in_sync == 2 && known["moving"] == false
    });
    dev.kill(3);
    dev.restart(3);
    wait_until(|| {
        partition(&dev)["in_sync_replicas"]
            .as_array()
            .map_or(0, Vec::len)
            == 2
    });
    let seen = consume(&client, 2 * RECORDS_COUNT).await;
    assert_eq!(seen.len(), 2 * RECORDS_COUNT);
}
