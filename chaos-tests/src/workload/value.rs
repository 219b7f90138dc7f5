//! What a record holds: its number, padded with bytes that depend on it.

use bytes::{BufMut, Bytes, BytesMut};

/// The smallest record.
pub(super) const VALUE_BYTES_MIN: usize = 8;

/// A record of `size` bytes (at least [`VALUE_BYTES_MIN`]) that holds `value`.
pub(super) fn encode(value: u64, size: u32) -> Bytes {
    let size = (size as usize).max(VALUE_BYTES_MIN);
    let mut bytes = BytesMut::with_capacity(size);
    bytes.put_u64(value);
    bytes.resize(size, padding(value));
    bytes.freeze()
}

/// What a record holds; `None` if it is not one of ours or its padding is damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<u64> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    let value = u64::from_be_bytes(*head);
    rest.iter()
        .all(|byte| *byte == padding(value))
        .then_some(value)
}

const fn padding(value: u64) -> u8 {
    value.to_le_bytes()[0] ^ 0x5a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_at_every_size() {
        for size in [0, 8, 9, 1_024] {
            assert_eq!(decode(&encode(77, size)), Some(77));
        }
    }

    #[test]
    fn damaged_bytes_are_no_value() {
        let mut bytes = encode(77, 64).to_vec();
        bytes[20] ^= 1;
        assert_eq!(decode(&bytes), None);
        assert_eq!(decode(b"short"), None);
    }
}
