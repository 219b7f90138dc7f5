//! Each setting of a topic, and of the cluster where partitions act on it, takes effect on a topic that
//! is in use, from the next record on. One broker in this process, real sockets, a real disk.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use raftmq::node::Node;
use raftmq::replica::{PartitionSettings, Replica};
use raftmq_client::{Client, ConsumedRecord, ErrorKind, Producer, Record, Start};
use tempfile::TempDir;

use crate::in_process::{eventually, in_service, start};

const TOPIC: &str = "changing";
/// The smallest `segment.bytes`.
const SEGMENT_BYTES: usize = 16 << 10;

struct Setup {
    node: Node,
    client: Client,
    producer: Producer,
    replica: Arc<Replica>,
    _folder: TempDir,
}

impl Setup {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let node = start(1, Vec::new(), &folder).await;
        in_service(&[&node]).await;
        let client = Client::builder().bootstrap(node.grpc_endpoint());
        let client = client.build().await.expect("a client");
        client
            .admin()
            .create_topic(TOPIC)
            .send()
            .await
            .expect("a topic");
        let replica = node.parts().replicas.find(TOPIC, 0).expect("a replica");
        eventually("a leader", || replica.leading_term().is_some()).await;
        let producer = client.producer().linger(Duration::ZERO);
        let producer = producer.build().await.expect("a producer");
        Self {
            node,
            client,
            producer,
            replica,
            _folder: folder,
        }
    }

    /// Sets a config and waits until the replica has heard of it.
    async fn set(&self, name: &str, value: &str, heard: impl Fn(&PartitionSettings) -> bool) {
        let alter = self.client.admin().alter_topic(TOPIC);
        alter
            .set_config(name, value)
            .send()
            .await
            .expect("the setting changes");
        eventually(name, || heard(&self.replica.view().settings)).await;
    }

    /// Sets a config of the cluster and waits until the replica has heard of it.
    async fn set_for_all(
        &self,
        name: &str,
        value: &str,
        heard: impl Fn(&PartitionSettings) -> bool,
    ) {
        let alter = self.client.admin().alter_cluster_settings();
        let altered = alter.set(name, value).send().await;
        altered.expect("the setting changes");
        eventually(name, || heard(&self.replica.view().settings)).await;
    }

    async fn produce(&self, bytes: usize, timestamp_ms: i64) -> Result<(), ErrorKind> {
        let record = Record::to(TOPIC)
            .value(vec![7_u8; bytes])
            .timestamp_ms(timestamp_ms);
        let sent = self.producer.send(record).await.expect("accepted");
        sent.await.map(|_| ()).map_err(|error| error.kind())
    }

    async fn read(&self, offset: i64) -> ConsumedRecord {
        let consumer = self.client.consumer().assign([(TOPIC, 0)]);
        let consumer = consumer.start(Start::Offset(offset)).build().await;
        let mut consumer = consumer.expect("a consumer");
        consumer.next().await.expect("a record").expect("readable")
    }

    fn boundaries(&self) -> usize {
        self.replica.machine().read().boundaries().len()
    }

    fn producers_count(&self) -> usize {
        self.replica.machine().read().producers_count()
    }

    fn log_start(&self) -> i64 {
        self.replica.machine().read().log_start().get()
    }

    fn log_end(&self) -> i64 {
        self.replica.machine().read().log_end().get()
    }
}

