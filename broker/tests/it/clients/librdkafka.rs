//! librdkafka through the crate `rdkafka`: what clients in C, C++, Python, Go, C# and Rust are made of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use super::{Cluster, LIBRDKAFKA_COMPRESSIONS, Shown, assert_records, record};
use crate::support::{PATIENCE, wait_until};

const RECORDS: i64 = 30;
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(200);

/// Counts what was delivered and keeps the first error.
#[derive(Debug, Default)]
struct Deliveries {
    acked: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            eprintln!("delivery failed: {error}");
            self.failed.fetch_add(1, Ordering::Relaxed);
        } else {
            self.acked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

type CountingProducer = ThreadedProducer<Deliveries>;

fn settings(bootstrap: &str, more: &[(&str, &str)]) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", bootstrap)
        .set("log_level", "3");
    for (key, value) in more {
        settings.set(*key, *value);
    }
    settings
}

fn producer(bootstrap: &str, more: &[(&str, &str)]) -> CountingProducer {
    let mut settings = settings(bootstrap, more);
    settings
        .set("linger.ms", "2")
        .set("delivery.timeout.ms", "60000");
    settings
        .create_with_context(Deliveries::default())
        .expect("a producer")
}

/// Records that were acknowledged, and those that failed.
fn outcome(producer: &CountingProducer) -> (u64, u64) {
    let deliveries = producer.context();
    let (acked, failed) = (&deliveries.acked, &deliveries.failed);
    (
        acked.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed),
    )
}

fn send(producer: &CountingProducer, topic: &str, sent: &Shown) {
    let mut headers = OwnedHeaders::new();
    for (key, value) in &sent.headers {
        headers = headers.insert(Header {
            key,
            value: value.as_ref(),
        });
    }
    loop {
        let mut message = BaseRecord::<[u8], [u8]>::to(topic)
            .partition(sent.partition)
            .timestamp(sent.timestamp_ms)
            .headers(headers.clone());
        if let Some(key) = &sent.key {
            message = message.key(key.as_slice());
        }
        if let Some(value) = &sent.value {
            message = message.payload(value.as_slice());
        }
        match producer.send(message) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(POLL);
            }
            Err((error, _)) => panic!("{error}"),
        }
    }
}

/// Writes the records `0..count` to partition 0; every one must be acknowledged.
pub(super) fn write(bootstrap: &str, topic: &str, count: i64, compression: &str) {
    let producer = producer(bootstrap, &[("compression.codec", compression)]);
    for number in 0..count {
        send(&producer, topic, &record(number));
    }
    producer.flush(PATIENCE).expect("everything is delivered");
    assert_eq!(outcome(&producer), (count.cast_unsigned(), 0), "{topic}");
}

fn consumer(bootstrap: &str, topic: &str, from: Offset, more: &[(&str, &str)]) -> BaseConsumer {
    let mut settings = settings(bootstrap, more);
    // The group is never joined: the partition is assigned.
    settings
        .set("group.id", "unused")
        .set("enable.auto.commit", "false");
    settings
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "100");
    let consumer: BaseConsumer = settings.create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    partitions
        .add_partition_offset(topic, 0, from)
        .expect("it is assigned");
    consumer.assign(&partitions).expect("it is assigned");
    consumer
}

/// Reads `count` records of partition 0.
fn take(consumer: &BaseConsumer, count: i64) -> Vec<Shown> {
    let mut read = Vec::new();
    let mut patience = PATIENCE;
    while (read.len() as u64) < count.cast_unsigned() {
        match consumer.poll(POLL) {
            Some(Err(error)) if is_passing(&error) => {}
            Some(message) => {
                read.push(shown(&message.expect("a record")));
                continue;
            }
            None => {}
        }
        patience = patience.checked_sub(POLL).expect("records come in time");
    }
    read
}

/// A connection that was lost: the client says so, and goes on with the other brokers.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
    )
}

