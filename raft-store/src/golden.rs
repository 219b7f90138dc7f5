//! Golden bytes of everything that stands on the disk: a change here is a change of format.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::codec;
use crate::engine::{EntryKind, entry_crc};
use crate::error::StoreError;
use crate::state::Checkpoint;
use crate::types::{Command, Entry, GroupId, Membership, Payload, StoredMembership, Vote, log_id};

const GROUP: GroupId = GroupId(3);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn membership() -> Membership {
    let configs = vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])];
    Membership::new_with_defaults(configs, [9])
}

#[test]
fn entry_checksums_are_chained_over_group_index_term_and_kind() {
    let crc = entry_crc(GROUP, 5, 2, EntryKind::Normal, b"payload");
    assert_eq!(format!("{crc:08x}"), "73c77194");
    for other in [
        entry_crc(GroupId(4), 5, 2, EntryKind::Normal, b"payload"),
        entry_crc(GROUP, 6, 2, EntryKind::Normal, b"payload"),
        entry_crc(GROUP, 5, 3, EntryKind::Normal, b"payload"),
        entry_crc(GROUP, 5, 2, EntryKind::Membership, b"payload"),
        entry_crc(GROUP, 5, 2, EntryKind::Normal, b"Payload"),
    ] {
        assert_ne!(crc, other);
    }
}

#[test]
fn entries_have_stable_bytes_and_commands_are_not_copied() {
    let command = Bytes::from_static(b"a command");
    let entry = Entry {
        log_id: log_id(2, 5),
        payload: Payload::Normal(Command(command.clone())),
    };
    let record = codec::encode_entry(GROUP, &entry, 77);
    assert_eq!(record.payload.as_ptr(), command.as_ptr());
    assert_eq!((record.kind as u8, record.bytes_before), (1, 77));
    assert_eq!(codec::decode_entry(&record).unwrap(), entry);

    let blank = Entry {
        log_id: log_id(2, 6),
        payload: Payload::Blank,
    };
    let record = codec::encode_entry(GROUP, &blank, 0);
    assert_eq!(
        (record.kind as u8, hex(&record.payload)),
        (0, String::new())
    );
    assert_eq!(codec::decode_entry(&record).unwrap(), blank);

    let changed = Entry {
        log_id: log_id(2, 7),
        payload: Payload::Membership(membership()),
    };
    let record = codec::encode_entry(GROUP, &changed, 0);
    let golden = "01\
        0200\
        020001000000000000000200000000000000\
        020002000000000000000300000000000000\
        04000100000000000000020000000000000003000000000000000900000000000000";
    assert_eq!(
        (record.kind as u8, hex(&record.payload).as_str()),
        (2, golden)
    );
    assert_eq!(codec::decode_entry(&record).unwrap(), changed);
}

#[test]
fn rows_have_stable_bytes() {
    let vote = Vote::new_committed(258, 7);
    let bytes = codec::encode_vote(GROUP, &vote);
    assert_eq!(hex(&bytes), "010201000000000000070000000000000001f5afc2d1");
    assert_eq!(codec::decode_vote(GROUP, &bytes).unwrap(), vote);

    let bytes = codec::encode_log_id(Some(log_id(2, 5)));
    assert_eq!(hex(&bytes), "010102000000000000000500000000000000");
    assert_eq!(
        codec::decode_log_id("log id", &bytes).unwrap(),
        Some(log_id(2, 5))
    );
    assert_eq!(hex(&codec::encode_log_id(None)), "0100");

    let bytes = codec::encode_u64(258);
    assert_eq!(hex(&bytes), "010201000000000000");
    assert_eq!(codec::decode_u64("number", &bytes).unwrap(), 258);

    let stored = StoredMembership::new(Some(log_id(1, 4)), Membership::default());
    let bytes = codec::encode_applied(Some(log_id(2, 5)), &stored);
    let golden = "01\
        0102000000000000000500000000000000\
        0101000000000000000400000000000000\
        00000000";
    assert_eq!(hex(&bytes), golden);
    assert_eq!(
        codec::decode_applied(&bytes).unwrap(),
        (Some(log_id(2, 5)), stored)
    );
}

#[test]
fn checkpoints_have_stable_bytes_and_a_checksum_over_all_of_them() {
    let checkpoint = Checkpoint {
        log_id: log_id(2, 5),
        membership: StoredMembership::default(),
        body: Bytes::from_static(b"body"),
    };
    let bytes = codec::encode_checkpoint(GROUP, &checkpoint);
    let golden =
        "01010200000000000000050000000000000000".to_owned() + "00000000" + "626f6479" + "7f1d0a32";
    assert_eq!(hex(&bytes), golden);
    assert_eq!(codec::decode_checkpoint(GROUP, &bytes).unwrap(), checkpoint);
    for place in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[place] ^= 4;
        assert!(
            codec::decode_checkpoint(GROUP, &damaged.into()).is_err(),
            "byte {place}"
        );
    }
}

#[test]
fn heads_of_checkpoints_have_stable_bytes_and_a_checksum() {
    let bytes = codec::encode_checkpoint_head(GROUP, log_id(2, 5));
    assert_eq!(hex(&bytes[..18]), "010102000000000000000500000000000000");
    assert_eq!(bytes.len(), 22);
    let decoded = codec::decode_checkpoint_head(GROUP, &bytes);
    assert_eq!(decoded.unwrap(), log_id(2, 5));
    assert!(codec::decode_checkpoint_head(GroupId(4), &bytes).is_err());
    for place in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[place] ^= 4;
        let refused = codec::decode_checkpoint_head(GROUP, &damaged);
        assert!(refused.is_err(), "byte {place}");
    }
}

#[test]
fn numbers_of_rows_are_never_reused() {
    use crate::key;
    let keys = [
        key::VOTE,
        key::COMMITTED,
        key::PURGED,
        key::ACKNOWLEDGED_INDEX,
        key::APPLIED,
        key::SNAPSHOT,
        key::HOLE,
        key::ACKNOWLEDGED,
    ];
    assert_eq!(keys, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_vote_of_another_group_or_with_any_bit_flipped_is_refused() {
    let bytes = codec::encode_vote(GROUP, &Vote::new(258, 7));
    assert!(codec::decode_vote(GroupId(4), &bytes).is_err());
    for place in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[place / 8] ^= 1 << (place % 8);
        assert!(codec::decode_vote(GROUP, &damaged).is_err(), "bit {place}");
    }
}

#[test]
fn unknown_versions_and_cut_bytes_are_errors() {
    let mut bytes = codec::encode_log_id(Some(log_id(2, 5))).to_vec();
    for len in 0..bytes.len() {
        assert!(codec::decode_log_id("log id", &bytes[..len]).is_err());
    }
    bytes[0] = 2;
    let refused = codec::decode_log_id("log id", &bytes);
    let expected = StoreError::UnknownVersion {
        what: "log id",
        found: 2,
        supported: 1,
    };
    assert_eq!(refused, Err(expected));
    let huge_count = [1, 255, 255];
    let record = crate::engine::EntryRecord {
        index: 1,
        term: 1,
        kind: EntryKind::Membership,
        crc: 0,
        bytes_before: 0,
        payload: Bytes::copy_from_slice(&huge_count),
    };
    assert!(codec::decode_entry(&record).is_err());
}
