//! Reads Kafka's primitive values from a request's bytes without copying them.
//!
//! Owns every check on input: nothing is read past the end, no count is believed before it is
//! compared with the bytes that remain, and the memory for arrays is bounded per message. Strings
//! and records are slices that keep the whole frame alive; whoever stores a name for long copies it.

use bytes::Bytes;

use crate::error::{DecodeError, Place};
use crate::limits::{DECODED_BYTES_MAX, STRING_BYTES_MAX};
use crate::version::Encoding;
use crate::wire::Wire;

/// A cursor over the bytes of one frame.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
    memory_left: usize,
    message: &'static str,
    version: i16,
    encoding: Encoding,
}

impl Reader {
    /// Starts at the first byte, with [`DECODED_BYTES_MAX`] of memory to spend.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self::with_memory_bytes_max(bytes, DECODED_BYTES_MAX)
    }

    /// Starts at the first byte; decoded arrays may take `memory_bytes_max` bytes in all.
    #[must_use]
    pub const fn with_memory_bytes_max(bytes: Bytes, memory_bytes_max: usize) -> Self {
        Self {
            bytes,
            position: 0,
            memory_left: memory_bytes_max,
            message: "",
            version: 0,
            encoding: Encoding::Classic,
        }
    }

    /// Bytes that are not read yet: after a message, those that trail it.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    /// Bytes that were read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Version of the message that is being read.
    #[must_use]
    pub const fn version(&self) -> i16 {
        self.version
    }

    /// Whether the version that is being read is flexible.
    #[must_use]
    pub const fn is_flexible(&self) -> bool {
        matches!(self.encoding, Encoding::Flexible)
    }

    /// Says which message follows; errors name it from here on.
    pub(crate) const fn enter(&mut self, message: &'static str, version: i16, encoding: Encoding) {
        self.message = message;
        self.version = version;
        self.encoding = encoding;
    }

    /// Reads one value of the type that the caller expects.
    pub(crate) fn get<T: Wire>(&mut self, field: &'static str) -> Result<T, DecodeError> {
        T::read(self, field)
    }

    /// Reads one value with classic lengths, whatever the version says.
    pub(crate) fn get_classic<T: Wire>(&mut self, field: &'static str) -> Result<T, DecodeError> {
        let encoding = std::mem::replace(&mut self.encoding, Encoding::Classic);
        let value = T::read(self, field);
        self.encoding = encoding;
        value
    }

    #[cold]
    pub(crate) const fn place(&self, field: &'static str) -> Place {
        Place {
            message: self.message,
            version: self.version,
            field,
            position: self.position,
        }
    }

    #[cold]
    fn truncated(&self, field: &'static str, needed: usize) -> DecodeError {
        let place = self.place(field);
        DecodeError::Truncated {
            place,
            needed,
            remaining: self.remaining(),
        }
    }

    /// Reads `N` bytes.
    #[inline]
    pub(crate) fn take<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(taken) = rest.first_chunk::<N>() else {
            return Err(self.truncated(field, N));
        };
        self.position = self.position.saturating_add(N);
        Ok(*taken)
    }

    /// Shares the next `length` bytes of the frame.
    pub(crate) fn share(
        &mut self,
        field: &'static str,
        length: usize,
    ) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(field, length));
        }
        let end = self.position.saturating_add(length);
        let shared = self.bytes.slice(self.position..end);
        self.position = end;
        Ok(shared)
    }

    fn skip(&mut self, field: &'static str, length: usize) -> Result<(), DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(field, length));
        }
        self.position = self.position.saturating_add(length);
        Ok(())
    }

    /// Reads an unsigned varint of at most 32 bits.
    pub(crate) fn uvarint(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for shift in [0_u32, 7, 14, 21, 28] {
            let [byte] = self.take(field)?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint {
            place: self.place(field),
        })
    }

    /// Reads the length of a string: `None` is null.
    pub(crate) fn string_length(
        &mut self,
        field: &'static str,
    ) -> Result<Option<usize>, DecodeError> {
        let length = match self.encoding {
            Encoding::Classic => {
                let length = i16::from_be_bytes(self.take(field)?);
                self.classic_length(field, i32::from(length))?
            }
            Encoding::Flexible => self.compact_length(field)?,
        };
        match length {
            Some(length) if length > STRING_BYTES_MAX => {
                let place = self.place(field);
                Err(DecodeError::StringLength {
                    place,
                    length,
                    max: STRING_BYTES_MAX,
                })
            }
            length => Ok(length),
        }
    }

    /// Reads the length of bytes, records or an array: `None` is null.
    pub(crate) fn length(&mut self, field: &'static str) -> Result<Option<usize>, DecodeError> {
        match self.encoding {
            Encoding::Classic => {
                let length = i32::from_be_bytes(self.take(field)?);
                self.classic_length(field, length)
            }
            Encoding::Flexible => self.compact_length(field),
        }
    }

    fn classic_length(
        &self,
        field: &'static str,
        length: i32,
    ) -> Result<Option<usize>, DecodeError> {
        match (length, usize::try_from(length)) {
            (-1, _) => Ok(None),
            (_, Ok(length)) => Ok(Some(length)),
            (_, Err(_)) => Err(DecodeError::NegativeLength {
                place: self.place(field),
                length,
            }),
        }
    }

    fn compact_length(&mut self, field: &'static str) -> Result<Option<usize>, DecodeError> {
        Ok(self
            .uvarint(field)?
            .checked_sub(1)
            .map(|length| length as usize))
    }

    /// Reads an array: its count is checked against the bytes and the memory that remain before
    /// anything is allocated.
    pub(crate) fn array<T: Wire>(
        &mut self,
        field: &'static str,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(field)? else {
            return Ok(None);
        };
        self.check_count(field, count, T::bytes_min(self.version, self.encoding))?;
        let needed = count.saturating_mul(size_of::<T>());
        let Some(memory_left) = self.memory_left.checked_sub(needed) else {
            let place = self.place(field);
            return Err(DecodeError::Memory {
                place,
                needed,
                allowed: self.memory_left,
            });
        };
        self.memory_left = memory_left;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(self, field)?);
        }
        Ok(Some(elements))
    }

    fn check_count(
        &self,
        field: &'static str,
        count: usize,
        element_bytes_min: usize,
    ) -> Result<(), DecodeError> {
        let remaining = self.remaining();
        let needed = count.saturating_mul(element_bytes_min);
        if needed > remaining {
            let place = self.place(field);
            return Err(DecodeError::Count {
                place,
                count,
                needed,
                remaining,
            });
        }
        Ok(())
    }

    /// Reads the tagged fields that end a struct. `known` reads the value of a tag it knows and
    /// says so; the others are skipped.
    pub(crate) fn tags(
        &mut self,
        field: &'static str,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uvarint(field)? as usize;
        self.check_count(field, count, 2)?;
        let mut next_tag = Some(0_u32);
        for _ in 0..count {
            let tag = self.uvarint(field)?;
            if next_tag.is_none_or(|next_tag| tag < next_tag) {
                return Err(DecodeError::TagOrder {
                    place: self.place(field),
                    tag,
                });
            }
            next_tag = tag.checked_add(1);
            let size = self.uvarint(field)? as usize;
            self.check_count(field, size, 1)?;
            let start = self.position;
            if known(self, tag)? {
                let taken = self.position.saturating_sub(start);
                if taken != size {
                    let place = self.place(field);
                    return Err(DecodeError::TagSize {
                        place,
                        tag,
                        size,
                        taken,
                    });
                }
            } else {
                self.skip(field, size)?;
            }
        }
        Ok(())
    }

    /// Reads the tagged fields of a struct that knows none.
    pub(crate) fn skip_tags(&mut self, field: &'static str) -> Result<(), DecodeError> {
        self.tags(field, |_, _| Ok(false))
    }
}
