//! The producer without faults: batches, partitions, back-pressure, acks, sink, closing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _, stream};
use raftmq_client::{Acks, Compression, Error, ErrorKind, Partitioner, Record, TrySend};

use crate::client;
use crate::fake::{Cluster, Fault};

#[tokio::test]
async fn records_keep_their_order_and_learn_their_offsets() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let producer = client(&cluster)
        .await
        .producer()
        .build()
        .await
        .expect("built");

    let mut deliveries = Vec::new();
    for index in 0..500 {
        let record = Record::to("t").value(index.to_string()).header("h", "x");
        deliveries.push(producer.send(record).await.expect("sent"));
    }
    for (delivery, offset) in deliveries.into_iter().zip(0..) {
        let delivered = delivery.await.expect("acknowledged");
        assert_eq!((delivered.partition, delivered.offset), (0, Some(offset)));
    }

    let expected: Vec<_> = (0..500).map(|index| index.to_string()).collect();
    assert_eq!(cluster.values("t", 0), expected);
    assert_eq!(cluster.records("t", 0)[7].headers.len(), 1);
}

#[tokio::test]
async fn every_compression_arrives() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    for compression in Compression::ALL {
        let builder = client.producer().compression(compression);
        let producer = builder.build().await.expect("built");
        let value = compression.name().repeat(50);
        let delivery = producer
            .send(Record::to("t").value(value))
            .await
            .expect("sent");
        delivery.await.expect("acknowledged");
    }

    let expected: Vec<_> = Compression::ALL
        .iter()
        .map(|c| c.name().repeat(50))
        .collect();
    assert_eq!(cluster.values("t", 0), expected);
}

#[tokio::test]
async fn a_key_goes_where_kafkas_clients_would_send_it() {
    let cluster = Cluster::start(3).await;
    cluster.create_topic("t", 12);
    let producer = client(&cluster)
        .await
        .producer()
        .build()
        .await
        .expect("built");

    let delivery = producer
        .send(Record::to("t").key("abc").value("v"))
        .await
        .expect("sent");

    assert_eq!(delivery.partition(), 479_470_107 % 12);
    assert_eq!(
        delivery.await.expect("acknowledged").partition,
        479_470_107 % 12
    );
}

#[tokio::test]
async fn batches_of_many_partitions_share_requests() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 100);
    let client = client(&cluster).await;
    let builder = client.producer().partitioner(Partitioner::RoundRobin);
    let producer = builder
        .linger(Duration::from_secs(5))
        .build()
        .await
        .expect("built");
    for _ in 0..200 {
        let sent = producer.send(Record::to("t").value("v")).await;
        drop(sent.expect("sent"));
    }

    producer.flush().await.expect("all are acknowledged");

    assert_eq!(cluster.produce_requests(), 1);
    assert_eq!(cluster.records("t", 99).len(), 2);
}

#[tokio::test]
async fn a_full_buffer_makes_senders_wait() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    let builder = client
        .producer()
        .batch_size_bytes(1_000)
        .buffer_bytes(1_000);
    let producer = builder
        .linger(Duration::from_secs(60))
        .build()
        .await
        .expect("built");
    let record = || Record::to("t").value(vec![b'x'; 500]);
    let first = producer.send(record()).await.expect("it fits");

    let refused = producer.try_send(record()).expect("no error");
    assert!(matches!(refused, TrySend::WouldWait(back) if back == record()));
    // A sender that waits ends the lingering of what is in its way.
    let second = producer.send(record()).await.expect("it fits later");

    assert_eq!(first.await.expect("acknowledged").offset, Some(0));
    drop(second);
    let too_large = producer.send(Record::to("t").value(vec![0; 1_000])).await;
    assert!(matches!(
        too_large,
        Err(Error::RecordTooLarge {
            max_bytes: 1_000,
            ..
        })
    ));
}

#[tokio::test]
async fn without_acks_records_count_as_delivered_when_they_are_sent() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    cluster.fail_produce([Fault::Break]);
    let client = client(&cluster).await;
    let producer = client
        .producer()
        .acks(Acks::None)
        .build()
        .await
        .expect("built");

    let lost = producer
        .send(Record::to("t").value("v"))
        .await
        .expect("sent");

    assert_eq!(lost.await.expect("handed over").offset, None);
    assert_eq!(cluster.batches_count("t", 0), 0);
}

#[tokio::test]
async fn acks_of_the_leader_carry_offsets_and_no_sequences() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    let producer = client
        .producer()
        .acks(Acks::Leader)
        .build()
        .await
        .expect("built");

    let delivery = producer
        .send(Record::to("t").value("v"))
        .await
        .expect("sent");

    assert_eq!(delivery.await.expect("acknowledged").offset, Some(0));
    assert!(!cluster.headers("t", 0)[0].has_producer());
}

