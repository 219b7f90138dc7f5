//! Taking records out of a written batch: what stays is as it was.

use bytes::Bytes;
use raftmq_records::{
    BatchError, BatchHeader, Compression, DecodeLimits, Record, Retained, check_crc, records,
    retain, set_log_append_time, stamp,
};

use crate::batch_of;

const ALL: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn stored(compression: Compression) -> Bytes {
    let mut batch = batch_of(compression, 5).to_vec();
    stamp(&mut batch, 100, 9);
    batch.into()
}

fn read(batch: &Bytes) -> Vec<Record> {
    let records = records(batch, DecodeLimits::default()).expect("a batch");
    records.map(|record| record.expect("a record")).collect()
}

fn keep(batch: &Bytes, offsets: &[i64]) -> Retained {
    let limits = DecodeLimits::default();
    retain(batch, limits, |record| offsets.contains(&record.offset)).expect("readable")
}

#[test]
fn what_stays_keeps_offset_time_producer_and_codec() {
    for compression in ALL {
        let batch = stored(compression);

        let Retained::Part(part) = keep(&batch, &[101, 103]) else {
            panic!("a part");
        };

        let header = check_crc(&part).expect("a whole batch");
        let before = BatchHeader::parse(&batch).expect("a header");
        let all = read(&batch);
        assert_eq!(read(&part), [all[1].clone(), all[3].clone()]);
        assert_eq!(header.records_count, 2);
        assert_eq!(header.max_timestamp, 1_003);
        assert_eq!(header.compression(), Ok(compression));
        let same = |header: &BatchHeader| {
            (
                (header.base_offset, header.last_offset_delta),
                header.partition_leader_epoch,
                (header.base_timestamp, header.attributes),
                (
                    header.producer_id,
                    header.producer_epoch,
                    header.base_sequence,
                ),
            )
        };
        assert_eq!(same(&header), same(&before));
    }
}

#[test]
fn all_or_nothing_is_said_without_a_copy() {
    let batch = stored(Compression::Zstd);

    assert_eq!(keep(&batch, &[100, 101, 102, 103, 104]), Retained::All);
    assert_eq!(keep(&batch, &[]), Retained::Nothing);
}

#[test]
fn a_batch_may_be_thinned_out_again_and_again() {
    let Retained::Part(part) = keep(&stored(Compression::Lz4), &[100, 102, 104]) else {
        panic!("a part");
    };
    let Retained::Part(part) = keep(&part, &[104]) else {
        panic!("a part");
    };

    let left = read(&part);
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].offset, left[0].timestamp_ms), (104, 1_004));
    assert_eq!(keep(&part, &[104]), Retained::All);
}

#[test]
fn the_append_time_of_a_batch_stays_that_of_its_records() {
    let mut batch = stored(Compression::None).to_vec();
    set_log_append_time(&mut batch, 77);
    let Retained::Part(part) = keep(&batch.into(), &[101]) else {
        panic!("a part");
    };

    assert_eq!(read(&part)[0].timestamp_ms, 77);
}

#[test]
fn damaged_records_are_an_error() {
    let batch = stored(Compression::None);
    let short = batch.slice(..batch.len() - 1);
    let limits = DecodeLimits::default();

    let cut = retain(&short, limits, |_| true);
    assert!(matches!(cut, Err(BatchError::Truncated { .. })));
    let mut garbled = stored(Compression::Gzip).to_vec();
    // The first byte of the compressed records is part of gzip's magic number.
    garbled[61] ^= 0xff;
    assert!(retain(&garbled.into(), limits, |_| true).is_err());
}
