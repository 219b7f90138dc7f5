//! What claims to be larger than it is, or becomes larger than it looks: frames that are announced and never come, frames
//! that end early, record batches that unpack to a multiple or count what is not there. The broker's memory stays bounded.

use bytes::{Bytes, BytesMut};
use raftmq_kafka_protocol::messages::create_topics::request::{
    CreatableTopic, CreatableTopicConfig,
};
use raftmq_kafka_protocol::messages::{CreateTopicsRequest, RequestHeader};
use raftmq_kafka_protocol::{ErrorCode, Request, Response, encode_request};
use raftmq_records::{BatchBuilder, Compression};

use super::wire::{FETCH, PRODUCE, Wire, batch, batch_of, broker, fetch_request, produce_request};
use crate::support::Broker;

const MIB: u64 = 1 << 20;
/// `ListOffsets` asks with it for the record with the largest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// The timestamp of a bomb's record.
const BOMB_MS: i64 = 2_000;

/// Snappy, which packs no more than some twenty bytes into one, is harmless within `max.message.bytes`.
const BOMBS: [Compression; 3] = [Compression::Gzip, Compression::Lz4, Compression::Zstd];

/// The most memory that the broker's process ever had, bytes.
fn peak_memory(broker: &Broker) -> u64 {
    let path = format!("/proc/{}/status", broker.process.pid());
    let status = std::fs::read_to_string(path).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() << 10
}

/// A record of 80 MiB of zeros, in far less than 1 MiB.
fn bomb(compression: Compression) -> Bytes {
    let zeros = vec![0; 80 << 20];
    let mut builder = BatchBuilder::new(compression, 0);
    builder
        .append(BOMB_MS, Some(b"key"), Some(&zeros), &[])
        .unwrap();
    let bomb = builder.finish().unwrap();
    assert!((bomb.len() as u64) < MIB, "{compression:?}");
    bomb
}

