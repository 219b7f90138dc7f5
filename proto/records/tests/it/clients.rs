//! Batches as other clients write them: every compression in the dialect of each (xerial's framing and bare
//! blocks of Snappy, linked and independent blocks of LZ4, streams of zstd without a size).
//!
//! The files hold what Kafka's own broker stored of Kafka's Java client 4.3.1, librdkafka 2.16 (confluent-kafka),
//! kafka-python 3.0.12 and aiokafka 0.14.0: some small records, and one of 158,400 bytes that takes many blocks.

use bytes::Bytes;
use raftmq_records::{
    BatchError, Compression, DecodeLimits, Record, batches, records, validate_batch,
};

/// Name of the client, records before the large one, and the stored batches of each compression.
type Client = (&'static str, i64, [(Compression, &'static [u8]); 4]);

macro_rules! client {
    ($name:literal, $records_count:literal) => {
        (
            $name,
            $records_count,
            [
                (
                    Compression::Gzip,
                    include_bytes!(concat!("batches/", $name, "-gzip.log")),
                ),
                (
                    Compression::Snappy,
                    include_bytes!(concat!("batches/", $name, "-snappy.log")),
                ),
                (
                    Compression::Lz4,
                    include_bytes!(concat!("batches/", $name, "-lz4.log")),
                ),
                (
                    Compression::Zstd,
                    include_bytes!(concat!("batches/", $name, "-zstd.log")),
                ),
            ],
        )
    };
}

const CLIENTS: [Client; 4] = [
    client!("java", 50),
    client!("librdkafka", 30),
    client!("kafka-python", 30),
    client!("aiokafka", 30),
];
const BASE_TIME_MS: i64 = 1_700_000_000_000;

/// The value of the large record.
fn large() -> Bytes {
    (0..18_000)
        .map(|number| format!("value {} ", number % 50))
        .collect::<String>()
        .into()
}

fn check_small(number: i64, record: &Record, who: &str) {
    let who = format!("{who}: record {number}");
    let key = (number % 3 != 0).then(|| Bytes::from(format!("key {number}")));
    assert_eq!(record.key, key, "{who}");
    assert_eq!(record.timestamp_ms, BASE_TIME_MS + number, "{who}");
    let value = record.value.clone();
    let is_right = value.map_or(number % 7 == 5, |value| {
        value.starts_with(format!("value {number} ").as_bytes())
    });
    assert!(is_right, "{who}: {:?}", record.value);
    let header = record.headers[0].value.as_deref();
    assert_eq!(header, Some(number.to_string().as_bytes()), "{who}");
}

#[test]
fn every_client_is_read_in_every_compression() {
    for (name, records_count, files) in CLIENTS {
        for (compression, stored) in files {
            let who = format!("{name} {compression}");
            let mut small = Vec::new();
            let mut read = Vec::new();
            for batch in batches(&Bytes::from_static(stored)) {
                let (header, batch) = batch.expect(&who);
                assert_eq!(header.compression(), Ok(compression), "{who}");
                validate_batch(&batch, batch.len()).expect(&who);
                let opened = records(&batch, DecodeLimits::default()).expect(&who);
                small.append(&mut read);
                read = opened.collect::<Result<Vec<_>, _>>().expect(&who);
            }
            assert_eq!(small.len() as u64, records_count.cast_unsigned(), "{who}");
            for (number, record) in (0..).zip(&small) {
                check_small(number, record, &who);
            }
            assert_eq!(read.len(), 1, "{who}");
            assert_eq!(read[0].value, Some(large()), "{who}");
        }
    }
}

#[test]
fn every_clients_batch_stops_at_the_readers_limit() {
    let limits = DecodeLimits {
        decompressed_bytes_max: 100_000,
        ..DecodeLimits::default()
    };
    for (name, _, files) in CLIENTS {
        for (compression, stored) in files {
            let last = batches(&Bytes::from_static(stored)).last();
            let (_, batch) = last.expect("it has one").expect("it is whole");
            let refused = Err(BatchError::DecompressedTooLarge {
                compression,
                max_bytes: 100_000,
            });
            let opened = records(&batch, limits).map(|_| ());
            assert_eq!(opened, refused, "{name} {compression}");
        }
    }
}

/// What stands in front of the compressed records stays as it is: only the decompressor can notice.
/// Without an end mark or a last checksum the records can still be whole.
#[test]
fn compressed_records_that_end_early_are_an_error_or_whole_and_never_a_panic() {
    for (name, _, files) in CLIENTS {
        for (compression, stored) in files {
            let last = batches(&Bytes::from_static(stored)).last();
            let (_, batch) = last.expect("it has one").expect("it is whole");
            let read = |batch: &Bytes| {
                let read = records(batch, DecodeLimits::default())?;
                read.collect::<Result<Vec<_>, _>>()
            };
            let whole = read(&batch);
            for length in (61..batch.len()).step_by(7) {
                let mut cut = batch[..length].to_vec();
                let batch_length = u32::try_from(length - 12).expect("small");
                cut[8..12].copy_from_slice(&batch_length.to_be_bytes());
                let crc = crc32c::crc32c(&cut[21..]);
                cut[17..21].copy_from_slice(&crc.to_be_bytes());
                let cut = Bytes::from(cut);
                validate_batch(&cut, usize::MAX).expect("compressed records are not looked at");
                let read = read(&cut);
                let is_right = read.is_err() || read == whole;
                assert!(is_right, "{name} {compression}: cut at {length}");
            }
        }
    }
}
