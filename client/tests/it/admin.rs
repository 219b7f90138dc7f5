//! Admin calls: redirection, refusals that are not retried, offsets from many leaders.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use raftmq_client::{
    Client, Connector, Error, ErrorCode, ErrorKind, Io, OffsetAt, PlanMode, Record, TcpConnector,
};

use crate::fake::Cluster;
use crate::{client, settings};

#[tokio::test]
async fn topics_are_created_listed_altered_and_deleted() {
    let cluster = Cluster::start(1).await;
    let admin = client(&cluster).await.admin();

    let created = admin
        .create_topic("t")
        .partitions(3)
        .send()
        .await
        .expect("created");
    assert_eq!(created.topic.expect("described").partitions.len(), 3);
    let altered = admin
        .alter_topic("t")
        .partitions(5)
        .send()
        .await
        .expect("altered");
    assert_eq!(altered.partitions.len(), 5);
    let names: Vec<_> = admin
        .list_topics()
        .await
        .expect("listed")
        .into_iter()
        .map(|t| t.name)
        .collect();
    assert_eq!(names, ["t"]);
    assert_eq!(
        admin
            .describe_cluster()
            .await
            .expect("described")
            .cluster_id,
        "fake"
    );
    admin.delete_topic("t").await.expect("deleted");

    let gone = admin.describe_topic("t").await.expect_err("it is gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_is_not_retried() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let admin = client(&cluster).await.admin();

    let exists = admin
        .create_topic("t")
        .partitions(1)
        .send()
        .await
        .expect_err("it exists");
    let unknown = admin
        .alter_replicas("t", 0, &[9])
        .await
        .expect_err("no broker 9");

    assert_eq!(exists.code(), Some(ErrorCode::TopicAlreadyExists));
    assert_eq!(exists.kind(), ErrorKind::AlreadyExists);
    assert_eq!(unknown.code(), Some(ErrorCode::UnknownBroker));
    assert!(!exists.is_retriable() && !exists.is_fatal());
}

#[tokio::test]
async fn a_call_follows_the_controller() {
    let cluster = Cluster::start(3).await;
    cluster.set_controller(3);
    let admin = client(&cluster).await.admin();

    admin
        .create_topic("t")
        .partitions(1)
        .send()
        .await
        .expect("it was passed on");

    assert_eq!(admin.list_topics().await.expect("listed").len(), 1);
}

#[tokio::test]
async fn offsets_come_from_every_leader_in_the_order_asked() {
    let cluster = Cluster::start(3).await;
    cluster.create_topic("t", 3);
    let client = client(&cluster).await;
    let producer = client.producer().build().await.expect("built");
    for (partition, timestamp_ms) in [(2, 10), (2, 20), (1, 30)] {
        let record = Record::to("t")
            .value("v")
            .partition(partition)
            .timestamp_ms(timestamp_ms);
        producer
            .send(record)
            .await
            .expect("sent")
            .await
            .expect("acknowledged");
    }
    cluster.move_leader("t", 2, 1, false);

    let listed = client
        .admin()
        .list_offsets(&[
            ("t", 2, OffsetAt::End),
            ("t", 0, OffsetAt::Beginning),
            ("t", 2, OffsetAt::Timestamp(11)),
            ("t", 1, OffsetAt::Timestamp(31)),
        ])
        .await
        .expect("listed");

    let offsets: Vec<_> = listed
        .iter()
        .map(|found| (found.partition, found.offset))
        .collect();
    assert_eq!(
        offsets,
        [(2, Some(2)), (0, Some(0)), (2, Some(1)), (1, None)]
    );
    let unknown = client
        .admin()
        .list_offsets(&[("t", 7, OffsetAt::End)])
        .await;
    assert_eq!(
        unknown.expect_err("no partition 7").kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let admin = client(&cluster).await.admin();

    assert_eq!(admin.delete_records("t", 0, 5).await, Ok(5));
}

#[tokio::test]
async fn one_living_bootstrap_broker_is_enough() {
    let cluster = Cluster::start(1).await;
    let builder = Client::builder()
        .bootstrap("127.0.0.1:1, ")
        .bootstrap(&cluster.endpoint(1));

    assert!(builder.build().await.is_ok());
}

#[tokio::test]
async fn without_a_living_broker_the_error_says_what_was_tried() {
    let timeout = Duration::from_millis(100);
    let builder = Client::builder()
        .bootstrap("127.0.0.1:1")
        .request_timeout(timeout);

    let error = builder.build().await.expect_err("nobody listens");

    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(
        error.to_string().contains("cannot connect to 127.0.0.1:1"),
        "{error}"
    );
    let none = Client::builder().build().await.expect_err("no endpoint");
    assert!(matches!(none, Error::InvalidConfig(_)));
}

#[derive(Debug, Default)]
struct Counting(AtomicU32);

impl Connector for Counting {
    fn connect(&self, endpoint: String) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        TcpConnector.connect(endpoint)
    }
}

#[tokio::test]
async fn every_connection_goes_through_the_connector() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let counting = Arc::new(Counting::default());
    let connector = Arc::clone(&counting) as Arc<dyn Connector>;
    let client = settings(&cluster)
        .connector(connector)
        .build()
        .await
        .expect("built");
    assert_eq!(counting.0.load(Ordering::Relaxed), 1);

    let producer = client.producer().build().await.expect("built");
    let delivery = producer
        .send(Record::to("t").value("v"))
        .await
        .expect("sent");
    delivery.await.expect("acknowledged");

    assert_eq!(counting.0.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn replicas_are_listed_planned_and_moved() {
    let cluster = Cluster::start(1).await;
    let admin = client(&cluster).await.admin();

    let listed = admin.list_partitions(Some("t"), false).await;
    let moving = admin.list_partitions(None, true).await;
    let planned = admin.rebalance(PlanMode::DryRun, 7).await;
    let cancelled = admin.cancel_reassignment("t", 0).await;
    let emptied = admin.decommission_broker(9, PlanMode::Run).await;

    let listed = listed.expect("listed");
    assert_eq!(listed[0].topic, "t");
    assert_eq!(listed[0].replicas, vec![1]);
    assert_eq!(moving.expect("listed"), vec![]);
    assert_eq!(
        planned.expect("planned")[0].partition,
        7,
        "the bound is sent"
    );
    let refused = cancelled.expect_err("none runs");
    assert_eq!(refused.code(), Some(ErrorCode::InvalidRequest));
    let refused = emptied.expect_err("no broker 9");
    assert_eq!(refused.code(), Some(ErrorCode::UnknownBroker));
}

#[tokio::test]
async fn settings_of_the_cluster_are_listed_set_and_unset() {
    let cluster = Cluster::start(1).await;
    let admin = client(&cluster).await.admin();
    let names = async || {
        let listed = admin.list_cluster_settings().await.expect("listed");
        let names = listed.into_iter().map(|entry| entry.name);
        names.collect::<Vec<_>>()
    };

    let set = admin.alter_cluster_settings().set("a", "1").set("b", "2");
    set.send().await.expect("set");
    assert_eq!(names().await, ["a", "b"]);
    let only_checked = admin.alter_cluster_settings().unset("b").validate_only();
    only_checked.send().await.expect("valid");
    assert_eq!(names().await, ["a", "b"]);
    let unset = admin.alter_cluster_settings().unset("a");
    unset.send().await.expect("unset");
    assert_eq!(names().await, ["b"]);

    let refused = admin.alter_cluster_settings().set("data-dir", "x").send();
    let refused = refused.await.expect_err("read only");
    assert_eq!(refused.code(), Some(ErrorCode::InvalidConfig));
}
