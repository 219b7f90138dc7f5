//! The journal's files, as little of a file system as it needs.
//!
//! Owns the traits only. What a file holds is the journal's.

use std::io;
use std::sync::Arc;

/// One segment file of fixed length. Unwritten bytes read as zero.
pub(crate) trait SegmentFile: Send + Sync + 'static {
    /// Length of the file.
    fn len(&self) -> u64;

    /// A position after which nothing was ever written, as far as that is known cheaply.
    fn data_end(&self) -> u64 {
        self.len()
    }

    /// Writes slices one after the other at `position`, completely.
    fn write_at(&self, position: u64, slices: &mut [io::IoSlice<'_>]) -> io::Result<()>;

    /// Fills `bytes` from `position` on; an error when the file ends before.
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}

/// The folder of segment files.
pub(crate) trait Files: Send + Sync + 'static {
    /// The files' type.
    type File: SegmentFile;

    /// Numbers of the segments that exist, in order.
    fn list(&self) -> io::Result<Vec<u64>>;

    /// Creates a segment of `len` zero bytes that starts with `header`, durably.
    fn create(&self, segment: u64, len: u64, header: &[u8]) -> io::Result<Arc<Self::File>>;

    /// Opens a segment.
    fn open(&self, segment: u64) -> io::Result<Arc<Self::File>>;

    /// Removes a segment; readers that hold it keep it.
    fn remove(&self, segment: u64) -> io::Result<()>;

    /// Bytes that can still be written; `None` where nothing limits them.
    fn free_bytes(&self) -> io::Result<Option<u64>>;
}
