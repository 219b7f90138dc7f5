//! The consumer: positions, seeks, leaders that move, bytes that are damaged.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use raftmq_client::{
    Client, Compression, ConsumedRecord, Consumer, Error, ErrorKind, OutOfRange, Record, Start,
};

use crate::client;
use crate::fake::Cluster;

/// Fills one partition with 0, 1, 2 … in batches of ten, timestamps 0, 10, 20 …
async fn fill(client: &Client, partition: u32, count: i64) {
    let builder = client.producer().compression(Compression::Lz4);
    let producer = builder
        .linger(Duration::from_secs(60))
        .build()
        .await
        .expect("built");
    for index in 0..count {
        let record = Record::to("t")
            .partition(partition)
            .value(index.to_string());
        let sent = producer.send(record.timestamp_ms(index * 10)).await;
        drop(sent.expect("taken"));
        if index % 10 == 9 {
            producer.flush().await.expect("acknowledged");
        }
    }
    producer.close().await.expect("acknowledged");
}

async fn take(consumer: &mut Consumer, count: usize) -> Vec<ConsumedRecord> {
    let records = consumer.by_ref().take(count).collect::<Vec<_>>().await;
    records
        .into_iter()
        .map(|record| record.expect("a record"))
        .collect()
}

fn offsets(records: &[ConsumedRecord]) -> Vec<i64> {
    records.iter().map(|record| record.offset).collect()
}

async fn consumer(client: &Client, start: Start) -> Consumer {
    let builder = client.consumer().assign([("t", 0)]).start(start);
    builder.build().await.expect("built")
}

#[tokio::test]
async fn every_partition_is_read_in_order_from_several_leaders() {
    let cluster = Cluster::start(3).await;
    cluster.create_topic("t", 4);
    let client = client(&cluster).await;
    for partition in 0..4 {
        fill(&client, partition, 100).await;
    }
    let builder = client.consumer().assign_topic("t").fetch_bytes(2_000);
    let builder = builder.partition_fetch_bytes(300).prefetch_bytes(3_000);
    let mut consumer = builder.build().await.expect("built");

    let records = take(&mut consumer, 400).await;

    for partition in 0..4 {
        let own = records
            .iter()
            .filter(|record| record.partition == partition);
        let (offsets, values): (Vec<_>, Vec<_>) = own
            .map(|record| (record.offset, record.value.clone()))
            .unzip();
        assert_eq!(offsets, (0..100).collect::<Vec<_>>());
        let expected: Vec<_> = (0..100).map(|i| Some(Bytes::from(i.to_string()))).collect();
        assert_eq!(values, expected);
    }
}

#[tokio::test]
async fn reading_starts_where_it_is_told() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    fill(&client, 0, 50).await;
    cluster.delete_records("t", 0, 5);

    for (start, first) in [
        (Start::Beginning, 5),
        (Start::Offset(17), 17),
        (Start::Timestamp(231), 24),
    ] {
        let mut consumer = consumer(&client, start).await;
        assert_eq!(
            offsets(&take(&mut consumer, 2).await),
            [first, first + 1],
            "{start:?}"
        );
    }
    for start in [Start::End, Start::Timestamp(10_000)] {
        let mut consumer = consumer(&client, start).await;
        // When the end is looked up cannot be seen from here: records come until one is read.
        let records = tokio::select! {
            biased;
            records = take(&mut consumer, 1) => records,
            () = fill_for_ever(&client) => Vec::new(),
        };
        assert!(offsets(&records)[0] >= 50, "{start:?}");
    }
}

async fn fill_for_ever(client: &Client) {
    loop {
        fill(client, 0, 1).await;
    }
}

#[tokio::test]
async fn a_consumer_at_the_end_waits_for_what_comes() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    let mut consumer = consumer(&client, Start::Offset(0)).await;
    assert_eq!(consumer.position("t", 0), Ok(Some(0)));
    let waiting = tokio::spawn(async move {
        let records = take(&mut consumer, 3).await;
        (records, consumer)
    });

    fill(&client, 0, 3).await;

    let (records, consumer) = waiting.await.expect("it does not panic");
    assert_eq!(offsets(&records), [0, 1, 2]);
    assert_eq!(consumer.position("t", 0), Ok(Some(3)));
    assert_eq!(consumer.high_watermark("t", 0), Ok(Some(3)));
}

