//! Bounds on what a batch may make its reader allocate.
//!
//! Knows no configuration: the broker and the client choose, [`DecodeLimits::default`] suits both.

const MIB: usize = 1024 * 1024;

/// How much memory the decompression of one batch may take.
///
/// The output is bounded by `decompressed_bytes_max`, and, once it is larger than
/// `ratio_free_bytes`, also by `ratio_max` times the compressed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Largest decompressed size of one batch, in bytes, inclusive.
    pub decompressed_bytes_max: usize,
    /// Largest ratio of decompressed to compressed size beyond `ratio_free_bytes`.
    pub ratio_max: usize,
    /// Size in bytes below which no ratio is too high: a megabyte of zeros is honest data.
    pub ratio_free_bytes: usize,
}

impl DecodeLimits {
    /// Returns how many bytes `compressed_bytes` bytes of compressed records may become.
    #[must_use]
    pub fn output_bytes_max(&self, compressed_bytes: usize) -> usize {
        compressed_bytes
            .saturating_mul(self.ratio_max)
            .max(self.ratio_free_bytes)
            .min(self.decompressed_bytes_max)
    }
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            decompressed_bytes_max: 64 * MIB,
            ratio_max: 1024,
            ratio_free_bytes: 16 * MIB,
        }
    }
}
