//! A connection that speaks Kafka's protocol with our own codec, and the requests that tests share.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use raftmq_kafka_protocol::messages::fetch::request::{FetchPartition, FetchTopic};
use raftmq_kafka_protocol::messages::fetch::response::PartitionData;
use raftmq_kafka_protocol::messages::list_offsets::request::{
    ListOffsetsPartition, ListOffsetsTopic,
};
use raftmq_kafka_protocol::messages::list_offsets::response::ListOffsetsPartitionResponse;
use raftmq_kafka_protocol::messages::metadata::request::MetadataRequestTopic;
use raftmq_kafka_protocol::messages::produce::request::{PartitionProduceData, TopicProduceData};
use raftmq_kafka_protocol::messages::produce::response::PartitionProduceResponse;
use raftmq_kafka_protocol::messages::{
    FetchRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse, ProduceRequest,
    RequestHeader,
};
use raftmq_kafka_protocol::{Request, Response, Uuid, decode_response, encode_request};
use raftmq_records::{BatchBuilder, Compression, DecodeLimits, records};

use crate::support::{Broker, PATIENCE};

/// Newest versions of the schema that name topics by their names.
pub(crate) const PRODUCE: i16 = 12;
pub(crate) const FETCH: i16 = 12;

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    client_id: String,
    correlation_id: i32,
}

impl Wire {
    pub(crate) fn connect(endpoint: &str) -> Self {
        Self::connect_as(endpoint, "it")
    }

    /// Connects as a client that calls itself so.
    pub(crate) fn connect_as(endpoint: &str, client_id: &str) -> Self {
        let stream = TcpStream::connect(endpoint).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            client_id: client_id.to_owned(),
            correlation_id: 0,
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a request and gives its correlation id.
    pub(crate) fn send(&mut self, version: i16, request: impl Into<Request>) -> i32 {
        let request = request.into();
        self.correlation_id += 1;
        let header = RequestHeader {
            request_api_key: request.api().into(),
            request_api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(self.client_id.as_str().into()),
        };
        let mut bytes = BytesMut::new();
        encode_request(&header, &request, &mut bytes).unwrap();
        self.send_raw(&bytes);
        self.correlation_id
    }

    /// The next frame; `None` when the broker closed the connection.
    pub(crate) fn frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        let mut read = 0;
        while read < length.len() {
            match self.stream.read(&mut length[read..]) {
                Ok(0) => return None,
                Ok(count) => read += count,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        }
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut frame).unwrap();
        Some(frame.into())
    }

    /// Receives the answer to a request that was sent.
    pub(crate) fn receive(&mut self, api: impl Into<Request>, version: i16) -> (i32, Response) {
        let api = api.into().api();
        let frame = self.frame().expect("the broker closed the connection");
        let (correlation_id, response, trailing) = decode_response(api, version, frame).unwrap();
        assert_eq!(trailing, 0, "bytes trail the response");
        (correlation_id, response)
    }

    /// Sends a request and receives its answer.
    pub(crate) fn call(&mut self, version: i16, request: impl Into<Request>) -> Response {
        let request = request.into();
        let sent = self.send(version, request.clone());
        let (received, response) = self.receive(request, version);
        assert_eq!(received, sent);
        response
    }

    /// Whether nothing comes for so long.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        peeked
            .is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Whether the broker closed the connection without another word.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.frame().is_none()
    }

    pub(crate) fn metadata(&mut self, topic: &str) -> MetadataResponse {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(topic.into()),
                ..MetadataRequestTopic::default()
            }]),
            ..MetadataRequest::default()
        };
        let Response::Metadata(response) = self.call(12, request) else {
            panic!("not an answer to Metadata")
        };
        response
    }

    /// Makes a topic by asking for it, and gives its id.
    pub(crate) fn topic(&mut self, name: &str) -> Uuid {
        let response = self.metadata(name);
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
        response.topics[0].topic_id
    }

    /// Produces one batch to partition 0.
    pub(crate) fn produce(&mut self, topic: &str, batch: Bytes) -> PartitionProduceResponse {
        let response = self.call(PRODUCE, produce_request(topic, -1, batch));
        let Response::Produce(mut response) = response else {
            panic!("not an answer to Produce")
        };
        response.responses.remove(0).partition_responses.remove(0)
    }

    /// Fetches partition 0, waiting for one byte.
    pub(crate) fn fetch(&mut self, topic: &str, offset: i64) -> PartitionData {
        let Response::Fetch(mut response) = self.call(FETCH, fetch_request(topic, offset)) else {
            panic!("not an answer to Fetch")
        };
        assert_eq!(response.error_code, 0);
        response.responses.remove(0).partitions.remove(0)
    }

    /// The offset of a timestamp or special in partition 0.
    pub(crate) fn offset(&mut self, topic: &str, timestamp: i64) -> ListOffsetsPartitionResponse {
        let request = list_offsets_request(topic, timestamp);
        let Response::ListOffsets(mut response) = self.call(10, request) else {
            panic!("not an answer to ListOffsets")
        };
        response.topics.remove(0).partitions.remove(0)
    }
}

/// A broker and a connection to it.
pub(crate) fn broker(more: &[&str]) -> (Broker, Wire) {
    let broker = Broker::start(more);
    let wire = Wire::connect(&broker.kafka());
    (broker, wire)
}

pub(crate) fn produce_request(topic: &str, acks: i16, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(records.into()),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

pub(crate) fn list_offsets_request(topic: &str, timestamp: i64) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![ListOffsetsPartition {
                timestamp,
                ..ListOffsetsPartition::default()
            }],
        }],
        ..ListOffsetsRequest::default()
    }
}

pub(crate) fn fetch_request(topic: &str, offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 10_000,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// A batch of records with these values, stamped 1000, 1001 and so on.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_of(values, Compression::None, None)
}

/// The same, compressed, and of an idempotent producer with its next sequence.
pub(crate) fn batch_of(
    values: &[&str],
    compression: Compression,
    producer: Option<(i64, i32)>,
) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 1 << 16);
    for (timestamp_ms, value) in (1_000..).zip(values) {
        let value = Some(value.as_bytes());
        builder
            .append(timestamp_ms, Some(b"key"), value, &[])
            .unwrap();
    }
    if let Some((producer_id, sequence)) = producer {
        builder.set_producer(producer_id, 0, sequence);
    }
    builder.finish().unwrap()
}

/// Offsets and values of the records in a fetch answer.
pub(crate) fn values(data: &PartitionData) -> Vec<(i64, String)> {
    let mut values = Vec::new();
    let fetched = data.records.clone().unwrap_or_default().into_bytes();
    for batch in raftmq_records::batches(&fetched) {
        let (_, batch) = batch.unwrap();
        for record in records(&batch, DecodeLimits::default()).unwrap() {
            let record = record.unwrap();
            let value = record.value.unwrap_or_default();
            values.push((record.offset, String::from_utf8_lossy(&value).into_owned()));
        }
    }
    values
}
