//! Zigzag variable-length integers, and a bounds-checked reader over the records of a batch.
//!
//! Knows positions and lengths, not what the fields mean.

use crate::error::BatchError;

/// Largest encoded size of a 32-bit varint.
const VARINT_BYTES_MAX: usize = 5;
/// Largest encoded size of a 64-bit varint.
const VARLONG_BYTES_MAX: usize = 10;

/// A position in bytes that never moves past their end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, BatchError> {
        let Some(byte) = self.bytes.get(self.position) else {
            return Err(BatchError::Truncated {
                needed: 1,
                remaining: 0,
            });
        };
        self.position = self.position.saturating_add(1);
        Ok(*byte)
    }

    /// Skips `length` bytes and returns where they stand.
    pub(crate) fn skip(&mut self, length: usize) -> Result<std::ops::Range<usize>, BatchError> {
        let remaining = self.remaining();
        if length > remaining {
            return Err(BatchError::Truncated {
                needed: length,
                remaining,
            });
        }
        let start = self.position;
        self.position = start.saturating_add(length);
        Ok(start..self.position)
    }

    pub(crate) fn varint(&mut self) -> Result<i32, BatchError> {
        let start = self.position;
        let raw = self.unsigned(VARINT_BYTES_MAX)?;
        let raw = u32::try_from(raw).map_err(|_| BatchError::InvalidVarint { position: start })?;
        Ok((raw >> 1).cast_signed() ^ 0_i32.wrapping_sub((raw & 1).cast_signed()))
    }

    pub(crate) fn varlong(&mut self) -> Result<i64, BatchError> {
        let raw = self.unsigned(VARLONG_BYTES_MAX)?;
        Ok((raw >> 1).cast_signed() ^ 0_i64.wrapping_sub((raw & 1).cast_signed()))
    }

    fn unsigned(&mut self, bytes_max: usize) -> Result<u64, BatchError> {
        let start = self.position;
        let mut value = 0_u64;
        let mut shift = 0_u32;
        for _ in 0..bytes_max {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            // The tenth byte of a varlong has room for one bit.
            if shift == 63 && part > 1 {
                break;
            }
            value |= part.wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift = shift.saturating_add(7);
        }
        Err(BatchError::InvalidVarint { position: start })
    }
}

/// Writes a 32-bit zigzag varint.
pub(crate) fn put_varint(target: &mut bytes::BytesMut, value: i32) {
    put_varlong(target, i64::from(value));
}

/// Writes a 64-bit zigzag varint.
pub(crate) fn put_varlong(target: &mut bytes::BytesMut, value: i64) {
    let mut raw = zigzag(value);
    let mut encoded = [0_u8; VARLONG_BYTES_MAX];
    let mut length = 0_usize;
    for slot in &mut encoded {
        let low = (raw & 0x7f) as u8;
        raw >>= 7;
        length = length.saturating_add(1);
        if raw == 0 {
            *slot = low;
            break;
        }
        *slot = low | 0x80;
    }
    target.extend_from_slice(encoded.get(..length).unwrap_or_default());
}

/// Returns the encoded size of a zigzag varint, 1 to 10 bytes.
pub(crate) fn varint_size(value: i64) -> usize {
    let bits = u64::BITS
        .saturating_sub(zigzag(value).leading_zeros())
        .max(1);
    bits.div_ceil(7) as usize
}

const fn zigzag(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_survives(value: i64, small: i32) {
            let mut bytes = BytesMut::new();
            put_varlong(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_size(value));
            put_varint(&mut bytes, small);
            let mut reader = Reader::new(&bytes, 0);
            prop_assert_eq!(reader.varlong(), Ok(value));
            prop_assert_eq!(reader.varint(), Ok(small));
            prop_assert_eq!(reader.remaining(), 0);
        }

        #[test]
        fn any_bytes_are_a_number_or_an_error(bytes: Vec<u8>) {
            let _ = Reader::new(&bytes, 0).varint();
            let _ = Reader::new(&bytes, 0).varlong();
        }
    }

    #[test]
    fn known_encodings_hold() {
        for (value, expected) in [
            (0, vec![0x00]),
            (-1, vec![0x01]),
            (1, vec![0x02]),
            (63, vec![0x7e]),
            (-64, vec![0x7f]),
            (64, vec![0x80, 0x01]),
            (300, vec![0xd8, 0x04]),
        ] {
            let mut bytes = BytesMut::new();
            put_varint(&mut bytes, value);
            assert_eq!(&bytes[..], &expected[..], "{value}");
        }
    }

    #[test]
    fn an_endless_number_is_refused() {
        assert_eq!(
            Reader::new(&[0xff; 20], 0).varint(),
            Err(BatchError::InvalidVarint { position: 0 })
        );
        assert_eq!(
            Reader::new(&[0xff; 20], 0).varlong(),
            Err(BatchError::InvalidVarint { position: 0 })
        );
    }
}
