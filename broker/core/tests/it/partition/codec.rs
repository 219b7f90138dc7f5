//! The bytes of partition commands: round trips, golden bytes, hostile input.

use bytes::Bytes;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use raftmq_core::codec::CodecError;
use raftmq_core::limits::{APPEND_BYTES_MAX, COMMAND_BYTES_MAX};
use raftmq_core::partition::command::{APPEND_HEADER_BYTES, batch_leader_epoch};
use raftmq_core::partition::{Append, AppendBuilder, Command, LogStartReason};
use raftmq_core::{Offset, Term};
use raftmq_records::BatchHeader;

use crate::support::batch::plain;

fn append(batches: &'static [u8]) -> Command {
    Command::Append(Append {
        leader_epoch: Term(0x0102),
        base_offset: Offset(0x0304),
        segment_bytes: 0x0506,
        batches: Bytes::from_static(batches),
    })
}

fn advance(reason: LogStartReason) -> Command {
    Command::AdvanceLogStart {
        log_start: Offset(7),
        reason,
    }
}

const EXPIRE: Command = Command::ExpireProducers { idle_before_ms: -2 };
const CLOSE: Command = Command::CloseSegment { age_ms_min: 3 };

#[test]
fn every_command_survives_its_bytes() {
    let commands = [
        append(b"batches"),
        append(b""),
        advance(LogStartReason::RetentionTime),
        advance(LogStartReason::RetentionBytes),
        advance(LogStartReason::DeleteRecords),
        EXPIRE,
        CLOSE,
    ];
    for command in commands {
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn the_bytes_are_those_that_were_agreed_on() {
    assert_eq!(
        append(b"xy").encode()[..],
        [
            1, 1, // version, tag
            0, 0, 0, 0, 0, 0, 1, 2, // leader epoch
            0, 0, 0, 0, 0, 0, 3, 4, // base offset
            0, 0, 0, 0, 0, 0, 5, 6, // segment bytes
            b'x', b'y',
        ]
    );
    assert_eq!(
        advance(LogStartReason::RetentionBytes).encode()[..],
        [1, 2, 0, 0, 0, 0, 0, 0, 0, 7, 2]
    );
    assert_eq!(
        EXPIRE.encode()[..],
        [1, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]
    );
    assert_eq!(CLOSE.encode()[..], [1, 30, 0, 0, 0, 0, 0, 0, 0, 3]);
}

#[test]
fn decoding_an_append_shares_its_payload() {
    let bytes = append(b"batches").encode();

    let Ok(Command::Append(decoded)) = Command::decode(&bytes) else {
        panic!("an append")
    };

    let payload = &bytes[APPEND_HEADER_BYTES..];
    assert_eq!(decoded.batches.as_ptr(), payload.as_ptr());
}

#[test]
fn every_command_cut_short_is_refused() {
    for command in [
        append(b""),
        advance(LogStartReason::DeleteRecords),
        EXPIRE,
        CLOSE,
    ] {
        let bytes = command.encode();
        for length in 0..bytes.len() {
            let cut = Command::decode(&bytes.slice(..length));
            assert!(
                matches!(cut, Err(CodecError::Truncated { .. })),
                "{length}: {cut:?}"
            );
        }
    }
}

#[test]
fn bytes_that_are_left_over_are_refused() {
    for command in [advance(LogStartReason::DeleteRecords), EXPIRE, CLOSE] {
        let mut bytes = command.encode().to_vec();
        bytes.push(0);
        assert_eq!(
            Command::decode(&bytes.into()),
            Err(CodecError::LeftOver { remaining: 1 })
        );
    }
}

#[test]
fn an_unknown_version_or_tag_is_refused() {
    let what = "partition command".to_owned();
    assert_eq!(
        Command::decode(&Bytes::from_static(&[2, 1])),
        Err(CodecError::UnknownVersion {
            what: what.clone(),
            version: 2
        })
    );
    assert_eq!(
        Command::decode(&Bytes::from_static(&[1, 9])),
        Err(CodecError::UnknownTag { what, tag: 9 })
    );
    assert_eq!(
        Command::decode(&Bytes::from_static(&[1, 2, 0, 0, 0, 0, 0, 0, 0, 7, 4])),
        Err(CodecError::UnknownTag {
            what: "log start reason".to_owned(),
            tag: 4
        })
    );
}

#[test]
fn an_append_over_the_limit_is_refused() {
    let mut bytes = append(b"").encode().to_vec();
    bytes.resize(APPEND_BYTES_MAX + 1, 0);

    let refused = Command::decode(&bytes.into());

    let what = "partition command".to_owned();
    let (actual, limit) = (APPEND_BYTES_MAX + 1, APPEND_BYTES_MAX);
    assert_eq!(
        refused,
        Err(CodecError::OverLimit {
            what,
            actual,
            limit
        })
    );
}

#[test]
fn another_command_over_the_limit_is_refused() {
    let mut bytes = EXPIRE.encode().to_vec();
    bytes.resize(COMMAND_BYTES_MAX + 1, 0);

    let refused = Command::decode(&bytes.into());

    assert!(
        matches!(refused, Err(CodecError::OverLimit { .. })),
        "{refused:?}"
    );
}

#[test]
fn the_builder_stamps_what_the_crc_does_not_cover() {
    let batch = plain(3).bytes();
    let mut builder = AppendBuilder::new(Term(9), Offset(40), 0, batch.len() * 2);
    assert!(builder.is_empty());

    builder.push(&batch, Offset(40), None);
    builder.push(&batch, Offset(43), None);

    assert_eq!(builder.batches_bytes(), batch.len() * 2);
    let Ok(Command::Append(append)) = Command::decode(&builder.finish()) else {
        panic!("an append")
    };
    let second = BatchHeader::parse(&append.batches[batch.len()..]).unwrap();
    assert_eq!(second.base_offset, 43);
    assert_eq!(second.partition_leader_epoch, 9);
    assert_eq!(
        append.batches[21..batch.len()],
        batch[21..],
        "all else is as it came"
    );
}

#[test]
fn the_builder_does_not_grow_when_it_was_told_the_size() {
    let batch = plain(3).of_bytes(100_000).bytes();
    let mut builder = AppendBuilder::new(Term(9), Offset(0), 0, batch.len());

    builder.push(&batch, Offset(0), None);

    assert_eq!(builder.finish().len(), APPEND_HEADER_BYTES + batch.len());
}

#[test]
fn the_builder_puts_the_hosts_own_bytes_in_front() {
    let batch = plain(3).bytes();
    let mut builder = AppendBuilder::with_prefix(b"host", Term(9), Offset(40), 7, batch.len());
    assert!(builder.is_empty());
    builder.push(&batch, Offset(40), None);
    assert_eq!(builder.batches_bytes(), batch.len());
    let mut plain_builder = AppendBuilder::new(Term(9), Offset(40), 7, batch.len());
    plain_builder.push(&batch, Offset(40), None);

    let bytes = builder.finish();

    assert_eq!(bytes[..4], *b"host");
    assert_eq!(bytes[4..], plain_builder.finish()[..]);
}

#[test]
fn the_builder_rewrites_timestamps_under_log_append_time() {
    let mut builder = AppendBuilder::new(Term(9), Offset(0), 0, 0);

    builder.push(&plain(3).bytes(), Offset(0), Some(77));

    let Ok(Command::Append(append)) = Command::decode(&builder.finish()) else {
        panic!("an append")
    };
    let header = BatchHeader::parse(&append.batches).unwrap();
    assert_eq!(header.max_timestamp, 77);
    assert_eq!(
        header.timestamp_type(),
        raftmq_records::TimestampType::LogAppendTime
    );
}

#[test]
fn a_term_beyond_thirty_one_bits_is_stamped_as_the_largest() {
    assert_eq!(batch_leader_epoch(Term(0)), 0);
    assert_eq!(batch_leader_epoch(Term(0x7fff_ffff)), i32::MAX);
    assert_eq!(batch_leader_epoch(Term(0x8000_0000)), i32::MAX);
    assert_eq!(batch_leader_epoch(Term(u64::MAX)), i32::MAX);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Command::decode(&bytes.into());
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(
        tag in 1..4_u8,
        body in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = vec![1, tag];
        bytes.extend(body);
        let bytes = Bytes::from(bytes);
        if let Ok(command) = Command::decode(&bytes) {
            prop_assert_eq!(command.encode(), bytes);
        }
    }

    #[test]
    fn every_append_survives_its_bytes(
        term in any::<u64>(),
        base_offset in any::<i64>(),
        segment_bytes in any::<u64>(),
        batches in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let command = Command::Append(Append {
            leader_epoch: Term(term),
            base_offset: Offset(base_offset),
            segment_bytes,
            batches: batches.into(),
        });
        let bytes = command.encode();
        prop_assert!(bytes.len() >= APPEND_HEADER_BYTES);
        prop_assert_eq!(Command::decode(&bytes), Ok(command));
    }
}