/// A batch with other bytes in some places, and a checksum that fits them.
fn resealed(batch: &Bytes, changes: &[(usize, [u8; 4])]) -> Bytes {
    let mut bytes = BytesMut::from(&batch[..]);
    for (at, value) in changes {
        bytes[*at..at + 4].copy_from_slice(value);
    }
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

/// A batch that claims so many records.
fn claiming(batch: &Bytes, records_count: i32) -> Bytes {
    let last_offset_delta = (records_count - 1).to_be_bytes();
    resealed(
        batch,
        &[(23, last_offset_delta), (57, records_count.to_be_bytes())],
    )
}

#[test]
fn frames_that_are_announced_and_never_come_take_no_memory() {
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    wire.produce("t", batch(&["before"]));
    let before = peak_memory(&broker);
    // Less than `queued.max.request.bytes` together, or what comes behind them would wait.
    let announced: Vec<Wire> = (0..100)
        .map(|_| {
            let mut wire = Wire::connect(&broker.kafka());
            wire.send_raw(&(2_i32 << 20).to_be_bytes());
            wire.send_raw(&[0; 64]);
            wire
        })
        .collect();

    assert_eq!(wire.produce("t", batch(&["beside"])).error_code, 0);
    drop(announced);

    let after = peak_memory(&broker);
    assert!(after - before < 32 * MIB, "{before} bytes became {after}");
    assert_eq!(wire.produce("t", batch(&["behind"])).error_code, 0);
}

#[test]
fn a_request_that_ends_early_closes_the_connection_and_writes_nothing() {
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    let produce: Request = produce_request("t", -1, batch(&["never"])).into();
    let fetch: Request = fetch_request("t", 0).into();
    for (version, request) in [(PRODUCE, produce), (FETCH, fetch)] {
        let header = RequestHeader {
            request_api_key: request.api().into(),
            request_api_version: version,
            correlation_id: 1,
            client_id: Some("it".into()),
        };
        let mut whole = BytesMut::new();
        encode_request(&header, &request, &mut whole).unwrap();
        for length in 0..whole.len() - 4 {
            // The frame is as long as it says; the request in it is not.
            let mut wire = Wire::connect(&broker.kafka());
            wire.send_raw(&i32::try_from(length).unwrap().to_be_bytes());
            wire.send_raw(&whole[4..4 + length]);
            assert!(wire.is_closed(), "{:?} cut to {length}", request.api());
        }
        // The frame is shorter than it says, and its sender gone.
        let mut wire = Wire::connect(&broker.kafka());
        wire.send_raw(&whole[..whole.len() - 1]);
    }
    assert_eq!(wire.offset("t", -1).offset, 0);
    assert_eq!(wire.produce("t", batch(&["one"])).base_offset, 0);
}

#[test]
fn a_bomb_is_stored_as_it_came_and_looking_into_it_is_bounded() {
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    wire.produce("t", batch(&["before"]));
    let before = peak_memory(&broker);
    for compression in BOMBS {
        let written = wire.produce("t", bomb(compression));
        assert_eq!(written.error_code, 0, "{compression:?}: {written:?}");
    }
    // Its only record cannot be read: the beginning of the first such batch is the answer.
    for asked in [BOMB_MS, MAX_TIMESTAMP] {
        let found = wire.offset("t", asked);
        let found = (found.error_code, found.offset, found.timestamp);
        assert_eq!(found, (0, 1, BOMB_MS), "asked for {asked}");
    }

    let after = peak_memory(&broker);
    assert!(after - before < 256 * MIB, "{before} bytes became {after}");
}

#[test]
fn a_bomb_for_a_compacted_topic_is_refused() {
    let (broker, mut wire) = broker(&[]);
    let compacted = CreatableTopic {
        name: "compacted".into(),
        num_partitions: 1,
        replication_factor: -1,
        configs: vec![CreatableTopicConfig {
            name: "cleanup.policy".into(),
            value: Some("compact".into()),
        }],
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![compacted],
        timeout_ms: 30_000,
        validate_only: false,
    };
    let Response::CreateTopics(created) = wire.call(7, request) else {
        panic!("not an answer to CreateTopics")
    };
    assert_eq!(created.topics[0].error_code, 0);
    wire.topic("compacted");
    let before = peak_memory(&broker);
    for compression in BOMBS {
        let refused = wire.produce("compacted", bomb(compression));
        let invalid = i16::from(ErrorCode::InvalidRecord);
        assert_eq!(refused.error_code, invalid, "{compression:?}: {refused:?}");
    }
    let garbage = batch_of(&["value"], Compression::Gzip, None);
    let garbage = resealed(&garbage, &[(61, [0xff; 4])]);
    let refused = wire.produce("compacted", garbage);
    assert_eq!(refused.error_code, i16::from(ErrorCode::InvalidRecord));

    let after = peak_memory(&broker);
    assert!(after - before < 256 * MIB, "{before} bytes became {after}");
    assert_eq!(wire.offset("compacted", -1).offset, 0);
}

#[test]
fn counts_of_records_that_cannot_be_there_are_refused() {
    let (broker, mut wire) = broker(&[]);
    wire.topic("t");
    let plain = batch(&["one", "two"]);
    let packed = batch_of(&["one", "two"], Compression::Lz4, None);
    let before = peak_memory(&broker);
    for (what, records) in [
        ("two thousand million", claiming(&plain, i32::MAX)),
        ("the same, compressed", claiming(&packed, i32::MAX)),
        ("none", claiming(&plain, 0)),
        ("fewer than none", claiming(&plain, -1)),
        ("one too few", claiming(&plain, 1)),
        ("one too many", claiming(&plain, 3)),
        (
            "another than the last offset says",
            resealed(&plain, &[(57, 9_i32.to_be_bytes())]),
        ),
        ("a record of no length", resealed(&plain, &[(61, [0; 4])])),
    ] {
        let refused = wire.produce("t", records);
        let invalid = i16::from(ErrorCode::InvalidRecord);
        assert_eq!(refused.error_code, invalid, "{what}: {refused:?}");
    }
    let after = peak_memory(&broker);
    assert!(after - before < 32 * MIB, "{before} bytes became {after}");
    assert_eq!(wire.offset("t", -1).offset, 0);
}
