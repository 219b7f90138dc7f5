//! Reads the fields of a method or of properties from the front of a payload.
//!
//! Owns bit packing (AMQP 0-9-1, 4.2.5.2: bits in a row share octets, the first is the lowest) and
//! the check of each length against what remains. Knows no method.

use bytes::{Buf, Bytes};

use crate::error::SyntaxCause;
use crate::strings::ShortString;

/// What is left of a payload.
pub(crate) struct Reader {
    bytes: Bytes,
    /// The octet that bits are taken from, and the mask of the next one; mask 0 when there is none.
    bits: (u8, u8),
}

macro_rules! read_number {
    ($name:ident, $type:ty, $get:ident) => {
        pub(crate) fn $name(&mut self) -> Result<$type, SyntaxCause> {
            self.need(size_of::<$type>())?;
            Ok(self.bytes.$get())
        }
    };
}

impl Reader {
    pub(crate) const fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            bits: (0, 0),
        }
    }

    read_number!(u8, u8, get_u8);
    read_number!(u16, u16, get_u16);
    read_number!(u32, u32, get_u32);
    read_number!(u64, u64, get_u64);

    /// Takes the next bit: from the octet at hand, else from a new one.
    pub(crate) fn bit(&mut self) -> Result<bool, SyntaxCause> {
        if self.bits.1 == 0 {
            self.bits = (self.u8()?, 1);
        }
        let (octet, mask) = self.bits;
        self.bits.1 = mask.wrapping_shl(1);
        Ok(octet & mask != 0)
    }

    /// Takes so many bytes, shared with the payload.
    pub(crate) fn take(&mut self, count: usize) -> Result<Bytes, SyntaxCause> {
        self.need(count)?;
        Ok(self.bytes.split_to(count))
    }

    pub(crate) fn short_string(&mut self) -> Result<ShortString, SyntaxCause> {
        let length = usize::from(self.u8()?);
        self.take(length).map(ShortString::trusted)
    }

    /// Takes the bytes behind a four-byte length.
    pub(crate) fn long_bytes(&mut self) -> Result<Bytes, SyntaxCause> {
        let length = self.u32()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Takes everything that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.bytes
    }

    /// Ends the reading: nothing may be left.
    pub(crate) fn finish(&self) -> Result<(), SyntaxCause> {
        match self.bytes.len() {
            0 => Ok(()),
            remaining => Err(SyntaxCause::LeftOver { remaining }),
        }
    }

    /// Each read goes through here, and ends a row of bits.
    fn need(&mut self, needed: usize) -> Result<(), SyntaxCause> {
        self.bits.1 = 0;
        let remaining = self.bytes.len();
        if remaining < needed {
            return Err(SyntaxCause::Truncated { needed, remaining });
        }
        Ok(())
    }
}
