//! Kafka's UUID: 16 bytes, printed in URL-safe base64 without padding.
//!
//! Makes none: randomness comes from the caller.

use std::fmt;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A topic id, directory id or the like.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// All zeros: Kafka's "no id".
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is [`Self::ZERO`].
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl From<[u8; 16]> for Uuid {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl From<Uuid> for [u8; 16] {
    fn from(uuid: Uuid) -> Self {
        uuid.0
    }
}

impl fmt::Display for Uuid {
    /// As Kafka's tools print it: 22 characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        for index in 0..22_u32 {
            // 128 bits are 21 groups of 6 and one of 2, which stands left in its group.
            let shifted = match 122_u32.checked_sub(index.saturating_mul(6)) {
                Some(shift) => bits >> shift,
                None => bits << 4,
            };
            let [low, ..] = shifted.to_le_bytes();
            let letter = ALPHABET
                .get(usize::from(low & 0x3f))
                .copied()
                .unwrap_or_default();
            fmt::Write::write_char(f, char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Uuid;

    #[test]
    fn a_uuid_is_printed_as_kafka_prints_it() {
        // From Kafka's Uuid.toString: zero, and the id of the metadata topic (0, 1).
        let mut one = [0; 16];
        one[15] = 1;

        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid(one).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
    }
}
