//! The bounds of this crate, each with its unit. The size of a frame is the caller's to bound.

/// Longest string that Kafka reads or writes, in bytes; in flexible versions too.
pub const STRING_BYTES_MAX: usize = 0x7fff;

/// Memory that the arrays of one decoded message may take, in bytes, unless the reader is told
/// otherwise ([`Reader::with_memory_bytes_max`](crate::Reader::with_memory_bytes_max)).
///
/// An element on the wire can be a few bytes and in memory a hundred: without this bound a frame
/// of zeros would cost thirty times its size.
pub const DECODED_BYTES_MAX: usize = 128 << 20;

/// From this size on a [`SegmentedBuf`](crate::SegmentedBuf) takes bytes by reference; below it a
/// copy costs less than one more segment to send.
pub const SHARED_BYTES_MIN: usize = 4 << 10;
