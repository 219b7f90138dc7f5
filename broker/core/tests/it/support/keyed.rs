//! Record batches with keys, and a model of what compaction leaves of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use raftmq_core::partition::compaction::{Pass, Region};
use raftmq_core::partition::reader::Progress;
use raftmq_records::{
    BatchBuilder, Compression, DecodeLimits, Record, Retained, check_crc, records, stamp,
};

/// A record of a test: key (none: a record without), value (none: a tombstone).
pub(crate) type Pair = (Option<u8>, Option<u8>);

/// A stamped batch of these records.
pub(crate) fn keyed(base_offset: i64, compression: Compression, pairs: &[Pair]) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 1_024);
    for (number, (key, value)) in pairs.iter().enumerate() {
        let key = key.map(|key| vec![b'k', key]);
        let value = value.map(|value| vec![value; 20]);
        builder
            .append(
                super::NOW_MS + i64::try_from(number).unwrap(),
                key.as_deref(),
                value.as_deref(),
                &[],
            )
            .unwrap();
    }
    let mut batch = builder.finish().unwrap().to_vec();
    stamp(&mut batch, base_offset, 1);
    batch.into()
}

/// The records of batches; every checksum is checked.
pub(crate) fn read(batches: &[Bytes]) -> Vec<Record> {
    let mut found = Vec::new();
    for batch in batches {
        check_crc(batch).unwrap();
        found.extend(
            records(batch, DecodeLimits::default())
                .unwrap()
                .map(Result::unwrap),
        );
    }
    found
}

/// What a whole pass leaves of batches; says also up to where it learnt, and what tombstones wait.
pub(crate) fn pass_over(
    mut pass: Pass,
    batches: &[Bytes],
    regions: &BTreeMap<i64, Region>,
) -> (Vec<Bytes>, i64, BTreeMap<i64, Option<i64>>) {
    let base = |batch: &Bytes| {
        raftmq_records::BatchHeader::parse(batch)
            .unwrap()
            .base_offset
    };
    let is_clean = |batch: &Bytes| regions.contains_key(&base(batch));
    let mut covered_to = i64::MAX;
    for batch in batches.iter().filter(|batch| !is_clean(batch)) {
        if pass.learn(batch) == Progress::Full {
            covered_to = base(batch);
            break;
        }
    }
    let (mut left, mut horizons) = (Vec::new(), BTreeMap::new());
    for batch in batches {
        let base = base(batch);
        let region = match regions.get(&base) {
            Some(region) => *region,
            None if base < covered_to => Region::Dirty,
            None => Region::Beyond,
        };
        let cleaned = pass.clean(batch, region);
        match cleaned.retained {
            Retained::All => left.push(batch.clone()),
            Retained::Part(part) => left.push(part),
            Retained::Nothing => continue,
        }
        if base < covered_to {
            horizons.insert(base, cleaned.horizon_ms);
        }
    }
    (left, covered_to, horizons)
}
