//! Any bytes as a request frame. What decodes must encode again, and then to a fixed point.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use raftmq_kafka_protocol::{decode_request, encode_request};

fuzz_target!(|data: &[u8]| {
    let Ok(first) = decode_request(Bytes::copy_from_slice(data)) else {
        return;
    };
    let mut written = BytesMut::new();
    encode_request(&first.header, &first.body, &mut written).expect("what decodes, encodes");
    let written = written.split_off(4).freeze();
    let second = decode_request(written.clone()).expect("what was encoded, decodes");
    assert_eq!(second.trailing_bytes, 0);
    let mut again = BytesMut::new();
    encode_request(&second.header, &second.body, &mut again).expect("what decodes, encodes");
    assert_eq!(again.split_off(4), written);
});
