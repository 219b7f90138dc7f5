//! Short and long strings (AMQP 0-9-1, 4.2.5.3): slices of the read buffer, never copies.
//!
//! Owns the length of a short string, which every value of [`ShortString`] and [`Text`] keeps.
//! RabbitMQ checks UTF-8 in the short strings of methods except those with content, and nowhere
//! else; the two types say which is which.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use thiserror::Error;

use crate::limits::SHORT_STRING_BYTES_MAX;

/// Text too long for a short string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a short string has {actual} bytes, more than {SHORT_STRING_BYTES_MAX}")]
pub struct TooLong {
    /// Its length, bytes.
    pub actual: usize,
}

pub(crate) const fn check_length(actual: usize) -> Result<(), TooLong> {
    if actual > SHORT_STRING_BYTES_MAX {
        return Err(TooLong { actual });
    }
    Ok(())
}

/// At most 255 bytes, mostly but not certainly UTF-8.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortString(Bytes);

impl ShortString {
    /// Takes what a reader cut out: its length was one octet.
    pub(crate) const fn trusted(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Makes one of text that is known when the program is built.
    ///
    /// # Panics
    /// While the program is built, if it is used in a constant; when the text is too long.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(text.len() <= SHORT_STRING_BYTES_MAX, "a short string");
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Returns the bytes, shared.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Returns the text if it is UTF-8.
    #[must_use]
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl Deref for ShortString {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ShortString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

impl TryFrom<Bytes> for ShortString {
    type Error = TooLong;

    fn try_from(bytes: Bytes) -> Result<Self, TooLong> {
        check_length(bytes.len()).map(|()| Self(bytes))
    }
}

impl TryFrom<&str> for ShortString {
    type Error = TooLong;

    fn try_from(text: &str) -> Result<Self, TooLong> {
        check_length(text.len()).map(|()| Self(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl From<Text> for ShortString {
    fn from(text: Text) -> Self {
        Self(text.0)
    }
}

/// At most 255 bytes of UTF-8.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Text {
    /// Takes a short string if it is UTF-8.
    pub(crate) fn of(string: ShortString) -> Option<Self> {
        string.to_str().is_some().then_some(Self(string.0))
    }

    /// Makes one of text that is known when the program is built.
    ///
    /// # Panics
    /// While the program is built, if it is used in a constant; when the text is too long.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(text.len() <= SHORT_STRING_BYTES_MAX, "a short string");
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Returns the bytes, shared.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<&str> for Text {
    type Error = TooLong;

    fn try_from(text: &str) -> Result<Self, TooLong> {
        check_length(text.len()).map(|()| Self(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl TryFrom<String> for Text {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        check_length(text.len()).map(|()| Self(Bytes::from(text)))
    }
}

/// Bytes with a four-byte length. `Debug` shows the length only: passwords travel in these.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LongString(pub Bytes);

impl Deref for LongString {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for LongString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LongString({} bytes)", self.0.len())
    }
}

impl From<&'static str> for LongString {
    fn from(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }
}
