//! What is built is read back: random records, every compression.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use raftmq_records::{
    BatchBuilder, BatchError, Compression, DecodeLimits, Header, Record, batches, records, stamp,
    validate_batch,
};

use crate::batch_of;

fn bytes(size_max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..size_max).prop_map(Bytes::from)
}

fn header() -> impl Strategy<Value = Header> {
    (bytes(8), option::of(bytes(8))).prop_map(|(key, value)| Header { key, value })
}

fn record() -> impl Strategy<Value = Record> {
    (
        -1_000_000_000_000_i64..4_000_000_000_000,
        option::of(bytes(20)),
        option::of(bytes(300)),
        vec(header(), 0..4),
    )
        .prop_map(|(timestamp_ms, key, value, headers)| Record {
            offset: 0,
            timestamp_ms,
            key,
            value,
            headers,
        })
}

fn compression() -> impl Strategy<Value = Compression> {
    prop::sample::select(Compression::ALL.to_vec())
}

fn build(compression: Compression, wanted: &[Record]) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 0);
    for record in wanted {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let size_max = BatchBuilder::record_size_bytes_max(key, value, &record.headers);
        let before = builder.size_bytes();
        builder
            .append(record.timestamp_ms, key, value, &record.headers)
            .expect("a small record fits");
        assert!(builder.size_bytes() - before <= size_max);
    }
    builder.finish().expect("it has records")
}

proptest! {
    #[test]
    fn every_record_survives(
        mut wanted in vec(record(), 1..40),
        compression in compression(),
        base_offset in 0_i64..1 << 60,
    ) {
        let mut batch = build(compression, &wanted).to_vec();
        stamp(&mut batch, base_offset, 9);
        let batch = Bytes::from(batch);
        let header = validate_batch(&batch, batch.len()).expect("it is valid");
        prop_assert_eq!(header.compression(), Ok(compression));
        prop_assert_eq!(header.base_offset, base_offset);
        prop_assert_eq!(header.partition_leader_epoch, 9);
        prop_assert_eq!(
            Some(header.max_timestamp),
            wanted.iter().map(|record| record.timestamp_ms).max()
        );
        for (record, offset) in wanted.iter_mut().zip(base_offset..) {
            record.offset = offset;
        }
        let read: Result<Vec<_>, _> = records(&batch, DecodeLimits::default())
            .expect("it opens")
            .collect();
        prop_assert_eq!(read, Ok(wanted));
    }

    #[test]
    fn batches_come_apart_where_they_were_joined(counts in vec(1_i64..20, 0..8)) {
        let single: Vec<_> = counts
            .iter()
            .map(|count| batch_of(Compression::Zstd, *count))
            .collect();
        let joined = Bytes::from(single.concat());
        let apart: Result<Vec<_>, _> = batches(&joined)
            .map(|item| item.map(|(_, batch)| batch))
            .collect();
        prop_assert_eq!(apart, Ok(single));
    }
}

#[test]
fn a_batch_that_is_cut_off_ends_the_walk_with_an_error() {
    let batch = batch_of(Compression::None, 3);
    let joined = Bytes::from([&batch[..], &batch[..batch.len() - 1]].concat());

    let walked: Vec<_> = batches(&joined).collect();

    assert_eq!(walked.len(), 2);
    assert!(walked[0].is_ok());
    assert_eq!(
        walked[1],
        Err(BatchError::Truncated {
            needed: batch.len(),
            remaining: batch.len() - 1
        })
    );
}

#[test]
fn a_batch_without_records_is_not_built() {
    assert_eq!(
        BatchBuilder::new(Compression::None, 0).finish(),
        Err(BatchError::Empty)
    );
}

#[test]
fn a_timestamp_too_far_from_the_first_is_refused_and_changes_nothing() {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    builder.append(i64::MIN, None, None, &[]).expect("fits");
    let size_bytes = builder.size_bytes();

    let refused = builder.append(1, None, None, &[]);

    assert_eq!(
        refused,
        Err(BatchError::InvalidTimestamp {
            base_timestamp: i64::MIN,
            delta: 1
        })
    );
    assert_eq!(builder.size_bytes(), size_bytes);
    assert_eq!(builder.records_count(), 1);
}
