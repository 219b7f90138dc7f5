//! Requests that no well-behaved client sends, as bytes on the gRPC API: each is answered with its
//! own error, and nothing of it is stored.

use std::time::Duration;

use bytes::Bytes;
use raftmq_client::{Client, Compression};
use raftmq_proto::v1::broker_client::BrokerClient;
use raftmq_proto::v1::{
    Acks, ErrorCode, FetchPartition, FetchRequest, FetchResult, InitProducerIdRequest,
    PartitionBatch, ProduceRequest, ProduceResult,
};
use raftmq_records::BatchBuilder;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

use crate::support::{Broker, Dev, PATIENCE, text};

const TOPIC: &str = "t";

type Api = BrokerClient<Channel>;

async fn connect(endpoint: &str) -> Api {
    BrokerClient::connect(format!("http://{endpoint}"))
        .await
        .unwrap()
}

/// A batch of one record.
fn batch(value: &[u8]) -> Bytes {
    sequenced(value, None)
}

/// A batch of one record of an idempotent producer: id, epoch, sequence.
fn sequenced(value: &[u8], producer: Option<(i64, i16, i32)>) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 1_024);
    if let Some((id, epoch, sequence)) = producer {
        builder.set_producer(id, epoch, sequence);
    }
    builder
        .append(1_700_000_000_000, None, Some(value), &[])
        .unwrap();
    builder.finish().unwrap()
}

