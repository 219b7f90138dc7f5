//! Bytes on their way out, in pieces: small ones are put together, large ones stand by reference, so that an entry's
//! payload reaches the socket from where it is kept.
//!
//! Knows nothing of what the bytes say.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// From this size on bytes stand by reference; below it a copy costs less than a piece of its own.
const PIECE_BYTES_MIN: usize = 4 << 10;

/// Bytes in pieces.
#[derive(Debug, Default)]
pub struct Rope {
    pieces: VecDeque<Bytes>,
    /// Bytes in `pieces`.
    pieces_bytes: usize,
    /// What follows the last piece.
    open: BytesMut,
}

impl Rope {
    /// Counts the bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces_bytes + self.open.len()
    }

    /// Tells whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where more bytes are written.
    pub fn open(&mut self) -> &mut BytesMut {
        &mut self.open
    }

    /// Appends bytes, large ones by reference.
    pub fn share(&mut self, bytes: Bytes) {
        if bytes.len() < PIECE_BYTES_MIN {
            self.open.extend_from_slice(&bytes);
        } else {
            self.close();
            self.push(bytes);
        }
    }

    /// Appends what another rope holds.
    pub fn append(&mut self, other: Self) {
        let Self { pieces, open, .. } = other;
        pieces.into_iter().for_each(|piece| self.share(piece));
        self.share(open.freeze());
    }

    /// The pieces, in order; none is empty.
    #[must_use]
    pub fn into_pieces(mut self) -> VecDeque<Bytes> {
        self.close();
        self.pieces
    }

    /// The bytes in one piece. Copies them if there are several.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        let length = self.len();
        let mut pieces = self.into_pieces();
        if pieces.len() <= 1 {
            return pieces.pop_front().unwrap_or_default();
        }
        let mut together = BytesMut::with_capacity(length);
        for piece in &pieces {
            together.extend_from_slice(piece);
        }
        together.freeze()
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            let piece = self.open.split().freeze();
            self.push(piece);
        }
    }

    fn push(&mut self, piece: Bytes) {
        self.pieces_bytes += piece.len();
        self.pieces.push_back(piece);
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        let mut rope = Self::default();
        if !bytes.is_empty() {
            rope.push(bytes);
        }
        rope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bytes_stand_by_reference_between_small_ones_that_are_put_together() {
        let large = Bytes::from(vec![7; PIECE_BYTES_MIN]);
        let mut inner = Rope::default();
        inner.open().extend_from_slice(b"two ");
        inner.share(large.clone());
        inner.share(Bytes::from_static(b"three "));
        let mut rope = Rope::default();
        rope.open().extend_from_slice(b"one ");
        rope.append(inner);
        rope.open().extend_from_slice(b"four");
        assert_eq!(rope.len(), 8 + PIECE_BYTES_MIN + 10);

        let pieces = rope.into_pieces();

        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[0], "one two ");
        assert_eq!(pieces[1].as_ptr(), large.as_ptr());
        assert_eq!(pieces[2], "three four");
    }

    #[test]
    fn one_piece_comes_back_as_it_is_and_several_put_together() {
        let small = Bytes::from_static(b"small");
        assert_eq!(
            Rope::from(small.clone()).into_bytes().as_ptr(),
            small.as_ptr()
        );
        assert!(Rope::from(Bytes::new()).into_pieces().is_empty());
        assert!(Rope::default().is_empty());
        let large = vec![7; PIECE_BYTES_MIN];
        let mut rope = Rope::from(small);
        rope.share(Bytes::from(large.clone()));
        assert_eq!(rope.into_bytes(), [&b"small"[..], &large[..]].concat());
    }
}
