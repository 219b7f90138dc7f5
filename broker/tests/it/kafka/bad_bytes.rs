//! Bytes that are no request: the connection is closed, the broker goes on.

use bytes::BytesMut;
use raftmq_kafka_protocol::messages::create_topics::request::CreatableTopic;
use raftmq_kafka_protocol::messages::describe_configs::request::DescribeConfigsResource;
use raftmq_kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterConfigsRequest, ApiVersionsRequest, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClientQuotasRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeProducersRequest,
    DescribeTopicPartitionsRequest, FindCoordinatorRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, MetadataRequest,
    OffsetForLeaderEpochRequest, ProduceRequest, RequestHeader,
};
use raftmq_kafka_protocol::{
    ApiKey, ErrorCode, Request, Response, decode_response, encode_request,
};

use super::wire::{Wire, batch, broker, fetch_request, list_offsets_request, produce_request};
use crate::support::get;

#[test]
fn a_frame_above_the_limit_closes_the_connection_before_it_is_read() {
    let (broker, mut wire) = broker(&["--set", "socket.request.max.bytes=2000"]);
    wire.topic("t");
    wire.send_raw(&2_001_i32.to_be_bytes());
    assert!(wire.is_closed());

    for length in [-1_i32, i32::MIN, i32::MAX] {
        let mut wire = Wire::connect(&broker.kafka());
        wire.send_raw(&length.to_be_bytes());
        assert!(wire.is_closed(), "length {length}");
    }
    let mut wire = Wire::connect(&broker.kafka());
    assert_eq!(wire.produce("t", batch(&["fits"])).error_code, 0);
    let scrape = get(&broker.http(), "/metrics");
    assert!(
        scrape.contains("raftmq_kafka_malformed_requests_total 4"),
        "{scrape}"
    );
}

#[test]
fn bytes_that_are_no_request_close_the_connection() {
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    let frame = |body: &[u8]| {
        let length = i32::try_from(body.len()).unwrap();
        [&length.to_be_bytes()[..], body].concat()
    };
    let header = |key: i16, version: i16| {
        let mut header = BytesMut::new();
        header.extend_from_slice(&key.to_be_bytes());
        header.extend_from_slice(&version.to_be_bytes());
        header.extend_from_slice(&[0, 0, 0, 1, 0xff, 0xff]);
        header.to_vec()
    };
    let unknown_key = header(999, 0);
    let removed_version = header(0, 2);
    let future_version = header(3, 99);
    // An array of two thousand million topics.
    let absurd_count = [header(3, 1), vec![0x7f, 0xff, 0xff, 0xff]].concat();
    for bytes in [
        vec![],
        vec![0xff; 3],
        unknown_key,
        removed_version,
        future_version,
        absurd_count,
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let mut wire = Wire::connect(&broker.kafka());
        wire.send_raw(&frame(&bytes));
        assert!(wire.is_closed(), "{bytes:?}");
    }
    assert_eq!(wire.produce("t", batch(&["still here"])).error_code, 0);
}

/// librdkafka's Metadata has such bytes.
#[test]
fn bytes_behind_a_request_are_passed_over() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    let mut bytes = BytesMut::new();
    let header = RequestHeader {
        request_api_key: ApiKey::Metadata.into(),
        request_api_version: 12,
        correlation_id: 5,
        client_id: None,
    };
    let request = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    encode_request(&header, &request.into(), &mut bytes).unwrap();
    bytes.extend_from_slice(&[0; 3]);
    let length = i32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    wire.send_raw(&bytes);

    let (correlation_id, response) = wire.receive(MetadataRequest::default(), 12);
    let Response::Metadata(response) = response else {
        panic!("not an answer to Metadata")
    };
    assert_eq!((correlation_id, response.topics.len()), (5, 1));
}

#[test]
fn requests_before_the_bad_one_are_answered() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    wire.send(9, produce_request("t", -1, batch(&["good"])));
    wire.send_raw(&i32::MAX.to_be_bytes());

    let (_, response) = wire.receive(ProduceRequest::default(), 9);
    let Response::Produce(response) = response else {
        panic!("not an answer to Produce")
    };
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    assert!(wire.is_closed());
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let (_broker, mut wire) = broker(&[]);
    let header = RequestHeader {
        request_api_key: ApiKey::ApiVersions.into(),
        request_api_version: 4,
        correlation_id: 9,
        client_id: None,
    };
    let request = ApiVersionsRequest {
        client_software_name: "it".into(),
        client_software_version: "1".into(),
        ..ApiVersionsRequest::default()
    };
    let mut bytes = BytesMut::new();
    encode_request(&header, &request.into(), &mut bytes).unwrap();
    // Its version stands behind length and key.
    for version in [5_i16, 99, -1] {
        bytes[6..8].copy_from_slice(&version.to_be_bytes());
        wire.send_raw(&bytes);

        let frame = wire.frame().unwrap();
        let (correlation_id, response, trailing) =
            decode_response(ApiKey::ApiVersions, 0, frame).unwrap();
        let Response::ApiVersions(response) = response else {
            panic!("not an answer to ApiVersions")
        };
        assert_eq!((correlation_id, trailing), (9, 0));
        assert_eq!(
            response.error_code,
            i16::from(ErrorCode::UnsupportedVersion)
        );
        let own = &response.api_keys[0];
        assert_eq!((own.api_key, own.min_version, own.max_version), (18, 0, 4));
    }
}

