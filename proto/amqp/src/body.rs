//! The body of a message: one slice of a read buffer, or several.
//!
//! Large fragments are shared with the buffer that they came in; small ones are copied together, so
//! that a body sent byte by byte costs its size and not a slice for each byte.

use bytes::{Bytes, BytesMut};

use crate::limits::FRAGMENT_COPY_BYTES;

/// A body, in pieces that follow each other.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// Empty only when the whole body is.
    first: Bytes,
    rest: Vec<Bytes>,
    size_bytes: usize,
}

/// Compares the bytes, not how they are cut.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |body: &Self| body.segments().flatten().copied().collect::<Vec<u8>>();
        self.size_bytes == other.size_bytes && bytes(self) == bytes(other)
    }
}

impl Eq for Body {}

impl Body {
    /// Counts the bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.size_bytes
    }

    /// Tells whether there is no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.size_bytes == 0
    }

    /// Shows the pieces in order; none is empty.
    pub fn segments(&self) -> impl Iterator<Item = &Bytes> {
        let first = (!self.first.is_empty()).then_some(&self.first);
        first.into_iter().chain(&self.rest)
    }

    /// Returns the body in one piece; copies only when there were several.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut whole = BytesMut::with_capacity(self.size_bytes);
        for segment in self.segments() {
            whole.extend_from_slice(segment);
        }
        whole.freeze()
    }

    fn push(&mut self, segment: Bytes) {
        self.size_bytes = self.size_bytes.saturating_add(segment.len());
        if self.first.is_empty() {
            self.first = segment;
        } else if !segment.is_empty() {
            self.rest.push(segment);
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let mut body = Self::default();
        body.push(bytes);
        body
    }
}

/// A body that is still coming in.
#[derive(Debug, Default)]
pub(crate) struct BodyBuilder {
    body: Body,
    /// Small fragments that follow each other.
    small: BytesMut,
}

impl BodyBuilder {
    /// Adds a fragment.
    pub(crate) fn push(&mut self, fragment: Bytes) {
        if fragment.len() < FRAGMENT_COPY_BYTES {
            self.small.extend_from_slice(&fragment);
        } else {
            self.flush();
            self.body.push(fragment);
        }
    }

    /// Ends the body.
    pub(crate) fn finish(mut self, last: Bytes) -> Body {
        // A message in one frame, as most are, stays a slice however small it is.
        if !self.small.is_empty() && last.len() < FRAGMENT_COPY_BYTES {
            self.small.extend_from_slice(&last);
            self.flush();
        } else {
            self.flush();
            self.body.push(last);
        }
        self.body
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.body.push(self.small.split().freeze());
        }
    }
}