fn shown(message: &impl Message) -> Shown {
    let header =
        |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
    Shown {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().expect("a timestamp"),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter().map(header).collect::<Vec<_>>())
            .collect(),
    }
}

/// Reads records of partition 0 from the beginning.
pub(super) fn read(bootstrap: &str, topic: &str, count: i64) -> Vec<Shown> {
    take(&consumer(bootstrap, topic, Offset::Beginning, &[]), count)
}

/// The next offset of partition 0, once a leader says it.
pub(super) fn end_of(bootstrap: &str, topic: &str) -> i64 {
    let reader = consumer(bootstrap, topic, Offset::Beginning, &[]);
    let mut watermarks = None;
    wait_until(|| {
        // A leader that is gone does not answer: the next question finds its successor.
        watermarks = reader.fetch_watermarks(topic, 0, POLL * 10).ok();
        watermarks.is_some()
    });
    watermarks.expect("they are there").1
}

fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    settings(bootstrap, &[]).create().expect("an admin client")
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

/// librdkafka answers from a thread of its own: nothing here needs a runtime.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    let mut answer = None;
    wait_until(|| {
        answer = future.as_mut().now_or_never();
        answer.is_some()
    });
    answer.expect("it is there")
}

/// Makes a topic with the default number of replicas, and waits for its leaders.
pub(super) fn create_topic(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    // The records are old: retention by time would delete them.
    if !configs.iter().any(|(key, _)| *key == "retention.ms") {
        new = new.set("retention.ms", "-1");
    }
    for (key, value) in configs {
        new = new.set(key, value);
    }
    let created = wait(admin(bootstrap).create_topics([&new], &options())).expect("an answer");
    assert_eq!(created, [Ok(topic.to_owned())]);
    wait_until(|| i32::try_from(led_count(bootstrap, topic)) == Ok(partitions));
}

/// The leader of each partition, -1 where there is none.
fn leaders(bootstrap: &str, topic: &str) -> Vec<i32> {
    let admin = admin(bootstrap);
    let metadata = admin
        .inner()
        .fetch_metadata(Some(topic), PATIENCE)
        .expect("metadata");
    let partitions = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions());
    partitions.map(|partition| partition.leader()).collect()
}

/// How many partitions have a leader.
fn led_count(bootstrap: &str, topic: &str) -> usize {
    let leaders = leaders(bootstrap, topic);
    leaders.iter().filter(|leader| **leader > 0).count()
}

/// The broker that leads partition 0.
pub(super) fn leader_of(bootstrap: &str, topic: &str) -> u64 {
    let leader = leaders(bootstrap, topic).first().copied();
    u64::try_from(leader.expect("a partition")).expect("it has a leader")
}

#[test]
fn librdkafka_writes_and_reads_every_compression() {
    let cluster = Cluster::shared();
    for compression in LIBRDKAFKA_COMPRESSIONS {
        let topic = format!("librdkafka-{compression}");
        create_topic(&cluster.bootstrap, &topic, 1, &[]);
        write(&cluster.bootstrap, &topic, RECORDS, compression);
        assert_records(
            &read(&cluster.bootstrap, &topic, RECORDS),
            RECORDS,
            compression,
        );
    }
    // Every level of acknowledgement.
    for acks in ["0", "1", "all"] {
        let topic = format!("acks-{acks}");
        create_topic(&cluster.bootstrap, &topic, 1, &[]);
        let producer = producer(&cluster.bootstrap, &[("acks", acks)]);
        for number in 0..RECORDS {
            send(&producer, &topic, &record(number));
        }
        producer.flush(PATIENCE).expect("everything is delivered");
        assert_records(&read(&cluster.bootstrap, &topic, RECORDS), RECORDS, acks);
    }
}