#[test]
fn what_is_advertised_is_answered_and_what_is_not_closes_the_connection() {
    let (broker, mut wire) = broker(&[]);
    let Response::ApiVersions(told) = wire.call(0, ApiVersionsRequest::default()) else {
        panic!("not an answer to ApiVersions")
    };
    let find = |key: i16| told.api_keys.iter().find(|api| api.api_key == key);
    let produce = find(0).unwrap();
    assert_eq!((produce.min_version, produce.max_version), (0, 13));
    assert!(find(ApiKey::Heartbeat.into()).is_none());
    for version in 0..=12 {
        let request = MetadataRequest {
            topics: Some(vec![]),
            ..MetadataRequest::default()
        };
        let Response::Metadata(response) = wire.call(version, request) else {
            panic!("not an answer to Metadata")
        };
        assert_eq!(response.brokers.len(), 1, "version {version}");
    }
    let mut wire = Wire::connect(&broker.kafka());
    wire.send(0, HeartbeatRequest::default());
    assert!(wire.is_closed());
}

#[test]
fn every_version_that_is_advertised_is_answered() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    wire.produce("t", batch(&["v"]));
    let Response::ApiVersions(told) = wire.call(0, ApiVersionsRequest::default()) else {
        panic!("not an answer to ApiVersions")
    };
    for api in told.api_keys {
        let key = ApiKey::from_i16(api.api_key).unwrap();
        for version in api.min_version.max(key.versions().min)..=api.max_version {
            let request = one_of(key, version);
            let response = wire.call(version, request);
            assert_eq!(response.api(), key, "version {version}");
        }
    }
}

/// A request that gets an answer with as much in it as possible.
fn one_of(key: ApiKey, version: i16) -> Request {
    let request = one_of_data(key, version).or_else(|| one_of_admin(key, version));
    request.unwrap_or_else(|| panic!("{key:?} is advertised: add a request for it"))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not served needs no request"
)]
fn one_of_data(key: ApiKey, version: i16) -> Option<Request> {
    Some(match key {
        ApiKey::Produce => produce_request("t", 1, batch(&["v"])).into(),
        ApiKey::Fetch => {
            let mut request = fetch_request("t", 0);
            // An error, for the hints that go with it.
            request.topics[0].partitions[0].current_leader_epoch = 0;
            request.into()
        }
        ApiKey::ListOffsets => list_offsets_request("t", 0).into(),
        ApiKey::Metadata => MetadataRequest {
            topics: (version == 0).then(Vec::new),
            include_topic_authorized_operations: version >= 8,
            include_cluster_authorized_operations: (8..=10).contains(&version),
            ..MetadataRequest::default()
        }
        .into(),
        ApiKey::FindCoordinator => FindCoordinatorRequest::default().into(),
        ApiKey::ApiVersions => ApiVersionsRequest {
            client_software_name: "it".into(),
            client_software_version: "1.0".into(),
            ..ApiVersionsRequest::default()
        }
        .into(),
        ApiKey::InitProducerId => InitProducerIdRequest::default().into(),
        ApiKey::OffsetForLeaderEpoch => OffsetForLeaderEpochRequest {
            replica_id: -2,
            ..OffsetForLeaderEpochRequest::default()
        }
        .into(),
        _ => return None,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not served needs no request"
)]
fn one_of_admin(key: ApiKey, version: i16) -> Option<Request> {
    Some(match key {
        ApiKey::CreateTopics => CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: format!("made-{version}").into(),
                num_partitions: 1,
                replication_factor: 1,
                ..CreatableTopic::default()
            }],
            ..CreateTopicsRequest::default()
        }
        .into(),
        ApiKey::DeleteTopics => DeleteTopicsRequest {
            topic_names: (version < 6)
                .then(|| "nowhere".into())
                .into_iter()
                .collect(),
            ..DeleteTopicsRequest::default()
        }
        .into(),
        ApiKey::DeleteRecords => DeleteRecordsRequest::default().into(),
        ApiKey::DescribeConfigs => DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: 2,
                resource_name: "t".into(),
                configuration_keys: None,
            }],
            include_synonyms: true,
            ..DescribeConfigsRequest::default()
        }
        .into(),
        ApiKey::AlterConfigs => AlterConfigsRequest::default().into(),
        ApiKey::CreatePartitions => CreatePartitionsRequest::default().into(),
        ApiKey::IncrementalAlterConfigs => IncrementalAlterConfigsRequest::default().into(),
        ApiKey::DescribeClientQuotas => DescribeClientQuotasRequest::default().into(),
        ApiKey::AlterClientQuotas => AlterClientQuotasRequest::default().into(),
        ApiKey::DescribeCluster => DescribeClusterRequest::default().into(),
        ApiKey::DescribeProducers => DescribeProducersRequest::default().into(),
        ApiKey::DescribeTopicPartitions => DescribeTopicPartitionsRequest::default().into(),
        _ => return None,
    })
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let (broker, mut first) = broker(&["--set", "max.connections=1"]);
    first.topic("t");
    assert!(Wire::connect(&broker.kafka()).is_closed());
    assert_eq!(first.produce("t", batch(&["v"])).error_code, 0);
}

#[test]
fn a_silent_connection_is_closed() {
    let (_broker, mut wire) = broker(&["--set", "connections.max.idle.ms=50"]);
    assert!(wire.is_closed());
}
