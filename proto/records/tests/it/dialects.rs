//! Compressed records in every form that the formats allow, whether or not a known client writes it.

use std::io::Write;

use bytes::Bytes;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use raftmq_records::{BatchError, Compression, DecodeLimits, Record, records, validate_batch};

use crate::batch_of;

const RECORDS: i64 = 500;

/// The records, not compressed: enough for several blocks of 4 KiB to 64 KiB.
fn plain() -> Bytes {
    batch_of(Compression::None, RECORDS)
}

/// The batch whose records are compressed so.
fn with_body(compression: Compression, body: &[u8]) -> Bytes {
    let mut batch = plain()[..61].to_vec();
    batch.extend_from_slice(body);
    let length = i32::try_from(batch.len() - 12).expect("small");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[22] = u8::try_from(compression.code()).expect("small");
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

fn read(batch: &Bytes) -> Result<Vec<Record>, BatchError> {
    validate_batch(batch, usize::MAX)?;
    records(batch, DecodeLimits::default())?.collect()
}

fn assert_read(compression: Compression, body: &[u8], what: &str) {
    assert_eq!(
        read(&with_body(compression, body)),
        read(&plain()),
        "{what}"
    );
}

/// The records in two halves.
fn halves(body: &[u8]) -> [&[u8]; 2] {
    let (first, second) = body.split_at(body.len() / 2);
    [first, second]
}

#[test]
fn gzip_of_several_members_is_one_stream() {
    let body = plain().slice(61..);
    let mut compressed = Vec::new();
    for half in halves(&body) {
        let mut encoder = flate2::write::GzEncoder::new(compressed, flate2::Compression::fast());
        encoder.write_all(half).expect("it is written");
        compressed = encoder.finish().expect("it is written");
    }
    assert_read(Compression::Gzip, &compressed, "two members");
}

#[test]
fn zstd_of_several_frames_with_and_without_their_size_is_one_stream() {
    let body = plain().slice(61..);
    let [first, second] = halves(&body);
    let sized = zstd::bulk::compress(first, 1).expect("it compresses");
    let mut encoder = zstd::stream::write::Encoder::new(sized, 19).expect("an encoder");
    encoder.include_checksum(true).expect("it is set");
    encoder.write_all(second).expect("it is written");
    encoder.flush().expect("a block ends");
    let compressed = encoder.finish().expect("it is written");
    assert_read(Compression::Zstd, &compressed, "two frames");
}

/// The window is what a reader must hold: more than its output may have is not believed.
#[test]
fn a_window_beyond_what_readers_must_hold_is_refused() {
    let body = plain().slice(61..);
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.window_log(30).expect("it is set");
    encoder.write_all(&body).expect("it is written");
    encoder.flush().expect("a block ends");
    let compressed = encoder.finish().expect("it is written");

    let refused = read(&with_body(Compression::Zstd, &compressed));

    let compression = Compression::Zstd;
    assert_eq!(refused, Err(BatchError::DecompressFailed { compression }));
}

#[test]
fn lz4_is_read_with_every_kind_of_block_and_checksum() {
    let body = plain().slice(61..);
    for block_size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for has_checksums in [false, true] {
                let info = FrameInfo::new()
                    .block_size(block_size)
                    .block_mode(mode)
                    .block_checksums(has_checksums)
                    .content_checksum(has_checksums);
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                for half in halves(&body) {
                    encoder.write_all(half).expect("it is written");
                    encoder.flush().expect("a block ends");
                }
                let compressed = encoder.finish().expect("it is written");
                let what = format!("{block_size:?} {mode:?} {has_checksums}");
                assert_read(Compression::Lz4, &compressed, &what);
            }
        }
    }
}

/// Kafka's first message formats had a wrong checksum there; record batches never did (KIP-57).
#[test]
fn an_lz4_frame_whose_header_has_a_wrong_checksum_is_refused() {
    let mut encoder = FrameEncoder::new(Vec::new());
    encoder.write_all(&plain()[61..]).expect("it is written");
    let mut compressed = encoder.finish().expect("it is written");
    compressed[6] ^= 1;

    let refused = read(&with_body(Compression::Lz4, &compressed));

    let compression = Compression::Lz4;
    assert_eq!(refused, Err(BatchError::DecompressFailed { compression }));
}

#[test]
fn xerials_framing_is_read_with_blocks_of_any_size() {
    let body = plain().slice(61..);
    for block_bytes in [1_000, 32 * 1024, body.len()] {
        let mut compressed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        for block in body.chunks(block_bytes) {
            let block = snap::raw::Encoder::new()
                .compress_vec(block)
                .expect("it compresses");
            let length = u32::try_from(block.len()).expect("small");
            compressed.extend_from_slice(&length.to_be_bytes());
            compressed.extend_from_slice(&block);
        }
        assert_read(Compression::Snappy, &compressed, &block_bytes.to_string());
    }
}
