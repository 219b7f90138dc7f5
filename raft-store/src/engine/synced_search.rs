//! Searching the journal behind a frame that does not verify for one that says it had been synced.
//!
//! Owns the cost: whatever stands there, payloads that look like frames included, each byte is read a
//! bounded number of times, over all questions of one replay. Frames cannot be walked here, because
//! where the broken one ends is not known; every aligned place may be one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::SegmentFile;
use super::frame::{
    FRAME_ALIGNMENT, FRAME_CRC_BYTES, FRAME_HEADER_BYTES, FRAME_HEADER_LEN, FrameHeader, Location,
    SEGMENT_HEADER_BYTES,
};
use super::journal::Segments;
use crate::error::{Site, StoreError};

/// Bytes read at once.
const SEARCH_BYTES: usize = 1024 * 1024;

/// Distance between places whose checksum from the file's start is kept: 4 bytes of memory each.
const STRIDE: usize = 64;
const STRIDE_BYTES: u64 = STRIDE as u64;

/// The search of one replay. Its questions come in the order of the journal, and it never goes back.
pub(super) struct SyncedSearch<T> {
    files: BTreeMap<u64, Arc<T>>,
    /// Everything before was searched.
    cursor: Location,
    /// Highest frame that a found frame calls synced.
    highest: u64,
    /// The part of a segment that was read last.
    chunk: Option<Chunk>,
    /// Checksums of the segment that was searched last.
    sums: Option<(u64, Sums)>,
}

/// A part of a segment.
struct Chunk {
    start: Location,
    bytes: Vec<u8>,
}

impl Chunk {
    fn contains(&self, place: Location) -> bool {
        let offset = place.position.checked_sub(self.start.position);
        place.segment == self.start.segment
            && offset.is_some_and(|offset| offset < self.bytes.len() as u64)
    }
}

impl<T: SegmentFile> SyncedSearch<T> {
    pub(super) fn new(segments: &Segments<T>) -> Self {
        let files = segments
            .iter()
            .map(|(number, segment)| (*number, Arc::clone(&segment.file)));
        Self {
            files: files.collect(),
            cursor: Location {
                segment: 0,
                position: 0,
            },
            highest: 0,
            chunk: None,
            sums: None,
        }
    }

