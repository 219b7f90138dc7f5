//! The leader's two changes to a batch leave it valid.

use bytes::Bytes;
use raftmq_records::{
    BatchError, BatchHeader, Compression, DecodeLimits, TimestampType, check_crc, records,
    set_log_append_time, set_producer, stamp, validate_batch,
};

use crate::batch_of;

#[test]
fn stamping_changes_offset_and_epoch_and_nothing_else() {
    let batch = batch_of(Compression::Lz4, 4);
    let before = validate_batch(&batch, 1 << 20).expect("it is valid");
    let mut stamped = batch.to_vec();

    stamp(&mut stamped, 1_234_567, 17);

    let after = validate_batch(&Bytes::from(stamped), 1 << 20).expect("the CRC still holds");
    let expected = BatchHeader {
        base_offset: 1_234_567,
        partition_leader_epoch: 17,
        ..before
    };
    assert_eq!(after, expected);
}

#[test]
fn append_time_replaces_every_timestamp_and_keeps_records_compressed() {
    for compression in Compression::ALL {
        let mut batch = batch_of(compression, 3).to_vec();
        let body = batch[61..].to_vec();

        set_log_append_time(&mut batch, 99_000);

        assert_eq!(batch[61..], body);
        let batch = Bytes::from(batch);
        let header = validate_batch(&batch, 1 << 20).expect("the CRC was recomputed");
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(header.max_timestamp, 99_000);
        assert_eq!(header.compression(), Ok(compression));
        for record in records(&batch, DecodeLimits::default()).expect("it opens") {
            assert_eq!(record.expect("it is valid").timestamp_ms, 99_000);
        }
    }
}

#[test]
fn bytes_that_are_no_batch_stay_as_they_are() {
    let mut short = [5_u8; 60];

    stamp(&mut short, 1, 1);
    set_log_append_time(&mut short, 1);

    assert_eq!(short, [5_u8; 60]);
}

#[test]
fn a_new_producer_identity_leaves_the_rest_and_a_valid_crc() {
    let batch = batch_of(Compression::Snappy, 3);
    let before = validate_batch(&batch, 1 << 20).expect("it is valid");
    let mut renamed = batch.to_vec();

    set_producer(&mut renamed, 900, 0, 12);

    let after = check_crc(&renamed).expect("the CRC was recomputed");
    let expected = BatchHeader {
        producer_id: 900,
        producer_epoch: 0,
        base_sequence: 12,
        crc: after.crc,
        ..before
    };
    assert_eq!(after, expected);
}

#[test]
fn a_reader_refuses_a_batch_with_a_damaged_record() {
    let mut batch = batch_of(Compression::None, 3).to_vec();
    let last = batch.len() - 1;
    batch[last] ^= 1;

    assert!(matches!(
        check_crc(&batch),
        Err(BatchError::CrcMismatch { .. })
    ));
}
