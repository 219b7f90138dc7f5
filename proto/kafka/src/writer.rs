//! Writes Kafka's primitive values to a [`Sink`], and refuses what a version cannot say.
//!
//! Knows the encoding of lengths and tags, not the messages.

use bytes::Bytes;

use crate::error::EncodeError;
use crate::limits::STRING_BYTES_MAX;
use crate::sink::{Sink, SizeCounter};
use crate::version::Encoding;
use crate::wire::Wire;

/// Longest array, bytes or frame: lengths are signed 32-bit numbers.
pub(crate) const LENGTH_MAX: usize = 0x7fff_ffff;

/// A sink and the message that is being written to it.
#[derive(Debug)]
pub struct Writer<'a, S> {
    sink: &'a mut S,
    message: &'static str,
    version: i16,
    encoding: Encoding,
}

impl<'a, S: Sink> Writer<'a, S> {
    pub(crate) const fn new(
        sink: &'a mut S,
        message: &'static str,
        version: i16,
        encoding: Encoding,
    ) -> Self {
        Self {
            sink,
            message,
            version,
            encoding,
        }
    }

    /// Version of the message that is being written.
    #[must_use]
    pub const fn version(&self) -> i16 {
        self.version
    }

    /// Whether that version is flexible.
    #[must_use]
    pub const fn is_flexible(&self) -> bool {
        matches!(self.encoding, Encoding::Flexible)
    }

    /// Writes one value.
    pub(crate) fn put<T: Wire>(
        &mut self,
        field: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        value.write(self, field)
    }

    /// Writes one value with classic lengths, whatever the version says.
    pub(crate) fn put_classic<T: Wire>(
        &mut self,
        field: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let encoding = std::mem::replace(&mut self.encoding, Encoding::Classic);
        let written = value.write(self, field);
        self.encoding = encoding;
        written
    }

    /// Writes a value that this version cannot leave out.
    pub(crate) fn put_required<T: Wire>(
        &mut self,
        field: &'static str,
        value: Option<&T>,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => value.write(self, field),
            None => Err(EncodeError::Null {
                message: self.message,
                version: self.version,
                field,
            }),
        }
    }

    /// Writes how many tagged fields follow: those that are set.
    pub(crate) fn tag_count(&mut self, are_set: &[bool]) {
        let count = are_set.iter().map(|is_set| u32::from(*is_set)).sum();
        self.uvarint(count);
    }

    /// Writes a tagged field: tag, size, value.
    pub(crate) fn put_tagged<T: Wire>(
        &mut self,
        field: &'static str,
        tag: u32,
        value: &T,
    ) -> Result<(), EncodeError> {
        let mut counter = SizeCounter::default();
        let mut sizer = Writer::new(&mut counter, self.message, self.version, self.encoding);
        value.write(&mut sizer, field)?;
        self.uvarint(tag);
        let size = self.checked(field, counter.size, LENGTH_MAX)?;
        self.uvarint(size);
        value.write(self, field)
    }

    /// The error of a field that is set though this version has none.
    #[cold]
    pub(crate) const fn absent(&self, field: &'static str) -> EncodeError {
        EncodeError::FieldVersion {
            message: self.message,
            version: self.version,
            field,
        }
    }

    #[inline]
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.sink.put(bytes);
    }

    pub(crate) fn shared(&mut self, bytes: &Bytes) {
        self.sink.put_shared(bytes);
    }

    pub(crate) fn uvarint(&mut self, mut value: u32) {
        let mut bytes = [0_u8; 5];
        let mut used = 0_usize;
        for byte in &mut bytes {
            used = used.saturating_add(1);
            let [low, ..] = (value & 0x7f).to_le_bytes();
            value >>= 7;
            *byte = if value == 0 { low } else { low | 0x80 };
            if value == 0 {
                break;
            }
        }
        self.sink.put(bytes.get(..used).unwrap_or_default());
    }

    fn checked(&self, field: &'static str, length: usize, max: usize) -> Result<u32, EncodeError> {
        match u32::try_from(length) {
            Ok(short) if length <= max => Ok(short),
            _ => {
                let Self {
                    message, version, ..
                } = *self;
                Err(EncodeError::Length {
                    message,
                    version,
                    field,
                    length,
                    max,
                })
            }
        }
    }

    /// Writes the length of a string; `None` is null.
    pub(crate) fn string_length(
        &mut self,
        field: &'static str,
        length: Option<usize>,
    ) -> Result<(), EncodeError> {
        let length = length
            .map(|length| self.checked(field, length, STRING_BYTES_MAX))
            .transpose()?;
        match self.encoding {
            Encoding::Classic => {
                let length = length
                    .and_then(|length| i16::try_from(length).ok())
                    .unwrap_or(-1);
                self.raw(&length.to_be_bytes());
            }
            Encoding::Flexible => self.uvarint(length.map_or(0, |length| length.saturating_add(1))),
        }
        Ok(())
    }

    /// Writes the length of bytes, records or an array; `None` is null.
    pub(crate) fn length(
        &mut self,
        field: &'static str,
        length: Option<usize>,
    ) -> Result<(), EncodeError> {
        let length = length
            .map(|length| self.checked(field, length, LENGTH_MAX))
            .transpose()?;
        match self.encoding {
            Encoding::Classic => {
                let length = length
                    .and_then(|length| i32::try_from(length).ok())
                    .unwrap_or(-1);
                self.raw(&length.to_be_bytes());
            }
            Encoding::Flexible => self.uvarint(length.map_or(0, |length| length.saturating_add(1))),
        }
        Ok(())
    }

    /// Writes an array; `None` is null.
    pub(crate) fn array<T: Wire>(
        &mut self,
        field: &'static str,
        elements: Option<&[T]>,
    ) -> Result<(), EncodeError> {
        self.length(field, elements.map(<[T]>::len))?;
        for element in elements.unwrap_or_default() {
            element.write(self, field)?;
        }
        Ok(())
    }
}
