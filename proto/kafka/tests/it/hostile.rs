//! Bytes that mean harm: cut short, changed, with absurd counts. Each gets an error or a message
//! that encodes again; nothing panics, and little memory is taken.

use bytes::{Bytes, BytesMut};
use raftmq_kafka_protocol::messages::{FindCoordinatorRequest, ProduceRequest, RequestHeader};
use raftmq_kafka_protocol::testing::SampleRng;
use raftmq_kafka_protocol::{
    ApiKey, DecodeError, Message, Place, Reader, Request, decode_request, encode_request,
    split_frame,
};

use crate::support::all_cases;
use crate::watch::largest_allocation;

const MUTATIONS: usize = 20_000;

#[test]
fn every_prefix_of_a_message_is_refused() {
    let mut rng = SampleRng::new(11);
    for case in all_cases() {
        let bytes = case.sample(&mut rng).to_bytes(case.version);
        for end in 0..bytes.len() {
            let refused = case.decode(bytes.slice(..end));
            assert!(refused.is_err(), "{case:?} cut to {end} of {}", bytes.len());
        }
    }
}

/// Changes up to four bytes, cuts some off, or puts an extreme number somewhere.
fn mutate(bytes: &mut Vec<u8>, rng: &mut SampleRng) {
    const EXTREMES: [&[u8]; 6] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xfe],
        &[0x80, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0x7f, 0xff],
    ];
    for _ in 0..=rng.below(3) {
        let at = rng.index(bytes.len());
        match rng.below(4) {
            0 => bytes.truncate(at),
            1 => {
                let extreme = EXTREMES[rng.index(EXTREMES.len())];
                for (byte, new) in bytes[at..].iter_mut().zip(extreme) {
                    *byte = *new;
                }
            }
            _ if at < bytes.len() => bytes[at] = rng.byte(),
            _ => {}
        }
    }
}

#[test]
fn what_can_be_decoded_from_changed_bytes_can_be_encoded_again() {
    let cases = all_cases();
    let mut rng = SampleRng::new(12);
    let mut decoded_count = 0;
    for _ in 0..MUTATIONS {
        let case = cases[rng.index(cases.len())];
        let mut bytes = Vec::from(case.sample(&mut rng).to_bytes(case.version));
        mutate(&mut bytes, &mut rng);

        if let Ok((body, _)) = case.decode(bytes.into()) {
            decoded_count += 1;
            // Compared as bytes: a NaN is unlike itself.
            let again = body.to_bytes(case.version);
            let (second, trailing) = case.decode(again.clone()).unwrap();
            assert_eq!(
                (second.to_bytes(case.version), trailing),
                (again, 0),
                "{case:?}"
            );
        }
    }
    // Neither all nor none: the loop must see both sides.
    assert!(
        (MUTATIONS / 20..MUTATIONS * 19 / 20).contains(&decoded_count),
        "{decoded_count}"
    );
}

#[test]
fn changed_frames_are_refused_or_answered_without_a_panic() {
    let mut rng = SampleRng::new(13);
    let apis = raftmq_kafka_protocol::supported();
    for _ in 0..MUTATIONS {
        let info = &apis[rng.index(apis.len())];
        let versions: Vec<i16> = info.versions.iter().collect();
        let version = versions[rng.index(versions.len())];
        let header = RequestHeader {
            request_api_key: info.key.into(),
            request_api_version: version,
            ..rng.sample(2)
        };
        let body = Request::sample(info.key, version, &mut rng);
        let mut frame = BytesMut::new();
        encode_request(&header, &body, &mut frame).unwrap();
        let mut bytes = Vec::from(&frame[..]);
        mutate(&mut bytes, &mut rng);

        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(frame)) = split_frame(&mut buffer, 1 << 20) {
            let _ = decode_request(frame);
        }
    }
}

#[test]
fn an_absurd_count_takes_no_memory() {
    let mut rng = SampleRng::new(14);
    for case in all_cases() {
        let bytes = Vec::from(case.sample(&mut rng).to_bytes(case.version));
        for at in 0..bytes.len() {
            for extreme in [
                &[0x7f, 0xff, 0xff, 0xff][..],
                &[0xff, 0xff, 0xff, 0xff, 0x07],
            ] {
                let mut changed = bytes.clone();
                for (byte, new) in changed[at..].iter_mut().zip(extreme) {
                    *byte = *new;
                }
                let changed = Bytes::from(changed);

                let largest = largest_allocation(|| drop(case.decode(changed)));

                // No element is above 400 bytes in memory, none below 1 on the wire.
                assert!(largest <= 400 * bytes.len(), "{case:?}: {largest} at once");
            }
        }
    }
}

fn place(field: &'static str, position: usize) -> Place {
    Place {
        message: "FindCoordinatorRequest",
        version: 4,
        field,
        position,
    }
}

