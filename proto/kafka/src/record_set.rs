//! A record set: record batches one after the other, in as many pieces as they are kept in.
//!
//! What is read is one slice of its frame. What is written may have several pieces, which a
//! [`SegmentedBuf`](crate::SegmentedBuf) takes by reference: who serves batches need not put them
//! together. Knows no batch.

use std::fmt;

use bytes::{Bytes, BytesMut};

/// The bytes of a record set.
#[derive(Clone)]
pub struct RecordSet {
    pieces: Pieces,
}

/// One piece, which is what nearly every record set has, needs no list.
#[derive(Clone)]
enum Pieces {
    One(Bytes),
    Several(Vec<Bytes>),
}

impl RecordSet {
    /// A record set without records.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pieces: Pieces::One(Bytes::new()),
        }
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        match &self.pieces {
            Pieces::One(bytes) => std::slice::from_ref(bytes),
            Pieces::Several(pieces) => pieces,
        }
    }

    /// Bytes of all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        let lengths = self.pieces().iter().map(Bytes::len);
        lengths.fold(0, usize::saturating_add)
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces().iter().all(Bytes::is_empty)
    }

    /// The bytes in one piece. Copies them if there are several.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        let length = self.len();
        match self.pieces {
            Pieces::One(bytes) => bytes,
            Pieces::Several(pieces) => {
                let mut together = BytesMut::with_capacity(length);
                for piece in &pieces {
                    together.extend_from_slice(piece);
                }
                together.freeze()
            }
        }
    }
}

impl Default for RecordSet {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Bytes> for RecordSet {
    fn from(bytes: Bytes) -> Self {
        Self {
            pieces: Pieces::One(bytes),
        }
    }
}

impl From<Vec<Bytes>> for RecordSet {
    fn from(pieces: Vec<Bytes>) -> Self {
        Self {
            pieces: Pieces::Several(pieces),
        }
    }
}

/// Compares the bytes, however they are cut.
impl PartialEq for RecordSet {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |records: &Self| records.clone().into_bytes();
        self.len() == other.len() && bytes(self) == bytes(other)
    }
}

impl Eq for RecordSet {}

/// Says how long it is: records are nobody's business but their readers'.
impl fmt::Debug for RecordSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordSet({} bytes)", self.len())
    }
}