    /// Whether a frame at or after `from` says that frame `sequence` had been synced.
    pub(super) fn is_synced(&mut self, from: Location, sequence: u64) -> Result<bool, StoreError> {
        if self.highest >= sequence {
            return Ok(true);
        }
        let place = self.cursor.max(from);
        let files: Vec<_> = self
            .files
            .range(place.segment..)
            .map(|(number, file)| (*number, Arc::clone(file)))
            .collect();
        for (segment, file) in files {
            let position = if segment == place.segment {
                place.position
            } else {
                SEGMENT_HEADER_BYTES
            };
            let start = Location { segment, position };
            if self.search(&*file, start, sequence)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Searches the rest of one segment and leaves the cursor where it stopped.
    fn search(&mut self, file: &T, start: Location, sequence: u64) -> Result<bool, StoreError> {
        let end = file.data_end().min(file.len());
        let mut place = Location {
            position: start.position.next_multiple_of(FRAME_ALIGNMENT),
            ..start
        };
        while place.position < end {
            let chunk = self.chunk_at(file, place, end)?;
            let found = self.search_chunk(file, &chunk, &mut place, sequence);
            self.chunk = Some(chunk);
            self.cursor = place;
            if let Some(synced) = found? {
                self.highest = synced;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The part of a segment in which `place` lies: the last one read, if that will do.
    fn chunk_at(&mut self, file: &T, place: Location, end: u64) -> Result<Chunk, StoreError> {
        if let Some(chunk) = self.chunk.take().filter(|chunk| chunk.contains(place)) {
            return Ok(chunk);
        }
        let len = usize::try_from(end - place.position)
            .unwrap_or(usize::MAX)
            .min(SEARCH_BYTES);
        let mut bytes = vec![0; len];
        read(file, place.position, &mut bytes)?;
        Ok(Chunk {
            start: place,
            bytes,
        })
    }

    /// Searches the rest of a chunk from `place` on, which is moved behind what was searched.
    fn search_chunk(
        &mut self,
        file: &T,
        chunk: &Chunk,
        place: &mut Location,
        sequence: u64,
    ) -> Result<Option<u64>, StoreError> {
        let step = usize::try_from(FRAME_ALIGNMENT).unwrap_or(usize::MAX);
        let skipped = place.position - chunk.start.position;
        let rest = &chunk.bytes[usize::try_from(skipped).unwrap_or(usize::MAX)..];
        for word in rest.chunks(step) {
            let at = *place;
            place.position += FRAME_ALIGNMENT;
            if FrameHeader::is_magic(word)
                && let Some(synced) = self.synced_at(file, at, sequence)?
            {
                return Ok(Some(synced));
            }
        }
        Ok(None)
    }

    /// What a frame at `place` calls synced, if there is one and that is `sequence` or more.
    fn synced_at(
        &mut self,
        file: &T,
        place: Location,
        sequence: u64,
    ) -> Result<Option<u64>, StoreError> {
        let rest = file.len() - place.position;
        if rest < FRAME_HEADER_BYTES {
            return Ok(None);
        }
        let mut bytes = [0; FRAME_HEADER_LEN];
        read(file, place.position, &mut bytes)?;
        let Some(header) = FrameHeader::decode(&bytes) else {
            return Ok(None);
        };
        let fits = header.total_bytes().is_some_and(|total| total <= rest);
        if !fits || header.synced < sequence || header.sequence <= header.synced {
            return Ok(None);
        }
        if self
            .sums
            .as_ref()
            .is_none_or(|(of, _)| *of != place.segment)
        {
            self.sums = Some((place.segment, Sums::build(file)?));
        }
        let Some((_, sums)) = &self.sums else {
            return Ok(None);
        };
        let start = place.position + FRAME_CRC_BYTES;
        let end = place.position + FRAME_HEADER_BYTES + u64::from(header.meta_bytes);
        let sum = sums.of(file, start, end)?;
        Ok(header.verify_sum(place, sum).then_some(header.synced))
    }
}

/// Checksums of a file's beginnings, from which the checksum of any range follows in a few steps.
struct Sums(Vec<u32>);

impl Sums {
    fn build<T: SegmentFile>(file: &T) -> Result<Self, StoreError> {
        let end = file.len();
        let mut sums = vec![crc32c::crc32c(&[])];
        let mut sum = sums[0];
        let mut position = 0;
        let mut buffer = vec![0; SEARCH_BYTES];
        while position < end {
            let len = usize::try_from(end - position)
                .unwrap_or(usize::MAX)
                .min(SEARCH_BYTES);
            read(file, position, &mut buffer[..len])?;
            for part in buffer[..len].chunks_exact(STRIDE) {
                sum = crc32c::crc32c_append(sum, part);
                sums.push(sum);
            }
            position += len as u64;
        }
        Ok(Self(sums))
    }

    /// Checksum of everything before `position`.
    fn before<T: SegmentFile>(&self, file: &T, position: u64) -> Result<u32, StoreError> {
        let place = usize::try_from(position / STRIDE_BYTES).unwrap_or(usize::MAX);
        let Some(sum) = self.0.get(place) else {
            // The file became shorter than it was a moment ago.
            let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(StoreError::io(Site::Read, &error));
        };
        let mut bytes = [0; STRIDE];
        let rest = usize::try_from(position % STRIDE_BYTES).unwrap_or(0);
        read(file, position - rest as u64, &mut bytes[..rest])?;
        Ok(crc32c::crc32c_append(*sum, &bytes[..rest]))
    }

    /// Checksum of the bytes from `start` to `end`, exclusive.
    fn of<T: SegmentFile>(&self, file: &T, start: u64, end: u64) -> Result<u32, StoreError> {
        let (before, whole) = (self.before(file, start)?, self.before(file, end)?);
        let len = usize::try_from(end - start).unwrap_or(usize::MAX);
        // A checksum of two parts is that of the first, moved over the second's length, plus that of
        // the second.
        Ok(whole ^ crc32c::crc32c_combine(before, 0, len))
    }
}

fn read<T: SegmentFile>(file: &T, position: u64, bytes: &mut [u8]) -> Result<(), StoreError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let read = file.read_at(position, bytes);
    read.map_err(|error| StoreError::io(Site::Read, &error))
}

#[cfg(test)]
mod tests;