fn find_coordinator(bytes: &'static [u8]) -> Result<FindCoordinatorRequest, DecodeError> {
    FindCoordinatorRequest::decode(&mut Reader::new(Bytes::from_static(bytes)), 4)
}

const KEYS: &str = "FindCoordinatorRequest.CoordinatorKeys";
const TAGS: &str = "FindCoordinatorRequest.tags";

#[test]
fn a_count_above_the_bytes_that_remain_is_refused_with_its_place() {
    let refused = find_coordinator(&[0, 5, 2, b'a', 1]);

    let place = place(KEYS, 2);
    assert_eq!(
        refused,
        Err(DecodeError::Count {
            place,
            count: 4,
            needed: 4,
            remaining: 3
        })
    );
}

#[test]
fn a_null_where_none_may_be_is_refused() {
    assert_eq!(
        find_coordinator(&[0, 0, 0]),
        Err(DecodeError::Null {
            place: place(KEYS, 2)
        })
    );
    assert_eq!(
        find_coordinator(&[0, 2, 0, 0]),
        Err(DecodeError::Null {
            place: place(KEYS, 3)
        })
    );
}

#[test]
fn a_varint_above_32_bits_is_refused() {
    let refused = find_coordinator(&[0, 0xff, 0xff, 0xff, 0xff, 0x10, 0]);

    assert_eq!(
        refused,
        Err(DecodeError::Varint {
            place: place(KEYS, 6)
        })
    );
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let refused = find_coordinator(&[0, 2, 2, 0xff, 0]);

    assert_eq!(
        refused,
        Err(DecodeError::Utf8 {
            place: place(KEYS, 3)
        })
    );
}

#[test]
fn tags_must_ascend_and_fit() {
    let place = |position| place(TAGS, position);
    // Tag 3, then tag 3 again, each of no bytes.
    let refused = find_coordinator(&[0, 1, 2, 3, 0, 3, 0]);
    assert_eq!(
        refused,
        Err(DecodeError::TagOrder {
            place: place(6),
            tag: 3
        })
    );
    // More tags, and then a longer tag, than bytes remain.
    let refused = find_coordinator(&[0, 1, 9, 3, 0]);
    let (count, needed, remaining) = (9, 18, 2);
    assert_eq!(
        refused,
        Err(DecodeError::Count {
            place: place(3),
            count,
            needed,
            remaining
        })
    );
    let refused = find_coordinator(&[0, 1, 1, 3, 2, 0]);
    let (count, needed, remaining) = (2, 2, 1);
    assert_eq!(
        refused,
        Err(DecodeError::Count {
            place: place(5),
            count,
            needed,
            remaining
        })
    );
}

#[test]
fn a_known_tag_of_another_size_is_refused() {
    // ApiVersions 3 response: no error, no keys, no throttle, tag 1 (int64) with a size of 9.
    let bytes = [0, 0, 1, 0, 0, 0, 0, 1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut reader = Reader::new(Bytes::copy_from_slice(&bytes));

    let refused = raftmq_kafka_protocol::messages::ApiVersionsResponse::decode(&mut reader, 3);

    assert!(matches!(
        refused,
        Err(DecodeError::TagSize {
            tag: 1,
            size: 9,
            taken: 8,
            ..
        })
    ));
}

#[test]
fn a_negative_length_and_an_overlong_string_are_refused() {
    let decode = |bytes: &'static [u8], version| {
        ProduceRequest::decode(&mut Reader::new(Bytes::from_static(bytes)), version)
    };

    let refused = decode(&[0xff, 0xfe], 3);
    assert!(
        matches!(refused, Err(DecodeError::NegativeLength { length: -2, .. })),
        "{refused:?}"
    );

    let refused = decode(&[0x81, 0x80, 0x02, 0], 9);
    assert!(
        matches!(
            refused,
            Err(DecodeError::StringLength { length: 32_768, .. })
        ),
        "{refused:?}"
    );
}

#[test]
fn memory_for_arrays_is_bounded_per_message() {
    // A Produce of a million topics without a name: three bytes each, some eighty in memory.
    const TOPICS: usize = 1_000_000;
    // The last three bytes of the head are the varint 1,000,001.
    let mut body = vec![0, 0, 0, 0, 0, 0, 0, 0xc1, 0x84, 0x3d];
    body.extend(std::iter::repeat_n([1, 1, 0], TOPICS).flatten());
    body.push(0);
    let body = Bytes::from(body);
    let decode = |memory| {
        let mut reader = Reader::with_memory_bytes_max(body.clone(), memory);
        Request::decode(ApiKey::Produce, 9, &mut reader)
    };

    let largest = largest_allocation(|| {
        let refused = decode(16 << 20);
        assert!(
            matches!(refused, Err(DecodeError::Memory { .. })),
            "{refused:?}"
        );
    });

    assert!(largest < 1024, "{largest}");
    assert!(decode(256 << 20).is_ok());
}
