//! Requests that are well-formed and wrong: Kafka's own error codes, and nothing is written.

use bytes::{Bytes, BytesMut};
use raftmq_kafka_protocol::messages::{FindCoordinatorRequest, InitProducerIdRequest};
use raftmq_kafka_protocol::{ErrorCode, Response, Uuid};
use raftmq_records::Compression;

use super::wire::{batch, batch_of, broker, fetch_request, produce_request};

/// A batch with one byte changed.
fn changed(at: usize, byte: u8) -> Bytes {
    let mut bytes = BytesMut::from(&batch(&["value"])[..]);
    bytes[at] = byte;
    bytes.freeze()
}

#[test]
fn bad_record_sets_are_refused_and_nothing_is_written() {
    let (_broker, mut wire) = broker(&["--set", "message.max.bytes=2048"]);
    wire.topic("t");
    let long = "x".repeat(3_000);
    let cut = batch(&["value"]);
    let cut = cut.slice(..cut.len() - 1);
    for (what, records, error) in [
        ("no records", Bytes::new(), ErrorCode::InvalidRecord),
        ("wrong CRC", changed(65, 0xee), ErrorCode::CorruptMessage),
        ("magic 1", changed(16, 1), ErrorCode::InvalidRecord),
        ("magic 0", changed(16, 0), ErrorCode::InvalidRecord),
        ("magic 3", changed(16, 3), ErrorCode::CorruptMessage),
        ("magic -1", changed(16, 0xff), ErrorCode::CorruptMessage),
        (
            "a short message",
            changed(16, 1).slice(..40),
            ErrorCode::InvalidRecord,
        ),
        ("cut off", cut, ErrorCode::InvalidRecord),
        ("too large", batch(&[&long]), ErrorCode::MessageTooLarge),
        (
            "half a header",
            Bytes::from_static(&[2; 30]),
            ErrorCode::InvalidRecord,
        ),
    ] {
        let refused = wire.produce("t", records);
        assert_eq!(refused.error_code, i16::from(error), "{what}: {refused:?}");
        assert_eq!(refused.base_offset, -1, "{what}");
    }
    assert_eq!(wire.offset("t", -1).offset, 0);
}

#[test]
fn zstd_needs_a_version_that_may_carry_it() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    let zstd = batch_of(&["v"], Compression::Zstd, None);
    for (version, error) in [
        (6, ErrorCode::UnsupportedCompressionType),
        (7, ErrorCode::None),
    ] {
        let Response::Produce(response) =
            wire.call(version, produce_request("t", -1, zstd.clone()))
        else {
            panic!("not an answer to Produce")
        };
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, i16::from(error), "version {version}");
    }
}

#[test]
fn unknown_topics_ids_and_partitions_have_codes_of_their_own() {
    let (_broker, mut wire) = broker(&["--set", "auto.create.topics.enable=false"]);
    let unknown = i16::from(ErrorCode::UnknownTopicOrPartition);
    let unknown_id = i16::from(ErrorCode::UnknownTopicId);
    assert_eq!(wire.produce("nowhere", batch(&["v"])).error_code, unknown);
    assert_eq!(wire.fetch("nowhere", 0).error_code, unknown);
    assert_eq!(wire.offset("nowhere", -1).error_code, unknown);
    assert_eq!(wire.metadata("nowhere").topics[0].error_code, unknown);
    let invalid = wire.metadata("no/slash").topics[0].error_code;
    assert_eq!(invalid, i16::from(ErrorCode::InvalidTopicException));

    let mut produce = produce_request("", -1, batch(&["v"]));
    produce.topic_data[0].topic_id = Uuid([9; 16]);
    let Response::Produce(response) = wire.call(13, produce) else {
        panic!("not an answer to Produce")
    };
    assert_eq!(
        response.responses[0].partition_responses[0].error_code,
        unknown_id
    );
    let mut fetch = fetch_request("", 0);
    fetch.topics[0].topic_id = Uuid([9; 16]);
    let Response::Fetch(response) = wire.call(13, fetch) else {
        panic!("not an answer to Fetch")
    };
    assert_eq!(response.responses[0].topic_id, Uuid([9; 16]));
    assert_eq!(response.responses[0].partitions[0].error_code, unknown_id);
}

#[test]
fn partitions_below_zero_and_beyond_the_last_are_unknown() {
    let (_broker, mut wire) = broker(&[]);
    wire.topic("t");
    for index in [-1, 1, i32::MAX] {
        let mut produce = produce_request("t", -1, batch(&["v"]));
        produce.topic_data[0].partition_data[0].index = index;
        let Response::Produce(response) = wire.call(9, produce) else {
            panic!("not an answer to Produce")
        };
        let refused = &response.responses[0].partition_responses[0];
        assert_eq!(
            refused.error_code,
            i16::from(ErrorCode::UnknownTopicOrPartition)
        );
        assert_eq!(refused.index, index);
    }
    let beyond = wire.fetch("t", 1);
    assert_eq!(beyond.error_code, i16::from(ErrorCode::OffsetOutOfRange));
}

#[test]
fn there_are_no_groups_and_no_transactions_yet() {
    let (_broker, mut wire) = broker(&[]);
    for (key_type, error) in [
        (0, ErrorCode::CoordinatorNotAvailable),
        (1, ErrorCode::InvalidRequest),
    ] {
        let request = FindCoordinatorRequest {
            key_type,
            coordinator_keys: vec!["mine".into()],
            ..FindCoordinatorRequest::default()
        };
        let Response::FindCoordinator(response) = wire.call(4, request) else {
            panic!("not an answer to FindCoordinator")
        };
        assert_eq!(response.coordinators[0].error_code, i16::from(error));
        assert_eq!(
            (
                &*response.coordinators[0].key,
                response.coordinators[0].node_id
            ),
            ("mine", -1)
        );
    }
    let request = InitProducerIdRequest {
        transactional_id: Some("mine".into()),
        ..InitProducerIdRequest::default()
    };
    let Response::InitProducerId(response) = wire.call(4, request) else {
        panic!("not an answer to InitProducerId")
    };
    assert_eq!(response.error_code, i16::from(ErrorCode::InvalidRequest));
}
