//! Compaction: the last record of each key survives at its offset, and nothing else that was learnt.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::Strategy;
use raftmq_core::codec::CodecError;
use raftmq_core::partition::compaction::{
    ChunkBuilder, ChunkHead, Pass, Region, Survivors, check_keys,
};
use raftmq_core::{LogIndex, Offset};
use raftmq_records::{BatchHeader, Compression, Record};

use crate::support::NOW_MS;
use crate::support::keyed::{Pair, keyed, pass_over, read};

const DAY_MS: i64 = 86_400_000;
const ROOMY: usize = 1 << 20;

fn value(key: u8, value: u8) -> Pair {
    (Some(key), Some(value))
}

fn tombstone(key: u8) -> Pair {
    (Some(key), None)
}

fn batches_of(groups: &[&[Pair]]) -> Vec<Bytes> {
    let mut next = 0;
    let mut batches = Vec::new();
    for pairs in groups {
        batches.push(keyed(next, Compression::None, pairs));
        next += i64::try_from(pairs.len()).unwrap();
    }
    batches
}

fn offsets(batches: &[Bytes]) -> Vec<i64> {
    read(batches).iter().map(|record| record.offset).collect()
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let batches = batches_of(&[
        &[value(1, 10), value(2, 20), value(1, 11)],
        &[value(3, 30), value(2, 21)],
        &[value(4, 40)],
    ]);

    let (left, covered_to, _) =
        pass_over(Pass::new(ROOMY, NOW_MS, DAY_MS), &batches, &BTreeMap::new());

    assert_eq!(covered_to, i64::MAX);
    assert_eq!(offsets(&left), [2, 3, 4, 5]);
    let header = BatchHeader::parse(&left[0]).unwrap();
    assert_eq!((header.base_offset, header.last_offset()), (0, 2));
    assert_eq!(left[2], batches[2], "what is whole is left as it was");
}

#[test]
fn a_tombstone_stays_until_its_time_and_then_goes() {
    let batches = batches_of(&[&[value(1, 10)], &[tombstone(1)], &[value(2, 20)]]);
    let first = Pass::new(ROOMY, NOW_MS, DAY_MS);

    let (left, _, horizons) = pass_over(first, &batches, &BTreeMap::new());
    assert_eq!(
        offsets(&left),
        [1, 2],
        "the value goes, the tombstone stays"
    );
    let horizon_ms = horizons[&1];
    assert_eq!(horizon_ms, Some(NOW_MS + DAY_MS));
    assert_eq!(horizons[&2], None, "there is no tombstone in it");

    let region = |horizon_ms| BTreeMap::from([(1, Region::Clean { horizon_ms })]);
    let early = Pass::new(ROOMY, NOW_MS + DAY_MS - 1, DAY_MS);
    let (left, ..) = pass_over(early, &left, &region(horizon_ms));
    assert_eq!(offsets(&left), [1, 2]);
    let late = Pass::new(ROOMY, NOW_MS + DAY_MS, DAY_MS);
    let (left, ..) = pass_over(late, &left, &region(horizon_ms));
    assert_eq!(offsets(&left), [2]);
}

#[test]
fn a_tombstone_is_never_dropped_by_the_pass_that_learns_it() {
    let batches = batches_of(&[&[value(1, 10)], &[tombstone(1)]]);

    let (left, ..) = pass_over(Pass::new(ROOMY, NOW_MS, 0), &batches, &BTreeMap::new());

    assert_eq!(
        offsets(&left),
        [1],
        "a reader of the value must get to see it"
    );
}

#[test]
fn a_record_without_a_key_goes_as_in_kafka() {
    let batches = batches_of(&[&[(None, Some(1)), value(1, 10)], &[(None, Some(2))]]);

    let (left, ..) = pass_over(Pass::new(ROOMY, NOW_MS, DAY_MS), &batches, &BTreeMap::new());

    assert_eq!(offsets(&left), [1]);
    assert_eq!(check_keys(&batches[0]), Ok(Some(0)));
    assert_eq!(
        check_keys(&keyed(0, Compression::Zstd, &[value(1, 1)])),
        Ok(None)
    );
}

#[test]
fn a_batch_that_cannot_be_read_stays_whole_and_supersedes_nothing() {
    let mut batches = batches_of(&[&[value(1, 10)], &[value(1, 11)], &[value(2, 1)]]);
    let mut damaged = batches[1].to_vec();
    let last = damaged.len() - 1;
    damaged.truncate(last);
    let length = i32::try_from(damaged.len() - 12).unwrap();
    damaged[8..12].copy_from_slice(&length.to_be_bytes());
    batches[1] = damaged.into();
    let mut pass = Pass::new(ROOMY, NOW_MS, DAY_MS);
    for batch in &batches {
        pass.learn(batch);
    }

    let left = |batch| pass.clean(batch, Region::Dirty).retained;
    assert_eq!(left(&batches[0]), raftmq_records::Retained::All);
    assert_eq!(left(&batches[1]), raftmq_records::Retained::All);
}