#[tokio::test]
async fn the_leaders_time_replaces_the_records_own() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    cluster.set_append_time(123);
    let producer = client(&cluster)
        .await
        .producer()
        .build()
        .await
        .expect("built");

    let record = Record::to("t").value("v").timestamp_ms(5);
    let delivery = producer.send(record).await.expect("sent");

    assert_eq!(delivery.await.expect("acknowledged").timestamp_ms, 123);
}

#[tokio::test]
async fn an_unknown_topic_or_partition_is_refused_by_name() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let producer = client(&cluster)
        .await
        .producer()
        .build()
        .await
        .expect("built");

    let topic = producer
        .send(Record::to("nope").value("v"))
        .await
        .expect_err("unknown");
    let partition = producer
        .send(Record::to("t").partition(9))
        .await
        .expect_err("unknown");

    assert_eq!(topic.kind(), ErrorKind::NotFound);
    assert_eq!(topic.to_string(), "topic \"nope\" does not exist");
    assert_eq!(partition.to_string(), "topic \"t\" has no partition 9");
}

#[tokio::test]
async fn a_topic_created_a_moment_later_is_waited_for() {
    let cluster = Cluster::start(1).await;
    let client = crate::settings(&cluster)
        .topic_wait(Duration::from_secs(20))
        .build()
        .await
        .expect("built");
    let producer = client.producer().build().await.expect("built");
    let sending = tokio::spawn(async move {
        let delivery = producer.send(Record::to("late").value("v")).await?;
        delivery.await
    });

    tokio::task::yield_now().await;
    cluster.create_topic("late", 1);

    let delivered = sending
        .await
        .expect("it does not panic")
        .expect("acknowledged");
    assert_eq!(delivered.offset, Some(0));
}

#[tokio::test]
async fn a_sink_delivers_everything_before_its_flush_ends() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 3);
    let client = client(&cluster).await;
    let builder = client.producer().batch_size_bytes(500).buffer_bytes(2_000);
    let producer = builder.build().await.expect("built");
    let topic: Arc<str> = Arc::from("t");
    let records = (0..300).map(|index: u32| {
        Ok(Record::to(Arc::clone(&topic))
            .key(index.to_string())
            .value("some text"))
    });

    let mut sink = producer.sink();
    stream::iter(records)
        .forward(&mut sink)
        .await
        .expect("all are acknowledged");

    let counts: usize = (0..3)
        .map(|partition| cluster.records("t", partition).len())
        .sum();
    assert_eq!(counts, 300);
}

#[tokio::test]
async fn a_sink_gives_a_failed_delivery_as_its_error() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    cluster.fail_produce([Fault::Refuse(raftmq_client::ErrorCode::InvalidTimestamp)]);
    let producer = client(&cluster)
        .await
        .producer()
        .build()
        .await
        .expect("built");
    let mut sink = producer.sink();

    sink.feed(Record::to("t").value("v")).await.expect("taken");
    let failed = sink.flush().await.expect_err("it was refused");

    assert_eq!(failed.kind(), ErrorKind::Invalid);
    sink.send(Record::to("t").value("w"))
        .await
        .expect("the next one arrives");
    assert_eq!(cluster.values("t", 0), ["w"]);
}

#[tokio::test]
async fn closing_delivers_what_is_left_and_refuses_what_comes_later() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    let builder = client.producer().linger(Duration::from_secs(60));
    let producer = builder.build().await.expect("built");
    let delivery = producer
        .send(Record::to("t").value("v"))
        .await
        .expect("sent");

    producer.close().await.expect("all are acknowledged");

    assert_eq!(delivery.await.expect("acknowledged").offset, Some(0));
    let later = producer.send(Record::to("t").value("w")).await;
    assert_eq!(later.expect_err("closed"), Error::Closed);
    assert_eq!(producer.flush().await, Err(Error::Closed));
}

#[tokio::test]
async fn dropping_the_producer_fails_what_is_left() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    let builder = client.producer().linger(Duration::from_secs(60));
    let producer = builder.build().await.expect("built");
    let delivery = producer
        .send(Record::to("t").value("v"))
        .await
        .expect("sent");

    drop(producer);

    assert_eq!(delivery.await, Err(Error::Closed));
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    let cluster = Cluster::start(1).await;
    let client = client(&cluster).await;

    let idempotence = client
        .producer()
        .acks(Acks::Leader)
        .idempotence(true)
        .build()
        .await;
    let sizes = client.producer().buffer_bytes(10).build().await;

    assert!(matches!(idempotence, Err(Error::InvalidConfig(_))));
    assert!(matches!(sizes, Err(Error::InvalidConfig(_))));
}
