//! Any bytes give a batch or an error: never a panic, never memory without a bound.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use raftmq_records::{
    BatchBuilder, BatchError, Compression, DecodeLimits, batches, records, validate_batch,
};

use crate::batch_of;

const MIB: usize = 1024 * 1024;

/// Recomputes the CRC, so that a change below it reaches the checks behind it.
fn resealed(mut batch: Vec<u8>) -> Bytes {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

fn read_all(batch: &Bytes) {
    let _ = validate_batch(batch, usize::MAX);
    for (_, batch) in batches(batch).flatten() {
        if let Ok(read) = records(&batch, DecodeLimits::default()) {
            let _ = read.count();
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for compression in Compression::ALL {
        let batch = batch_of(compression, 3);
        for length in 0..batch.len() {
            let cut = batch.slice(..length);
            assert!(validate_batch(&cut, usize::MAX).is_err(), "{length}");
            assert!(records(&cut, DecodeLimits::default()).is_err(), "{length}");
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_unless_the_leader_stamps_over_it() {
    for compression in Compression::ALL {
        let batch = batch_of(compression, 3);
        for position in 0..batch.len() {
            for bit in 0..8 {
                let mut flipped = batch.to_vec();
                flipped[position] ^= 1 << bit;
                let result = validate_batch(&Bytes::from(flipped), usize::MAX);
                // Base offset and leader epoch are the leader's and lie outside the CRC.
                let is_stamped = position < 8 || (12..16).contains(&position);
                assert_eq!(result.is_ok(), is_stamped, "byte {position} bit {bit}");
            }
        }
    }
}

#[test]
fn every_changed_byte_under_a_valid_crc_gives_records_or_an_error() {
    for compression in Compression::ALL {
        let batch = batch_of(compression, 3);
        for position in 21..batch.len() {
            for value in [0, 1, 0x7f, 0x80, 0xfe, 0xff] {
                let mut changed = batch.to_vec();
                changed[position] = value;
                read_all(&resealed(changed));
            }
        }
    }
}

#[test]
fn a_batch_over_the_limit_is_refused_before_anything_else() {
    let batch = batch_of(Compression::None, 3);

    let refused = validate_batch(&batch, batch.len() - 1);

    assert_eq!(
        refused,
        Err(BatchError::TooLarge {
            size_bytes: batch.len(),
            max_bytes: batch.len() - 1
        })
    );
}

#[test]
fn two_batches_are_not_one() {
    let batch = batch_of(Compression::None, 3);
    let two = Bytes::from([&batch[..], &batch[..]].concat());

    assert_eq!(
        validate_batch(&two, usize::MAX),
        Err(BatchError::TrailingBytes {
            excess: batch.len()
        })
    );
}

#[test]
fn a_count_of_two_billion_takes_no_memory() {
    let mut batch = batch_of(Compression::Gzip, 3).to_vec();
    batch[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    batch[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    let batch = resealed(batch);

    assert!(matches!(
        records(&batch, DecodeLimits::default()),
        Err(BatchError::ImpossibleCount { records_count, .. }) if records_count == i32::MAX
    ));
}

#[test]
fn a_compressed_batch_cannot_claim_more_records_than_any_reader_would_unpack() {
    let claiming = |records_count: i32| {
        let mut batch = batch_of(Compression::Lz4, 3).to_vec();
        batch[23..27].copy_from_slice(&(records_count - 1).to_be_bytes());
        batch[57..61].copy_from_slice(&records_count.to_be_bytes());
        validate_batch(&resealed(batch), usize::MAX)
    };
    let limits = DecodeLimits::default();
    let possible = i32::try_from(limits.ratio_free_bytes / 7).unwrap();

    assert!(claiming(possible).is_ok());
    assert_eq!(
        claiming(possible + 1),
        Err(BatchError::ImpossibleCount {
            records_count: possible + 1,
            remaining: limits.ratio_free_bytes
        })
    );
}

#[test]
fn counts_that_contradict_each_other_are_refused() {
    let mut batch = batch_of(Compression::Zstd, 3).to_vec();
    batch[57..61].copy_from_slice(&4_i32.to_be_bytes());

    assert_eq!(
        validate_batch(&resealed(batch), usize::MAX),
        Err(BatchError::InvalidCount {
            records_count: 4,
            last_offset_delta: 2
        })
    );
}

#[test]
fn half_a_producer_is_refused() {
    let mut batch = batch_of(Compression::None, 1).to_vec();
    batch[53..57].copy_from_slice(&(-1_i32).to_be_bytes());

    assert_eq!(
        validate_batch(&resealed(batch), usize::MAX),
        Err(BatchError::InvalidProducer {
            producer_id: 7,
            producer_epoch: 3,
            base_sequence: -1
        })
    );
}

#[test]
fn without_a_producer_its_epoch_and_sequence_are_not_looked_at() {
    let mut batch = batch_of(Compression::None, 1).to_vec();
    batch[43..51].copy_from_slice(&(-1_i64).to_be_bytes());

    let header = validate_batch(&resealed(batch.clone()), usize::MAX).expect("it is valid");
    assert!(!header.has_producer());

    batch[43..51].copy_from_slice(&(-2_i64).to_be_bytes());
    let refused = validate_batch(&resealed(batch), usize::MAX);
    assert!(matches!(refused, Err(BatchError::InvalidProducer { .. })));
}

#[test]
fn an_unknown_compression_is_refused() {
    let mut batch = batch_of(Compression::None, 1).to_vec();
    batch[22] = 5;

    assert_eq!(
        validate_batch(&resealed(batch), usize::MAX),
        Err(BatchError::UnknownCompression { code: 5 })
    );
}

#[test]
fn an_old_format_is_refused_by_its_magic() {
    let mut batch = batch_of(Compression::None, 1).to_vec();
    batch[16] = 1;

    assert_eq!(
        validate_batch(&Bytes::from(batch), usize::MAX),
        Err(BatchError::UnsupportedMagic { magic: 1 })
    );
}

/// 64 MiB of zeros in one record: honest bytes, but far over what this reader allows.
#[test]
fn a_decompression_bomb_stops_at_the_limit() {
    let limits = DecodeLimits {
        decompressed_bytes_max: MIB,
        ..DecodeLimits::default()
    };
    let zeros = vec![0_u8; 64 * MIB];
    for compression in Compression::ALL {
        if compression == Compression::None {
            continue;
        }
        let mut builder = BatchBuilder::new(compression, zeros.len());
        builder.append(0, None, Some(&zeros), &[]).expect("fits");
        let batch = builder.finish().expect("it has records");
        assert_eq!(
            records(&batch, limits).err(),
            Some(BatchError::DecompressedTooLarge {
                compression,
                max_bytes: MIB
            })
        );
    }
}

#[test]
fn a_ratio_out_of_proportion_is_a_bomb_even_below_the_absolute_limit() {
    let limits = DecodeLimits {
        decompressed_bytes_max: 64 * MIB,
        ratio_max: 100,
        ratio_free_bytes: 1024,
    };
    let mut builder = BatchBuilder::new(Compression::Zstd, 0);
    let zeros = vec![0_u8; MIB];
    builder.append(0, None, Some(&zeros), &[]).expect("fits");
    let batch = builder.finish().expect("it has records");

    assert!(matches!(
        records(&batch, limits),
        Err(BatchError::DecompressedTooLarge { .. })
    ));
    assert!(records(&batch, DecodeLimits::default()).is_ok());
}

/// A bare snappy block that claims to decompress to 4 GiB.
#[test]
fn a_snappy_block_is_not_believed_about_its_size() {
    let mut batch = batch_of(Compression::Snappy, 1)[..61].to_vec();
    batch.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
    batch[8..12].copy_from_slice(&56_i32.to_be_bytes());

    assert!(matches!(
        records(&resealed(batch), DecodeLimits::default()),
        Err(BatchError::DecompressedTooLarge { .. })
    ));
}

#[test]
fn a_bare_snappy_block_is_read() {
    let plain = batch_of(Compression::None, 2);
    let block = snap::raw::Encoder::new()
        .compress_vec(&plain[61..])
        .expect("it compresses");
    let mut batch = plain[..61].to_vec();
    batch.extend_from_slice(&block);
    let length = i32::try_from(batch.len() - 12).expect("small");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[22] = 2;
    let batch = resealed(batch);

    let read = |batch| -> Vec<_> {
        records(batch, DecodeLimits::default())
            .expect("it opens")
            .collect()
    };

    assert!(validate_batch(&batch, usize::MAX).is_ok());
    assert_eq!(read(&batch), read(&plain));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(noise in vec(any::<u8>(), 0..400)) {
        read_all(&Bytes::from(noise));
    }

    #[test]
    fn a_random_body_under_a_valid_header_never_panics(
        body in vec(any::<u8>(), 0..400),
        code in 0_u8..6,
        count in 1_i32..10,
    ) {
        let mut batch = batch_of(Compression::None, 1)[..61].to_vec();
        batch.extend_from_slice(&body);
        let length = i32::try_from(batch.len() - 12).expect("small");
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[22] = code;
        batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        batch[57..61].copy_from_slice(&count.to_be_bytes());
        read_all(&resealed(batch));
    }
}
