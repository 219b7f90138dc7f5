//! The four compressions of Kafka, bounded on the way out.
//!
//! Knows bytes only. Output never grows past the limit that the caller gives, whatever the input
//! claims about itself.

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::error::BatchError;
use crate::limits::DecodeLimits;

/// How the records of a batch are compressed; the numbers are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub enum Compression {
    /// Not compressed.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the framing of xerial's snappy-java (bare blocks are read, too).
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Every compression, in the order of the codes.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Returns the code that stands in a batch's attributes.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Returns Kafka's name: `none`, `gzip`, `snappy`, `lz4`, `zstd`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    pub(crate) fn from_code(code: u16) -> Result<Self, BatchError> {
        match code {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(BatchError::UnknownCompression {
                code: u8::try_from(other).unwrap_or(u8::MAX),
            }),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Compression {
    type Err = UnknownCompressionName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|compression| compression.name() == name)
            .ok_or_else(|| UnknownCompressionName(name.to_owned()))
    }
}

/// A name that is none of `none`, `gzip`, `snappy`, `lz4`, `zstd`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression {0:?}, expected none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCompressionName(String);

/// First bytes of xerial's framing; two version numbers of four bytes follow.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The framing's version and the oldest version that can read it, both 1.
const XERIAL_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
const XERIAL_HEADER_BYTES: usize = 16;
/// Uncompressed size of a block, as snappy-java writes it.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Kafka's default level for gzip and zstd.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
/// Bounds of zstd's window that a reader allows, as powers of two. RFC 8878 recommends that every
/// reader takes 8 MiB, and encoders that do not know the size ask for megabytes; Kafka's takes 27.
const ZSTD_WINDOW_LOG_MIN: u32 = 23;
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Compresses `plain`; `None` gives it back as it is.
pub(crate) fn compress(compression: Compression, plain: &[u8]) -> Result<Vec<u8>, BatchError> {
    let result = match compression {
        Compression::None => Ok(plain.to_vec()),
        Compression::Gzip => gzip(plain),
        Compression::Snappy => xerial(plain),
        Compression::Lz4 => lz4(plain),
        Compression::Zstd => zstd::bulk::compress(plain, ZSTD_LEVEL),
    };
    result.map_err(|_| BatchError::CompressFailed { compression })
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder =
        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(plain)?;
    encoder.finish()
}

fn lz4(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(plain)?;
    encoder.finish().map_err(io::Error::other)
}

fn xerial(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = snap::raw::Encoder::new();
    let mut output = Vec::with_capacity(XERIAL_HEADER_BYTES);
    output.extend_from_slice(&XERIAL_MAGIC);
    output.extend_from_slice(&XERIAL_VERSIONS);
    for block in plain.chunks(XERIAL_BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block).map_err(io::Error::other)?;
        let length = u32::try_from(compressed.len()).map_err(io::Error::other)?;
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(&compressed);
    }
    Ok(output)
}

/// Decompresses `compressed` into at most what `limits` allow; `None` gives the slice itself.
pub(crate) fn decompress(
    compression: Compression,
    compressed: &Bytes,
    limits: DecodeLimits,
) -> Result<Bytes, BatchError> {
    let max_bytes = limits.output_bytes_max(compressed.len());
    let input = &compressed[..];
    let output = match compression {
        Compression::None => return Ok(compressed.clone()),
        Compression::Gzip => read_bounded(
            compression,
            flate2::read::MultiGzDecoder::new(input),
            max_bytes,
        ),
        Compression::Snappy => unsnappy(input, max_bytes),
        Compression::Lz4 => read_bounded(
            compression,
            lz4_flex::frame::FrameDecoder::new(input),
            max_bytes,
        ),
        Compression::Zstd => unzstd(input, max_bytes),
    };
    output.map(Bytes::from)
}

fn unzstd(input: &[u8], max_bytes: usize) -> Result<Vec<u8>, BatchError> {
    let compression = Compression::Zstd;
    let failed = |_| BatchError::DecompressFailed { compression };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(failed)?;
    // The window is memory that the frame's header asks for: bounded by what the output may take.
    let window_log = max_bytes
        .checked_next_power_of_two()
        .map_or(ZSTD_WINDOW_LOG_MAX, usize::trailing_zeros)
        .clamp(ZSTD_WINDOW_LOG_MIN, ZSTD_WINDOW_LOG_MAX);
    decoder.window_log_max(window_log).map_err(failed)?;
    read_bounded(compression, decoder, max_bytes)
}

/// Reads to the end, but no further than one byte past the limit.
fn read_bounded(
    compression: Compression,
    reader: impl Read,
    max_bytes: usize,
) -> Result<Vec<u8>, BatchError> {
    let mut output = Vec::new();
    let allowed = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    reader
        .take(allowed.saturating_add(1))
        .read_to_end(&mut output)
        .map_err(|_| BatchError::DecompressFailed { compression })?;
    if output.len() > max_bytes {
        return Err(BatchError::DecompressedTooLarge {
            compression,
            max_bytes,
        });
    }
    Ok(output)
}

fn unsnappy(input: &[u8], max_bytes: usize) -> Result<Vec<u8>, BatchError> {
    let mut output = Vec::new();
    if !input.starts_with(&XERIAL_MAGIC) {
        unsnappy_block(input, &mut output, max_bytes)?;
        return Ok(output);
    }
    let failed = BatchError::DecompressFailed {
        compression: Compression::Snappy,
    };
    let mut rest = input
        .get(XERIAL_HEADER_BYTES..)
        .ok_or_else(|| failed.clone())?;
    while !rest.is_empty() {
        let (length, after) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| failed.clone())?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| failed.clone())?;
        let (block, after) = after
            .split_at_checked(length)
            .ok_or_else(|| failed.clone())?;
        unsnappy_block(block, &mut output, max_bytes)?;
        rest = after;
    }
    Ok(output)
}

fn unsnappy_block(block: &[u8], output: &mut Vec<u8>, max_bytes: usize) -> Result<(), BatchError> {
    let compression = Compression::Snappy;
    let failed = |_| BatchError::DecompressFailed { compression };
    // A block states its own output size: it is checked before it is believed.
    let length = snap::raw::decompress_len(block).map_err(failed)?;
    let start = output.len();
    let end = start.saturating_add(length);
    if end > max_bytes {
        return Err(BatchError::DecompressedTooLarge {
            compression,
            max_bytes,
        });
    }
    output.resize(end, 0);
    let target = output.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new()
        .decompress(block, target)
        .map_err(failed)?;
    output.truncate(start.saturating_add(written));
    Ok(())
}
