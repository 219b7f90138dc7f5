//! Single messages against bytes and rules that were looked up in Kafka, not in our schema.

use bytes::{Bytes, BytesMut};
use raftmq_kafka_protocol::messages::fetch::request::ReplicaState;
use raftmq_kafka_protocol::messages::{
    ConsumerProtocolSubscription, FetchRequest, FindCoordinatorRequest, MetadataRequest,
    OffsetFetchRequest, ProduceRequest, RequestHeader, SaslAuthenticateRequest,
    SaslHandshakeRequest,
};
use raftmq_kafka_protocol::{ApiKey, DecodeError, EncodeError, Message, Reader, Versioned};

fn encoded(message: &impl Message, version: i16) -> Result<BytesMut, EncodeError> {
    let mut bytes = BytesMut::new();
    message.encode(version, &mut bytes).map(|()| bytes)
}

#[test]
fn the_client_id_keeps_its_classic_length_in_the_flexible_header() {
    let header = RequestHeader {
        request_api_key: ApiKey::ApiVersions.into(),
        request_api_version: 3,
        correlation_id: 1,
        client_id: Some("ab".into()),
    };

    let bytes = encoded(&header, 2).unwrap();

    assert_eq!(*bytes, [0, 18, 0, 3, 0, 0, 0, 1, 0, 2, b'a', b'b', 0]);
}

#[test]
fn a_null_topic_list_asks_for_all_topics_and_an_empty_one_for_none() {
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    let none = MetadataRequest {
        topics: Some(Vec::new()),
        ..Default::default()
    };

    assert_eq!(*encoded(&all, 1).unwrap(), [0xff; 4]);
    assert_eq!(*encoded(&none, 1).unwrap(), [0; 4]);
    assert_eq!(encoded(&all, 12).unwrap()[0], 0);
    assert_eq!(encoded(&none, 12).unwrap()[0], 1);
    let (message, field) = ("MetadataRequest", "MetadataRequest.Topics");
    assert_eq!(
        encoded(&all, 0),
        Err(EncodeError::Null {
            message,
            version: 0,
            field
        })
    );
}

#[test]
fn a_value_that_the_version_cannot_carry_is_refused() {
    let keys = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    let (message, field) = (
        "FindCoordinatorRequest",
        "FindCoordinatorRequest.CoordinatorKeys",
    );

    let refused = encoded(&keys, 3);

    assert_eq!(
        refused,
        Err(EncodeError::FieldVersion {
            message,
            version: 3,
            field
        })
    );
}

#[test]
fn a_tagged_value_that_the_version_cannot_carry_is_refused() {
    let replica_state = ReplicaState {
        replica_id: 3,
        replica_epoch: 1,
    };
    let follower = FetchRequest {
        replica_state,
        ..Default::default()
    };
    let (message, field) = ("FetchRequest", "FetchRequest.ReplicaState");

    let refused = encoded(&follower, 14);

    assert_eq!(
        refused,
        Err(EncodeError::FieldVersion {
            message,
            version: 14,
            field
        })
    );
}

#[test]
fn an_ignorable_value_that_the_version_cannot_carry_is_dropped() {
    let racked = FetchRequest {
        rack_id: "r1".into(),
        ..Default::default()
    };

    assert_eq!(encoded(&racked, 4), encoded(&FetchRequest::default(), 4));
    assert_ne!(encoded(&racked, 11), encoded(&FetchRequest::default(), 11));
}

#[test]
fn defaults_are_kafkas() {
    let fetch = FetchRequest::default();
    assert_eq!(
        (fetch.replica_id, fetch.max_bytes, fetch.session_epoch),
        (-1, i32::MAX, -1)
    );
    assert_eq!(fetch.cluster_id, None);
    assert_eq!(OffsetFetchRequest::default().topics, Some(Vec::new()));
    assert_eq!(ProduceRequest::default().transactional_id, None);
    assert!(MetadataRequest::default().allow_auto_topic_creation);
}

#[test]
fn a_version_that_is_not_there_is_refused_both_ways() {
    let message = "ProduceRequest";
    let expected = Err(EncodeError::Version {
        message,
        version: 2,
    });
    assert_eq!(encoded(&ProduceRequest::default(), 2), expected);

    let decoded = ProduceRequest::decode(&mut Reader::new(Bytes::from_static(&[0; 64])), 14);
    assert_eq!(
        decoded,
        Err(DecodeError::Version {
            message,
            version: 14
        })
    );
}

#[test]
fn records_are_a_slice_of_the_frame() {
    // Produce 3: no transactional id, acks -1, timeout 9, topic "t", partition 0, three bytes.
    let frame = Bytes::from_static(
        b"\xff\xff\xff\xff\0\0\0\x09\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\0\0\x03abc",
    );

    let request = ProduceRequest::decode(&mut Reader::new(frame.clone()), 3).unwrap();

    let records = request.topic_data[0].partition_data[0].records.clone();
    let records = records.unwrap().into_bytes();
    assert_eq!(records, "abc");
    assert_eq!(records.as_ptr(), frame[frame.len() - 3..].as_ptr());
    let name = request.topic_data[0].name.as_bytes();
    assert_eq!(name.as_ptr(), frame[14..].as_ptr());
}

#[test]
fn an_unknown_tagged_field_is_skipped() {
    // FindCoordinator 4: key type 0, no keys, tag 9 of two bytes.
    let bytes = Bytes::from_static(&[0, 1, 1, 9, 2, 0xaa, 0xbb]);

    let mut reader = Reader::new(bytes);

    assert_eq!(
        FindCoordinatorRequest::decode(&mut reader, 4),
        Ok(Default::default())
    );
    assert_eq!(reader.remaining(), 0);
}

#[test]
fn passwords_and_records_are_not_printed() {
    let sasl = SaslAuthenticateRequest {
        auth_bytes: Bytes::from_static(b"hunter2"),
    };
    let printed = format!("{sasl:?}");
    assert!(
        !printed.contains("hunter2") && printed.contains("secret"),
        "{printed}"
    );

    let handshake = SaslHandshakeRequest {
        mechanism: "PLAIN".into(),
    };
    assert!(format!("{handshake:?}").contains("PLAIN"));
}

#[test]
fn a_members_metadata_carries_its_version() {
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["orders".into()],
        rack_id: Some("r1".into()),
        ..Default::default()
    };

    let bytes = subscription.encode_versioned(3).unwrap();

    assert_eq!(bytes[..2], [0, 3]);
    assert_eq!(
        ConsumerProtocolSubscription::decode_versioned(bytes),
        Ok(subscription)
    );
}

#[test]
fn metadata_of_a_later_version_is_read_as_the_newest_known() {
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["orders".into()],
        ..Default::default()
    };
    let mut bytes = BytesMut::from(&subscription.encode_versioned(3).unwrap()[..]);
    bytes[1] = 9;
    bytes.extend_from_slice(b"of the future");

    let decoded = ConsumerProtocolSubscription::decode_versioned(bytes.freeze());
    assert_eq!(decoded, Ok(subscription));

    let refused = ConsumerProtocolSubscription::decode_versioned(Bytes::from_static(&[0xff, 0xff]));
    let message = "ConsumerProtocolSubscription";
    assert_eq!(
        refused,
        Err(DecodeError::Version {
            message,
            version: -1
        })
    );
}