/// Sends one batch and gives its result.
async fn produce(api: &mut Api, topic: &str, partition: u32, record_batch: Bytes) -> ProduceResult {
    let batches = vec![PartitionBatch {
        topic: topic.to_owned(),
        partition,
        record_batch,
    }];
    let acks = Acks::All.into();
    let request = ProduceRequest {
        correlation_id: 9,
        acks,
        timeout_ms: 20_000,
        batches,
    };
    let mut responses = api
        .produce(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let mut response = responses.message().await.unwrap().unwrap();
    assert_eq!(response.correlation_id, 9);
    response.results.remove(0)
}

async fn fetch(api: &mut Api, fetch_offset: i64, current_leader_epoch: i64) -> FetchResult {
    let partition = FetchPartition {
        topic: TOPIC.to_owned(),
        partition: 0,
        fetch_offset,
        max_bytes: 1 << 20,
        current_leader_epoch,
    };
    let partitions = vec![partition];
    let request = FetchRequest {
        correlation_id: 9,
        max_bytes: 1 << 20,
        partitions,
        ..FetchRequest::default()
    };
    let mut responses = api
        .fetch(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    responses
        .message()
        .await
        .unwrap()
        .unwrap()
        .results
        .remove(0)
}

#[track_caller]
fn code(error: Option<&raftmq_proto::v1::Error>) -> ErrorCode {
    let error = error.expect("it is refused");
    assert!(!error.message.is_empty());
    error.code()
}

async fn refusal(api: &mut Api, topic: &str, partition: u32, batch: Bytes) -> ErrorCode {
    code(produce(api, topic, partition, batch).await.error.as_ref())
}

#[tokio::test]
async fn damaged_and_misdirected_batches_are_refused_and_not_stored() {
    let broker = Broker::start(&[]);
    broker.ok(&[
        "topic",
        "create",
        TOPIC,
        "--config",
        "max.message.bytes=4096",
    ]);
    let mut api = connect(&broker.grpc()).await;
    let good = batch(b"good");

    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(
        refusal(&mut api, TOPIC, 0, flipped.into()).await,
        ErrorCode::CorruptRecord
    );
    let mut miscounted = good.to_vec();
    miscounted[60] = 7;
    assert_eq!(
        refusal(&mut api, TOPIC, 0, miscounted.into()).await,
        ErrorCode::CorruptRecord
    );
    for length in [0, 1, 11, 60, good.len() - 1] {
        let cut = good.slice(..length);
        assert_eq!(
            refusal(&mut api, TOPIC, 0, cut).await,
            ErrorCode::CorruptRecord,
            "{length}"
        );
    }
    let two = Bytes::from([&good[..], &good[..]].concat());
    assert_eq!(
        refusal(&mut api, TOPIC, 0, two).await,
        ErrorCode::CorruptRecord
    );
    let large = batch(&[b'x'; 5_000]);
    assert_eq!(
        refusal(&mut api, TOPIC, 0, large).await,
        ErrorCode::RecordTooLarge
    );
    assert_eq!(
        refusal(&mut api, TOPIC, 1, good.clone()).await,
        ErrorCode::UnknownPartition
    );
    assert_eq!(
        refusal(&mut api, "nowhere", 0, good.clone()).await,
        ErrorCode::UnknownTopic
    );

    let stored = produce(&mut api, TOPIC, 0, good).await;
    assert_eq!(
        (stored.error, stored.base_offset),
        (None, 0),
        "nothing was stored before"
    );
}

#[tokio::test]
async fn sequences_are_checked_and_a_repetition_is_answered_not_stored() {
    let broker = Broker::start(&[]);
    broker.ok(&["topic", "create", TOPIC]);
    let mut api = connect(&broker.grpc()).await;
    let producer = api
        .init_producer_id(InitProducerIdRequest {})
        .await
        .unwrap()
        .into_inner();
    let id = producer.producer_id;
    let first = sequenced(b"a", Some((id, 1, 0)));

    assert_eq!(
        produce(&mut api, TOPIC, 0, first.clone()).await.base_offset,
        0
    );
    let gap = sequenced(b"c", Some((id, 1, 2)));
    assert_eq!(
        refusal(&mut api, TOPIC, 0, gap).await,
        ErrorCode::OutOfOrderSequence
    );
    let old_epoch = sequenced(b"b", Some((id, 0, 1)));
    assert_eq!(
        refusal(&mut api, TOPIC, 0, old_epoch).await,
        ErrorCode::InvalidProducerEpoch
    );
    let again = produce(&mut api, TOPIC, 0, first).await;
    assert_eq!(
        (again.error, again.base_offset, again.duplicate),
        (None, 0, true)
    );

    let next = produce(&mut api, TOPIC, 0, sequenced(b"b", Some((id, 1, 1)))).await;
    assert_eq!((next.error, next.base_offset), (None, 1));
}

#[tokio::test]
async fn fetches_with_a_wrong_epoch_or_offset_are_refused() {
    let broker = Broker::start(&[]);
    broker.ok(&["topic", "create", TOPIC]);
    let mut api = connect(&broker.grpc()).await;
    produce(&mut api, TOPIC, 0, batch(b"a")).await;
    let found = fetch(&mut api, 0, -1).await;
    assert_eq!((found.error, found.high_watermark), (None, 1));
    let epoch = found.leader_epoch;

    let stale = fetch(&mut api, 0, epoch - 1).await;
    assert_eq!(code(stale.error.as_ref()), ErrorCode::FencedLeaderEpoch);
    let ahead = fetch(&mut api, 0, epoch + 1).await;
    assert_eq!(code(ahead.error.as_ref()), ErrorCode::UnknownLeaderEpoch);
    for offset in [-5, 2, i64::MAX] {
        let beyond = fetch(&mut api, offset, epoch).await;
        assert_eq!(
            code(beyond.error.as_ref()),
            ErrorCode::OffsetOutOfRange,
            "{offset}"
        );
    }
}

/// Who leads the first partition, as soon as somebody does.
async fn leader_of(client: &Client) -> u64 {
    let led = async {
        loop {
            let described = client.admin().describe_topic(TOPIC).await.unwrap();
            match described.topic.unwrap().partitions[0].leader_broker_id {
                0 => sleep(Duration::from_millis(20)).await,
                leader => return u64::from(leader),
            }
        }
    };
    timeout(PATIENCE, led).await.unwrap()
}

#[tokio::test]
async fn a_follower_names_the_leader_and_stores_nothing() {
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    client
        .admin()
        .create_topic(TOPIC)
        .partitions(1)
        .replication_factor(3)
        .send()
        .await
        .unwrap();
    let leader = leader_of(&client).await;
    let follower = leader % 3 + 1;
    let mut api = connect(&text(&dev.broker(follower), "grpc")).await;

    let refused = produce(&mut api, TOPIC, 0, batch(b"a"))
        .await
        .error
        .unwrap();

    assert_eq!(refused.code(), ErrorCode::NotLeader);
    assert!(refused.retriable);
    assert_eq!(u64::from(refused.leader_broker_id), leader);
    assert_eq!(refused.leader_endpoint, text(&dev.broker(leader), "grpc"));
    let mut api = connect(&refused.leader_endpoint).await;
    assert_eq!(
        produce(&mut api, TOPIC, 0, batch(b"a")).await.base_offset,
        0
    );
}
