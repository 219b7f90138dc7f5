//! The table of APIs, and which header goes with which version.

use raftmq_kafka_protocol::{ApiKey, VersionRange, supported};

#[test]
fn the_table_has_every_key_once_and_in_order() {
    let keys: Vec<i16> = supported().iter().map(|info| info.key.into()).collect();

    assert!(keys.is_sorted_by(|left, right| left < right));
    for info in supported() {
        assert_eq!(ApiKey::from_i16(info.key.into()), Some(info.key));
        assert_eq!(info.key.info(), info);
        assert_eq!(format!("{:?}", info.key), info.name);
    }
    assert_eq!(ApiKey::from_i16(4), None);
    assert_eq!(ApiKey::from_i16(-1), None);
    assert_eq!(ApiKey::from_i16(i16::MAX), None);
}

#[test]
fn the_newest_versions_are_there() {
    let newest = |key: ApiKey| key.versions();

    assert_eq!(newest(ApiKey::Produce), VersionRange { min: 3, max: 13 });
    assert_eq!(newest(ApiKey::Fetch), VersionRange { min: 4, max: 18 });
    assert_eq!(
        newest(ApiKey::ListOffsets),
        VersionRange { min: 1, max: 11 }
    );
    assert_eq!(
        newest(ApiKey::OffsetCommit),
        VersionRange { min: 2, max: 10 }
    );
    assert_eq!(
        newest(ApiKey::OffsetFetch),
        VersionRange { min: 1, max: 10 }
    );
    assert_eq!(newest(ApiKey::JoinGroup), VersionRange { min: 0, max: 9 });
    // Version 6 is not stable in Kafka 4.4.
    assert_eq!(
        newest(ApiKey::InitProducerId),
        VersionRange { min: 0, max: 5 }
    );
}

#[test]
fn flexible_versions_have_flexible_headers() {
    assert_eq!(ApiKey::Fetch.request_header_version(11), 1);
    assert_eq!(ApiKey::Fetch.response_header_version(11), 0);
    assert_eq!(ApiKey::Fetch.request_header_version(12), 2);
    assert_eq!(ApiKey::Fetch.response_header_version(12), 1);
    assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    assert_eq!(ApiKey::SaslHandshake.response_header_version(1), 0);
}

#[test]
fn api_versions_is_answered_under_header_0_in_every_version() {
    for version in ApiKey::ApiVersions.versions().iter() {
        assert_eq!(ApiKey::ApiVersions.response_header_version(version), 0);
    }
    assert_eq!(ApiKey::ApiVersions.request_header_version(2), 1);
    assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
}

/// As the crate `kafka-protocol` has it, wherever it has the version.
#[test]
fn the_other_codec_agrees_on_every_header_version() {
    for info in supported() {
        let Ok(theirs) = kafka_protocol::messages::ApiKey::try_from(i16::from(info.key)) else {
            continue;
        };
        let range = theirs.valid_versions();
        for version in info
            .versions
            .iter()
            .filter(|v| (range.min..=range.max).contains(v))
        {
            let ours = info.key.request_header_version(version);
            assert_eq!(
                ours,
                theirs.request_header_version(version),
                "{info:?} {version}"
            );
            let ours = info.key.response_header_version(version);
            assert_eq!(
                ours,
                theirs.response_header_version(version),
                "{info:?} {version}"
            );
        }
    }
}
