//! What is encoded is decoded to the same value, for every message and version.

use raftmq_kafka_protocol::SizeCounter;
use raftmq_kafka_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, RequestHeader, ResponseHeader,
};
use raftmq_kafka_protocol::testing::{Sample, SampleRng};
use raftmq_kafka_protocol::{Message, Reader};

use crate::support::all_cases;

const SAMPLES_PER_CASE: usize = 40;

#[test]
fn every_message_survives_encoding_and_decoding_in_every_version() {
    let mut rng = SampleRng::new(1);
    for case in all_cases() {
        for _ in 0..SAMPLES_PER_CASE {
            let body = case.sample(&mut rng);
            let bytes = body.to_bytes(case.version);

            let (decoded, trailing) = case.decode(bytes.clone()).unwrap();

            assert_eq!(decoded, body, "{case:?}");
            assert_eq!(trailing, 0, "{case:?}");
            assert_eq!(decoded.to_bytes(case.version), bytes, "{case:?}");
            let mut counter = SizeCounter::default();
            body.encode(case.version, &mut counter).unwrap();
            assert_eq!(counter.size, bytes.len(), "{case:?}");
        }
    }
}

fn survives<T: Message + Sample + PartialEq + std::fmt::Debug>() {
    let mut rng = SampleRng::new(2);
    for version in T::VERSIONS.iter() {
        for _ in 0..SAMPLES_PER_CASE {
            let message: T = rng.sample(version);
            let mut bytes = bytes::BytesMut::new();
            message
                .encode(version, &mut bytes)
                .expect("a sample fits its version");
            assert_eq!(message.encoded_len(version), Ok(bytes.len()));

            let mut reader = Reader::new(bytes.freeze());

            assert_eq!(T::decode(&mut reader, version), Ok(message));
            assert_eq!(reader.remaining(), 0);
        }
    }
}

#[test]
fn headers_and_consumer_metadata_survive_too() {
    survives::<RequestHeader>();
    survives::<ResponseHeader>();
    survives::<ConsumerProtocolSubscription>();
    survives::<ConsumerProtocolAssignment>();
}
