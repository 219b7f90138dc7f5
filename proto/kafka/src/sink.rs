//! Where encoded bytes go: one contiguous buffer, a list of segments, or a counter.
//!
//! Knows no message. [`SegmentedBuf`] is for Fetch: record sets are handed on by reference, never
//! copied, and a vectored write sends them between the pieces that were encoded around them.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::SHARED_BYTES_MIN;

/// Takes the bytes of a message in order.
pub trait Sink {
    /// Appends a copy of `bytes`.
    fn put(&mut self, bytes: &[u8]);

    /// Appends `bytes`; by reference where the sink can.
    fn put_shared(&mut self, bytes: &Bytes) {
        self.put(bytes);
    }

    /// Says that about `additional` bytes follow.
    fn reserve(&mut self, additional: usize) {
        let _ = additional;
    }

    /// Whether shared bytes are taken by reference, and so need no room of their own.
    fn shares(&self) -> bool {
        false
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }

    fn reserve(&mut self, additional: usize) {
        Self::reserve(self, additional);
    }
}

/// Counts bytes instead of keeping them: the size of a message before it is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct SizeCounter {
    /// Bytes counted.
    pub size: usize,
}

impl Sink for SizeCounter {
    fn put(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len());
    }
}

/// Encoded bytes in pieces, in which large byte fields stand by reference.
///
/// As a [`Buf`] it gives its pieces to a vectored write, and can be written to while it is being
/// read: responses follow each other in one buffer.
#[derive(Debug, Default)]
pub struct SegmentedBuf {
    segments: VecDeque<Bytes>,
    /// Bytes behind the last segment.
    tail: BytesMut,
    /// Bytes in `segments`.
    segments_bytes: usize,
}

impl SegmentedBuf {
    /// An empty buffer; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the pieces out, in order, and leaves the buffer empty.
    pub fn take_segments(&mut self) -> VecDeque<Bytes> {
        self.seal();
        self.segments_bytes = 0;
        std::mem::take(&mut self.segments)
    }

    /// Makes a segment of what was copied so far.
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let segment = self.tail.split().freeze();
            self.push(segment);
        }
    }

    fn push(&mut self, segment: Bytes) {
        self.segments_bytes = self.segments_bytes.saturating_add(segment.len());
        self.segments.push_back(segment);
    }
}

impl Sink for SegmentedBuf {
    fn put(&mut self, bytes: &[u8]) {
        self.tail.put_slice(bytes);
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.tail.put_slice(bytes);
        } else {
            self.seal();
            self.push(bytes.clone());
        }
    }

    fn reserve(&mut self, additional: usize) {
        self.tail.reserve(additional);
    }

    fn shares(&self) -> bool {
        true
    }
}

impl Buf for SegmentedBuf {
    fn remaining(&self) -> usize {
        self.segments_bytes.saturating_add(self.tail.len())
    }

    fn chunk(&self) -> &[u8] {
        self.segments.front().map_or(&self.tail, |segment| segment)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&*self.tail);
        let chunks = self.segments.iter().map(|segment| &**segment).chain(tail);
        let mut filled = 0_usize;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(chunk);
            filled = filled.saturating_add(1);
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.segments.front_mut() {
            let step = count.min(front.len());
            front.advance(step);
            self.segments_bytes = self.segments_bytes.saturating_sub(step);
            count = count.saturating_sub(step);
            if !front.is_empty() {
                return;
            }
            self.segments.pop_front();
        }
        self.tail.advance(count);
    }
}
