//! The table of error codes.

use raftmq_kafka_protocol::ErrorCode;

#[test]
fn every_code_is_found_under_its_number() {
    let codes: Vec<ErrorCode> = (i16::MIN..=i16::MAX)
        .filter_map(ErrorCode::from_i16)
        .collect();

    assert_eq!(codes.len(), ErrorCode::COUNT);
    for code in codes {
        assert_eq!(ErrorCode::from_i16(code.into()), Some(code));
    }
}

#[test]
fn codes_have_kafkas_numbers_names_and_retriability() {
    assert_eq!(i16::from(ErrorCode::UnknownServerError), -1);
    assert_eq!(i16::from(ErrorCode::None), 0);
    assert_eq!(ErrorCode::from_i16(6), Some(ErrorCode::NotLeaderOrFollower));
    assert_eq!(
        ErrorCode::NotLeaderOrFollower.to_string(),
        "NOT_LEADER_OR_FOLLOWER"
    );
    assert!(ErrorCode::NotLeaderOrFollower.is_retriable());
    assert_eq!(i16::from(ErrorCode::UnsupportedVersion), 35);
    assert!(!ErrorCode::UnsupportedVersion.is_retriable());
    assert_eq!(i16::from(ErrorCode::UnknownTopicId), 100);
    assert_eq!(i16::from(ErrorCode::RebootstrapRequired), 129);
}

/// The same table in the crate `kafka-protocol`, as far as it goes; it is of an older Kafka, and
/// the codes named here changed since.
#[test]
fn the_other_codec_agrees_on_which_codes_are_retriable() {
    let (mut compared, mut differing) = (0, Vec::new());
    for code in (i16::MIN..=i16::MAX).filter_map(ErrorCode::from_i16) {
        if let Some(theirs) = kafka_protocol::ResponseError::try_from_code(code.into()) {
            compared += 1;
            if theirs.is_retriable() != code.is_retriable() {
                differing.push(code);
            }
        }
    }

    assert_eq!(differing, [ErrorCode::ConcurrentTransactions]);
    assert!(compared > 100, "only {compared} codes compared");
}
