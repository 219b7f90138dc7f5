//! The crate `kafka-protocol` as a second opinion, over every message and version that both have:
//! it reads what we wrote and writes the same bytes again, and we read what it wrote.
//!
//! It never gets hostile bytes: it aborts on them.

use bytes::BytesMut;
use kafka_protocol::messages::{ApiKey as TheirKey, RequestKind, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable};
use raftmq_kafka_protocol::testing::{Sample, SampleRng};
use raftmq_kafka_protocol::{ApiKey, Message, messages as ours};

use crate::support::{Case, Side, all_cases};

const SAMPLES_PER_CASE: usize = 40;
/// Fewest (API, side, version) triples that must have been compared: the test may not go blind.
const CASES_MIN: usize = 400;

/// What their reader makes of our bytes, written again.
fn rewritten_by_them(case: Case, bytes: &bytes::Bytes) -> Result<BytesMut, String> {
    let key = TheirKey::try_from(i16::from(case.api)).expect("checked by the caller");
    let mut unread = bytes.clone();
    let mut written = BytesMut::new();
    match case.side {
        Side::Request => RequestKind::decode(key, &mut unread, case.version)
            .and_then(|body| body.encode(&mut written, case.version)),
        Side::Response => ResponseKind::decode(key, &mut unread, case.version)
            .and_then(|body| body.encode(&mut written, case.version)),
    }
    .map_err(|error| format!("{error:#}"))?;
    if unread.is_empty() {
        Ok(written)
    } else {
        Err(format!("{} bytes trail", unread.len()))
    }
}

/// Versions that their table of keys lists and their messages refuse: not stable in Kafka 4.1,
/// from which they are generated.
const REFUSED_BY_THEM: [(ApiKey, i16); 2] = [(ApiKey::OffsetCommit, 10), (ApiKey::OffsetFetch, 10)];

fn is_known_to_them(case: &Case) -> bool {
    if REFUSED_BY_THEM.contains(&(case.api, case.version)) {
        return false;
    }
    TheirKey::try_from(i16::from(case.api)).is_ok_and(|key| {
        let theirs = key.valid_versions();
        (theirs.min..=theirs.max).contains(&case.version)
    })
}

#[test]
fn the_other_codec_reads_and_writes_the_same_bytes() {
    let mut rng = SampleRng::new(3);
    let mut compared = 0;
    let mut differences = Vec::new();
    for case in all_cases().into_iter().filter(is_known_to_them) {
        compared += 1;
        for _ in 0..SAMPLES_PER_CASE {
            let body = case.sample(&mut rng);
            let bytes = body.to_bytes(case.version);
            match rewritten_by_them(case, &bytes) {
                Ok(theirs) if theirs == bytes => {
                    assert_eq!(case.decode(theirs.freeze()).unwrap(), (body, 0));
                }
                Ok(_) => {
                    differences.push(format!("{case:?}: other bytes"));
                    break;
                }
                Err(error) => {
                    differences.push(format!("{case:?}: {error}"));
                    break;
                }
            }
        }
    }
    assert_eq!(differences, Vec::<String>::new());
    assert!(compared >= CASES_MIN, "only {compared} cases compared");
}

fn both_have_the_same_bytes<Ours: Message + Sample, Theirs: Decodable + Encodable>() {
    let mut rng = SampleRng::new(4);
    for version in Ours::VERSIONS.iter() {
        for _ in 0..SAMPLES_PER_CASE {
            let mut bytes = BytesMut::new();
            rng.sample::<Ours>(version)
                .encode(version, &mut bytes)
                .expect("a sample fits");
            let mut unread = bytes.clone().freeze();
            let mut theirs = BytesMut::new();

            let decoded = Theirs::decode(&mut unread, version).expect(Ours::NAME);
            decoded.encode(&mut theirs, version).expect(Ours::NAME);

            assert_eq!(
                (theirs, unread.len()),
                (bytes, 0),
                "{} {version}",
                Ours::NAME
            );
        }
    }
}

#[test]
fn headers_and_consumer_metadata_are_the_same_bytes_too() {
    use kafka_protocol::messages as theirs;

    both_have_the_same_bytes::<ours::RequestHeader, theirs::RequestHeader>();
    both_have_the_same_bytes::<ours::ResponseHeader, theirs::ResponseHeader>();
    both_have_the_same_bytes::<
        ours::ConsumerProtocolSubscription,
        theirs::ConsumerProtocolSubscription,
    >();
    both_have_the_same_bytes::<ours::ConsumerProtocolAssignment, theirs::ConsumerProtocolAssignment>(
    );
}
