//! A batch built by hand from the format's description (KIP-98), its CRC computed bit by bit
//! outside this crate.

use bytes::Bytes;
use raftmq_records::{
    BatchBuilder, BatchHeader, Compression, DecodeLimits, Header, Record, TimestampType, records,
    validate_batch,
};

#[rustfmt::skip]
const GOLDEN: [u8; 84] = [
    0, 0, 0, 0, 0, 0, 0, 0,                   // base offset
    0, 0, 0, 72,                              // batch length
    0xff, 0xff, 0xff, 0xff,                   // leader epoch -1
    2,                                        // magic
    0x97, 0xb6, 0x9b, 0x92,                   // CRC-32C
    0, 0,                                     // attributes
    0, 0, 0, 1,                               // last offset delta
    0, 0, 0, 0, 0, 0, 0x03, 0xe8,             // base timestamp 1000
    0, 0, 0, 0, 0, 0, 0x03, 0xed,             // max timestamp 1005
    0, 0, 0, 0, 0, 0, 0, 7,                   // producer id
    0, 3,                                     // producer epoch
    0, 0, 0, 42,                              // base sequence
    0, 0, 0, 2,                               // records count
    0x12, 0, 0x00, 0x00, 0x02, b'k', 0x04, b'v', b'1', 0x00,
    0x18, 0, 0x0a, 0x02, 0x01, 0x04, b'v', b'2', 0x02, 0x02, b'h', 0x02, b'x',
];

#[test]
fn the_builder_writes_the_golden_bytes() {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    builder
        .append(1_000, Some(b"k"), Some(b"v1"), &[])
        .expect("fits");
    builder
        .append(1_005, None, Some(b"v2"), &[Header::new("h", "x")])
        .expect("fits");
    builder.set_producer(7, 3, 42);

    assert_eq!(builder.size_bytes(), GOLDEN.len());
    assert_eq!(&builder.finish().expect("it has records")[..], &GOLDEN[..]);
}

#[test]
fn the_golden_header_is_read() {
    let batch = Bytes::from_static(&GOLDEN);

    let header = validate_batch(&batch, GOLDEN.len()).expect("it is valid");

    let expected = BatchHeader {
        base_offset: 0,
        batch_length: 72,
        partition_leader_epoch: -1,
        crc: 0x97b6_9b92,
        attributes: 0,
        last_offset_delta: 1,
        base_timestamp: 1_000,
        max_timestamp: 1_005,
        producer_id: 7,
        producer_epoch: 3,
        base_sequence: 42,
        records_count: 2,
    };
    assert_eq!(header, expected);
    assert_eq!(header.total_size_bytes(), GOLDEN.len());
    assert_eq!(header.compression(), Ok(Compression::None));
    assert_eq!(header.timestamp_type(), TimestampType::CreateTime);
    assert_eq!((header.last_offset(), header.next_offset()), (1, 2));
    assert!(header.has_producer() && !header.is_transactional() && !header.is_control());
}

#[test]
fn the_golden_records_are_read() {
    let batch = Bytes::from_static(&GOLDEN);

    let read: Result<Vec<_>, _> = records(&batch, DecodeLimits::default())
        .expect("it opens")
        .collect();

    let expected = vec![
        Record {
            offset: 0,
            timestamp_ms: 1_000,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"v1")),
            headers: Vec::new(),
        },
        Record {
            offset: 1,
            timestamp_ms: 1_005,
            key: None,
            value: Some(Bytes::from_static(b"v2")),
            headers: vec![Header::new("h", "x")],
        },
    ];
    assert_eq!(read, Ok(expected));
}

#[test]
fn uncompressed_records_are_slices_of_the_batch() {
    let batch = Bytes::from(GOLDEN.to_vec());

    let first = records(&batch, DecodeLimits::default())
        .expect("it opens")
        .next()
        .expect("it has a record")
        .expect("it is valid");

    let value = first.value.expect("it has a value");
    assert!(batch.as_ptr_range().contains(&value.as_ptr()));
}

/// What snappy-java writes for "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": header, versions, one block.
#[test]
fn the_snappy_framing_is_xerials() {
    let mut builder = BatchBuilder::new(Compression::Snappy, 0);
    builder
        .append(0, None, Some(&[b'a'; 400]), &[])
        .expect("fits");
    let batch = builder.finish().expect("it has records");

    let framing = &batch[61..77];

    assert_eq!(framing, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let block_length = u32::from_be_bytes([batch[77], batch[78], batch[79], batch[80]]);
    assert_eq!(block_length as usize, batch.len() - 81);
}