#[test]
fn a_full_map_ends_the_learning_and_what_lies_beyond_is_untouched() {
    let batches = batches_of(&[
        &[value(1, 1), value(2, 1)],
        &[value(3, 1), value(1, 2)],
        &[value(1, 3), (None, Some(9))],
    ]);

    // Room for the keys of one batch.
    let (left, covered_to, _) =
        pass_over(Pass::new(150, NOW_MS, DAY_MS), &batches, &BTreeMap::new());

    assert_eq!(covered_to, 2);
    assert_eq!(offsets(&left), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn chunks_know_what_is_in_them_and_keep_the_latest_horizon() {
    let batches = batches_of(&[&[value(1, 1), value(2, 1)], &[tombstone(3)]]);
    let mut builder = ChunkBuilder::default();
    assert!(builder.is_empty());
    for (batch, horizon_ms) in batches.iter().zip([Some(5), Some(9)]) {
        builder.push(&BatchHeader::parse(batch).unwrap(), batch, horizon_ms);
    }

    let chunk = builder.finish().unwrap();

    assert_eq!(chunk.batches, batches.concat());
    let head = ChunkHead {
        base_offset: Offset(0),
        end: Offset(3),
        bytes: chunk.batches.len() as u64,
        max_timestamp_ms: NOW_MS + 1,
        horizon_ms: Some(9),
    };
    assert_eq!(chunk.head, head);
    assert_eq!(builder.finish(), None);
}

#[test]
fn notes_survive_their_bytes_and_hostile_ones_are_refused() {
    let head = ChunkHead {
        base_offset: Offset(7),
        end: Offset(9),
        bytes: 100,
        max_timestamp_ms: -1,
        horizon_ms: None,
    };
    let whole = Survivors {
        end: Offset(3),
        cleaned_to: Offset(2),
        boundary: LogIndex(1),
    };
    assert_eq!(ChunkHead::decode(head.encode()), Ok(head));
    assert_eq!(Survivors::decode(whole.encode()), Ok(whole));
    assert_eq!(Survivors::decode(Bytes::new()), Ok(Survivors::default()));
    for length in 1..whole.encode().len() {
        let cut = Survivors::decode(whole.encode().slice(..length));
        assert!(matches!(cut, Err(CodecError::Truncated { .. })));
    }
    for length in 0..head.encode().len() {
        assert!(ChunkHead::decode(head.encode().slice(..length)).is_err());
    }
}

/// The naive model: walks every record and asks whether a later one has its key.
fn model(all: &[Record], covered_to: i64) -> Vec<i64> {
    let stays = |record: &&Record| {
        if record.offset >= covered_to {
            return true;
        }
        let Some(key) = &record.key else { return false };
        let is_superseded = |later: &Record| {
            later.offset > record.offset
                && later.offset < covered_to
                && later.key.as_ref() == Some(key)
        };
        !all.iter().any(is_superseded)
    };
    all.iter()
        .filter(stays)
        .map(|record| record.offset)
        .collect()
}

fn any_pairs() -> impl Strategy<Value = Vec<Vec<Pair>>> {
    let pair = (
        proptest::option::weighted(0.95, 0..8_u8),
        proptest::option::weighted(0.8, any::<u8>()),
    );
    proptest::collection::vec(proptest::collection::vec(pair, 1..6), 1..30)
}

proptest! {
    #[test]
    fn a_pass_leaves_what_a_naive_walk_leaves(
        groups in any_pairs(),
        keys_bytes_max in 60..2_000_usize,
        compressed in any::<bool>(),
    ) {
        let compression = if compressed { Compression::Lz4 } else { Compression::None };
        let mut next = 0;
        let mut batches = Vec::new();
        for pairs in &groups {
            batches.push(keyed(next, compression, pairs));
            next += i64::try_from(pairs.len()).unwrap();
        }
        let all = read(&batches);

        let pass = Pass::new(keys_bytes_max, NOW_MS, DAY_MS);
        let (left, covered_to, _) = pass_over(pass, &batches, &BTreeMap::new());

        prop_assert!(covered_to > 0, "a pass always gets on");
        prop_assert_eq!(offsets(&left), model(&all, covered_to));
        for record in read(&left) {
            let original = &all[usize::try_from(record.offset).unwrap()];
            prop_assert_eq!(&record, original, "key, value, time and offset stay");
        }
    }

    #[test]
    fn passes_repeated_until_all_is_learnt_leave_one_record_a_key(
        groups in any_pairs(),
        keys_bytes_max in 60..600_usize,
    ) {
        let groups: Vec<&[Pair]> = groups.iter().map(Vec::as_slice).collect();
        let mut batches = batches_of(&groups);
        let all = read(&batches);
        let mut regions = BTreeMap::new();

        loop {
            let pass = Pass::new(keys_bytes_max, NOW_MS, DAY_MS);
            let (left, covered_to, horizons) = pass_over(pass, &batches, &regions);
            batches = left;
            regions.clear();
            for (base, horizon_ms) in horizons {
                regions.insert(base, Region::Clean { horizon_ms });
            }
            if covered_to == i64::MAX {
                break;
            }
        }

        prop_assert_eq!(offsets(&batches), model(&all, i64::MAX));
    }
}