#[test]
fn librdkafka_rewinds_and_is_told_what_is_out_of_range() {
    let cluster = Cluster::shared();
    create_topic(&cluster.bootstrap, "librdkafka-rewinding", 1, &[]);
    write(&cluster.bootstrap, "librdkafka-rewinding", RECORDS, "lz4");
    let reader = consumer(
        &cluster.bootstrap,
        "librdkafka-rewinding",
        Offset::Beginning,
        &[],
    );
    assert_records(&take(&reader, RECORDS), RECORDS, "all");

    reader
        .seek("librdkafka-rewinding", 0, Offset::Offset(11), PATIENCE)
        .expect("it seeks");
    assert_eq!(take(&reader, 1), [record(11)]);
    reader
        .seek("librdkafka-rewinding", 0, Offset::OffsetTail(2), PATIENCE)
        .expect("it seeks");
    assert_eq!(take(&reader, 2), [record(RECORDS - 2), record(RECORDS - 1)]);
    let mut times = TopicPartitionList::new();
    let time = Offset::Offset(record(17).timestamp_ms);
    times
        .add_partition_offset("librdkafka-rewinding", 0, time)
        .expect("it is there");
    let found = reader.offsets_for_times(times, PATIENCE).expect("offsets");
    assert_eq!(found.elements()[0].offset(), Offset::Offset(17));
    let watermarks = reader
        .fetch_watermarks("librdkafka-rewinding", 0, PATIENCE)
        .expect("watermarks");
    assert_eq!(watermarks, (0, RECORDS));

    let beyond = consumer(
        &cluster.bootstrap,
        "librdkafka-rewinding",
        Offset::Offset(1_000),
        &[],
    );
    let refused = std::iter::repeat_with(|| beyond.poll(POLL))
        .take(100)
        .flatten()
        .next();
    let refused = refused.expect("an answer").map(|message| shown(&message));
    assert_eq!(
        refused.err().and_then(|error| error.rdkafka_error_code()),
        Some(RDKafkaErrorCode::AutoOffsetReset)
    );
}

#[test]
fn librdkafka_administers_topics() {
    let cluster = Cluster::shared();
    let bootstrap = &cluster.bootstrap;
    create_topic(
        bootstrap,
        "administered",
        2,
        &[("retention.ms", "-1"), ("segment.ms", "86400000")],
    );
    let admin = admin(bootstrap);
    let again = NewTopic::new("administered", 1, TopicReplication::Fixed(1));
    let refused = wait(admin.create_topics([&again], &options())).expect("an answer");
    assert_eq!(
        refused,
        [Err((
            "administered".to_owned(),
            RDKafkaErrorCode::TopicAlreadyExists
        ))]
    );

    let more = NewPartitions::new("administered", 4);
    let grown = wait(admin.create_partitions([&more], &options())).expect("an answer");
    assert_eq!(grown, [Ok("administered".to_owned())]);
    wait_until(|| led_count(bootstrap, "administered") == 4);

    let config = |name: &str| {
        let resource = ResourceSpecifier::Topic("administered");
        let described = wait(admin.describe_configs([&resource], &options())).expect("an answer");
        let described = described.into_iter().next().expect("one");
        let described = described.expect("it is there");
        let entry = described.get(name);
        entry.and_then(|entry| entry.value.clone())
    };
    assert_eq!(config("segment.ms").as_deref(), Some("86400000"));
    // AlterConfigs sets everything: what it does not name goes back to its default. (The records are
    // old: with the default retention they would be deleted while the test reads them.)
    let resource = ResourceSpecifier::Topic("administered");
    let alter = AlterConfig::new(resource)
        .set("retention.ms", "-1")
        .set("max.message.bytes", "70000");
    let altered = wait(admin.alter_configs([&alter], &options())).expect("an answer");
    assert!(altered[0].is_ok(), "{altered:?}");
    wait_until(|| config("max.message.bytes").as_deref() == Some("70000"));
    wait_until(|| config("segment.ms").as_deref() == Some("604800000"));

    write(bootstrap, "administered", RECORDS, "none");
    let mut before = TopicPartitionList::new();
    before
        .add_partition_offset("administered", 0, Offset::Offset(10))
        .expect("it is there");
    let deleted = wait(admin.delete_records(&before, &options())).expect("an answer");
    assert_eq!(deleted.elements()[0].offset(), Offset::Offset(10));
    let reader = consumer(bootstrap, "administered", Offset::Beginning, &[]);
    assert_eq!(take(&reader, 1), [record(10)]);

    let gone = wait(admin.delete_topics(&["administered"], &options())).expect("an answer");
    assert_eq!(gone, [Ok("administered".to_owned())]);
    let unknown = wait(admin.delete_topics(&["nowhere"], &options())).expect("an answer");
    assert_eq!(
        unknown,
        [Err((
            "nowhere".to_owned(),
            RDKafkaErrorCode::UnknownTopicOrPartition
        ))]
    );
}