fn now_ms() -> i64 {
    raftmq::env::Env::real().clock.now_ms()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_largest_batch_counts_from_the_next_one_on() {
    let setup = Setup::new().await;
    assert_eq!(setup.produce(5_000, now_ms()).await, Ok(()));

    setup
        .set("max.message.bytes", "2000", |now| {
            now.message_bytes_max == 2_000
        })
        .await;
    let refused = setup.produce(5_000, now_ms()).await;
    assert_eq!(refused, Err(ErrorKind::TooLarge));
    assert_eq!(setup.log_end(), 1, "nothing of it was written");
    assert_eq!(setup.produce(1_000, now_ms()).await, Ok(()));

    setup
        .set("max.message.bytes", "8000", |now| {
            now.message_bytes_max == 8_000
        })
        .await;
    assert_eq!(setup.produce(5_000, now_ms()).await, Ok(()));
    setup.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaders_clock_stamps_records_while_the_topic_says_so() {
    const LONG_AGO: i64 = 1_600_000_000_000;
    let setup = Setup::new().await;
    setup
        .set("retention.ms", "-1", |now| now.retention_ms == -1)
        .await;
    setup.produce(10, LONG_AGO).await.expect("written");

    setup
        .set("message.timestamp.type", "LogAppendTime", |now| {
            now.is_log_append_time
        })
        .await;
    let before = now_ms();
    setup.produce(10, LONG_AGO).await.expect("written");
    let after = now_ms();
    setup
        .set("message.timestamp.type", "CreateTime", |now| {
            !now.is_log_append_time
        })
        .await;
    setup.produce(10, LONG_AGO).await.expect("written");

    // The consumer checks each batch's CRC: it was computed anew.
    assert_eq!(setup.read(0).await.timestamp_ms, LONG_AGO);
    let stamped = setup.read(1).await;
    assert!((before..=after).contains(&stamped.timestamp_ms));
    assert_eq!(stamped.value.as_deref(), Some(&[7_u8; 10][..]));
    assert_eq!(setup.read(2).await.timestamp_ms, LONG_AGO);
    setup.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_segment_ends_with_the_next_record() {
    let setup = Setup::new().await;
    setup.produce(SEGMENT_BYTES, now_ms()).await.expect("kept");
    assert_eq!(setup.boundaries(), 0);

    setup
        .set("segment.bytes", "16384", |now| now.segment_bytes == 16_384)
        .await;
    setup.produce(10, now_ms()).await.expect("written");

    assert_eq!(setup.boundaries(), 1);
    setup.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_segment_ends_when_it_is_as_old_as_the_topic_says_and_only_once() {
    let setup = Setup::new().await;
    setup.produce(10, now_ms()).await.expect("written");
    assert_eq!(setup.boundaries(), 0);

    setup
        .set("segment.ms", "1", |now| now.segment_ms == 1)
        .await;
    eventually("the end of a segment", || setup.boundaries() == 1).await;

    let applied = setup.replica.machine().read().applied();
    setup.node.parts().replicas.enforce_retention().await;
    setup.node.parts().replicas.enforce_retention().await;
    assert_eq!(
        setup.replica.machine().read().applied(),
        applied,
        "a segment without records costs nothing"
    );
    setup.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shorter_retention_drops_what_is_older_and_frees_its_log() {
    const HOUR_MS: i64 = 3_600_000;
    let setup = Setup::new().await;
    for _ in 0..8 {
        let written = setup.produce(SEGMENT_BYTES, now_ms() - 2 * HOUR_MS).await;
        written.expect("written");
    }
    setup.node.parts().replicas.enforce_retention().await;
    assert_eq!(setup.log_start(), 0);

    setup
        .set("retention.ms", "3600000", |now| now.retention_ms == HOUR_MS)
        .await;
    eventually("expiry", || setup.log_start() == 8).await;
    let store = setup.replica.group().store();
    // What is left is smaller than any of the records.
    eventually("a purge", || store.log_bytes() < SEGMENT_BYTES as u64).await;

    setup.produce(10, now_ms()).await.expect("written");
    assert_eq!(setup.read(8).await.offset, 8);
    setup.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_retention_in_bytes_drops_the_oldest_and_keeps_at_least_so_much() {
    let setup = Setup::new().await;
    setup
        .set("segment.bytes", "16384", |now| now.segment_bytes == 16_384)
        .await;
    for _ in 0..20 {
        setup.produce(SEGMENT_BYTES, now_ms()).await.expect("kept");
    }

    setup
        .set("retention.bytes", "81920", |now| {
            now.retention_bytes == 81_920
        })
        .await;
    eventually("expiry", || setup.log_start() > 0).await;

    let kept = setup.log_end() - setup.log_start();
    assert!((5..=9).contains(&kept), "{kept} records of 16 KiB are kept");
    let store = setup.replica.group().store();
    let log_bytes_max = 12 * SEGMENT_BYTES as u64;
    eventually("a purge", || store.log_bytes() < log_bytes_max).await;
    setup.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_is_silent_for_longer_than_the_cluster_says_is_forgotten_and_may_go_on() {
    let setup = Setup::new().await;
    setup.produce(10, now_ms()).await.expect("written");
    setup.node.parts().replicas.enforce_retention().await;
    assert_eq!(setup.producers_count(), 1, "a day is not over");

    setup
        .set_for_all("producer.id.expiration.ms", "1000", |now| {
            now.producer_expiration_ms == 1_000
        })
        .await;
    // Nothing is appended meanwhile: the leader's clock alone says that the time is over.
    eventually("expiry", || setup.producers_count() == 0).await;
    assert_eq!((setup.log_start(), setup.log_end()), (0, 1));

    setup.produce(10, now_ms()).await.expect("written");
    assert_eq!((setup.producers_count(), setup.log_end()), (1, 2));
    setup.node.stop().await;
}