#[tokio::test]
async fn a_seek_drops_what_was_fetched_ahead() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    fill(&client, 0, 100).await;
    let mut consumer = consumer(&client, Start::Beginning).await;
    assert_eq!(offsets(&take(&mut consumer, 3).await), [0, 1, 2]);

    consumer.seek("t", 0, Start::Offset(42)).expect("assigned");
    assert_eq!(consumer.position("t", 0), Ok(Some(42)));
    assert_eq!(offsets(&take(&mut consumer, 2).await), [42, 43]);
    consumer
        .seek("t", 0, Start::Timestamp(900))
        .expect("assigned");
    assert_eq!(offsets(&take(&mut consumer, 1).await), [90]);

    let unassigned = consumer.seek("t", 1, Start::End);
    assert!(matches!(
        unassigned,
        Err(Error::NotAssigned { partition: 1, .. })
    ));
}

#[tokio::test]
async fn a_position_outside_the_log_follows_the_policy() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    fill(&client, 0, 50).await;
    cluster.delete_records("t", 0, 20);
    let from_deleted = |policy| {
        let builder = client.consumer().assign([("t", 0)]).start(Start::Offset(3));
        builder.out_of_range(policy).build()
    };

    let mut earliest = from_deleted(OutOfRange::Earliest).await.expect("built");
    let mut strict = from_deleted(OutOfRange::Error).await.expect("built");

    assert_eq!(offsets(&take(&mut earliest, 1).await), [20]);
    let error = strict
        .next()
        .await
        .expect("an item")
        .expect_err("out of range");
    assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
    strict.seek("t", 0, Start::Beginning).expect("assigned");
    assert_eq!(offsets(&take(&mut strict, 1).await), [20]);
}

#[tokio::test]
async fn a_leader_that_moved_is_followed_without_a_gap_or_a_repetition() {
    let cluster = Cluster::start(2).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    fill(&client, 0, 100).await;
    let builder = client
        .consumer()
        .assign([("t", 0)])
        .partition_fetch_bytes(100);
    let mut consumer = builder.prefetch_bytes(1).build().await.expect("built");
    let mut records = take(&mut consumer, 10).await;

    cluster.move_leader("t", 0, 2, false);
    records.extend(take(&mut consumer, 40).await);
    cluster.move_leader("t", 0, 1, true);
    records.extend(take(&mut consumer, 50).await);

    assert_eq!(offsets(&records), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn broken_streams_are_opened_again() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;
    fill(&client, 0, 30).await;
    cluster.break_fetches(3);

    let mut consumer = consumer(&client, Start::Beginning).await;

    let expected: Vec<_> = (0..30).collect();
    assert_eq!(offsets(&take(&mut consumer, 30).await), expected);
}

#[tokio::test]
async fn a_damaged_batch_stops_its_partition_until_a_seek() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 2);
    let client = client(&cluster).await;
    fill(&client, 0, 20).await;
    fill(&client, 1, 10).await;
    let mut damaged = raw_batch(20);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    cluster.append_raw("t", 0, Bytes::from(damaged), 21);
    cluster.append_raw("t", 0, Bytes::from(raw_batch(21)), 22);
    let mut consumer = client
        .consumer()
        .assign_topic("t")
        .build()
        .await
        .expect("built");

    let mut errors = Vec::new();
    let mut count = 0;
    while count < 30 || errors.is_empty() {
        match consumer.next().await.expect("an item") {
            Ok(_) => count += 1,
            Err(error) => errors.push(error),
        }
    }

    assert!(matches!(
        &errors[..],
        [Error::Corrupt {
            partition: 0,
            offset: 20,
            ..
        }]
    ));
    consumer.seek("t", 0, Start::Offset(21)).expect("assigned");
    assert_eq!(offsets(&take(&mut consumer, 1).await), [21]);
}

fn raw_batch(base_offset: i64) -> Vec<u8> {
    let mut builder = raftmq_records::BatchBuilder::new(Compression::None, 0);
    builder.append(0, None, Some(b"raw"), &[]).expect("fits");
    let mut batch = builder.finish().expect("has a record").to_vec();
    raftmq_records::stamp(&mut batch, base_offset, 1);
    batch
}

#[tokio::test]
async fn what_cannot_be_assigned_is_refused() {
    let cluster = Cluster::start(1).await;
    cluster.create_topic("t", 1);
    let client = client(&cluster).await;

    let none = client
        .consumer()
        .build()
        .await
        .expect_err("nothing assigned");
    let twice = client.consumer().assign([("t", 0), ("t", 0)]).build().await;
    let partition = client
        .consumer()
        .assign([("t", 5)])
        .build()
        .await
        .expect_err("unknown");
    let topic = client
        .consumer()
        .assign_topic("nope")
        .build()
        .await
        .expect_err("unknown");

    assert!(matches!(none, Error::InvalidConfig(_)));
    assert!(matches!(twice, Err(Error::InvalidConfig(_))));
    assert_eq!(partition.kind(), ErrorKind::NotFound);
    assert_eq!(topic.kind(), ErrorKind::NotFound);
}
