//! Any bytes as a response: the first two say of which API and version.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use raftmq_kafka_protocol::{decode_response, encode_response, supported};

fuzz_target!(|data: &[u8]| {
    let [key, version, frame @ ..] = data else {
        return;
    };
    let info = &supported()[usize::from(*key) % supported().len()];
    let versions: Vec<i16> = info.versions.iter().collect();
    let version = versions[usize::from(*version) % versions.len()];
    let frame = Bytes::copy_from_slice(frame);
    let Ok((correlation_id, first, _)) = decode_response(info.key, version, frame) else {
        return;
    };
    let mut written = BytesMut::new();
    encode_response(version, correlation_id, &first, &mut written).expect("what decodes, encodes");
    let written = written.split_off(4).freeze();
    let (correlation_id, second, trailing) =
        decode_response(info.key, version, written.clone()).expect("what was encoded, decodes");
    assert_eq!(trailing, 0);
    let mut again = BytesMut::new();
    encode_response(version, correlation_id, &second, &mut again).expect("what decodes, encodes");
    assert_eq!(again.split_off(4), written);
});
