//! Writes the fields of a method or of properties to the end of a buffer.
//!
//! Owns bit packing (AMQP 0-9-1, 4.2.5.2). Knows no method. Lengths were checked when the values
//! were made.

use bytes::{BufMut, BytesMut};

/// The end of a buffer.
pub(crate) struct Writer<'a> {
    buffer: &'a mut BytesMut,
    /// Where the octet for bits lies, and the mask of the next one; mask 0 when there is none.
    bits: (usize, u8),
}

macro_rules! write_number {
    ($name:ident, $type:ty, $put:ident) => {
        pub(crate) fn $name(&mut self, value: $type) {
            self.bits.1 = 0;
            self.buffer.$put(value);
        }
    };
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(buffer: &'a mut BytesMut) -> Self {
        Self {
            buffer,
            bits: (0, 0),
        }
    }

    write_number!(u8, u8, put_u8);
    write_number!(u16, u16, put_u16);
    write_number!(u32, u32, put_u32);
    write_number!(u64, u64, put_u64);

    /// Writes a bit: into the octet at hand, else into a new one.
    pub(crate) fn bit(&mut self, value: bool) {
        if self.bits.1 == 0 {
            self.bits = (self.buffer.len(), 1);
            self.buffer.put_u8(0);
        }
        let (at, mask) = self.bits;
        if let Some(octet) = self.buffer.get_mut(at)
            && value
        {
            *octet |= mask;
        }
        self.bits.1 = mask.wrapping_shl(1);
    }

    /// Writes bytes with their length in one octet; what is over 255 bytes is left away.
    pub(crate) fn short_bytes(&mut self, bytes: &[u8]) {
        let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        self.u8(length);
        let kept = bytes.get(..usize::from(length)).unwrap_or_default();
        self.buffer.put_slice(kept);
    }

    /// Writes bytes with their length in four octets.
    pub(crate) fn long_bytes(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.u32(length);
        self.buffer.put_slice(bytes);
    }
}
