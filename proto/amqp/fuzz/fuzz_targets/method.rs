//! A method's payload: what is read is written and read again, equal.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use raftmq_amqp_protocol::Method;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(method) = Method::decode(Bytes::copy_from_slice(bytes)) {
        let mut again = BytesMut::new();
        method.encode(&mut again);
        assert_eq!(again.len(), bytes.len());
        assert_eq!(Method::decode(again.freeze()), Ok(method));
    }
});
