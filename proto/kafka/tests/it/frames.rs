//! Frames and what stands in them.

use bytes::{Bytes, BytesMut};
use raftmq_kafka_protocol::messages::{
    ApiVersionsResponse, MetadataRequest, ProduceRequest, RequestHeader,
};
use raftmq_kafka_protocol::testing::SampleRng;
use raftmq_kafka_protocol::{
    ApiKey, DecodeError, FrameError, Request, Response, decode_request, decode_response,
    encode_request, encode_response, frame_len, split_frame, supported,
};

const MAX: usize = 1024;

#[test]
fn frames_come_out_one_by_one_as_their_bytes_arrive() {
    let wire = [0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 1, b'c'];
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();

    for byte in wire {
        buffer.extend_from_slice(&[byte]);
        while let Some(frame) = split_frame(&mut buffer, MAX).unwrap() {
            frames.push(frame);
        }
    }

    assert_eq!(frames, ["ab", "", "c"]);
    assert!(buffer.is_empty());
}

#[test]
fn an_incomplete_frame_changes_nothing() {
    let mut buffer = BytesMut::from(&[0, 0, 0, 5, 1, 2][..]);

    assert_eq!(split_frame(&mut buffer, MAX), Ok(None));
    assert_eq!(frame_len(&buffer, MAX), Ok(Some(5)));
    assert_eq!(buffer.len(), 6);
    assert_eq!(frame_len(&buffer[..3], MAX), Ok(None));
}

#[test]
fn a_frame_of_the_limit_passes_and_one_byte_more_is_refused() {
    let mut at_limit = BytesMut::from(&1024_i32.to_be_bytes()[..]);
    let mut above = BytesMut::from(&1025_i32.to_be_bytes()[..]);

    assert_eq!(split_frame(&mut at_limit, MAX), Ok(None));
    let refused = split_frame(&mut above, MAX);
    assert_eq!(
        refused,
        Err(FrameError::TooLarge {
            length: 1025,
            max: MAX
        })
    );
}

#[test]
fn a_negative_length_is_refused() {
    let mut buffer = BytesMut::from(&(-1_i32).to_be_bytes()[..]);

    let refused = split_frame(&mut buffer, MAX);

    assert_eq!(refused, Err(FrameError::Negative { length: -1 }));
    assert_eq!(buffer.len(), 4);
}

fn header(api: ApiKey, version: i16) -> RequestHeader {
    RequestHeader {
        request_api_key: api.into(),
        request_api_version: version,
        correlation_id: 77,
        client_id: Some("client".into()),
    }
}

#[test]
fn a_framed_request_comes_back_whole_in_every_version() {
    let mut rng = SampleRng::new(5);
    for info in supported() {
        for version in info.versions.iter() {
            let header = header(info.key, version);
            let body = Request::sample(info.key, version, &mut rng);
            let mut buffer = BytesMut::new();
            encode_request(&header, &body, &mut buffer).unwrap();

            let frame = split_frame(&mut buffer, 1 << 20).unwrap().unwrap();
            let request = decode_request(frame).unwrap();

            assert!(buffer.is_empty());
            assert_eq!(
                (request.header, request.body, request.trailing_bytes),
                (header, body, 0)
            );
        }
    }
}

#[test]
fn a_framed_response_comes_back_whole_in_every_version() {
    let mut rng = SampleRng::new(6);
    for info in supported() {
        for version in info.versions.iter() {
            let body = Response::sample(info.key, version, &mut rng);
            let mut buffer = BytesMut::new();
            encode_response(version, 78, &body, &mut buffer).unwrap();

            let frame = split_frame(&mut buffer, 1 << 20).unwrap().unwrap();

            assert_eq!(decode_response(info.key, version, frame), Ok((78, body, 0)));
        }
    }
}

#[test]
fn trailing_bytes_are_counted() {
    let mut buffer = BytesMut::new();
    let body = Request::Metadata(MetadataRequest::default());
    encode_request(&header(ApiKey::Metadata, 12), &body, &mut buffer).unwrap();
    let mut frame = buffer.split_off(4);
    frame.extend_from_slice(b"xyz");

    assert_eq!(decode_request(frame.freeze()).unwrap().trailing_bytes, 3);
}

#[test]
fn an_unknown_key_or_version_is_told_with_its_correlation_id() {
    let unknown_key = Bytes::from_static(&[0x7f, 0xff, 0, 1, 0, 0, 0, 9]);
    let refused = decode_request(unknown_key);
    assert_eq!(
        refused,
        Err(DecodeError::ApiKey {
            api_key: 0x7fff,
            version: 1,
            correlation_id: 9
        })
    );

    // What comes after the first 8 bytes may have any form in a version of the future.
    let future = Bytes::from_static(&[0, 18, 0, 99, 0, 0, 0, 9, 1, 2, 3]);
    let api = ApiKey::ApiVersions;
    let refused = decode_request(future);
    assert_eq!(
        refused,
        Err(DecodeError::RequestVersion {
            api,
            version: 99,
            correlation_id: 9
        })
    );
}

#[test]
fn the_answer_to_an_unknown_api_versions_version_is_error_35_in_version_0() {
    let body = ApiVersionsResponse {
        error_code: 35,
        ..Default::default()
    };
    let mut sent = BytesMut::new();

    encode_response(0, 9, &body.into(), &mut sent).unwrap();

    assert_eq!(*sent, [0, 0, 0, 10, 0, 0, 0, 9, 0, 35, 0, 0, 0, 0]);
}

#[test]
fn a_request_that_cannot_be_encoded_leaves_the_sink_as_it_was() {
    let body = ProduceRequest {
        transactional_id: Some("x".repeat(40_000).into()),
        ..Default::default()
    };
    let mut sent = BytesMut::from("before");

    encode_request(&header(ApiKey::Produce, 9), &body.into(), &mut sent).unwrap_err();

    assert_eq!(sent, "before");
}