#[test]
fn librdkafka_is_bound_by_max_message_bytes() {
    const LIMIT: usize = 300_000;
    let cluster = Cluster::shared();
    create_topic(
        &cluster.bootstrap,
        "big",
        1,
        &[("max.message.bytes", "300000")],
    );
    let of_size = |bytes: usize| Shown {
        value: Some(vec![b'x'; bytes]),
        ..record(0)
    };
    let producer = producer(&cluster.bootstrap, &[("message.max.bytes", "2000000")]);
    send(&producer, "big", &of_size(LIMIT - 200));
    producer.flush(PATIENCE).expect("an answer came");
    send(&producer, "big", &of_size(LIMIT + 1));
    producer.flush(PATIENCE).expect("an answer came");
    send(&producer, "big", &of_size(LIMIT - 200));
    producer.flush(PATIENCE).expect("an answer came");

    assert_eq!(outcome(&producer), (2, 1));
    // A consumer that asks for less than a batch gets the whole batch all the same.
    let small = [("fetch.message.max.bytes", "1000")];
    let reader = consumer(&cluster.bootstrap, "big", Offset::Beginning, &small);
    for read in take(&reader, 2) {
        assert_eq!(read.value.map(|value| value.len()), Some(LIMIT - 200));
    }
}

#[test]
fn an_idempotent_librdkafka_producer_survives_its_leaders_death_without_loss_or_doubles() {
    const BEFORE_KILL: u64 = 500;
    const AFTER_KILL: u64 = 1_000;
    let cluster = Cluster::start();
    create_topic(&cluster.bootstrap, "idempotent", 1, &[]);
    let leader = leader_of(&cluster.bootstrap, "idempotent");
    let idempotent = [("enable.idempotence", "true"), ("batch.num.messages", "50")];
    let producer = producer(&cluster.bootstrap, &idempotent);
    let acked = || outcome(&producer).0;

    let mut sent = 0;
    let mut send_until = |goal: u64| {
        while acked() < goal {
            send(&producer, "idempotent", &record(sent));
            sent += 1;
            if sent % 50 == 0 {
                // As fast as it is acknowledged, and no faster.
                wait_until(|| sent.cast_unsigned() < acked() + 5_000);
            }
        }
    };
    send_until(BEFORE_KILL);
    cluster.dev.kill(leader);
    let at_kill = acked();
    send_until(at_kill + AFTER_KILL);
    producer.flush(PATIENCE).expect("everything is delivered");

    assert_eq!(outcome(&producer), (sent.cast_unsigned(), 0));
    assert_records(
        &read(&cluster.bootstrap, "idempotent", sent),
        sent,
        "idempotent",
    );
    let reader = consumer(&cluster.bootstrap, "idempotent", Offset::Beginning, &[]);
    let (low, high) = reader
        .fetch_watermarks("idempotent", 0, PATIENCE)
        .expect("watermarks");
    assert_eq!((low, high), (0, sent), "nothing twice");
}
