//! What the hot paths cost: `cargo bench -p raftmq-kafka-protocol`.
//!
//! A Produce of 1 MiB must decode in less than 5 us: its records are not copied.

use bytes::{Bytes, BytesMut};
use divan::{Bencher, black_box};
use raftmq_kafka_protocol::messages::fetch::response::{FetchableTopicResponse, PartitionData};
use raftmq_kafka_protocol::messages::metadata::response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use raftmq_kafka_protocol::messages::produce::request::{PartitionProduceData, TopicProduceData};
use raftmq_kafka_protocol::messages::{
    FetchResponse, MetadataResponse, ProduceRequest, RequestHeader,
};
use raftmq_kafka_protocol::{
    ApiKey, RecordSet, Request, Response, SegmentedBuf, Uuid, decode_request, encode_request,
    encode_response,
};

const MIB: usize = 1 << 20;

fn main() {
    divan::main();
}

/// A Produce frame, without its length, of `partitions` record sets that make 1 MiB together.
fn produce_frame(version: i16, partitions: i32) -> Bytes {
    let records = Bytes::from(vec![7; MIB / partitions.unsigned_abs() as usize]);
    let partition = |index| PartitionProduceData {
        index,
        records: Some(records.clone().into()),
    };
    let by_id = version >= 13;
    let topic = TopicProduceData {
        name: if by_id { "".into() } else { "orders".into() },
        topic_id: if by_id { Uuid([3; 16]) } else { Uuid::ZERO },
        partition_data: (0..partitions).map(partition).collect(),
    };
    let body = ProduceRequest {
        acks: -1,
        topic_data: vec![topic],
        ..Default::default()
    };
    let header = RequestHeader {
        request_api_key: ApiKey::Produce.into(),
        request_api_version: version,
        correlation_id: 1,
        client_id: Some("rdkafka".into()),
    };
    let mut frame = BytesMut::new();
    encode_request(&header, &Request::Produce(body), &mut frame).expect("the version has it all");
    frame.split_off(4).freeze()
}

/// The whole request: header and body, with the batch in one partition or in a hundred.
#[divan::bench(args = [(7, 1), (13, 1), (13, 100)])]
fn produce_1_mib_decode(bencher: Bencher<'_, '_>, (version, partitions): (i16, i32)) {
    let frame = produce_frame(version, partitions);
    bencher.bench(|| decode_request(black_box(frame.clone())));
}

fn metadata_response(partitions: i32) -> Response {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        replica_nodes: vec![1, 2, 3],
        isr_nodes: vec![1, 2, 3],
        ..Default::default()
    };
    let topic = MetadataResponseTopic {
        name: Some("orders".into()),
        topic_id: Uuid([3; 16]),
        partitions: (0..partitions).map(partition).collect(),
        ..Default::default()
    };
    let broker = |node_id| MetadataResponseBroker {
        node_id,
        host: "broker.example".into(),
        port: 9092,
        rack: None,
    };
    Response::Metadata(MetadataResponse {
        brokers: (1..=3).map(broker).collect(),
        topics: vec![topic],
        ..Default::default()
    })
}

#[divan::bench(args = [8, 13])]
fn metadata_1000_partitions_encode(bencher: Bencher<'_, '_>, version: i16) {
    let response = metadata_response(1000);
    let mut buffer = BytesMut::new();
    bencher.bench_local(|| {
        buffer.clear();
        encode_response(version, 1, black_box(&response), &mut buffer)
    });
}

fn fetch_response(partitions: i32, records: &RecordSet) -> Response {
    let partition = |partition_index| PartitionData {
        partition_index,
        high_watermark: 1000,
        records: Some(records.clone()),
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        topic_id: Uuid([3; 16]),
        partitions: (0..partitions).map(partition).collect(),
        ..Default::default()
    };
    Response::Fetch(FetchResponse {
        responses: vec![topic],
        ..Default::default()
    })
}

/// 1 MiB of so many pieces.
fn mib_of(pieces: usize) -> RecordSet {
    let piece = Bytes::from(vec![7; MIB / pieces]);
    RecordSet::from(vec![piece; pieces])
}

/// 1 MiB for each partition, by reference: one large batch, or many.
#[divan::bench(args = [(1, 1), (50, 1), (1, 64)])]
fn fetch_1_mib_each_encode_in_segments(
    bencher: Bencher<'_, '_>,
    (partitions, pieces): (i32, usize),
) {
    let response = fetch_response(partitions, &mib_of(pieces));
    let mut buffer = SegmentedBuf::new();
    bencher.bench_local(|| {
        encode_response(16, 1, black_box(&response), &mut buffer).expect("version 16 has it all");
        buffer.take_segments()
    });
}

/// The same into one buffer, for comparison: this copies.
#[divan::bench(args = [1])]
fn fetch_1_mib_each_encode_contiguous(bencher: Bencher<'_, '_>, partitions: i32) {
    let response = fetch_response(partitions, &mib_of(1));
    let mut buffer = BytesMut::new();
    bencher.bench_local(|| {
        buffer.clear();
        encode_response(16, 1, black_box(&response), &mut buffer)
    });
}
